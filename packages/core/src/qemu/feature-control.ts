/** Description of who decides whether a QEMU offers a feature. */
export interface FeatureControl {
  /** Number of the feature bit, 0 to 127. */
  readonly bit: number;
  /** The specification's name: `VIRTIO_NET_F_GUEST_USO4`; `bit N` where there is none. */
  readonly name: string;
  /** The device property that switches the feature (`guest_uso4`); absent where no property does. */
  readonly property?: string;
  /** First machine version with the property on by default; absent where that never changed or the default is off. */
  readonly machine?: string;
  /** True if the property is off unless somebody switches it on. */
  readonly offByDefault?: true;
  /** First QEMU that knows the feature at all. */
  readonly qemu?: string;
  /** First Linux whose tap device offers the feature, where the host's tap decides. */
  readonly kernel?: string;
  /** Conditions of the feature beside these, in a few words. */
  readonly needs?: string;
  /** Place in the specification that defines the feature. */
  readonly spec: string;
}

/** Table of who decides over the features of a device type, by bit. */
export type FeatureTable = Readonly<Record<number, Omit<FeatureControl, 'bit' | 'name'>>>;

/** Value of {@link FeatureControl.needs} for a feature that a device type offers whatever its properties are. */
export const ALWAYS_OFFERED = 'nothing: always offered';

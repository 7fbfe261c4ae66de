import type { Field, Json, Reader } from '@virtkit/vmstate';
import type { Report } from './finding.ts';
import type { EarlyState, TransportParts, VirtioState } from './state.ts';
import type { ContractVersion } from './version.ts';

/** Feature bit → name in the specification. */
export type FeatureNames = Readonly<Record<number, string>>;

/** Byte order of the multi-byte fields of the configuration space. */
export type Endian = 'little' | 'big';

/**
 * A device type's name, number and rules: as much of its {@link DeviceLayer} as a live device needs. How its state becomes bytes is not
 * in it, so that a program which never makes bytes of a device does not carry the format.
 */
export interface DeviceIdentity<D = unknown> {
  /** The contract that the device type was written for; core refuses any other. */
  readonly contract: ContractVersion;
  /** Name of the vmsd, which is the last part of the section's name: `virtio-blk`. */
  readonly name: string;
  /** Device id of Virtio 1.3 §5: 1 network card, 2 block device, … Undefined: the layer fits any id. */
  readonly virtioId?: number;
  /** The device's feature bits. Those of the transport and the rings are core's. */
  readonly features: FeatureNames;
  /** Checks what depends on the whole state, as QEMU does after `virtio_load` ("feature-dependent setup"). */
  check?(state: VirtioState<TransportParts, D>, report: Report): void;
}

/**
 * A device type's side of the saved state.
 *
 * `loadDevice` runs before the subsections were read (that is the order of the wire), so its argument does not have
 * them: feature bits above 31 and everything else that comes late is for `check`, which sees the whole state.
 */
export interface DeviceLayer<D = unknown> extends DeviceIdentity<D> {
  /** Version of the section that is written. QEMU: `version_id`. */
  readonly version: number;
  /** The oldest version that is read. QEMU: `minimum_version_id`. */
  readonly minimum: number;
  /** True if the section has fields of its own behind the `virtio` field. They are kept as bytes. */
  readonly hasRest?: boolean;
  /**
   * Lengths in bytes that the rest can have which begins with `bytes`, whatever stands behind it; an empty list if it
   * cannot be read. Where a device with `hasRest` has this method, a guest cannot make its section end elsewhere by
   * what it writes into it.
   */
  restLengths?(bytes: Uint8Array): readonly number[];
  /**
   * The forms in which the state may stand at the cursor, most likely first. More than one, where the layout depends
   * on something the stream does not tell (QEMU reads it from the command line). The first one wins with which
   * everything behind it can be read up to the section's end. Must not move the reader.
   */
  loadDevice(early: EarlyState, input: Reader): Iterable<Field<D>>;
  /** The form in which this state is written. */
  saveDevice(state: D): Field<D>;
  /**
   * Names the fields that stand behind the `virtio` field, for readers; the state keeps the bytes. Undefined: the bytes
   * are something else.
   */
  describeRest?(rest: Uint8Array): Json | undefined;
  /**
   * Names the fields of the configuration space. If there are fewer bytes than the structure has, there are fewer
   * fields.
   */
  describeConfig?(config: Uint8Array, endian: Endian): Json;
}

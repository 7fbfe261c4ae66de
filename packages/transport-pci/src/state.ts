import { lowHigh, QUEUE_MAX } from '@virtkit/core';
import {
  array,
  bool,
  type Field,
  hex,
  named,
  refine,
  s32,
  sparseArray,
  typed,
  u16,
  u32,
  u64,
  type ValueOf,
  vmstate,
} from '@virtkit/vmstate';
import { configSpace, msixVectors } from './config-space.ts';

/** The MSI-X table lies in the stream as the guest sees it: little-endian. */
const le32: Field<number> = {
  ...u32,
  decode: (input) => input.view.getUint32(input.take(4), true),
  encode: (output, value) => {
    const at = output.offset;
    u32.encode(output, value, undefined);
    output.view.setUint32(at, value, true);
  },
};

const le64: Field<bigint> = {
  ...u64,
  decode: (input) => input.view.getBigUint64(input.take(8), true),
  encode: (output, value) => {
    const at = output.offset;
    u64.encode(output, value, undefined);
    output.view.setBigUint64(at, value, true);
  },
  toJSON: (value) => hex(value),
};

/** An entry of the MSI-X table. PCI 3.0 §6.8.2.6 */
export const msixEntry = vmstate('msix_entry', 1).fields({
  /** Message address. */
  address: le64,
  /** Message data. */
  data: le32,
  /** Vector control: bit 0 masks the vector. */
  control: le32,
});

/** What every PCI function saves. QEMU: `vmstate_pci_device`. */
export const pciDevice = vmstate('PCIDevice', 2).fields({
  /** Version of `PCIDevice`; 2 since QEMU 0.12. */
  versionId: typed(
    'int32 le',
    refine(s32, (value) => value >= 0 && value <= 2, '0 to 2'),
  ),
  /** Configuration space, 256 or 4096 bytes. */
  config: configSpace,
  /** Levels of INTA to INTD, each 0 or 1. */
  irqState: typed('pci irq state', array(u32, 4)),
});

/**
 * `virtio_pci_save_config`: the `PCIDevice`, its MSI-X table and pending bits, and the configuration vector.
 * The last three are there if configuration space has an MSI-X capability, enabled or not.
 */
export const pciConfigState = pciDevice
  .array('msixTable', msixEntry, (state) => msixVectors(state.config))
  /** Pending bits: vector v is bit v % 8 of byte v / 8. */
  .bytes('msixPba', (state) => Math.ceil(msixVectors(state.config) / 8))
  .when((state) => msixVectors(state.config) > 0, {
    /** MSI-X vector of configuration changes; 0xffff = none. */
    configVector: u16,
  });

/** {@link pciConfigState}'s value. */
export type PciConfigState = ValueOf<typeof pciConfigState>;

/** `virtio_pci_save_queue`. */
export interface PciQueueState {
  /** MSI-X vector of the queue; 0xffff = none. Absent without an MSI-X capability. */
  readonly vector?: number;
}

const withVector = vmstate('virtio_pci_queue', 1).fields({ vector: u16 });
const withoutVector = vmstate('virtio_pci_queue', 1);

export function pciQueueState(config: PciConfigState): Field<PciQueueState> {
  return config.configVector === undefined ? withoutVector : (withVector as Field<PciQueueState>);
}

/** The registers of a queue in the common configuration structure. Virtio 1.3 §4.1.4.3 */
export const modernQueue = vmstate('virtio_pci/modern_queue_state', 1)
  .fields({
    /** Last write to queue_size; 0 if the driver never wrote it. */
    num: u16,
  })
  .unused(1)
  .fields({
    /** queue_enable */
    enabled: bool,
    /** queue_desc */
    desc: lowHigh,
    /** queue_driver */
    avail: lowHigh,
    /** queue_device */
    used: lowHigh,
  });

/** The registers of the modern interface that core's state does not hold. */
export const modernState = vmstate('virtio_pci/modern_state', 1)
  .fields({
    /** device_feature_select */
    dfselect: u32,
    /** driver_feature_select */
    gfselect: u32,
    /** driver_feature 0 and 1, as the driver wrote them. */
    guestFeatures: lowHigh,
    /** Queues up to the last one with anything but zeros. */
    vqs: sparseArray(modernQueue, QUEUE_MAX, new Uint8Array(28)),
  })
  // driver_feature 2 and 3, where one is not zero; QEMU 10.2 and later
  .subsection('features128', 'virtio_pci/modern_state/features128', named('guest_features', lowHigh));

/** `virtio/extra_state`: vmsd `virtio_pci`, empty for a legacy-only device. */
export const pciExtraState = vmstate('virtio_pci', 1).subsection(
  'modernState',
  'virtio_pci/modern_state',
  modernState,
);

/** {@link pciExtraState}'s value. */
export type PciExtraState = ValueOf<typeof pciExtraState>;

/** The state types of virtio over PCI. */
export interface PciParts {
  /** What `save_config` writes: configuration space, MSI-X table, the vector of configuration changes. */
  readonly config: PciConfigState;
  /** What `save_queue` writes: the queue's vector. */
  readonly queue: PciQueueState;
  /** What `save_extra_state` writes: the registers of the modern interface. */
  readonly extra: PciExtraState;
}

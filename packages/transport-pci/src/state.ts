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

/** Field of 32 bits in the MSI-X table, which lies in the stream as the guest sees it: little-endian. */
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

/** Entry of the MSI-X table. PCI 3.0 §6.8.2.6 */
export const msixEntry = vmstate('msix_entry', 1).fields({
  /** Address that the message is written to. */
  address: le64,
  /** Data of the message. */
  data: le32,
  /** Vector control: bit 0 masks the vector. */
  control: le32,
});

/** Structure that every PCI function saves. QEMU: `vmstate_pci_device`. */
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
 * Structure that QEMU's `virtio_pci_save_config` writes: the `PCIDevice`, its MSI-X table and pending bits, and the
 * configuration vector. The last three are there if configuration space has an MSI-X capability, enabled or not.
 */
export const pciConfigState = pciDevice
  .array('msixTable', msixEntry, (state) => msixVectors(state.config))
  /** Pending bits: vector v is bit v % 8 of byte v / 8. */
  .bytes('msixPba', (state) => Math.ceil(msixVectors(state.config) / 8))
  .when((state) => msixVectors(state.config) > 0, {
    /** Number of the MSI-X vector of configuration changes; 0xffff: none. */
    configVector: u16,
  });

/** Type of the value that {@link pciConfigState} decodes. */
export type PciConfigState = ValueOf<typeof pciConfigState>;

/** Transport's state of a queue, which QEMU's `virtio_pci_save_queue` writes. */
export interface PciQueueState {
  /** Number of the MSI-X vector of the queue; 0xffff: none. Absent without an MSI-X capability. */
  readonly vector?: number;
}

const withVector = vmstate('virtio_pci_queue', 1).fields({ vector: u16 });
const withoutVector = vmstate('virtio_pci_queue', 1);

export function pciQueueState(config: PciConfigState): Field<PciQueueState> {
  return config.configVector === undefined ? withoutVector : (withVector as Field<PciQueueState>);
}

/** Registers of a queue in the common configuration structure. Virtio 1.3 §4.1.4.3 */
export const modernQueue = vmstate('virtio_pci/modern_queue_state', 1)
  .fields({
    /** Value last written to queue_size; 0 if the driver never wrote it. */
    num: u16,
  })
  .unused(1)
  .fields({
    /** Value of queue_enable. */
    enabled: bool,
    /** Value of queue_desc, a guest address. */
    desc: lowHigh,
    /** Value of queue_driver, a guest address. */
    avail: lowHigh,
    /** Value of queue_device, a guest address. */
    used: lowHigh,
  });

/** Registers of the modern interface that core's state does not hold. */
export const modernState = vmstate('virtio_pci/modern_state', 1)
  .fields({
    /** Value of device_feature_select. */
    dfselect: u32,
    /** Value of driver_feature_select. */
    gfselect: u32,
    /** Values of driver_feature 0 and 1, as the driver wrote them. */
    guestFeatures: lowHigh,
    /** Registers of queues up to the last one with anything but zeros. */
    vqs: sparseArray(modernQueue, QUEUE_MAX, new Uint8Array(28)),
  })
  // driver_feature 2 and 3, where one is not zero; QEMU 10.2 and later
  .subsection('features128', 'virtio_pci/modern_state/features128', named('guest_features', lowHigh));

/** Subsection `virtio/extra_state`: vmsd `virtio_pci`, empty for a legacy-only device. */
export const pciExtraState = vmstate('virtio_pci', 1).subsection(
  'modernState',
  'virtio_pci/modern_state',
  modernState,
);

/** Type of the value that {@link pciExtraState} decodes. */
export type PciExtraState = ValueOf<typeof pciExtraState>;

/** State types of virtio over PCI. */
export interface PciParts {
  /** Part that QEMU's `save_config` writes: configuration space, MSI-X table, the vector of configuration changes. */
  readonly config: PciConfigState;
  /** Part that QEMU's `save_queue` writes: the queue's vector. */
  readonly queue: PciQueueState;
  /** Part that QEMU's `save_extra_state` writes: the registers of the modern interface. */
  readonly extra: PciExtraState;
}

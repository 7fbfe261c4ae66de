// Device types about which QEMU's versions have little to say.
import { ALWAYS_OFFERED, type DeviceType, type PciSide, propertyNames } from '@virtkit/core/qemu';
import { type EmptyState, input, ninep, vsock } from '../empty.ts';
import { type IommuState, iommu } from '../iommu.ts';

const IOMMU = 'Virtio 1.3 §5.13.3';
const always = { needs: ALWAYS_OFFERED, spec: IOMMU };

/** Number of interrupt vectors of the function, by QEMU's default. */
const vectors =
  (count: number): NonNullable<PciSide['vectors']> =>
  ({ complete }, before) =>
    complete ? count : before;

/** Descriptor of virtio-9p. */
export const ninepType: DeviceType<EmptyState> = {
  layer: ninep,
  features: { 0: { needs: ALWAYS_OFFERED, spec: 'QEMU virtio-9p' } },
  qemu: {
    option: 'virtfs',
    harmless: propertyNames('fsdev mount_tag'),
    queueSize: () => 128,
    pci: { vectors: vectors(2) },
  },
};

/** Descriptor of virtio-input, with QEMU's keyboards, mice and tablets. */
export const inputType: DeviceType<EmptyState> = {
  layer: input,
  features: {},
  qemu: {
    drivers: ['virtio-tablet', 'virtio-mouse', 'virtio-keyboard', 'virtio-multitouch', 'virtio-input-host'],
    parents: (type, suffix) =>
      /^virtio-(keyboard|mouse|tablet|multitouch)/.test(type)
        ? [`virtio-input-hid-${suffix}`, `virtio-input-${suffix}`]
        : /^(virtio-input-host|vhost-user-input)/.test(type)
          ? [`virtio-input-${suffix}`]
          : [],
    harmless: propertyNames('display head wheel-axis evdev'),
    queueSize: () => 64,
    pci: {
      modernOnly: true,
      classes: {
        'virtio-keyboard-pci': 0x090000,
        'virtio-mouse-pci': 0x090200,
        'virtio-tablet-pci': 0x098000,
        'virtio-multitouch-pci': 0x098000,
      },
      vectors: vectors(2),
    },
  },
};

/** Descriptor of vhost-vsock. */
export const vsockType: DeviceType<EmptyState> = {
  layer: vsock,
  features: {
    1: { property: 'seqpacket', needs: 'a host kernel that has it', spec: 'Virtio 1.3 §5.10.3' },
  },
  qemu: {
    drivers: ['vhost-vsock'],
    parents: (type) => (type.includes('vsock') ? ['vhost-vsock-common'] : []),
    harmless: propertyNames('guest-cid vhostfd'),
    queueSize: () => 128,
  },
};

/** Descriptor of virtio-iommu. */
export const iommuType: DeviceType<IommuState> = {
  layer: iommu,
  features: {
    0: always,
    1: always,
    2: always,
    4: always,
    5: always,
    6: { ...always, qemu: '7.0' },
  },
  qemu: {
    properties: propertyNames('boot-bypass'),
    harmless: propertyNames('aw-bits granule len-reserved-regions reserved-regions primary-bus'),
    queueSize: () => 256,
    pci: { modernOnly: true },
  },
};

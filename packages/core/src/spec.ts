import type { FeatureNames } from './contract/device.ts';

/** Device status bits. Virtio 1.3 §2.1 */
export const STATUS = {
  ACKNOWLEDGE: 0x01,
  DRIVER: 0x02,
  DRIVER_OK: 0x04,
  FEATURES_OK: 0x08,
  NEEDS_RESET: 0x40,
  FAILED: 0x80,
} as const;

/** Largest number of queues of a device, and of entries of a ring. QEMU: `VIRTIO_QUEUE_MAX`, `VIRTQUEUE_MAX_SIZE`. */
export const QUEUE_MAX = 1024;

/** ISR status bits. Virtio 1.3 §4.1.4.5 */
export const ISR = { QUEUE: 0x01, CONFIG: 0x02 } as const;

/** Feature bits that belong to no device type. Virtio 1.3 §6; 24, 27 and 30 are of legacy devices. */
export const FEATURE = {
  NOTIFY_ON_EMPTY: 24,
  ANY_LAYOUT: 27,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  BAD_FEATURE: 30,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
} as const;

/** Names of {@link FEATURE} bits as the specification and QEMU write them. */
export const transportFeatures: FeatureNames = {
  24: 'VIRTIO_F_NOTIFY_ON_EMPTY',
  27: 'VIRTIO_F_ANY_LAYOUT',
  28: 'VIRTIO_RING_F_INDIRECT_DESC',
  29: 'VIRTIO_RING_F_EVENT_IDX',
  30: 'VIRTIO_F_BAD_FEATURE',
  32: 'VIRTIO_F_VERSION_1',
  33: 'VIRTIO_F_ACCESS_PLATFORM',
  34: 'VIRTIO_F_RING_PACKED',
  35: 'VIRTIO_F_IN_ORDER',
  36: 'VIRTIO_F_ORDER_PLATFORM',
  37: 'VIRTIO_F_SR_IOV',
  38: 'VIRTIO_F_NOTIFICATION_DATA',
  39: 'VIRTIO_F_NOTIF_CONFIG_DATA',
  40: 'VIRTIO_F_RING_RESET',
  41: 'VIRTIO_F_ADMIN_VQ',
};

/** Device ids of Virtio 1.3 §5, with the name QEMU gives the device. */
export const deviceNames: Readonly<Record<number, string>> = {
  1: 'virtio-net',
  2: 'virtio-blk',
  3: 'virtio-console',
  4: 'virtio-rng',
  5: 'virtio-balloon',
  8: 'virtio-scsi',
  9: 'virtio-9p',
  16: 'virtio-gpu',
  18: 'virtio-input',
  19: 'virtio-vsock',
  20: 'virtio-crypto',
  23: 'virtio-iommu',
  24: 'virtio-mem',
  25: 'virtio-sound',
  26: 'virtio-fs',
  27: 'virtio-pmem',
  29: 'virtio-mac80211-hwsim',
  32: 'virtio-scmi',
  34: 'virtio-i2c',
  36: 'virtio-bluetooth',
  41: 'virtio-gpio',
};

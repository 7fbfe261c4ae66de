import type { FeatureNames } from '@virtkit/core/live';

/** Feature bits of a block device. Virtio 1.3 §5.2.3; 0 and 7 are legacy only. */
export const BLK_FEATURE = {
  BARRIER: 0,
  SIZE_MAX: 1,
  SEG_MAX: 2,
  GEOMETRY: 4,
  RO: 5,
  BLK_SIZE: 6,
  SCSI: 7,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
  LIFETIME: 15,
  SECURE_ERASE: 16,
  ZONED: 17,
} as const;

/** Names of the feature bits: `VIRTIO_BLK_F_…`. */
export const blkFeatures: FeatureNames = Object.fromEntries(
  Object.entries(BLK_FEATURE).map(([name, bit]) => [bit, `VIRTIO_BLK_F_${name}`]),
);

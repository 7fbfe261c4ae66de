/** Length of a sector in bytes, in which the driver counts whatever the logical block size is. Virtio 1.3 §5.2.4 */
export const SECTOR_BYTES = 512;

/** Request types. Virtio 1.3 §5.2.6; 2, 3, 5 and bit 31 are of legacy devices. */
export const BLK_T = {
  IN: 0,
  OUT: 1,
  SCSI_CMD: 2,
  FLUSH: 4,
  GET_ID: 8,
  GET_LIFETIME: 10,
  DISCARD: 11,
  WRITE_ZEROES: 13,
  SECURE_ERASE: 14,
  ZONE_APPEND: 15,
  ZONE_REPORT: 16,
  ZONE_OPEN: 18,
  ZONE_CLOSE: 20,
  ZONE_FINISH: 22,
  ZONE_RESET: 24,
  ZONE_RESET_ALL: 26,
  /** Bit of a legacy request that asks for all requests before it to be done first. Ignored. */
  BARRIER: 0x80000000,
} as const;

/** Status byte of a request. Virtio 1.3 §5.2.6 */
export const BLK_S = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;

/** Length in bytes of the header in front of a request's data: `type`, `reserved`, `sector`. */
export const HEADER_BYTES = 16;
/** Length in bytes of `struct virtio_blk_discard_write_zeroes`: `sector`, `num_sectors`, `flags`. */
export const SEGMENT_BYTES = 16;
/** Length in bytes of `struct virtio_blk_lifetime`. */
export const LIFETIME_BYTES = 6;
/** Length in bytes of the device ID string. */
export const ID_BYTES = 20;
/** Bit 0 of a segment's flags: the space of the bytes may be given back. */
export const FLAG_UNMAP = 1;
/** Largest number of sectors of a request: QEMU's `BDRV_REQUEST_MAX_SECTORS`. */
export const REQUEST_SECTORS_MAX = 0x3fffff;

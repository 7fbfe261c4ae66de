/** Numbers of device types, Virtio 1.3 §5: those of which QEMU's PCI functions say something of their own. */
export const VIRTIO_ID = {
  NET: 1,
  BLK: 2,
  CONSOLE: 3,
  RNG: 4,
  /** Number of the balloon of before version 1.0, which is the one that QEMU has. */
  BALLOON: 5,
  SCSI: 8,
  /** Number of the transport of 9P. */
  P9: 9,
  GPU: 16,
  INPUT: 18,
  VSOCK: 19,
  SOUND: 25,
  FS: 26,
} as const;

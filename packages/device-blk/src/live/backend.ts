import type { Spans } from '@virtkit/core/live';

/**
 * Result of an operation. Undefined: it is done. A promise: it will be. Errors are thrown, or the promise is rejected.
 */
export type Pending = void | Promise<void>;

/**
 * Back end that a block device reads from and writes to. Positions and lengths are bytes, multiples of 512, and in
 * range: the device has checked them.
 *
 * Every operation has a synchronous fast path: one that is done when it returns answers `undefined`. One that takes
 * longer answers a promise; many may be under way at a time, and they may finish in any order.
 *
 * An operation fails by throwing, or by rejecting its promise. The error's `code` decides what the device does about
 * it: `ENOSPC` is what the policy `enospc` stops for, everything else is an I/O error (see `BlkOptions.werror`).
 */
export interface BlkBackend {
  /** Size of the disk in bytes, rounded up to a whole sector of 512. */
  readonly size: number;
  /** Logical block size in bytes; default 512. */
  readonly blockSize?: number;
  /**
   * True if the driver is told that the disk is read-only (VIRTIO_BLK_F_RO); writes then fail without asking the back
   * end.
   */
  readonly readOnly?: boolean;
  /** False if what is written must be stable at once, so that the device flushes after every write. Default true. */
  readonly writeCache?: boolean;
  /** True if requests of no bytes are passed on like others, in their order; default: they are done at once. */
  readonly wantsEmpty?: boolean;
  /**
   * Largest number of bytes of one read or write, a multiple of 512; default 4 MiB. The device does longer requests
   * piece by piece, the next when the one before is done. QEMU: `max_transfer` of its block limits.
   */
  readonly maxTransfer?: number;
  /** First 512 bytes of the disk, where {@link read} cannot give them at once: QEMU guesses the geometry from them. */
  readonly firstSector?: Uint8Array | undefined;
  /**
   * Reads `length` bytes at `position` into bytes `[from, from + length)` of `target`.
   *
   * Until it returns it may write straight into the arrays behind `target`. Later, before its promise settles, only
   * through `copyFrom` and `fill` of this very object: they do nothing once the driver has reset the device and the memory is not
   * the device's any more.
   */
  read(position: number, target: Spans, from: number, length: number): Pending;
  /**
   * Writes bytes `[from, from + length)` of `source` to `position`. The bytes must have been taken out of `source` when it
   * returns: it does not last longer than the call.
   */
  write(position: number, source: Spans, from: number, length: number): Pending;
  /** Makes everything stable whose write was done before. Absent: written data is always stable. */
  flush?(): Pending;
  /** Discards bytes that are not needed any more. Absent: nothing is done about it, as QEMU's `discard=ignore`. */
  discard?(position: number, length: number): Pending;
  /** Makes bytes zero. With `mayUnmap` their space may be given back. Absent: the device writes zeros. */
  writeZeroes?(position: number, length: number, mayUnmap: boolean): Pending;
  /** Erases bytes so that they can never be read again. Needed for VIRTIO_BLK_F_SECURE_ERASE. */
  secureErase?(position: number, length: number): Pending;
}

/** Finds the `code` of what a back end threw: `EIO`, `ENOSPC`, … `EIO` where it has none. */
export function errorCode(error: unknown): string {
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === 'string' ? code : 'EIO';
}

/** A piece of guest memory of a request. */
export interface Segment {
  /** Guest-physical address. */
  readonly addr: bigint;
  /** Length in bytes. */
  readonly len: bigint;
}

/** A request that was taken from its ring and not yet returned. QEMU: `VirtQueueElement`. */
export interface VirtQueueElement {
  /** Split ring: the head descriptor, 0 to size - 1. Packed ring: the buffer id, 16 bits. */
  readonly index: number;
  /** Buffers that the driver wrote and the device reads, in order. */
  readonly out: readonly Segment[];
  /** Buffers that the device writes, in order. */
  readonly in: readonly Segment[];
}

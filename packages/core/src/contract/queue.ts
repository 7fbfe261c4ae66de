import type { VirtQueueElement } from '../state/element.ts';

/**
 * One direction of a chain: the guest's buffers as pieces of mapped memory, in order. Lent with its chain: valid until
 * the chain is pushed. A descriptor that crosses a region gives two pieces.
 */
export interface Spans {
  /** Pieces. */
  readonly count: number;
  /** Bytes of all pieces. */
  readonly total: number;
  /** The array that piece `i` lies in; ask again after anything asynchronous, for memory may have grown. */
  bytes(i: number): Uint8Array;
  /** Where in {@link bytes} piece `i` begins. */
  offset(i: number): number;
  /** Bytes of piece `i`. */
  length(i: number): number;
  /** Copies bytes `[from, from + length)` of this direction to `target`; answers how many there were. */
  copyTo(from: number, target: Uint8Array, at?: number, length?: number): number;
  /** Copies `source` over the bytes from `from`; answers how many had a place. Only for what the device may write. */
  copyFrom(from: number, source: Uint8Array, at?: number, length?: number): number;
  /** Fills bytes `[from, from + length)` with one value; answers how many there were. */
  fill(from: number, length: number, value: number): number;
  /** A byte, or -1 behind the end. */
  u8(at: number): number;
  u16(at: number, littleEndian: boolean): number;
  u32(at: number, littleEndian: boolean): number;
}

/** A descriptor chain taken from a ring. Objects are reused: a chain is the device's until it is pushed or put back. */
export interface Chain {
  readonly queue: Virtqueue;
  /** Split: head descriptor. Packed: buffer id. */
  readonly index: number;
  /** Ring slots that it takes (packed); 1 for split rings. */
  readonly ndescs: number;
  /** What the device reads: "out" of the driver. */
  readonly out: Spans;
  /** What the device writes: "in" to the driver. */
  readonly in: Spans;
  /** The chain as saved state has it: addresses and lengths of the descriptors' buffers. */
  element(): VirtQueueElement;
}

/** A running virtqueue: split or packed, the same to a device. Virtio 1.3 §2.6 */
export interface Virtqueue {
  readonly index: number;
  /** Entries of the ring. */
  readonly size: number;
  readonly format: 'split' | 'packed';
  /** Chains that were taken and neither pushed nor put back. QEMU: `inuse` (split). */
  readonly inFlight: number;
  /**
   * Takes the next chain; undefined if there is none, or if the device is broken, disabled or paused. A ring that makes
   * no sense breaks the device: one fault event, and undefined.
   */
  pop(): Chain | undefined;
  /** Puts back the chain taken last, as if it had not been. QEMU: `virtqueue_unpop`. */
  unpop(chain: Chain): void;
  /** Gives a chain back as used: {@link fill} and {@link flush}. */
  push(chain: Chain, written: number): void;
  /** Writes a used element `ahead` places behind the published ones, not yet visible. The chain is the queue's again. */
  fill(chain: Chain, written: number, ahead: number): void;
  /** Makes `count` filled elements visible at once. */
  flush(count: number): void;
  /** Forgets a chain: it is not returned to the driver (a reset did that). QEMU: `virtqueue_detach_element`. */
  detach(chain: Chain): void;
  /** Interrupts the driver, if it wants to hear of what was flushed. Virtio 1.3 §2.7.7, §2.8.10 */
  notify(): void;
  /** Asks the driver for kicks, or not to bother. */
  setNotification(wanted: boolean): void;
  /** Is nothing available? Also where the device must not look. */
  isEmpty(): boolean;
  /**
   * Do the available chains together have this many bytes to write and to read? Takes nothing; a ring that makes no sense
   * breaks the device. QEMU: `virtqueue_avail_bytes`.
   */
  availBytes(inBytes: number, outBytes: number): boolean;
  /**
   * Chains that were pushed and wait for earlier ones (IN_ORDER): the driver has not seen them, so they are still requests
   * in flight for a saved state. Always empty without IN_ORDER.
   */
  held(): readonly Chain[];
  /**
   * A chain from saved state, in flight again; its slot in the ring was counted when the queue was restored.
   * Undefined if a buffer is not in guest memory.
   */
  adopt(element: VirtQueueElement, ndescs: number): Chain | undefined;
}

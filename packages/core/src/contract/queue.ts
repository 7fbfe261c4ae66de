import type { VirtQueueElement } from './element.ts';

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
  /**
   * The pieces as a list, for loops that feel the calls of {@link Spans}: those of {@link out}, and behind them those of
   * {@link in}. Piece `n` begins `pieces[2 * n]` bytes into its array ({@link Spans.bytes}) and has `pieces[2 * n + 1]` bytes;
   * both are unsigned 32-bit numbers (`>>> 0`). What stands behind the last piece means nothing. The next chain may bring
   * another list.
   */
  readonly pieces: Int32Array;
  /** The chain as saved state has it: addresses and lengths of the descriptors' buffers. */
  element(): VirtQueueElement;
}

/**
 * A running virtqueue. Split or packed, it is the same to a device: the same calls show the driver the same chains in the
 * same order, ask it for kicks at the same moments, and refuse the same mistakes with a HostError that changes nothing.
 * Virtio 1.3 §2.6
 */
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
  /**
   * Puts a chain into a place, not yet visible; the chain is the queue's again. Places are counted from the next one that
   * {@link flush} makes visible, so that they move up when it has. With IN_ORDER chains become visible in the order in
   * which they were taken, whatever their places.
   *
   * @param ahead 0 to {@link size} - 1
   * @throws HostError if the place is filled already or not in the ring, or the device has not this chain
   */
  fill(chain: Chain, written: number, ahead: number): void;
  /**
   * Makes the next `count` places visible at once.
   *
   * @throws HostError if not all of them are filled
   */
  flush(count: number): void;
  /** Forgets a chain: it is not returned to the driver (a reset did that). QEMU: `virtqueue_detach_element`. */
  detach(chain: Chain): void;
  /** Interrupts the driver, if it wants to hear of what was flushed. Virtio 1.3 §2.7.7, §2.8.10 */
  notify(): void;
  /**
   * Asks the driver for a kick when it makes something available that the device has not taken or, with
   * {@link availBytes}, counted; or not to bother, and it may kick all the same. What was asked last lasts, also while
   * chains are taken, put back and given back, and over a save.
   *
   * The driver may have made something available just before it could see this: a device that is going to wait looks once
   * more, with {@link isEmpty} or {@link availBytes}, after it has asked for kicks. If it does not, both sides wait.
   */
  setNotification(wanted: boolean): void;
  /** Is nothing available? Also where the device must not look. */
  isEmpty(): boolean;
  /**
   * Do the available chains together have this many bytes to write and to read? Takes nothing; a ring that makes no sense
   * breaks the device. Looks at each chain once, so that it may be asked at each frame. A chain of more than 1024 buffers
   * breaks the device when it is taken, and counts as enough. QEMU: `virtqueue_avail_bytes`.
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

import type { VirtQueueElement } from './element.ts';

/**
 * One direction of a chain: the guest's buffers as pieces of mapped memory, in order. Lent with its chain: valid until
 * the chain is pushed. A descriptor that crosses a region gives two pieces.
 */
export interface Spans {
  /** Number of pieces. */
  readonly count: number;
  /** Bytes of all pieces together. */
  readonly total: number;
  /**
   * The array that piece `i` lies in. It is good until the device returns: after anything asynchronous, memory may have grown
   * and the bytes may lie in another array.
   *
   * @param i 0 to {@link count} - 1
   */
  bytes(i: number): Uint8Array;
  /** Byte of the array {@link bytes} that piece `i` begins with; `i` from 0 to {@link count} - 1. */
  offset(i: number): number;
  /** Number of bytes of piece `i`, at least 1; `i` from 0 to {@link count} - 1. */
  length(i: number): number;
  /**
   * Copies bytes of this direction, counted over all its pieces, to an array of the device.
   *
   * @param from the first byte to copy; behind the end there is nothing
   * @param at where in `target` they go; 0 if absent
   * @param length the most to copy; as many as `target` has room for if absent
   * @returns how many bytes there were
   */
  copyTo(from: number, target: Uint8Array, at?: number, length?: number): number;
  /**
   * Copies bytes of an array of the device over those of this direction.
   *
   * @param from the first byte that is written
   * @param at where in `source` they begin; 0 if absent
   * @param length the most to copy; all that `source` has behind `at` if absent
   * @returns how many bytes had a place
   * @throws HostError if this is the direction that the device reads
   */
  copyFrom(from: number, source: Uint8Array, at?: number, length?: number): number;
  /**
   * Fills bytes `[from, from + length)` of this direction with one value.
   *
   * @param value 0 to 255
   * @returns how many bytes there were
   * @throws HostError if this is the direction that the device reads
   */
  fill(from: number, length: number, value: number): number;
  /** The byte at a place of this direction, or -1 if the place is behind the end. */
  u8(at: number): number;
  /** The unsigned 16-bit number at a place of this direction, or -1 if not all of it is there. */
  u16(at: number, littleEndian: boolean): number;
  /** The unsigned 32-bit number at a place of this direction, or -1 if not all of it is there. */
  u32(at: number, littleEndian: boolean): number;
}

/** A descriptor chain taken from a ring. Objects are reused: a chain is the device's until it is pushed or put back. */
export interface Chain {
  /** The queue that the chain was taken from; only this one takes it back. */
  readonly queue: Virtqueue;
  /** Index of the head descriptor in a split ring, 0 to its size - 1; the 16-bit buffer id in a packed ring. */
  readonly index: number;
  /** Number of slots that the chain takes in a packed ring; 1 in a split ring. QEMU: `ndescs`. */
  readonly ndescs: number;
  /** The buffers that the device reads: "out" of the driver, as QEMU's `out_sg`. */
  readonly out: Spans;
  /** The buffers that the device writes: "in" to the driver, as QEMU's `in_sg`. */
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
  /** The queue's number in its device, from 0 on. */
  readonly index: number;
  /** Number of entries of the ring. */
  readonly size: number;
  /** Format of the ring: split (Virtio 1.3 §2.7) or packed (§2.8). */
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
  /**
   * Is nothing available for the device to take? It is true, too, while the device must not look because it is broken,
   * disabled or paused.
   */
  isEmpty(): boolean;
  /**
   * Do the available chains together have so many bytes to write and to read? It is false, too, while the device must not
   * look. If it is false while kicks are asked for, the driver kicks for the next chain that was not counted.
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

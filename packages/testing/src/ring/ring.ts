/** A piece of guest memory in a request. */
export interface Buffer {
  /** Guest-physical address. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /** Does the device write it? Those come behind the others. */
  readonly writable: boolean;
}

/** A request that the device gave back. */
export interface Used<T> {
  /** What the driver gave with the buffers. */
  readonly token: T;
  /** Bytes that the device says it wrote. */
  readonly written: number;
}

/** How a ring is used, as negotiated. */
export interface RingOptions {
  /** Entries. Split: a power of two. */
  readonly size: number;
  /** EVENT_IDX is negotiated. */
  readonly eventIdx: boolean;
  /** IN_ORDER is negotiated. */
  readonly inOrder: boolean;
  /** Byte order of the ring. */
  readonly littleEndian: boolean;
  /** May a request stand in a table of its own? Virtio 1.3 §2.7.5.3, §2.8.7 */
  readonly indirect: boolean;
  /** Alignment of the used ring behind the rest, for transports that are told only one address. */
  readonly legacyAlign?: number;
}

/** Where a ring lies: descriptor area, driver area, device area. Virtio 1.3 §2.6 */
export interface RingAddresses {
  /** Entries of the ring. */
  readonly size: number;
  /** Guest address of the descriptor table, or of the descriptor ring of a packed queue. */
  readonly desc: number;
  /** Guest address of the available ring, or of the driver's event suppression of a packed queue. */
  readonly driver: number;
  /** Guest address of the used ring, or of the device's event suppression of a packed queue. */
  readonly device: number;
}

/** The driver's side of a virtqueue. `T` is what the driver wants to have back with a used buffer. */
export interface DriverRing<T> {
  /** How the ring is laid out. */
  readonly format: 'split' | 'packed';
  /** Where its parts are. */
  readonly addresses: RingAddresses;
  /** Requests that the device has. */
  readonly outstanding: number;
  /** How many descriptors are free. */
  readonly free: number;
  /**
   * Puts a request into the ring, not yet visible. False if there is no room.
   * @param indirect in a table of its own; needs the feature
   */
  add(buffers: readonly Buffer[], token: T, indirect?: boolean): boolean;
  /** Makes visible what was added. Answers whether the device wants a kick for it. */
  publish(): boolean;
  /** What a kick carries with NOTIFICATION_DATA, bits 16 to 31. Virtio 1.3 §2.9 */
  position(): number;
  /** The next request that came back. @throws DriverError if it never was out, or is too long */
  take(): Used<T> | undefined;
  /** Asks for interrupts from here on. True if something came back in the meantime. */
  enableInterrupts(): boolean;
  /** Tells the device that no interrupts are wanted. It may send some all the same. */
  disableInterrupts(): void;
}

/** Is `event` among the positions `(before, now]` that were just passed? Virtio 1.3 §2.7.7.2 */
export function passed(event: number, now: number, before: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}

/** Piece of guest memory in a request. */
export interface Buffer {
  /** Guest-physical address. */
  readonly address: number;
  /** Length in bytes. */
  readonly length: number;
  /** True if the device writes the piece. Such pieces come behind the others. */
  readonly writable: boolean;
}

/** Request that the device gave back. */
export interface Used<T> {
  /** Object that the driver gave with the buffers. */
  readonly token: T;
  /** Number of bytes that the device says it wrote. */
  readonly written: number;
}

/** Options of a ring, as negotiated. */
export interface RingOptions {
  /** Number of entries; a power of two in a split ring. */
  readonly size: number;
  /** True if EVENT_IDX is negotiated. */
  readonly eventIdx: boolean;
  /** True if IN_ORDER is negotiated. */
  readonly inOrder: boolean;
  /** True if the ring is little-endian. */
  readonly littleEndian: boolean;
  /** True if a request may stand in a table of its own. Virtio 1.3 §2.7.5.3, §2.8.7 */
  readonly indirect: boolean;
  /** Alignment in bytes of the used ring behind the rest, for transports that are told only one address. */
  readonly legacyAlign?: number;
}

/** Addresses of a ring: descriptor area, driver area, device area. Virtio 1.3 §2.6 */
export interface RingAddresses {
  /** Number of entries of the ring. */
  readonly size: number;
  /** Guest address of the descriptor table, or of the descriptor ring of a packed queue. */
  readonly desc: number;
  /** Guest address of the available ring, or of the driver's event suppression of a packed queue. */
  readonly driver: number;
  /** Guest address of the used ring, or of the device's event suppression of a packed queue. */
  readonly device: number;
}

/** Virtqueue at the driver's side. `T` is what the driver wants to have back with a used buffer. */
export interface DriverRing<T> {
  /** Format of the ring. */
  readonly format: 'split' | 'packed';
  /** Addresses of the ring's parts. */
  readonly addresses: RingAddresses;
  /** Number of requests that the device has. */
  readonly outstanding: number;
  /** Number of descriptors that are free. */
  readonly free: number;
  /**
   * Puts a request into the ring, not yet visible. Answers false if there is no room.
   * @param indirect in a table of its own; needs the feature
   */
  add(buffers: readonly Buffer[], token: T, indirect?: boolean): boolean;
  /** Makes visible what was added. Answers whether the device wants a kick for it. */
  publish(): boolean;
  /** Position that a kick carries with NOTIFICATION_DATA, bits 16 to 31. Virtio 1.3 §2.9 */
  position(): number;
  /** Takes the next request that came back. @throws DriverError if it never was out, or is too long */
  take(): Used<T> | undefined;
  /** Asks for interrupts from here on. Answers true if something came back in the meantime. */
  enableInterrupts(): boolean;
  /** Tells the device that no interrupts are wanted. It may send some all the same. */
  disableInterrupts(): void;
}

/** Is `event` among the positions `(before, now]` that were just passed? Virtio 1.3 §2.7.7.2 */
export function passed(event: number, now: number, before: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}

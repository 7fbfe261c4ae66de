import { freshIndices, type Ring, type RingIndices } from './ring.ts';

/**
 * A queue as the driver configures it. A running queue ({@link Ring}) is another thing: it is made from a slot whose
 * addresses are set, and made anew, from the indices where it stood, when the configuration changes.
 */
export class QueueSlot {
  readonly index: number;
  /** Number of entries of the ring; 0: there is no such queue. QEMU: `vring.num`. */
  num = 0;
  /** Number of entries that the ring has after a reset. QEMU: `vring.num_default`. */
  numDefault = 0;
  align: number;
  desc = 0n;
  avail = 0n;
  used = 0n;
  ring: Ring | undefined;
  /** True if the transport lets the device have what the queue holds. */
  enabled = true;
  /** Number of times that the driver has set the addresses of the ring. */
  setups = 0;
  /** Number of times that the driver has kicked. */
  kicks = 0;
  /** Number of times that the driver was to be interrupted. */
  interrupts = 0;
  #indices: RingIndices = freshIndices();

  constructor(index: number, align: number) {
    this.index = index;
    this.align = align;
  }

  get exists(): boolean {
    return this.num !== 0;
  }

  /** Position of the queue in its ring, running or not. */
  get indices(): RingIndices {
    return this.ring === undefined ? { ...this.#indices } : this.ring.indices();
  }

  set indices(indices: RingIndices) {
    this.#indices = indices;
  }

  /** Makes the queue exist, with a ring size, or not exist (0). */
  create(numDefault: number): void {
    this.numDefault = numDefault;
    this.reset();
  }

  /** Goes back to how the queue was created. QEMU: `__virtio_queue_reset`. */
  reset(): void {
    this.ring = undefined;
    this.enabled = true;
    this.#indices = freshIndices();
    this.num = this.numDefault;
    this.desc = 0n;
    this.avail = 0n;
    this.used = 0n;
  }

  /** Takes over size, addresses and position of another slot; the ring is still to be made. */
  place(other: QueueSlot, defaultSize: number): void {
    this.ring = undefined;
    this.num = other.num;
    this.numDefault = defaultSize || this.numDefault;
    this.align = other.align;
    this.desc = other.desc;
    this.avail = other.avail;
    this.used = other.used;
    this.#indices = other.indices;
  }

  /** Forgets the running queue, and remembers its position. */
  stop(): void {
    if (this.ring === undefined) return;
    this.#indices = this.ring.indices();
    this.ring = undefined;
  }

  /** Computes avail and used behind the descriptor table. Virtio 1.3 §2.7.2 (legacy layout); skipped without an alignment. */
  layOutLegacy(): void {
    if (this.num === 0 || this.desc === 0n || this.align === 0) return;
    const align = BigInt(this.align);
    this.avail = this.desc + 16n * BigInt(this.num);
    const end = this.avail + 4n + 2n * BigInt(this.num);
    this.used = ((end + align - 1n) / align) * align;
  }
}

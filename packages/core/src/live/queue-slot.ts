import { freshIndices, type Ring, type RingIndices } from './ring.ts';

/**
 * A queue as the driver configures it. A running queue ({@link Ring}) is another thing: it is made from a slot whose
 * addresses are set, and made anew, from the indices where it stood, when the configuration changes.
 */
export class QueueSlot {
  readonly index: number;
  /** `vring.num`; 0: no such queue. */
  num = 0;
  /** `vring.num_default`: what a reset goes back to. */
  numDefault = 0;
  align: number;
  desc = 0n;
  avail = 0n;
  used = 0n;
  ring: Ring | undefined;
  #indices: RingIndices = freshIndices();
  readonly #defaultAlign: number;

  constructor(index: number, defaultAlign: number) {
    this.index = index;
    this.#defaultAlign = defaultAlign;
    this.align = defaultAlign;
  }

  get exists(): boolean {
    return this.num !== 0;
  }

  /** Where the queue stands, running or not. */
  get indices(): RingIndices {
    return this.ring === undefined ? { ...this.#indices } : this.ring.indices();
  }

  set indices(indices: RingIndices) {
    this.#indices = indices;
  }

  /** Makes the queue exist, with this ring size, or not exist (0). */
  create(numDefault: number): void {
    this.numDefault = numDefault;
    this.reset();
  }

  /** Back to how it was created. QEMU: `__virtio_queue_reset`. */
  reset(): void {
    this.ring = undefined;
    this.#indices = freshIndices();
    this.num = this.numDefault;
    this.desc = 0n;
    this.avail = 0n;
    this.used = 0n;
  }

  /** Forgets the running queue, and remembers where it stood. */
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

  /** The alignment that the driver chose is part of the transport's registers: a reset of the transport puts it back. */
  resetAlign(): void {
    this.align = this.#defaultAlign;
  }
}

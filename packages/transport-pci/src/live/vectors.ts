import { QUEUE_MAX } from '@virtkit/core/live';
import type { Msix } from './msix.ts';

/** Vector number that stands for no vector. Virtio 1.3 §4.1.5.1.2 */
export const NO_VECTOR = 0xffff;

/** Vectors that the queues and the configuration changes are mapped to. */
export class Vectors {
  readonly #msix: Msix;
  readonly #queues = new Uint16Array(QUEUE_MAX).fill(NO_VECTOR);
  #config = NO_VECTOR;

  constructor(msix: Msix) {
    this.#msix = msix;
  }

  /** Vector of configuration changes. Virtio 1.3 §4.1.5.1.2.1 MUST: reading gives the vector, or {@link NO_VECTOR}. */
  get config(): number {
    return this.#config;
  }

  ofQueue(queue: number): number {
    return this.#queues[queue] ?? NO_VECTOR;
  }

  // Virtio 1.3 §4.1.5.1.2.1 MUST: any event to any vector, or to none
  mapConfig(vector: number): void {
    this.#config = this.#remap(this.#config, vector);
  }

  mapQueue(queue: number, vector: number): void {
    this.#queues[queue] = this.#remap(this.ofQueue(queue), vector);
  }

  #remap(from: number, to: number): number {
    if (from !== NO_VECTOR) this.#msix.unuse(from);
    // Virtio 1.3 §4.1.5.1.2.1 MUST: a mapping that fails reads as NO_VECTOR
    if (to >= this.#msix.vectors) return NO_VECTOR;
    this.#msix.use(to);
    return to;
  }

  /** Forgets the vector of a queue that was reset. Its use is still counted, as in QEMU, until all are forgotten. */
  unmapQueue(queue: number): void {
    this.#queues[queue] = NO_VECTOR;
  }

  /**
   * Forgets all vectors. Virtio 1.3 §4.1.5.1.2.1 MUST: nothing is mapped after a reset. Queues were told one by one.
   */
  reset(): void {
    this.#config = NO_VECTOR;
    this.#msix.unuseAll();
  }

  /** Takes over saved vectors, after the MSI-X table. */
  restore(config: number, queues: readonly number[]): void {
    this.#queues.fill(NO_VECTOR);
    this.#config = NO_VECTOR;
    this.mapConfig(config);
    queues.forEach((vector, queue) => {
      this.mapQueue(queue, vector);
    });
  }
}

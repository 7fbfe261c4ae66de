import type { Chain } from '../contract/queue.ts';
import { FILLED, type RingChain } from './chain.ts';
import { HostError } from './errors.ts';

/**
 * Chains in the order in which they were taken. With IN_ORDER they go back to the driver in this order, so that a chain which
 * the device finishes early is held here until those before it are finished. Virtio 1.3 §2.7.9, §2.8.8
 */
export class InOrder {
  /** Number of chains that the device has flushed and that the driver cannot see yet. */
  credit = 0;
  /**
   * Circular list of the chains; undefined for a chain that was taken before a load and is not adopted yet, and where
   * there is no chain.
   */
  readonly #chains: (RingChain | undefined)[];
  /** Index (split) or buffer id (packed) of each chain. */
  readonly #ids: Int32Array;
  /** Place of the oldest chain in the ring. */
  #first = 0;
  #count = 0;

  constructor(size: number) {
    this.#chains = new Array<RingChain | undefined>(size).fill(undefined);
    this.#ids = new Int32Array(size);
  }

  /** Adds a chain that was taken. */
  append(chain: RingChain): void {
    this.#place(this.#count++, chain.index, chain);
  }

  /** Adds a chain that was in flight when the state was saved, and that {@link adopt} will bring. */
  expect(id: number): void {
    if (this.#count < this.#ids.length) this.#place(this.#count++, id, undefined);
  }

  /** Puts a chain into the place that was kept for its id. Answers whether there was one. */
  adopt(chain: RingChain): boolean {
    for (let i = 0; i < this.#count; i++) {
      const at = this.#at(i);
      if (this.#chains[at] !== undefined || this.#ids[at] !== chain.index) continue;
      this.#chains[at] = chain;
      return true;
    }
    return false;
  }

  /** Finds the oldest chain, if it may be shown to the driver: it is finished, and as many chains were flushed. */
  ready(): RingChain | undefined {
    if (this.credit === 0) return undefined;
    const chain = this.#chains[this.#first];
    return chain?.state === FILLED ? chain : undefined;
  }

  /** Takes out the oldest chain, which was shown to the driver. */
  shift(): void {
    this.#chains[this.#first] = undefined;
    this.#first = this.#at(1);
    this.#count--;
    this.credit--;
  }

  /** Undoes the last {@link append}, since the chain went back into the ring. */
  unpop(chain: RingChain): void {
    const last = this.#at(this.#count - 1);
    if (this.#chains[last] !== chain)
      throw new HostError('only the chain that was taken last can be put back');
    this.#chains[last] = undefined;
    this.#count--;
  }

  /** Takes out a chain from any place; those behind it move up. */
  remove(chain: RingChain): void {
    const count = this.#count;
    this.#count = 0;
    for (let i = 0; i < count; i++) {
      const at = this.#at(i);
      const other = this.#chains[at];
      this.#chains[at] = undefined;
      if (other !== chain) this.#place(this.#count++, this.#ids[at] as number, other);
    }
  }

  /** Lists the chains that are finished and that the driver cannot see yet, oldest first. */
  held(): Chain[] {
    const held: Chain[] = [];
    for (let i = 0; i < this.#count; i++) {
      const chain = this.#chains[this.#at(i)];
      if (chain?.state === FILLED) held.push(chain);
    }
    return held;
  }

  #at(i: number): number {
    const at = this.#first + i;
    return at < this.#ids.length ? at : at - this.#ids.length;
  }

  #place(i: number, id: number, chain: RingChain | undefined): void {
    const at = this.#at(i);
    this.#ids[at] = id;
    this.#chains[at] = chain;
  }
}

import type { Chain } from '../contract/queue.ts';
import { FILLED, type RingChain } from './chain.ts';
import { HostError } from './errors.ts';

/**
 * Chains in the order in which they were taken. With IN_ORDER they go back in this order, so one that is finished early is
 * held here. Virtio 1.3 §2.7.9, §2.8.8
 */
export class InOrder {
  /** Flushed by the device and not yet published. */
  credit = 0;
  /** Undefined: taken before a load and not adopted yet, or a place where no chain is. */
  readonly #chains: (RingChain | undefined)[];
  readonly #ids: Int32Array;
  #first = 0;
  #count = 0;

  constructor(size: number) {
    this.#chains = new Array<RingChain | undefined>(size).fill(undefined);
    this.#ids = new Int32Array(size);
  }

  append(chain: RingChain): void {
    this.#place(this.#count++, chain.index, chain);
  }

  /** A chain that was in flight at the save, next in order. */
  expect(id: number): void {
    if (this.#count < this.#ids.length) this.#place(this.#count++, id, undefined);
  }

  /** The chain of an {@link expect}ed id came back. */
  adopt(chain: RingChain): boolean {
    for (let i = 0; i < this.#count; i++) {
      const at = this.#at(i);
      if (this.#chains[at] !== undefined || this.#ids[at] !== chain.index) continue;
      this.#chains[at] = chain;
      return true;
    }
    return false;
  }

  /** The chain that may be published next, if it is finished. */
  ready(): RingChain | undefined {
    if (this.credit === 0) return undefined;
    const chain = this.#chains[this.#first];
    return chain?.state === FILLED ? chain : undefined;
  }

  shift(): void {
    this.#chains[this.#first] = undefined;
    this.#first = this.#at(1);
    this.#count--;
    this.credit--;
  }

  /** Undoes the last {@link append}. */
  unpop(chain: RingChain): void {
    const last = this.#at(this.#count - 1);
    if (this.#chains[last] !== chain)
      throw new HostError('only the chain that was taken last can be put back');
    this.#chains[last] = undefined;
    this.#count--;
  }

  /** Takes a chain out; what is behind it moves up. */
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

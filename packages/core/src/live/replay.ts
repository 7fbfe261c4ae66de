import type { RingChain } from './chain.ts';

/** Chains of a split ring that another device took and did not give back: they are taken once more, before any other. */
export class Replay {
  /** Heads that are still to be taken, the next one last. */
  readonly #heads: number[];
  /** Chains that were taken from here, and could be put back. */
  readonly #taken: Set<RingChain> = new Set();

  constructor(heads: readonly number[]) {
    this.#heads = [...heads].reverse();
  }

  /** Is there one to be taken? */
  get waits(): boolean {
    return this.#heads.length > 0;
  }

  /** Has everything been taken, and nothing can be put back any more? */
  get done(): boolean {
    return this.#heads.length === 0 && this.#taken.size === 0;
  }

  /** The next head; call only if there is one. */
  next(): number {
    return this.#heads.pop() ?? 0;
  }

  took(chain: RingChain): void {
    this.#taken.add(chain);
  }

  /** The chain is back with the driver, or forgotten. */
  gave(chain: RingChain): void {
    this.#taken.delete(chain);
  }

  /** The chain goes back to where it was. False: it was not taken from here. */
  putBack(chain: RingChain): boolean {
    if (!this.#taken.delete(chain)) return false;
    this.#heads.push(chain.index);
    return true;
  }
}

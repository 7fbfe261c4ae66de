import type { RingChain } from './chain.ts';

/** Chains of a split ring that another device took and did not give back: they are taken once more, before any other. */
export class Replay {
  /** Heads that are still to be taken, the next one last. */
  readonly #heads: number[];
  /** Chains that were taken from this list, and could be put back. */
  readonly #taken: Set<RingChain> = new Set();

  constructor(heads: readonly number[]) {
    this.#heads = [...heads].reverse();
  }

  /** Is there a chain left to be taken? */
  get waits(): boolean {
    return this.#heads.length > 0;
  }

  /** Has everything been taken, so that nothing can be put back any more? */
  get done(): boolean {
    return this.#heads.length === 0 && this.#taken.size === 0;
  }

  /** Takes the next head; call it only if {@link waits}. */
  next(): number {
    return this.#heads.pop() ?? 0;
  }

  took(chain: RingChain): void {
    this.#taken.add(chain);
  }

  /** Notes that a chain is back with the driver, or forgotten. */
  gave(chain: RingChain): void {
    this.#taken.delete(chain);
  }

  /** Puts a chain back to where it was taken. Answers false if it was not taken from here. */
  putBack(chain: RingChain): boolean {
    if (!this.#taken.delete(chain)) return false;
    this.#heads.push(chain.index);
    return true;
  }
}

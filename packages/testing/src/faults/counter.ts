import { Random } from '../suite/case.ts';
import type { Fault } from './language.ts';

/** Number of steps of a whole: percents have three digits behind the point. */
const PERCENT_STEPS = 100_000;

/** Fault of a plan, with a count of the requests that it has seen. */
export class FaultCounter {
  readonly fault: Fault;
  readonly #random: Random;
  #seen = 0;

  /** @param place of the fault in its plan: each has random numbers of its own, so that none changes those of another */
  constructor(fault: Fault, seed: number, place: number) {
    this.fault = fault;
    this.#random = new Random(seed + 0x9e37_79b9 * (place + 1));
  }

  /** Number of requests that the fault has seen. */
  get seen(): number {
    return this.#seen;
  }

  /** Counts a request, and decides whether it is hit. */
  hits(): boolean {
    this.#seen++;
    const { when } = this.fault;
    switch (when.kind) {
      case 'range':
        return this.#seen >= when.first && this.#seen <= when.last;
      case 'every':
        return this.#seen % when.count === 0;
      case 'chance':
        return this.#random.below(PERCENT_STEPS) < when.percent * (PERCENT_STEPS / 100);
    }
  }

  /** Chooses a number from the fault's value. */
  value(): number {
    const [low, high] = this.fault.value;
    return low + this.#random.below(high - low + 1);
  }

  /** Chooses a number from 0 to `limit` - 1. */
  below(limit: number): number {
    return this.#random.below(limit);
  }
}

import type { Virtqueue } from '../contract/queue.ts';
import { FREE, RingChain, TAKEN } from './chain.ts';
import type { MappedMemory } from './memory.ts';

/**
 * The chains of one queue, used again and again: the one given back last is the next one taken. A queue makes as many as are
 * in flight at the same time, and keeps them.
 */
export class ChainPool {
  declare private readonly queue: Virtqueue;
  declare private readonly memory: MappedMemory;
  /** Chains of the pool, in use or free, by {@link RingChain.number}. */
  declare private readonly chains: RingChain[];
  /**
   * The chain that was taken or given back last. A device that serves one chain after the other gets the same one each time,
   * without a change of this list.
   */
  declare private recent: RingChain;
  /** Number of the first of the other free chains, each of which names the next one; -1: there is none. */
  private firstFree = -1;

  constructor(queue: Virtqueue, memory: MappedMemory) {
    this.queue = queue;
    this.memory = memory;
    this.recent = new RingChain(queue, memory, 0);
    this.chains = [this.recent];
  }

  /** Takes a chain out of the pool, to be filled in; its state is {@link TAKEN}. */
  take(): RingChain {
    // constants of a module are variables to the engine; these are constants
    const FREE = 0;
    const TAKEN = 1;
    const { recent } = this;
    if (recent.state !== FREE) return this.other();
    recent.state = TAKEN;
    return recent;
  }

  private other(): RingChain {
    const chain = this.firstFree < 0 ? this.make() : (this.chains[this.firstFree] as RingChain);
    this.firstFree = chain.nextFree;
    chain.state = TAKEN;
    this.recent = chain;
    return chain;
  }

  private make(): RingChain {
    const chain = new RingChain(this.queue, this.memory, this.chains.length);
    this.chains.push(chain);
    return chain;
  }

  /** Puts a chain back into the pool, so that it may be used again. */
  give(chain: RingChain): void {
    const FREE = 0;
    chain.state = FREE;
    if (chain !== this.recent) this.giveOther(chain);
  }

  private giveOther(chain: RingChain): void {
    const { recent } = this;
    if (recent.state === FREE) {
      recent.nextFree = this.firstFree;
      this.firstFree = recent.number;
    }
    this.recent = chain;
  }
}

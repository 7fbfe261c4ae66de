import type { Facts } from '@virtkit/vmstate';
import type { VirtQueueElement } from '../contract/element.ts';
import type { Chain, Virtqueue } from '../contract/queue.ts';
import type { AvailMemo } from './avail-memo.ts';
import { RingChain, TAKEN } from './chain.ts';
import { HostError } from './errors.ts';
import { InOrder } from './in-order.ts';
import { Mapping } from './mapping.ts';
import { type MappedMemory, mappedMemory } from './memory.ts';
import type { QueueOwner, QueueSetup } from './ring.ts';

/** Descriptor flags, Virtio 1.3 §2.7.5, §2.8.1. */
export const DESC_NEXT = 1;
export const DESC_WRITE = 2;
export const DESC_INDIRECT = 4;

/** What both ring formats have: chains that are used again and again, the device they belong to, order if it is asked for. */
export abstract class RingBase {
  // `declare`: a field that is undefined before it gets its value costs the engine's knowledge of its type, at each read
  declare readonly index: number;
  declare readonly size: number;
  declare protected readonly memory: MappedMemory;
  declare protected readonly owner: QueueOwner;
  /** Region of the last buffer; never ROM. */
  declare protected hit: Mapping;
  /** Filled, not flushed. */
  protected filled = 0;
  /** Which places are filled, a ring of flags, and the place that {@link Virtqueue.flush} shows next. */
  declare private readonly places: Uint8Array;
  protected nextPlace = 0;
  /** What {@link Virtqueue.availBytes} has walked; made when it is first asked. */
  protected memo: AvailMemo | undefined;
  declare protected readonly order: InOrder | undefined;
  /** All chains there are; the free ones are linked by their numbers, so that nothing is stored that a collector must see. */
  private readonly chains: RingChain[] = [];
  private firstFree = -1;

  constructor(setup: QueueSetup) {
    this.index = setup.index;
    this.size = setup.size;
    this.memory = mappedMemory(setup.memory);
    this.owner = setup.owner;
    this.hit =
      this.memory.mappings.find((mapping) => !mapping.readonly) ??
      new Mapping({ gpa: 0, bytes: new Uint8Array(0) });
    this.places = new Uint8Array(setup.size);
    this.order = setup.inOrder ? new InOrder(setup.size) : undefined;
  }

  /** Chains that were pushed and wait for one that was taken before them. */
  held(): Chain[] {
    return this.order?.held() ?? [];
  }

  /** A chain to fill in. */
  protected take(): RingChain {
    const { firstFree } = this;
    if (firstFree < 0) return this.another();
    const chain = this.chains[firstFree] as RingChain;
    this.firstFree = chain.nextFree;
    return chain;
  }

  private another(): RingChain {
    const chain = new RingChain(this as unknown as Virtqueue, this.memory, this.chains.length);
    this.chains.push(chain);
    return chain;
  }

  /** The chain may be used again. */
  protected give(chain: RingChain): undefined {
    chain.state = 0;
    chain.nextFree = this.firstFree;
    this.firstFree = chain.number;
    return undefined;
  }

  /** A chain that a device gives back must be one that it has. */
  protected own(chain: Chain): RingChain {
    const ours = chain as RingChain;
    if (ours.queue !== (this as unknown as Virtqueue)) {
      throw new HostError(`queue ${this.index}: this chain is not of this queue`);
    }
    if (ours.state !== TAKEN) throw new HostError(`queue ${this.index}: this chain is not in flight`);
    return ours;
  }

  /** The region of a buffer, if it is as the fast path wants it: RAM, whole, not too far from the region's begin. */
  protected locate(low: number, high: number, length: number): Mapping | undefined {
    const mapping = this.memory.at((high >>> 0) * 2 ** 32 + (low >>> 0));
    if (mapping === undefined || mapping.readonly || !mapping.holds(low, high, length)) return undefined;
    this.hit = mapping;
    return mapping;
  }

  /**
   * Where an indirect table begins, in words of its region, which is {@link hit} then; -1 if it is not as the fast path
   * wants it.
   */
  protected table(low: number, high: number, length: number): number {
    const { hit } = this;
    const region = hit.holds(low, high, length) ? hit : this.locate(low, high, length);
    if (region === undefined || (length & 15) !== 0 || region.words.length === 0) return -1;
    const offset = (low - region.lo) >>> 0;
    return (offset & 3) === 0 ? offset >>> 2 : -1;
  }

  /** The place of an element that is filled so far ahead of the next one that is shown; it must be free. */
  protected fillPlace(ahead: number): number {
    const { size, places } = this;
    if (!(ahead >= 0 && ahead < size))
      throw new HostError(`queue ${this.index}: filled ${ahead} ahead, in a ring of ${size}`);
    const place = (this.nextPlace + ahead) % size;
    if (places[place] !== 0) throw new HostError(`queue ${this.index}: filled twice, ${ahead} ahead`);
    places[place] = 1;
    this.filled++;
    return place;
  }

  /** The next places are shown: all of them must be filled. */
  protected showPlaces(count: number): void {
    const { size, places, filled, nextPlace } = this;
    if (count > filled) throw new HostError(`queue ${this.index}: ${count} flushed, ${filled} filled`);
    for (let i = 0; i < count; i++) {
      if (places[(nextPlace + i) % size] === 0)
        throw new HostError(`queue ${this.index}: ${count} flushed, and nothing was filled ${i} ahead`);
    }
    for (let i = 0; i < count; i++) places[(nextPlace + i) % size] = 0;
    this.nextPlace = (nextPlace + count) % size;
    this.filled -= count;
  }

  /** Takes an element of a saved state as a chain; pieces as {@link pop} would have made them. */
  protected mapElement(element: VirtQueueElement, ndescs: number): RingChain | undefined {
    const chain = this.take();
    chain.begin(0);
    let count = 0;
    for (const [list, writable] of [
      [element.out, false],
      [element.in, true],
    ] as const) {
      for (const { addr, len } of list) {
        count = len > 0xffffffffn ? -1 : chain.map(count, Number(addr), Number(len), writable);
        if (count < 0) {
          this.give(chain);
          return undefined;
        }
      }
      if (!writable) chain.out.count = count;
    }
    chain.out.known = -1;
    chain.split(chain.out.count, count, -1);
    chain.index = element.index;
    chain.ndescs = ndescs;
    chain.state = TAKEN;
    return chain;
  }

  /** Breaks the device: the guest's ring makes no sense. Once; then it is not live, and nothing is taken. */
  protected fail(reason: string, facts: Facts = {}): undefined {
    this.owner.fault(reason, { queue: this.index, ...facts });
    return undefined;
  }
}

import type { Facts } from '@virtkit/vmstate';
import type { VirtQueueElement } from '../contract/element.ts';
import type { InFlightLog } from '../contract/in-flight-log.ts';
import type { Chain } from '../contract/queue.ts';
import { type AvailableChains, availBytes } from './avail-bytes.ts';
import { AvailMemo } from './avail-memo.ts';
import { type RingChain, TAKEN } from './chain.ts';
import { ChainPool } from './chain-pool.ts';
import { HostError } from './errors.ts';
import { mappedMemory } from './guest-memory.ts';
import { InOrder } from './in-order.ts';
import { Mapping } from './mapping.ts';
import type { MappedMemory } from './memory.ts';
import type { Replay } from './replay.ts';
import type { QueueOwner, QueueSetup, Ring, RingIndices } from './ring.ts';
import { UsedPlaces } from './used-places.ts';

/** Views of the parts of a ring in guest memory, as far as {@link RingBase} asks for them. */
export interface RingViews {
  /**
   * True if the views may be used without further question: no other thread writes to them, and no log wants to hear of
   * writes.
   */
  readonly plain: boolean;
  /** True if a part of the ring lies in shared memory, so that the driver may write while the device reads. */
  readonly shared: boolean;
  /** Makes the views anew if the bytes behind guest memory have moved. */
  refresh(): void;
}

/** Base of both kinds of virtqueue: what does not depend on the ring's format. */
export abstract class RingBase implements Ring {
  // `declare`: a field that is undefined before it gets its value costs the engine's knowledge of its type, at each read
  declare readonly index: number;
  declare readonly size: number;
  abstract readonly format: 'split' | 'packed';
  declare protected readonly memory: MappedMemory;
  declare protected readonly owner: QueueOwner;
  declare protected readonly pool: ChainPool;
  declare protected readonly places: UsedPlaces;
  /** Chains in the order in which they were taken, with IN_ORDER; else undefined. */
  declare protected readonly order: InOrder | undefined;
  /** Log that hears of each chain that is taken and given back, if the transport has one. */
  declare protected readonly flights: InFlightLog | undefined;
  /** Chains that are to be taken once more, before any other. */
  protected replay: Replay | undefined;
  /** True if the device may take chains: the transport has not switched the queue off. */
  protected enabled = true;
  /** The region of guest memory that the last buffer was in, where the next one is looked for first; never ROM. */
  declare protected region: Mapping;
  /**
   * Memory epoch whose views `pop`, `push` and `notify` may use directly; -1 if they must go number by number: with a
   * ring that has no views or is on shared memory, with a dirty log, with a log of chains, with IN_ORDER, while the
   * queue is off, while chains are taken once more, and while something is filled and not flushed.
   */
  protected epoch = -1;
  /** Number of times that the index of the next available entry has begun anew. */
  protected laps = 0;
  /**
   * Value of `usedIdx` at the last decision about an interrupt; -1: the next completion interrupts. QEMU:
   * `signalled_used`.
   */
  declare protected signalled: number;
  /** Memory of the chains that {@link availBytes} has counted; made when it is first asked. */
  private memo: AvailMemo | undefined;

  constructor(setup: QueueSetup) {
    this.index = setup.index;
    this.size = setup.size;
    this.memory = mappedMemory(setup.memory);
    this.owner = setup.owner;
    this.pool = new ChainPool(this, this.memory);
    this.places = new UsedPlaces(setup.index, setup.size);
    this.flights = setup.owner.inFlightLog;
    this.order = setup.inOrder ? new InOrder(setup.size) : undefined;
    this.signalled = setup.indices.signalled ?? -1;
    this.region =
      this.memory.mappings.find((mapping) => !mapping.readonly) ??
      new Mapping({ gpa: 0, bytes: new Uint8Array(0) });
  }

  abstract readonly inFlight: number;
  abstract pop(): Chain | undefined;
  abstract unpop(chain: Chain): void;
  abstract push(chain: Chain, written: number): void;
  abstract fill(chain: Chain, written: number, ahead: number): void;
  abstract flush(count: number): void;
  abstract detach(chain: Chain): void;
  abstract notify(): void;
  abstract setNotification(wanted: boolean): void;
  abstract isEmpty(): boolean;
  abstract availBytes(inBytes: number, outBytes: number): boolean;
  abstract adopt(element: VirtQueueElement, ndescs: number): Chain | undefined;
  abstract indices(): RingIndices;

  held(): Chain[] {
    return this.order?.held() ?? [];
  }

  forgetSignalled(): void {
    this.signalled = -1;
  }

  setEnabled(enabled: boolean): void {
    this.enabled = enabled;
    this.epoch = -1;
  }

  /** Looks where the ring's bytes are now, and sets {@link epoch} accordingly. */
  protected look(views: RingViews): void {
    views.refresh();
    if (this.replay?.done === true) this.replay = undefined;
    const watched = this.order !== undefined || this.flights !== undefined || this.replay !== undefined;
    const short = views.plain && !watched && this.enabled && this.places.filled === 0;
    this.epoch = short ? this.memory.epoch : -1;
  }

  /** Tells the device, where the driver may be at work meanwhile, that kicks have just been asked for. */
  protected asked({ shared }: RingViews): void {
    if (shared) this.owner.kicksAskedFor?.(this.index);
  }

  /**
   * Refuses a chain that the device does not have, and answers it as the queue's own object.
   *
   * @throws HostError if the device does not have it
   */
  protected own(chain: Chain): RingChain {
    const ours = chain as RingChain;
    if (ours.queue !== this) throw new HostError(`queue ${this.index}: this chain is not of this queue`);
    if (ours.state !== TAKEN) throw new HostError(`queue ${this.index}: this chain is not in flight`);
    return ours;
  }

  /**
   * Finds the region of a buffer, if the buffer can be collected through views: it is in RAM, in one region, and less
   * than 2 GiB from the region's beginning.
   */
  protected locate(low: number, high: number, length: number): Mapping | undefined {
    const mapping = this.memory.at((high >>> 0) * 2 ** 32 + (low >>> 0));
    if (mapping === undefined || mapping.readonly || !mapping.holds(low, high, length)) return undefined;
    this.region = mapping;
    return mapping;
  }

  /**
   * Finds the word of its region that an indirect table begins with, and sets {@link region}. Answers -1 if the table
   * cannot be read through views.
   */
  protected table(low: number, high: number, length: number): number {
    const region = this.region.holds(low, high, length) ? this.region : this.locate(low, high, length);
    if (region === undefined || (length & 15) !== 0 || region.words.length === 0) return -1;
    const offset = (low - region.lo) | 0;
    return (offset & 3) === 0 ? offset >> 2 : -1;
  }

  /**
   * Collects the buffers of a chain with QEMU's checks in QEMU's order, whatever the ring and the memory are like. Answers how
   * many descriptors of the ring the chain takes; 0 if they made no sense, and the device is broken then. QEMU:
   * `virtqueue_split_pop`, `virtqueue_packed_pop`.
   *
   * @param cursor at the first descriptor
   */
  protected collect(cursor: AvailableChains, chain: RingChain): number {
    if (!cursor.enter(this.size))
      return this.bad(cursor.problem, { addr: cursor.addr, bytes: cursor.length });
    let count = 0;
    let out = 0;
    let entries = 0;
    chain.begin(0);
    do {
      const { writable } = cursor;
      // Virtio 1.3 §2.7.4.2, §2.8.17: what the device writes comes behind what it reads
      if (!writable && count > out) return this.bad('Incorrect order for descriptors');
      count = chain.map(count, cursor.addr, cursor.length, writable);
      if (count < 0) return this.bad(chain.problem, { addr: cursor.addr, length: cursor.length });
      if (!writable) out = count;
      if (++entries > cursor.entries) return this.bad('Looped descriptor');
    } while (cursor.next());
    if (cursor.problem !== '') return this.bad(cursor.problem);
    chain.split(out, count);
    return cursor.indirect ? 1 : entries;
  }

  private bad(reason: string, facts: Facts = {}): 0 {
    this.fail(reason, facts);
    return 0;
  }

  /** Breaks the device, since the guest's ring makes no sense: it is not live any more, and nothing is taken. */
  protected fail(reason: string, facts: Facts = {}): undefined {
    this.owner.fault(reason, { queue: this.index, ...facts });
    return undefined;
  }

  /** Answers {@link availBytes} for the chains from the one on that the cursor was started at. */
  protected scan(cursor: AvailableChains, inBytes: number, outBytes: number): boolean {
    const answer = availBytes(cursor, this.availMemo(), this.size, inBytes, outBytes);
    if (typeof answer === 'string') this.fail(answer);
    return answer === true;
  }

  private availMemo(): AvailMemo {
    this.memo ??= new AvailMemo(this.size);
    return this.memo;
  }

  /** Takes an element of a saved state as a chain, with the pieces that {@link pop} would have made. */
  protected mapElement(element: VirtQueueElement, ndescs: number): RingChain | undefined {
    const chain = this.pool.take();
    chain.begin(0);
    const out = this.mapSegments(chain, 0, element.out, false);
    const count = out < 0 ? out : this.mapSegments(chain, out, element.in, true);
    chain.split(out, count);
    chain.index = element.index;
    chain.ndescs = ndescs;
    const fits = count >= 0 && (this.order === undefined || this.order.adopt(chain));
    if (fits) return chain;
    this.pool.give(chain);
    return undefined;
  }

  /**
   * Adds segments behind the first `count` pieces; answers how many pieces there are then, or -1 if a segment is not in
   * guest memory.
   */
  private mapSegments(
    chain: RingChain,
    count: number,
    segments: VirtQueueElement['out'],
    writable: boolean,
  ): number {
    let pieces = count;
    for (const { addr, len } of segments) {
      if (len > 0xffffffffn) return -1;
      pieces = chain.map(pieces, Number(addr), Number(len), writable);
      if (pieces < 0) return -1;
    }
    return pieces;
  }
}

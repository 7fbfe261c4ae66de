import {
  type Chain,
  type DeviceHost,
  HostError,
  type LiveDevice,
  type VirtQueueElement,
  type Virtqueue,
} from '@virtkit/core';
import type { FaultCounter } from './counter.ts';
import type { FaultKind } from './language.ts';

/** Answer that waits: chains whose used entries become visible together. */
interface Answer {
  readonly chains: readonly Chain[];
  readonly lengths: readonly number[];
  readonly hits: readonly FaultCounter[];
}

/** State that the queues of one faulty device share. */
export interface FaultyWorld {
  readonly host: DeviceHost;
  /** Counters of the faults of a device, in the plan's order. */
  readonly counters: readonly FaultCounter[];
  readonly isDisk: boolean;
  /** Finds the live device, for faults in a ring: it knows where rings lie. */
  readonly device: (() => LiveDevice) | undefined;
  /** True if the device takes nothing more until a reset. */
  stuck: boolean;
  /** Calls back later; not while the machine is stopped. */
  after(milliseconds: number, run: () => void): void;
}

/** Milliseconds that answers wait for others to change places with. */
const REORDER_WAIT_MS = 50;
/** Names of a disk's requests, by `VIRTIO_BLK_T_…`. Virtio 1.3 §5.2.6 */
const DISK_REQUESTS: Readonly<Record<number, string>> = { 0: 'read', 1: 'write', 4: 'flush' };
const DISK_IOERR = 1;
/** Id that no driver gives: rings have 32768 entries at most. */
const BAD_ID = 0xffff;
/** Number of entries by which the used index jumps: more than any ring has. */
const BAD_INDEX_STEP = 0x9000;
const NONE: readonly FaultCounter[] = [];

/** Chain as the device type has it: the queue that it goes back to is the faulty one. */
class FaultyChain implements Chain {
  readonly queue: FaultyQueue;
  /** Chain as the queue behind the faulty one has it. */
  readonly real: Chain;
  /** Faults that hit the chain. */
  readonly hits: readonly FaultCounter[];

  constructor(queue: FaultyQueue, real: Chain, hits: readonly FaultCounter[]) {
    this.queue = queue;
    this.real = real;
    this.hits = hits;
  }

  get index(): number {
    return this.real.index;
  }

  get ndescs(): number {
    return this.real.ndescs;
  }

  get out(): Chain['out'] {
    return this.real.out;
  }

  get in(): Chain['in'] {
    return this.real.in;
  }

  get pieces(): Int32Array {
    return this.real.pieces;
  }

  element(): VirtQueueElement {
    return this.real.element();
  }
}

/**
 * Queue whose device does what a plan says with the requests that it takes: the device type works with it as with the
 * one behind it.
 */
export class FaultyQueue implements Virtqueue {
  readonly #queue: Virtqueue;
  readonly #world: FaultyWorld;
  /** Faults of the chain that was put back: it is taken again, and is no other request. */
  #putBack: readonly FaultCounter[] | undefined;
  /** Chains that the device has filled in, by place; they are shown by {@link flush}. */
  #filled: (readonly [chain: FaultyChain, written: number])[] = [];
  /** Answers that wait to change places. */
  #mixing: Answer[] = [];
  /** True if the driver is to be interrupted for an answer that waits. */
  #wanted = false;
  #lost = false;
  #closed = false;
  /** Number of answers that are held back. */
  waiting = 0;

  constructor(queue: Virtqueue, world: FaultyWorld) {
    this.#queue = queue;
    this.#world = world;
  }

  get index(): number {
    return this.#queue.index;
  }

  get size(): number {
    return this.#queue.size;
  }

  get format(): 'split' | 'packed' {
    return this.#queue.format;
  }

  get inFlight(): number {
    return this.#queue.inFlight;
  }

  pop(): Chain | undefined {
    for (;;) {
      if (this.#world.stuck) return undefined;
      const chain = this.#queue.pop();
      if (chain === undefined) return undefined;
      const hits = this.#putBack ?? this.#judge(chain);
      this.#putBack = undefined;
      if (has(hits, 'stuck')) {
        this.#world.stuck = true;
        this.#queue.unpop(chain);
        return undefined;
      }
      if (has(hits, 'needs-reset')) {
        this.#queue.unpop(chain);
        this.#world.host.fault('a fault on purpose', { queue: this.index });
        return undefined;
      }
      if (!has(hits, 'error')) return new FaultyChain(this, chain, hits);
      this.#refuse(chain, hits);
    }
  }

  /** Lists the faults that hit a request. Each counts those that it is for. */
  #judge(chain: Chain): readonly FaultCounter[] {
    const { counters, isDisk, host } = this.#world;
    const request = isDisk ? DISK_REQUESTS[chain.out.u32(0, host.littleEndian)] : undefined;
    const hits: FaultCounter[] = [];
    for (const counter of counters) {
      const { fault } = counter;
      if (fault.queue !== undefined && fault.queue !== this.index) continue;
      if (fault.request !== undefined && fault.request !== request) continue;
      if (fault.kind === 'flip' && isDisk && request !== 'read') continue;
      if (!counter.hits()) continue;
      hits.push(counter);
      host.event('fault-injected', {
        kind: fault.kind,
        queue: this.index,
        count: counter.seen,
        ...(request !== undefined && { request }),
      });
    }
    return hits;
  }

  /** Gives a request back undone: a disk says that it failed, other devices say that nothing was written. */
  #refuse(chain: Chain, hits: readonly FaultCounter[]): void {
    const { total } = chain.in;
    const told = this.#world.isDisk && total > 0 ? total : 0;
    if (told > 0) chain.in.fill(total - 1, 1, DISK_IOERR);
    this.#answer({ chains: [chain], lengths: [told], hits });
    this.notify();
  }

  unpop(chain: Chain): void {
    const { real, hits } = this.#own(chain);
    this.#putBack = hits;
    this.#queue.unpop(real);
  }

  push(chain: Chain, written: number): void {
    const { real, hits } = this.#own(chain);
    this.#answer({ chains: [real], lengths: [written], hits });
  }

  fill(chain: Chain, written: number, ahead: number): void {
    this.#filled[ahead] = [this.#own(chain), written];
  }

  flush(count: number): void {
    const filled = this.#filled.splice(0, count);
    this.#answer({
      chains: filled.map(([{ real }]) => real),
      lengths: filled.map(([, written]) => written),
      hits: filled.flatMap(([{ hits }]) => [...hits]),
    });
  }

  detach(chain: Chain): void {
    this.#queue.detach(this.#own(chain).real);
  }

  #own(chain: Chain): FaultyChain {
    if (chain instanceof FaultyChain && chain.queue === this) return chain;
    throw new HostError(`chain ${chain.index} is none of queue ${this.index}`);
  }

  notify(): void {
    const isLost = this.#lost && !this.#wanted;
    this.#lost = false;
    this.#wanted = false;
    if (!isLost) this.#queue.notify();
  }

  setNotification(wanted: boolean): void {
    this.#queue.setNotification(wanted);
  }

  isEmpty(): boolean {
    return this.#world.stuck || this.#queue.isEmpty();
  }

  availBytes(inBytes: number, outBytes: number): boolean {
    return !this.#world.stuck && this.#queue.availBytes(inBytes, outBytes);
  }

  held(): readonly Chain[] {
    return this.#queue.held().map((chain) => new FaultyChain(this, chain, NONE));
  }

  adopt(element: VirtQueueElement, ndescs: number): Chain | undefined {
    const chain = this.#queue.adopt(element, ndescs);
    return chain === undefined ? undefined : new FaultyChain(this, chain, NONE);
  }

  /** Drops what was held back, for a reset: it is nobody's any more. */
  close(): void {
    this.#closed = true;
    this.#mixing = [];
    this.#filled = [];
    this.#putBack = undefined;
    this.waiting = 0;
  }

  /** Answers the driver, since the device type has its answer: now, later or never. */
  #answer(answer: Answer): void {
    if (has(answer.hits, 'never')) {
      this.waiting++;
      return;
    }
    const delay = answer.hits.find(({ fault }) => fault.kind === 'delay');
    if (delay !== undefined) {
      this.#later(delay.value(), () => this.#mix(answer));
      return;
    }
    this.#mix(answer);
  }

  #later(milliseconds: number, run: () => void): void {
    this.waiting++;
    this.#world.after(milliseconds, () => {
      if (this.#closed) return;
      this.waiting--;
      this.#world.host.memory.sync();
      run();
      this.notify();
    });
  }

  #mix(answer: Answer): void {
    const mixer = answer.hits.find(({ fault }) => fault.kind === 'reorder');
    if (mixer === undefined) {
      this.#show(answer);
      return;
    }
    this.#mixing.push(answer);
    if (this.#mixing.length >= mixer.value()) this.#showMixed(mixer);
    else if (this.#mixing.length === 1) this.#later(REORDER_WAIT_MS, () => this.#showMixed(mixer));
  }

  /**
   * Shows answers that were held back: the last one comes first, so that the order is another one in any case; the
   * others as it happens.
   */
  #showMixed(mixer: FaultCounter): void {
    const answers = this.#mixing.splice(0);
    const last = answers.pop();
    if (last !== undefined) this.#show(last);
    while (answers.length > 0) {
      const [next] = answers.splice(mixer.below(answers.length), 1);
      if (next !== undefined) this.#show(next);
    }
  }

  #show({ chains, lengths, hits }: Answer): void {
    const kinds = new Set(hits.map(({ fault }) => fault.kind));
    const length = hits.find(({ fault }) => fault.kind === 'length');
    const told = lengths.map((written) => (length === undefined ? written : wrongLength(length, written)));
    const flip = hits.find(({ fault }) => fault.kind === 'flip');
    if (flip !== undefined) this.#flip(flip, chains, lengths);
    const isPacked = this.format === 'packed';
    if (kinds.has('bad-id')) this.#showAs(BAD_ID, chains, told);
    else if (kinds.has('bad-index') && isPacked) this.#showAs(otherId(chains, this.size), chains, told);
    else this.#fillAndFlush(chains, told);
    if (kinds.has('bad-index') && !isPacked) this.#breakIndex();
    if (kinds.has('lost-interrupt')) this.#lost = true;
    else this.#wanted = true;
  }

  /** Changes one bit of what the device has written for the driver; a disk's last byte says how the request went. */
  #flip(counter: FaultCounter, chains: readonly Chain[], lengths: readonly number[]): void {
    const [chain] = chains;
    const bytes = (lengths[0] ?? 0) - (this.#world.isDisk ? 1 : 0);
    if (chain === undefined || bytes <= 0) return;
    const at = counter.below(bytes);
    chain.in.fill(at, 1, Math.max(0, chain.in.u8(at)) ^ (1 << counter.below(8)));
  }

  #fillAndFlush(chains: readonly Chain[], told: readonly number[], between = (): void => {}): void {
    for (const [ahead, chain] of chains.entries()) this.#queue.fill(chain, told[ahead] ?? 0, ahead);
    between();
    this.#queue.flush(chains.length);
  }

  /**
   * Shows used entries, the first with another id than it should have. In a split ring it is there before the index
   * shows it.
   */
  #showAs(id: number, chains: readonly Chain[], told: readonly number[]): void {
    const { host, device } = this.#world;
    const info = device?.().queue(this.index);
    if (info === undefined) return;
    const { position, size } = info;
    const { memory } = host;
    if (this.format === 'split') {
      const entry = Number(info.used) + 4 + 8 * (position.usedIdx % size);
      this.#fillAndFlush(chains, told, () => memory.writeU32(entry as Address, id, host.littleEndian));
      return;
    }
    this.#fillAndFlush(chains, told);
    memory.writeU16((Number(info.desc) + 16 * position.usedIdx + 12) as Address, id, true);
  }

  /** Sets the used index far ahead of what was made available; the next answer puts it right. */
  #breakIndex(): void {
    const { host, device } = this.#world;
    const info = device?.().queue(this.index);
    if (info === undefined) return;
    const wrong = (info.position.usedIdx + BAD_INDEX_STEP) & 0xffff;
    host.memory.writeU16((Number(info.used) + 2) as Address, wrong, host.littleEndian);
  }
}

type Address = Parameters<DeviceHost['memory']['writeU16']>[0];

function has(hits: readonly FaultCounter[], kind: FaultKind): boolean {
  return hits.some(({ fault }) => fault.kind === kind);
}

/** Finds an id that a ring can have, and that the driver has not given. */
function otherId([chain]: readonly Chain[], size: number): number {
  return ((chain?.index ?? 0) + 1) % size;
}

function wrongLength(counter: FaultCounter, written: number): number {
  const value = counter.value();
  return counter.fault.relative ? Math.max(0, written + value) : value;
}

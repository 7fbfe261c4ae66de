import type { Facts } from '@virtkit/vmstate';
import type { Gpa } from '../contract/memory.ts';
import type { Chain } from '../contract/queue.ts';
import type { VirtQueueElement } from '../state/element.ts';
import { splitAvailBytes, tableProblem } from './avail-bytes.ts';
import { FILLED, PIECES_MAX, type RingChain } from './chain.ts';
import { HostError } from './errors.ts';
import type { QueueSetup, Ring, RingIndices } from './ring.ts';
import { DESC_INDIRECT, DESC_NEXT, DESC_WRITE, RingBase } from './ring-base.ts';
import { SplitRing } from './split-ring.ts';

const NO_INTERRUPT = 1;

/**
 * A split virtqueue, Virtio 1.3 §2.7. What is written to the ring, and when, is what QEMU writes.
 *
 * ```
 * free ── pop() ──► in flight ── push() / fill() + flush() ──► used, seen by the driver
 *   ▲                   │
 *   └── unpop(), detach()
 * ```
 */
export class SplitQueue extends RingBase implements Ring {
  readonly format = 'split';
  declare private readonly ring: SplitRing;
  // numbers stand for booleans where chains pass: a test of a number is one instruction
  declare private readonly notifyOnEmpty: 0 | 1;
  declare private readonly eventIdx: 0 | 1;
  /** Free-running, 16 bits, all of these. */
  declare private lastAvail: number;
  declare private shadowAvail: number;
  declare private usedIdx: number;
  private signalledUsed = 0;
  private signalledValid: 0 | 1 = 0;
  declare private inuse: number;
  /** Kicks are wanted. */
  private notification: 0 | 1 = 1;
  /** What {@link look} found; good as long as memory's epoch is this one. -1: the ring has no views. */
  private epoch = -1;
  private shared: 0 | 1 = 0;
  declare private readonly mask: number;
  declare private words: Int32Array;
  private descBase = 0;
  declare private avail: Uint16Array;
  declare private usedHalves: Uint16Array;
  declare private usedWords: Int32Array;

  constructor(setup: QueueSetup) {
    super(setup);
    const { lastAvailIdx, usedIdx, inuse } = setup.indices;
    this.ring = new SplitRing(setup, this.memory);
    this.mask = this.size - 1;
    this.words = this.ring.words;
    this.avail = this.ring.availHalves;
    this.usedHalves = this.ring.usedHalves;
    this.usedWords = this.ring.usedWords;
    this.look();
    this.notifyOnEmpty = setup.notifyOnEmpty ? 1 : 0;
    this.eventIdx = setup.eventIdx ? 1 : 0;
    this.lastAvail = lastAvailIdx & 0xffff;
    this.shadowAvail = this.lastAvail;
    this.usedIdx = usedIdx & 0xffff;
    this.inuse = inuse;
    // chains that were in flight at a save go back in the order of the avail ring
    for (let i = inuse; this.order !== undefined && i > 0; i--) {
      this.order.expect(this.ring.availEntry((this.lastAvail - i) & 0xffff));
    }
  }

  get inFlight(): number {
    return this.inuse;
  }

  pop(): Chain | undefined {
    if (!this.owner.live) return undefined;
    const last = this.lastAvail;
    if (this.epoch !== this.memory.epoch) return this.popSlow();
    const { avail } = this;
    if (this.shadowAvail === last) {
      const index = this.shared !== 0 ? Atomics.load(avail, 1) : (avail[1] as number);
      this.shadowAvail = index;
      if (index === last) return undefined;
    }
    if (this.inuse >= this.size) return this.sizeExceeded();
    const next = (last + 1) & 0xffff;
    this.lastAvail = next;
    const head = avail[2 + (last & this.mask)] as number;
    if (head >= this.size) return this.badHead(head);
    // Virtio 1.3 §2.7.10.1: avail_event follows the index as long as kicks are wanted
    if ((this.eventIdx & this.notification) !== 0) this.setAvailEvent(next);
    const chain = this.take();
    return this.walk(chain, head) === true ? this.taken(chain, head) : this.give(chain);
  }

  /** {@link pop} without views. */
  private popSlow(): Chain | undefined {
    const { ring } = this;
    this.look();
    if (this.epoch === this.memory.epoch) return this.pop();
    const last = this.lastAvail;
    if (this.shadowAvail === last) {
      this.shadowAvail = ring.availIdx();
      if (this.shadowAvail === last) return undefined;
    }
    if (this.inuse >= this.size) return this.sizeExceeded();
    const next = (last + 1) & 0xffff;
    this.lastAvail = next;
    const head = ring.availEntry(last);
    if (head >= this.size) return this.badHead(head);
    if ((this.eventIdx & this.notification) !== 0) ring.setAvailEvent(next);
    const chain = this.take();
    return this.walkSlow(chain, head) ? this.taken(chain, head) : this.give(chain);
  }

  private taken(chain: RingChain, head: number): RingChain {
    chain.index = head;
    chain.state = 1;
    this.inuse++;
    if (this.order !== undefined) this.order.append(chain);
    return chain;
  }

  /** Takes over the views of the ring, if there are any; then {@link epoch} is memory's. */
  private look(): void {
    const { ring } = this;
    ring.refresh();
    this.epoch = ring.fast ? this.memory.epoch : -1;
    this.shared = ring.shared ? 1 : 0;
    this.words = ring.words;
    this.descBase = ring.descBase;
    this.avail = ring.availHalves;
    this.usedHalves = ring.usedHalves;
    this.usedWords = ring.usedWords;
  }

  private setAvailEvent(index: number): void {
    const at = 2 + 4 * this.size;
    if (this.shared !== 0) Atomics.store(this.usedHalves, at, index);
    else this.usedHalves[at] = index;
    if (this.memory.log !== undefined) this.ring.written(2 * at, 2);
  }

  private sizeExceeded(): undefined {
    return this.fail('Virtqueue size exceeded', { inuse: this.inuse });
  }

  private badHead(head: number): undefined {
    return this.fail(`Guest says index ${head} is available`, { head });
  }

  unpop(chain: Chain): void {
    const ours = this.own(chain);
    this.order?.unpop(ours);
    this.lastAvail = (this.lastAvail - 1) & 0xffff;
    this.inuse--;
    this.give(ours);
  }

  detach(chain: Chain): void {
    const ours = this.own(chain);
    this.order?.remove(ours);
    this.inuse--;
    this.give(ours);
  }

  push(chain: Chain, written: number): void {
    if (this.epoch !== this.memory.epoch || this.order !== undefined || this.memory.log !== undefined) {
      this.fill(chain, written, 0);
      this.flush(1);
      return;
    }
    const ours = chain as RingChain;
    if (ours.queue !== this || ours.state !== 1) this.own(ours);
    this.inuse--;
    if (this.owner.broken === false && this.owner.disabled === false) {
      const old = this.usedIdx;
      const now = (old + 1) & 0xffff;
      const at = 1 + ((old & this.mask) << 1);
      this.usedWords[at] = ours.index;
      this.usedWords[at + 1] = written | 0;
      // Virtio 1.3 §2.7.8.2 MUST: the used element is written before the index
      if (this.shared !== 0) Atomics.store(this.usedHalves, 1, now);
      else this.usedHalves[1] = now;
      this.usedIdx = now;
      if (((now - this.signalledUsed) << 16) >> 16 < 1) this.signalledValid = 0;
    }
    this.give(ours);
  }

  fill(chain: Chain, written: number, ahead: number): void {
    const ours = this.own(chain);
    if (this.memory.log !== undefined) ours.in.markDirty(written);
    this.filled++;
    if (this.order !== undefined) {
      ours.state = FILLED;
      ours.written = written;
      return;
    }
    if (this.owner.broken === false && this.owner.disabled === false) {
      this.ring.refresh();
      this.ring.setUsed((this.usedIdx + ahead) & 0xffff, ours.index, written);
    }
    this.give(ours);
  }

  flush(count: number): void {
    if (count > this.filled)
      throw new HostError(`queue ${this.index}: ${count} flushed, ${this.filled} filled`);
    this.filled -= count;
    const dead = this.owner.broken || this.owner.disabled;
    const published = this.order === undefined ? count : this.publishInOrder(count, dead);
    this.inuse -= published;
    if (dead || published === 0) return;
    const now = (this.usedIdx + published) & 0xffff;
    this.usedIdx = now;
    this.ring.refresh();
    this.ring.setUsedIdx(now);
    // so much was published since the last decision that the driver's event index says nothing any more
    if (((now - this.signalledUsed) << 16) >> 16 < published) this.signalledValid = 0;
  }

  /** Writes used elements for as many chains as are finished, from the oldest on. */
  private publishInOrder(count: number, dead: boolean): number {
    const order = this.order;
    if (order === undefined) return 0;
    order.credit += count;
    let published = 0;
    this.ring.refresh();
    for (let chain = order.ready(); chain !== undefined; chain = order.ready()) {
      // Virtio 1.3 §2.7.9 MUST: buffers are used in the order in which they were made available
      if (!dead) this.ring.setUsed((this.usedIdx + published) & 0xffff, chain.index, chain.written);
      order.shift();
      this.give(chain);
      published++;
    }
    return published;
  }

  notify(): void {
    if (this.shouldNotify()) this.owner.interrupt(this.index);
  }

  /** QEMU: `virtio_split_should_notify`. */
  private shouldNotify(): boolean {
    if (this.notifyOnEmpty !== 0 && this.inuse === 0 && this.isEmpty()) return true;
    // Virtio 1.3 §2.7.7.2 MUST: without EVENT_IDX the flag of the avail ring decides
    if (this.eventIdx === 0) return (this.ring.availFlags() & NO_INTERRUPT) === 0;
    const valid = this.signalledValid;
    const old = this.signalledUsed;
    const now = this.usedIdx;
    this.signalledValid = 1;
    this.signalledUsed = now;
    // Virtio 1.3 §2.7.7.2 MUST: with it, used_event does, and the flag is ignored
    const event =
      this.epoch !== this.memory.epoch || this.shared !== 0
        ? this.ring.usedEvent()
        : (this.avail[2 + this.size] as number);
    return valid === 0 || ((now - event - 1) & 0xffff) < ((now - old) & 0xffff);
  }

  setNotification(wanted: boolean): void {
    const { ring } = this;
    ring.refresh();
    this.notification = wanted ? 1 : 0;
    if (this.eventIdx !== 0) {
      this.shadowAvail = ring.availIdx();
      if (wanted) ring.setAvailEvent(this.shadowAvail);
    } else {
      ring.setNoNotify(!wanted);
    }
  }

  isEmpty(): boolean {
    if (!this.owner.live) return true;
    if (this.shadowAvail !== this.lastAvail) return false;
    this.ring.refresh();
    this.shadowAvail = this.ring.availIdx();
    return this.shadowAvail === this.lastAvail;
  }

  availBytes(inBytes: number, outBytes: number): boolean {
    if (!this.owner.live) return false;
    const { ring } = this;
    ring.refresh();
    const answer = splitAvailBytes(ring, this.memory, this.lastAvail, inBytes, outBytes);
    if (typeof answer === 'string') this.fail(answer);
    return answer === true;
  }

  adopt(element: VirtQueueElement, _ndescs: number): Chain | undefined {
    if (element.index >= this.size) return undefined;
    const chain = this.mapElement(element, 1);
    if (chain === undefined || this.order === undefined || this.order.adopt(chain)) return chain;
    this.give(chain);
    return undefined;
  }

  indices(): RingIndices {
    const { lastAvail, usedIdx, inuse } = this;
    return { lastAvailIdx: lastAvail, lastAvailWrap: true, usedIdx, usedWrap: true, inuse };
  }

  forgetSignalled(): void {
    this.signalledValid = 0;
  }

  setShadowAvail(index: number): void {
    this.shadowAvail = index & 0xffff;
  }

  /**
   * Collects a chain's buffers; false if the device broke. Anything out of the ordinary goes to {@link walkSlow}, which
   * reads the chain anew and judges it.
   */
  private walk(chain: RingChain, head: number): boolean {
    // constants of a module are variables to the engine; these are constants
    const NEXT = 1;
    const WRITE = 2;
    const INDIRECT = 4;
    let { words } = this;
    let { hit } = this;
    let { list } = chain;
    let base = this.descBase;
    let max = this.size;
    let at = base + (head << 2);
    let tail = words[at + 3] as number;
    if ((tail & INDIRECT) !== 0) {
      const size = words[at + 2] as number;
      const low = words[at] as number;
      if (!hit.holds(low, words[at + 1] as number, size)) {
        const other = this.locate(low, words[at + 1] as number, size);
        if (other === undefined) return this.walkSlow(chain, head);
        hit = other;
      }
      const offset = (low - hit.lo) >>> 0;
      if ((size & 15) !== 0 || (offset & 3) !== 0 || hit.words.length === 0)
        return this.walkSlow(chain, head);
      words = hit.words;
      base = offset >>> 2;
      at = base;
      max = size >>> 4;
      tail = words[at + 3] as number;
    }
    let { lo, hi, span, index } = hit;
    let end = 0;
    let outEnd = 0;
    let sum = 0;
    let outSum = 0;
    for (let left = max; left > 0; left--) {
      const length = words[at + 2] as number;
      const low = words[at] as number;
      const high = words[at + 1] as number;
      let offset = (low - lo) >>> 0;
      if (high !== hi || offset >= span || (length - 1) >>> 0 >= span - offset) {
        const other = this.locate(low, high, length);
        if (other === undefined) return this.walkSlow(chain, head);
        ({ lo, hi, span, index } = other);
        offset = (low - lo) >>> 0;
      }
      if (end === list.length) {
        if (end === 4 * PIECES_MAX) return this.walkSlow(chain, head);
        chain.grow();
        list = chain.list;
      }
      list[end] = offset;
      list[end + 1] = length;
      list[end + 2] = index;
      sum = (sum + length) | 0;
      if (sum < 0) return this.walkSlow(chain, head);
      if ((tail & WRITE) === 0) {
        if (outEnd !== end) return this.walkSlow(chain, head);
        outEnd = end + 4;
        outSum = sum;
      }
      end += 4;
      if ((tail & NEXT) === 0) {
        chain.split(outEnd >> 2, end >> 2, outSum, sum);
        return true;
      }
      const next = tail >>> 16;
      if (next >= max) return this.walkSlow(chain, head);
      at = base + (next << 2);
      tail = words[at + 3] as number;
    }
    return this.walkSlow(chain, head);
  }

  /** The same for any ring and any memory, with QEMU's checks in QEMU's order. QEMU: `virtqueue_split_pop`. */
  private walkSlow(chain: RingChain, head: number): boolean {
    const { ring } = this;
    let table = ring.desc;
    let max = this.size;
    ring.readDesc(table, head);
    if ((ring.flags & DESC_INDIRECT) !== 0) {
      // Virtio 1.3 §2.7.5.3.2: a table is read as one, whatever else the flags say
      const problem = tableProblem(this.memory, ring.addr, ring.length);
      if (problem !== '') return this.bad(problem, { addr: ring.addr, bytes: ring.length });
      table = ring.addr as Gpa;
      max = ring.length / 16;
      ring.readDesc(table, 0);
    }
    let count = 0;
    let out = 0;
    for (let entries = 1; ; entries++) {
      const writable = (ring.flags & DESC_WRITE) !== 0;
      // Virtio 1.3 §2.7.4.2: what the device writes comes behind what it reads
      if (!writable && count > out) return this.bad('Incorrect order for descriptors');
      count = chain.map(count, ring.addr, ring.length, writable);
      if (count < 0) return this.bad(chain.problem, { addr: ring.addr, length: ring.length });
      if (!writable) out = count;
      if (entries > max) return this.bad('Looped descriptor', { head });
      if ((ring.flags & DESC_NEXT) === 0) break;
      if (ring.next >= max) return this.bad(`Desc next is ${ring.next}`, { next: ring.next });
      ring.readDesc(table, ring.next);
    }
    chain.split(out, count, -1, -1);
    return true;
  }

  private bad(reason: string, facts: Facts = {}): false {
    this.fail(reason, facts);
    return false;
  }
}

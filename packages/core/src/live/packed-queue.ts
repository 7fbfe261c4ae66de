import type { Facts } from '@virtkit/vmstate';
import type { Gpa } from '../contract/memory.ts';
import type { Chain } from '../contract/queue.ts';
import type { VirtQueueElement } from '../state/element.ts';
import { packedAvailBytes, tableProblem } from './avail-bytes.ts';
import { FILLED, type RingChain } from './chain.ts';
import { HostError } from './errors.ts';
import { EVENT_DESC, EVENT_DISABLE, EVENT_ENABLE, PackedRing } from './packed-ring.ts';
import type { QueueSetup, Ring, RingIndices } from './ring.ts';
import { DESC_INDIRECT, DESC_NEXT, DESC_WRITE, RingBase } from './ring-base.ts';

/** A packed virtqueue, Virtio 1.3 §2.8. What is written to the ring, and when, is what QEMU writes. */
export class PackedQueue extends RingBase implements Ring {
  readonly format = 'packed';
  declare private readonly ring: PackedRing;
  declare private readonly eventIdx: boolean;
  /** Slots, and wrap counters as numbers: their test is one instruction. */
  declare private lastAvail: number;
  declare private lastWrap: 0 | 1;
  declare private usedIdx: number;
  declare private usedWrap: 0 | 1;
  /** Where the device has looked to, with the wrap counter as bit 15; -1: to {@link lastAvail}. QEMU: `shadow_avail_idx`. */
  private shadow = -1;
  /** `usedIdx` at the last decision about an interrupt; -1: the next one looks at no offset. */
  private signalled = -1;
  /** Slots. */
  declare private inuse: number;
  /** Chains. */
  private flying = 0;
  /** Filled elements, by how far they are ahead. */
  declare private readonly usedId: Uint16Array;
  declare private readonly usedLength: Uint32Array;
  declare private readonly usedSlots: Uint16Array;

  // What the short way of pop and push needs.
  /** Memory's epoch that all this is good for; -1: the long way. */
  private epoch = -1;
  declare private words: Int32Array;
  private descBase = 0;

  constructor(setup: QueueSetup) {
    super(setup);
    const { size, indices } = setup;
    this.eventIdx = setup.eventIdx;
    this.lastAvail = indices.lastAvailIdx % size;
    this.lastWrap = indices.lastAvailWrap ? 1 : 0;
    this.usedIdx = indices.usedIdx % size;
    this.usedWrap = indices.usedWrap ? 1 : 0;
    this.inuse = indices.inuse;
    this.signalled = indices.signalled ?? -1;
    this.usedId = new Uint16Array(size);
    this.usedLength = new Uint32Array(size);
    this.usedSlots = new Uint16Array(size);
    this.ring = new PackedRing(setup, this.memory);
    this.words = this.ring.words;
    this.look();
    if (this.order !== undefined) this.expectInFlight();
  }

  /** Looks where the ring is now, and whether the short way may be taken. */
  private look(): void {
    const { ring, memory } = this;
    ring.refresh();
    const short = ring.fast && !ring.shared && memory.log === undefined && this.order === undefined;
    this.epoch = short ? memory.epoch : -1;
    this.words = ring.words;
    this.descBase = ring.descBase;
  }

  /** Chains that were in flight at a save go back in ring order; their descriptors are still there. */
  private expectInFlight(): void {
    const { ring, size } = this;
    for (let done = 0; done < this.inuse && done < size; ) {
      ring.readDesc(ring.desc, (this.usedIdx + done) % size);
      const indirect = (ring.flags & DESC_INDIRECT) !== 0;
      for (done++; !indirect && (ring.flags & DESC_NEXT) !== 0 && done < this.inuse; done++)
        ring.readDesc(ring.desc, (this.usedIdx + done) % size);
      this.order?.expect(ring.id);
    }
  }

  get inFlight(): number {
    return this.flying;
  }

  pop(): Chain | undefined {
    if (!this.owner.live) return undefined;
    if (this.epoch !== this.memory.epoch) return this.popLong();
    const at = this.descBase + (this.lastAvail << 2);
    // Virtio 1.3 §2.8.1: available when AVAIL is the wrap counter and USED is not; the two are bits 23 and 31 here
    const bits = (this.words[at + 3] as number) & (0x8080 << 16);
    if (bits !== (this.lastWrap !== 0 ? 0x80 << 16 : 0x8000 << 16)) return undefined;
    if (this.inuse >= this.size) return this.popLong();
    return this.walk(at);
  }

  /** {@link pop} for everything: rings without views or on shared memory, a dirty log, IN_ORDER, and what breaks. */
  private popLong(): Chain | undefined {
    const { ring, size, lastAvail } = this;
    this.look();
    if (!ring.isAvail(lastAvail, this.lastWrap !== 0)) return undefined;
    if (this.inuse >= size) return this.fail('Virtqueue size exceeded', { inuse: this.inuse });
    const chain = ring.fast ? this.walk(ring.descBase + (lastAvail << 2)) : this.walkLong();
    if (chain !== undefined && this.order !== undefined) this.order.append(chain);
    return chain;
  }

  /** The device has a chain. */
  private taken(chain: RingChain): RingChain {
    const { ndescs } = chain;
    chain.state = 1;
    this.flying++;
    this.inuse += ndescs;
    this.shadow = -1;
    this.lastAvail += ndescs;
    if (this.lastAvail >= this.size) {
      this.lastAvail -= this.size;
      this.lastWrap = this.lastWrap !== 0 ? 0 : 1;
    }
    return chain;
  }

  unpop(chain: Chain): void {
    const ours = this.own(chain);
    this.order?.unpop(ours);
    this.lastAvail -= ours.ndescs;
    if (this.lastAvail < 0) {
      this.lastAvail += this.size;
      this.lastWrap = this.lastWrap !== 0 ? 0 : 1;
    }
    this.forget(ours);
  }

  detach(chain: Chain): void {
    const ours = this.own(chain);
    this.order?.remove(ours);
    this.forget(ours);
  }

  private forget(chain: RingChain): void {
    this.inuse -= chain.ndescs;
    this.flying--;
    this.give(chain);
  }

  push(chain: Chain, written: number): void {
    const ours = chain as RingChain;
    const foreign = ours.queue !== this || ours.state !== 1;
    if (foreign || !this.owner.live || this.epoch !== this.memory.epoch) {
      this.fill(chain, written, 0);
      this.flush(1);
      return;
    }
    const { words, usedIdx } = this;
    const at = this.descBase + (usedIdx << 2);
    // Virtio 1.3 §2.8.18 MUST: the flags come last
    words[at + 2] = written | 0;
    words[at + 3] = (ours.index & 0xffff) | (this.usedWrap !== 0 ? 0x8080 << 16 : 0);
    this.used(ours.ndescs);
    this.flying--;
    this.give(ours);
  }

  /** So many slots went back. */
  private used(slots: number): void {
    this.inuse -= slots;
    this.usedIdx += slots;
    if (this.usedIdx >= this.size) {
      this.usedIdx -= this.size;
      this.usedWrap = this.usedWrap !== 0 ? 0 : 1;
      // the next completion interrupts whatever the driver's event offset says. QEMU: `virtqueue_packed_flush`
      this.signalled = -1;
    }
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
    if (ahead < 0 || ahead >= this.size) throw new HostError(`queue ${this.index}: filled ${ahead} ahead`);
    this.note(ahead, ours, written);
    this.give(ours);
  }

  private note(ahead: number, chain: RingChain, written: number): void {
    this.usedId[ahead] = chain.index;
    this.usedLength[ahead] = written;
    this.usedSlots[ahead] = chain.ndescs;
  }

  flush(count: number): void {
    if (count > this.filled)
      throw new HostError(`queue ${this.index}: ${count} flushed, ${this.filled} filled`);
    this.filled -= count;
    const published = this.order === undefined ? count : this.finished(count);
    if (published === 0) return;
    this.flying -= published;
    this.publish(published, this.owner.broken || this.owner.disabled);
  }

  /** IN_ORDER: notes the chains that are finished, from the oldest on; answers how many. */
  private finished(count: number): number {
    const { order } = this;
    if (order === undefined) return 0;
    order.credit += count;
    let finished = 0;
    for (let chain = order.ready(); chain !== undefined; chain = order.ready()) {
      // Virtio 1.3 §2.8.9 MUST: buffers are used in the order in which they were made available
      this.note(finished++, chain, chain.written);
      order.shift();
      this.give(chain);
    }
    return finished;
  }

  /** Writes used descriptors, the first one last: it makes all of them visible. QEMU: `virtqueue_packed_flush`. */
  private publish(count: number, dead: boolean): void {
    this.ring.refresh();
    let slots = this.usedSlots[0] as number;
    for (let i = 1; i < count; i++) {
      if (!dead) this.writeUsed(i, slots);
      slots += this.usedSlots[i] as number;
    }
    if (dead) {
      this.inuse -= slots;
      return;
    }
    this.writeUsed(0, 0);
    this.used(slots);
  }

  private writeUsed(i: number, slots: number): void {
    let slot = this.usedIdx + slots;
    let wrap = this.usedWrap !== 0;
    if (slot >= this.size) {
      slot -= this.size;
      wrap = !wrap;
    }
    this.ring.setUsed(slot, this.usedId[i] as number, this.usedLength[i] as number, wrap);
  }

  notify(): void {
    if (this.shouldNotify()) this.owner.interrupt(this.index);
  }

  /** QEMU: `virtio_packed_should_notify`. */
  private shouldNotify(): boolean {
    if (this.epoch !== this.memory.epoch) this.look();
    const event = this.ring.event();
    const flags = event >>> 16;
    const { usedIdx, signalled } = this;
    this.signalled = usedIdx;
    // Virtio 1.3 §2.8.14: flags 0 and 1 decide alone
    if (flags === 1) return false;
    if (flags === 0 || signalled < 0) return true;
    const offset = (event & 0x7fff) - (((event >>> 15) & 1) === this.usedWrap ? 0 : this.size);
    return ((usedIdx - offset - 1) & 0xffff) < ((usedIdx - signalled) & 0xffff);
  }

  setNotification(wanted: boolean): void {
    const { ring, shadow } = this;
    ring.refresh();
    if (wanted && this.eventIdx) {
      // Virtio 1.3 §2.8.14: the offset is in place before the flags point to it
      ring.setEventOffset(shadow < 0 ? this.lastAvail | (this.lastWrap << 15) : shadow);
      ring.setEventFlags(EVENT_DESC);
    } else ring.setEventFlags(wanted ? EVENT_ENABLE : EVENT_DISABLE);
  }

  isEmpty(): boolean {
    if (!this.owner.live) return true;
    this.ring.refresh();
    return !this.ring.isAvail(this.lastAvail, this.lastWrap !== 0);
  }

  availBytes(inBytes: number, outBytes: number): boolean {
    if (!this.owner.live) return false;
    const { ring, memory, lastAvail } = this;
    ring.refresh();
    const answer = packedAvailBytes(ring, memory, lastAvail, this.lastWrap !== 0, inBytes, outBytes);
    if (ring.shadow >= 0) this.shadow = ring.shadow;
    if (typeof answer === 'string') this.fail(answer);
    return answer === true;
  }

  adopt(element: VirtQueueElement, ndescs: number): Chain | undefined {
    if (ndescs < 1 || ndescs > this.size) return undefined;
    const chain = this.mapElement(element, ndescs);
    if (chain === undefined) return undefined;
    if (this.order !== undefined && !this.order.adopt(chain)) {
      this.give(chain);
      return undefined;
    }
    this.flying++;
    return chain;
  }

  indices(): RingIndices {
    return {
      lastAvailIdx: this.lastAvail,
      lastAvailWrap: this.lastWrap !== 0,
      usedIdx: this.usedIdx,
      usedWrap: this.usedWrap !== 0,
      inuse: this.inuse,
      signalled: this.signalled,
    };
  }

  forgetSignalled(): void {
    this.signalled = -1;
  }

  setShadowAvail(index: number): void {
    this.shadow = index & 0xffff;
  }

  /**
   * Collects a chain's buffers; undefined if the device broke. Anything out of the ordinary goes to {@link walkLong},
   * which reads the chain anew and judges it.
   */
  private walk(slot: number): RingChain | undefined {
    // flags are the high half of the last word; constants of a module are variables to the engine
    const NEXT = 1 << 16;
    const WRITE = 2 << 16;
    const INDIRECT = 4 << 16;
    const { size } = this;
    const chain = this.take();
    let { words, hit } = this;
    let at = slot;
    let end = this.descBase + (size << 2);
    let tail = words[at + 3] as number;
    const head = tail;
    const indirect = (tail & INDIRECT) !== 0;
    if (indirect) {
      const bytes = words[at + 2] as number;
      const table = this.table(words[at] as number, words[at + 1] as number, bytes);
      if (table < 0) return this.walkLong(chain);
      ({ hit } = this);
      ({ words } = hit);
      at = table;
      end = at + (bytes >>> 2);
      tail = words[at + 3] as number;
    }
    let { list } = chain;
    let count = 0;
    let out = -1;
    let sum = 0;
    chain.begin(hit.index);
    for (;;) {
      const length = words[at + 2] as number;
      let offset = ((words[at] as number) - hit.lo) >>> 0;
      if (words[at + 1] !== hit.hi || offset >= hit.span || (length - 1) >>> 0 >= hit.span - offset) {
        const other = this.locate(words[at] as number, words[at + 1] as number, length);
        if (other === undefined) break;
        chain.cut(count, other.index);
        hit = other;
        offset = ((words[at] as number) - hit.lo) >>> 0;
      }
      // read buffers first, then the others; a total that is no small number is added up when it is asked for
      if ((tail & WRITE) !== 0) {
        if (out < 0) {
          out = count;
          chain.out.known = sum;
        }
      } else if (out >= 0) break;
      sum = (sum + length) | 0;
      if (sum < 0) break;
      if (count << 1 === list.length) {
        if (count === 1024) break;
        chain.grow();
        ({ list } = chain);
      }
      list[count << 1] = offset;
      list[(count << 1) + 1] = length;
      count++;
      at += 4;
      // Virtio 1.3 §2.8.8: the length of a table, not NEXT, says where it ends
      if (indirect ? at === end : (tail & NEXT) === 0) {
        if (out < 0) {
          out = count;
          chain.out.known = sum;
        }
        chain.split(out, count, sum);
        // Virtio 1.3 §2.8.6: the buffer id is in the last descriptor of a chain
        chain.index = (indirect ? head : tail) & 0xffff;
        chain.ndescs = indirect ? 1 : count;
        return this.taken(chain);
      }
      if (at === end) at -= size << 2;
      // more than a ring has room for is a loop
      if (!indirect && count === size) break;
      tail = words[at + 3] as number;
    }
    return this.walkLong(chain);
  }

  /** The same for any ring and any memory, with QEMU's checks in QEMU's order. QEMU: `virtqueue_packed_pop`. */
  private walkLong(chain: RingChain = this.take()): RingChain | undefined {
    const { ring, size } = this;
    let table = ring.desc;
    let max = size;
    let at = this.lastAvail;
    ring.readDesc(table, at);
    const { id } = ring;
    const indirect = (ring.flags & DESC_INDIRECT) !== 0;
    if (indirect) {
      const problem = tableProblem(this.memory, ring.addr, ring.length);
      if (problem !== '') return this.bad(chain, problem, { addr: ring.addr, bytes: ring.length });
      table = ring.addr as Gpa;
      max = ring.length / 16;
      at = 0;
      ring.readDesc(table, 0);
    }
    let count = 0;
    let out = 0;
    chain.begin(0);
    for (let entries = 1; ; entries++) {
      const writable = (ring.flags & DESC_WRITE) !== 0;
      // Virtio 1.3 §2.8.5: what the device writes comes behind what it reads
      if (!writable && count > out) return this.bad(chain, 'Incorrect order for descriptors');
      count = chain.map(count, ring.addr, ring.length, writable);
      if (count < 0) return this.bad(chain, chain.problem, { addr: ring.addr, length: ring.length });
      if (!writable) out = count;
      if (entries > max) return this.bad(chain, 'Looped descriptor');
      chain.ndescs = indirect ? 1 : entries;
      if (indirect ? ++at === max : (ring.flags & DESC_NEXT) === 0) break;
      if (!indirect && ++at === size) at = 0;
      ring.readDesc(table, at);
    }
    // QEMU before 7.2.13 and 9.1 took the first one's: drivers that it works with have the same in all
    chain.index = indirect ? id : ring.id;
    chain.out.known = -1;
    chain.split(out, count, -1);
    return this.taken(chain);
  }

  private bad(chain: RingChain, reason: string, facts: Facts = {}): undefined {
    this.fail(reason, facts);
    return this.give(chain);
  }
}

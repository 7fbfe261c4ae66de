import type { Facts } from '@virtkit/vmstate';
import type { Gpa } from '../contract/memory.ts';
import type { Chain } from '../contract/queue.ts';
import type { VirtQueueElement } from '../state/element.ts';
import { packedAvailBytes, tableProblem } from './avail-bytes.ts';
import { FILLED, type RingChain, TAKEN } from './chain.ts';
import { HostError } from './errors.ts';
import { EVENT_DESC, EVENT_DISABLE, EVENT_ENABLE, PackedRing } from './packed-ring.ts';
import type { QueueSetup, Ring, RingIndices } from './ring.ts';
import { DESC_INDIRECT, DESC_NEXT, DESC_WRITE, RingBase } from './ring-base.ts';

/** A packed virtqueue, Virtio 1.3 §2.8. What is written to the ring, and when, is what QEMU writes. */
export class PackedQueue extends RingBase implements Ring {
  readonly format = 'packed';
  declare private readonly eventIdx: boolean;
  private readonly ring: PackedRing;
  /** Ring slots. */
  private lastAvail: number;
  private lastWrap: boolean;
  private usedIdx: number;
  private usedWrap: boolean;
  private signalledUsed = 0;
  private signalledValid = false;
  /** Slots. */
  private inuse: number;
  /** Chains. */
  private taken = 0;
  /** Filled elements, by how far they are ahead. */
  private readonly usedId: Uint16Array;
  private readonly usedLength: Uint32Array;
  private readonly usedSlots: Uint16Array;

  constructor(setup: QueueSetup) {
    super(setup);
    this.eventIdx = setup.eventIdx;
    const { size, indices } = setup;
    this.lastAvail = indices.lastAvailIdx % size;
    this.lastWrap = indices.lastAvailWrap;
    this.usedIdx = indices.usedIdx % size;
    this.usedWrap = indices.usedWrap;
    this.inuse = indices.inuse;
    this.usedId = new Uint16Array(size);
    this.usedLength = new Uint32Array(size);
    this.usedSlots = new Uint16Array(size);
    this.ring = new PackedRing(setup, this.memory);
    this.ring.shadowIdx = this.lastAvail;
    this.ring.shadowWrap = this.lastWrap;
    if (this.order !== undefined) this.expectInFlight();
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
    return this.taken;
  }

  pop(): Chain | undefined {
    if (!this.owner.live) return undefined;
    const { ring } = this;
    ring.refresh();
    if (!ring.isAvail(this.lastAvail, this.lastWrap)) return undefined;
    if (this.inuse >= this.size) return this.fail('Virtqueue size exceeded', { inuse: this.inuse });
    const chain = this.take();
    if (!(ring.fast ? this.walk(chain) : this.walkSlow(chain))) {
      this.give(chain);
      return undefined;
    }
    chain.state = TAKEN;
    this.inuse += chain.ndescs;
    this.taken++;
    this.lastAvail += chain.ndescs;
    if (this.lastAvail >= this.size) {
      this.lastAvail -= this.size;
      this.lastWrap = !this.lastWrap;
    }
    ring.shadowIdx = this.lastAvail;
    ring.shadowWrap = this.lastWrap;
    if (this.order !== undefined) this.order.append(chain);
    return chain;
  }

  unpop(chain: Chain): void {
    const ours = this.own(chain);
    this.order?.unpop(ours);
    this.lastAvail -= ours.ndescs;
    if (this.lastAvail < 0) {
      this.lastAvail += this.size;
      this.lastWrap = !this.lastWrap;
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
    this.taken--;
    this.give(chain);
  }

  push(chain: Chain, written: number): void {
    this.fill(chain, written, 0);
    this.flush(1);
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
    this.taken -= published;
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
    this.inuse -= slots;
    if (dead) return;
    this.writeUsed(0, 0);
    this.usedIdx += slots;
    if (this.usedIdx >= this.size) {
      this.usedIdx -= this.size;
      this.usedWrap = !this.usedWrap;
    }
  }

  private writeUsed(i: number, slots: number): void {
    let slot = this.usedIdx + slots;
    let wrap = this.usedWrap;
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
    this.ring.refresh();
    const event = this.ring.event();
    const flags = event >>> 16;
    const valid = this.signalledValid;
    const old = this.signalledUsed;
    const now = this.usedIdx;
    this.signalledValid = true;
    this.signalledUsed = now;
    // Virtio 1.3 §2.8.14: flags 0 and 1 decide alone
    if (flags === EVENT_DISABLE) return false;
    if (flags === EVENT_ENABLE || !valid) return true;
    const wrapped = ((event >>> 15) & 1) === (this.usedWrap ? 1 : 0);
    const offset = (event & 0x7fff) - (wrapped ? 0 : this.size);
    return ((now - offset - 1) & 0xffff) < ((now - old) & 0xffff);
  }

  setNotification(wanted: boolean): void {
    const { ring } = this;
    ring.refresh();
    if (wanted && this.eventIdx) {
      // Virtio 1.3 §2.8.14: the offset is in place before the flags point to it
      ring.setEventOffset(ring.shadowIdx | (ring.shadowWrap ? 0x8000 : 0));
      ring.setEventFlags(EVENT_DESC);
    } else ring.setEventFlags(wanted ? EVENT_ENABLE : EVENT_DISABLE);
  }

  isEmpty(): boolean {
    if (!this.owner.live) return true;
    this.ring.refresh();
    return !this.ring.isAvail(this.lastAvail, this.lastWrap);
  }

  availBytes(inBytes: number, outBytes: number): boolean {
    if (!this.owner.live) return false;
    const { ring, memory, lastAvail, lastWrap } = this;
    ring.refresh();
    const answer = packedAvailBytes(ring, memory, lastAvail, lastWrap, inBytes, outBytes);
    if (typeof answer === 'string') this.fail(answer);
    return answer === true;
  }

  adopt(element: VirtQueueElement, ndescs: number): Chain | undefined {
    const chain = this.mapElement(element, ndescs);
    if (chain === undefined) return undefined;
    if (this.order !== undefined && !this.order.adopt(chain)) {
      this.give(chain);
      return undefined;
    }
    this.taken++;
    return chain;
  }

  indices(): RingIndices {
    return {
      lastAvailIdx: this.lastAvail,
      lastAvailWrap: this.lastWrap,
      usedIdx: this.usedIdx,
      usedWrap: this.usedWrap,
      inuse: this.inuse,
    };
  }

  forgetSignalled(): void {
    this.signalledValid = false;
  }

  setShadowAvail(index: number): void {
    this.ring.shadowIdx = index & 0x7fff;
    this.ring.shadowWrap = (index & 0x8000) !== 0;
  }

  /**
   * Collects a chain's buffers; false if the device broke. Anything out of the ordinary goes to {@link walkSlow}, which
   * reads the chain anew and judges it.
   */
  private walk(chain: RingChain): boolean {
    // flags are the high half of the last word; constants of a module are variables to the engine
    const NEXT = 1 << 16;
    const WRITE = 2 << 16;
    const INDIRECT = 4 << 16;
    const { ring, size } = this;
    let { words } = ring;
    let { hit } = this;
    let at = ring.descBase + (this.lastAvail << 2);
    let end = ring.descBase + (size << 2);
    let tail = words[at + 3] as number;
    const head = tail;
    const indirect = (tail & INDIRECT) !== 0;
    if (indirect) {
      const bytes = words[at + 2] as number;
      const table = this.table(words[at] as number, words[at + 1] as number, bytes);
      if (table < 0) return this.walkSlow(chain);
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
        return true;
      }
      if (at === end) at -= size << 2;
      // more than a ring has room for is a loop
      if (!indirect && count === size) break;
      tail = words[at + 3] as number;
    }
    return this.walkSlow(chain);
  }

  /** The same for any ring and any memory, with QEMU's checks in QEMU's order. QEMU: `virtqueue_packed_pop`. */
  private walkSlow(chain: RingChain): boolean {
    const { ring, size } = this;
    let table = ring.desc;
    let max = size;
    let at = this.lastAvail;
    ring.readDesc(table, at);
    const { id } = ring;
    const indirect = (ring.flags & DESC_INDIRECT) !== 0;
    if (indirect) {
      const problem = tableProblem(this.memory, ring.addr, ring.length);
      if (problem !== '') return this.bad(problem, { addr: ring.addr, bytes: ring.length });
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
      if (!writable && count > out) return this.bad('Incorrect order for descriptors');
      count = chain.map(count, ring.addr, ring.length, writable);
      if (count < 0) return this.bad(chain.problem, { addr: ring.addr, length: ring.length });
      if (!writable) out = count;
      if (entries > max) return this.bad('Looped descriptor');
      chain.ndescs = indirect ? 1 : entries;
      if (indirect ? ++at === max : (ring.flags & DESC_NEXT) === 0) break;
      if (!indirect && ++at === size) at = 0;
      ring.readDesc(table, at);
    }
    // QEMU before 7.2.13 and 9.1 took the first one's: drivers that it works with have the same in all
    chain.index = indirect ? id : ring.id;
    chain.out.known = -1;
    chain.split(out, count, -1);
    return true;
  }

  private bad(reason: string, facts: Facts = {}): false {
    this.fail(reason, facts);
    return false;
  }
}

import type { VirtQueueElement } from '../contract/element.ts';
import type { Chain } from '../contract/queue.ts';
import { FILLED, type RingChain } from './chain.ts';
import { idsTaken } from './in-flight.ts';
import { EVENT_DESC, EVENT_DISABLE, EVENT_ENABLE, NOT_AVAIL } from './packed-ring.ts';
import { PackedWalk } from './packed-walk.ts';
import type { QueueSetup, RingIndices } from './ring.ts';

/** A packed virtqueue, Virtio 1.3 §2.8. What is written to the ring, and when, is what QEMU writes. */
export class PackedQueue extends PackedWalk {
  readonly format = 'packed';
  declare private readonly eventIdx: boolean;
  /**
   * True if EVENT_IDX was negotiated and kicks are wanted: the driver then kicks when it makes a certain slot
   * available.
   */
  declare private eventWanted: boolean;
  /** The slot of the next used descriptor to write. QEMU: `used_idx`. */
  declare private usedIdx: number;
  /** The wrap counter of {@link usedIdx}. */
  declare private usedWrap: 0 | 1;
  // buffer id, bytes written and slots of what was filled, by its place
  declare private readonly usedId: Uint16Array;
  declare private readonly usedLength: Uint32Array;
  declare private readonly usedSlots: Uint16Array;

  constructor(setup: QueueSetup) {
    super(setup);
    const { size, indices } = setup;
    this.eventIdx = setup.eventIdx;
    this.usedIdx = indices.usedIdx % size;
    this.usedWrap = indices.usedWrap ? 1 : 0;
    this.usedId = new Uint16Array(size);
    this.usedLength = new Uint32Array(size);
    this.usedSlots = new Uint16Array(size);
    this.look(this.ring);
    // what was asked for before a save lasts
    this.eventWanted = setup.eventIdx && this.ring.eventFlags() === EVENT_DESC;
    if (this.eventWanted) this.following = 1;
    if (this.order === undefined) return;
    // chains that were in flight at a save go back in ring order; their descriptors are still there
    for (const id of idsTaken(this.ring, this.usedIdx, this.inuse)) this.order.expect(id);
  }

  get inFlight(): number {
    return this.flying;
  }

  pop(): Chain | undefined {
    if (!this.owner.live) return undefined;
    if (this.epoch !== this.memory.epoch) return this.popLong();
    const { ring } = this;
    const at = (ring.descBase + (this.lastAvail << 2)) | 0;
    // Virtio 1.3 §2.8.12 MUST: in the order of the ring. §2.8.1: AVAIL is the wrap counter, USED is not; bits 23, 31 here
    const tail = ring.words[(at + 3) | 0] as number;
    // constants of a module are variables to the engine; these are constants
    const AVAIL = 0x80 << 16;
    const USED = 0x8000 << 16;
    const bits = tail & (AVAIL | USED);
    if (bits !== (this.lastWrap !== 0 ? AVAIL : USED)) return undefined;
    if (this.inuse >= this.size) return this.popLong();
    return this.walk(at, tail);
  }

  /**
   * Takes a chain as {@link pop} does, from every kind of ring: those without views or on shared memory, with a dirty
   * log or IN_ORDER, and those that make no sense.
   */
  private popLong(): Chain | undefined {
    const { ring, size, lastAvail } = this;
    this.look(this.ring);
    if (!this.enabled) return undefined;
    const tail = ring.availTail(lastAvail, this.lastWrap !== 0);
    if (tail === NOT_AVAIL) return undefined;
    if (this.inuse >= size) return this.fail('Virtqueue size exceeded', { inuse: this.inuse });
    const chain = ring.fast ? this.walk(ring.descBase + (lastAvail << 2), tail) : this.walkLong(tail);
    if (chain === undefined) return undefined;
    if (this.order !== undefined) this.order.append(chain);
    this.flights?.taken(chain);
    return chain;
  }

  unpop(chain: Chain): void {
    const ours = this.own(chain);
    this.order?.unpop(ours);
    this.lastAvail -= ours.ndescs;
    if (this.lastAvail < 0) {
      this.lastAvail += this.size;
      this.laps--;
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
    this.flights?.dropped(chain);
    this.inuse -= chain.ndescs;
    this.flying--;
    this.pool.give(chain);
  }

  push(chain: Chain, written: number): void {
    const ours = chain as RingChain;
    // constants of a module are variables to the engine; these are constants
    const TAKEN = 1;
    const AVAIL_AND_USED = 0x8080 << 16;
    const foreign = ours.queue !== this || ours.state !== TAKEN;
    if (foreign || !this.owner.live || this.epoch !== this.memory.epoch) {
      this.fill(chain, written, 0);
      this.flush(1);
      return;
    }
    const { words, descBase } = this.ring;
    // Virtio 1.3 §2.8.12 MUST: used descriptors are written in the order of completion, with IN_ORDER in that of the ring
    const at = (descBase + (this.usedIdx << 2)) | 0;
    // Virtio 1.3 §2.8.15 MUST NOT: nothing of a descriptor changes after its USED bit, so the flags come last
    words[(at + 2) | 0] = written;
    words[(at + 3) | 0] = (ours.index & 0xffff) | (this.usedWrap !== 0 ? AVAIL_AND_USED : 0);
    this.used(ours.ndescs);
    this.flying = (this.flying - 1) | 0;
    this.pool.give(ours);
  }

  /** Moves on behind slots that went back to the driver. */
  private used(slots: number): void {
    this.inuse = (this.inuse - slots) | 0;
    this.usedIdx = (this.usedIdx + slots) | 0;
    if (this.usedIdx >= this.size) {
      this.usedIdx = (this.usedIdx - this.size) | 0;
      this.usedWrap = this.usedWrap !== 0 ? 0 : 1;
      // the next completion interrupts whatever the driver's event offset says. QEMU: `virtqueue_packed_flush`
      this.signalled = -1;
    }
  }

  fill(chain: Chain, written: number, ahead: number): void {
    const ours = this.own(chain);
    const place = this.places.fill(ahead);
    // push must not overtake what is filled and not shown
    this.epoch = -1;
    if (this.memory.log !== undefined) ours.in.markDirty(written);
    if (this.order !== undefined) {
      ours.state = FILLED;
      ours.written = written;
      return;
    }
    this.note(place, ours, written);
    this.flights?.filled(ours, ahead);
    this.pool.give(ours);
  }

  private note(place: number, chain: RingChain, written: number): void {
    this.usedId[place] = chain.index;
    this.usedLength[place] = written;
    this.usedSlots[place] = chain.ndescs;
  }

  flush(count: number): void {
    const first = this.places.next;
    this.places.show(count);
    if (this.places.filled === 0) this.look(this.ring);
    const published = this.order === undefined ? count : this.finished(first, count);
    if (published === 0) return;
    this.flying -= published;
    this.publish(first, published, this.owner.broken || this.owner.disabled);
  }

  /** Notes, with IN_ORDER, the chains that are finished, from the oldest one on. Answers how many there are. */
  private finished(first: number, count: number): number {
    const { order, size } = this;
    if (order === undefined) return 0;
    order.credit += count;
    let finished = 0;
    for (let chain = order.ready(); chain !== undefined; chain = order.ready()) {
      // Virtio 1.3 §6.2 MUST: with IN_ORDER, buffers are used in the order in which they were made available
      this.note((first + finished) % size, chain, chain.written);
      this.flights?.filled(chain, finished);
      finished++;
      order.shift();
      this.pool.give(chain);
    }
    return finished;
  }

  /**
   * Writes the used descriptors of `count` places from `first` on. The first one is written last, since it makes all of them
   * visible. QEMU: `virtqueue_packed_flush`.
   *
   * @param dead the device is broken or disabled, so that they are forgotten instead
   */
  private publish(first: number, count: number, dead: boolean): void {
    const { size } = this;
    this.ring.refresh();
    let slots = this.usedSlots[first] as number;
    for (let i = 1; i < count; i++) {
      const place = (first + i) % size;
      if (!dead) this.writeUsed(place, slots);
      slots += this.usedSlots[place] as number;
    }
    if (dead) {
      this.inuse -= slots;
      return;
    }
    this.flights?.showing(this.index, count);
    this.writeUsed(first, 0);
    this.used(slots);
    // more than a lap; a loop in `used` would cost each push
    while (this.usedIdx >= size) this.used(0);
    this.flights?.shown(this.index, count);
  }

  private writeUsed(place: number, slots: number): void {
    let slot = this.usedIdx + slots;
    let wrap = this.usedWrap !== 0;
    // a driver that offers slots which it did not get back has up to two laps of them in flight
    while (slot >= this.size) {
      slot -= this.size;
      wrap = !wrap;
    }
    this.ring.setUsed(slot, this.usedId[place] as number, this.usedLength[place] as number, wrap);
  }

  notify(): void {
    if (this.shouldNotify()) this.owner.interrupt(this.index);
  }

  /** Does the driver want an interrupt for what was made visible? QEMU: `virtio_packed_should_notify`. */
  private shouldNotify(): boolean {
    if (this.epoch !== this.memory.epoch) this.look(this.ring);
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
    this.eventWanted = wanted && this.eventIdx;
    if (this.eventWanted) {
      this.following = 1;
      // Virtio 1.3 §2.8.14: the offset is in place before the flags point to it
      ring.setEventOffset(shadow < 0 ? this.lastAvail | (this.lastWrap << 15) : shadow);
      ring.setEventFlags(EVENT_DESC);
    } else ring.setEventFlags(wanted ? EVENT_ENABLE : EVENT_DISABLE);
    if (wanted) this.asked(ring);
  }

  protected override follow(): void {
    this.shadow = -1;
    // as long as kicks are wanted, the driver's next one is for what is behind the last chain taken, as in a split ring
    if (this.eventWanted) {
      this.ring.setEventOffset(this.lastAvail | (this.lastWrap << 15));
      this.asked(this.ring);
    } else this.following = 0;
  }

  isEmpty(): boolean {
    if (!this.owner.live || !this.enabled) return true;
    this.ring.refresh();
    return this.ring.availTail(this.lastAvail, this.lastWrap !== 0) === NOT_AVAIL;
  }

  availBytes(inBytes: number, outBytes: number): boolean {
    if (!this.owner.live || !this.enabled) return false;
    const { cursor, ring } = this;
    ring.refresh();
    // what came since kicks were asked for was not kicked for: the driver is asked anew, until nothing has come meanwhile
    for (let seen = -1, looks = 0; looks <= this.size; looks++) {
      cursor.start(this.laps * this.size + this.lastAvail, this.lastWrap !== 0);
      const answer = this.scan(cursor, inBytes, outBytes);
      if (cursor.end >= 0) {
        this.shadow = cursor.end;
        this.following = 1;
      }
      if (answer || !this.eventWanted || cursor.end === seen || !this.owner.live) return answer;
      seen = cursor.end;
      if (seen >= 0) ring.setEventOffset(seen);
      this.asked(ring);
    }
    return false;
  }

  adopt(element: VirtQueueElement, ndescs: number): Chain | undefined {
    const chain = ndescs >= 1 && ndescs <= this.size ? this.mapElement(element, ndescs) : undefined;
    if (chain !== undefined) this.flying++;
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
}

import type { VirtQueueElement } from '../contract/element.ts';
import type { Chain } from '../contract/queue.ts';
import { FILLED, type RingChain } from './chain.ts';
import { headsTaken } from './in-flight.ts';
import { Replay } from './replay.ts';
import type { QueueSetup, RingIndices } from './ring.ts';
import { SplitWalk } from './split-walk.ts';

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
export class SplitQueue extends SplitWalk {
  readonly format = 'split';
  declare private readonly notifyOnEmpty: boolean;
  declare private readonly eventIdx: boolean;
  /** Free-running 16-bit index of the next avail entry to take. QEMU: `last_avail_idx`. */
  declare private lastAvail: number;
  /** Avail index as it was read last, so that a batch of chains costs one look. QEMU: `shadow_avail_idx`. */
  declare private shadowAvail: number;
  /** Free-running 16-bit index of the next used element to write. QEMU: `used_idx`. */
  declare private usedIdx: number;
  // numbers for booleans in what pop and notify ask: the test of a number is one instruction
  /** 1 if EVENT_IDX was negotiated and kicks are wanted, so that avail_event follows {@link lastAvail}; else 0. */
  declare private eventWanted: 0 | 1;
  /** 1 if the driver's event index alone decides about interrupts; else 0. */
  declare private readonly eventDecides: 0 | 1;
  /**
   * Mask that turns a free-running index into a slot of a ring whose size is a power of two; rings of other sizes go
   * number by number.
   */
  declare private readonly mask: number;

  constructor(setup: QueueSetup) {
    super(setup);
    const { lastAvailIdx, usedIdx, inuse, again = [] } = setup.indices;
    if (again.length > 0) this.replay = new Replay(again);
    this.notifyOnEmpty = setup.notifyOnEmpty;
    this.eventIdx = setup.eventIdx;
    this.lastAvail = lastAvailIdx & 0xffff;
    this.shadowAvail = this.lastAvail;
    this.usedIdx = usedIdx & 0xffff;
    this.lost = (this.lastAvail - this.usedIdx - inuse) & 0xffff;
    this.eventWanted = setup.eventIdx ? 1 : 0;
    this.eventDecides = setup.eventIdx && !setup.notifyOnEmpty ? 1 : 0;
    this.mask = this.size - 1;
    this.look(this.ring);
    if (this.order === undefined) return;
    // chains that were in flight at a save go back in the order of the avail ring
    for (const head of headsTaken(this.ring, this.lastAvail, inuse)) this.order.expect(head);
  }

  get inFlight(): number {
    return (this.lastAvail - this.usedIdx - this.lost) & 0xffff;
  }

  pop(): Chain | undefined {
    if (!this.owner.live) return undefined;
    if (this.epoch !== this.memory.epoch) return this.popLong();
    const { ring, lastAvail } = this;
    const { availHalves } = ring;
    if (this.shadowAvail === lastAvail) {
      this.shadowAvail = availHalves[1] as number;
      if (this.shadowAvail === lastAvail) return undefined;
    }
    const head = availHalves[2 + (lastAvail & this.mask)] as number;
    if (((lastAvail - this.usedIdx - this.lost) & 0xffff) >= this.size || head >= this.size)
      return this.popLong();
    const now = (lastAvail + 1) & 0xffff;
    this.lastAvail = now;
    if (now === 0) this.laps++;
    // Virtio 1.3 §2.7.10: avail_event follows the index as long as kicks are wanted
    if (this.eventWanted !== 0) ring.usedHalves[(2 + (this.size << 2)) | 0] = now;
    return this.walk(head);
  }

  /**
   * Takes a chain as {@link pop} does, from every kind of ring: those without views or on shared memory, with a dirty
   * log or IN_ORDER, and those that make no sense.
   */
  private popLong(): Chain | undefined {
    const { ring } = this;
    this.look(this.ring);
    if (!this.enabled) return undefined;
    if (this.replay?.waits === true) return this.popAgain(this.replay);
    const last = this.lastAvail;
    if (this.shadowAvail === last) {
      this.shadowAvail = ring.availIdx();
      if (this.shadowAvail === last) return undefined;
    }
    const inuse = this.inFlight;
    if (inuse >= this.size) return this.fail('Virtqueue size exceeded', { inuse });
    const head = ring.availEntry(last);
    this.lastAvail = (last + 1) & 0xffff;
    if (this.lastAvail === 0) this.laps++;
    if (head >= this.size) {
      this.lost++;
      return this.fail(`Guest says index ${head} is available`, { head });
    }
    if (this.eventWanted !== 0) {
      ring.setAvailEvent(this.lastAvail);
      this.asked(ring);
    }
    const chain = ring.fast ? this.walk(head) : this.walkLong(head);
    if (chain === undefined) return undefined;
    if (this.order !== undefined) this.order.append(chain);
    this.flights?.taken(chain);
    return chain;
  }

  /** Takes a chain that is in flight since before this ring was set up. */
  private popAgain(replay: Replay): Chain | undefined {
    const head = replay.next();
    if (head >= this.size) {
      this.lost++;
      return this.fail(`Head ${head} is in flight`, { head });
    }
    const chain = this.ring.fast ? this.walk(head) : this.walkLong(head);
    if (chain === undefined) return undefined;
    replay.took(chain);
    this.flights?.taken(chain);
    return chain;
  }

  unpop(chain: Chain): void {
    const ours = this.own(chain);
    if (this.replay?.putBack(ours) === true) {
      this.pool.give(ours);
      return;
    }
    this.flights?.dropped(ours);
    this.order?.unpop(ours);
    if (this.lastAvail === 0) this.laps--;
    this.lastAvail = (this.lastAvail - 1) & 0xffff;
    this.pool.give(ours);
  }

  detach(chain: Chain): void {
    const ours = this.own(chain);
    this.order?.remove(ours);
    this.replay?.gave(ours);
    this.flights?.dropped(ours);
    this.lost++;
    this.pool.give(ours);
  }

  push(chain: Chain, written: number): void {
    const ours = chain as RingChain;
    // a constant of a module is a variable to the engine; this one is a constant
    const TAKEN = 1;
    const foreign = ours.queue !== this || ours.state !== TAKEN;
    if (foreign || !this.owner.live || this.epoch !== this.memory.epoch) {
      this.fill(chain, written, 0);
      this.flush(1);
      return;
    }
    const { ring, usedIdx } = this;
    const { usedWords } = ring;
    const at = (1 + ((usedIdx & this.mask) << 1)) | 0;
    usedWords[at] = ours.index;
    usedWords[(at + 1) | 0] = written;
    // Virtio 1.3 §2.7.8.2 MUST: the used element's length is set before the index
    const now = (usedIdx + 1) & 0xffff;
    ring.usedHalves[1] = now;
    this.usedIdx = now;
    if (((now - this.signalled) << 16) >> 16 < 1) this.signalled = -1;
    this.pool.give(ours);
  }

  fill(chain: Chain, written: number, ahead: number): void {
    const ours = this.own(chain);
    this.places.fill(ahead);
    // push must not overtake what is filled and not shown
    this.epoch = -1;
    if (this.memory.log !== undefined) ours.in.markDirty(written);
    if (this.order !== undefined) {
      ours.state = FILLED;
      ours.written = written;
      return;
    }
    this.replay?.gave(ours);
    if (this.owner.broken === false && this.owner.disabled === false) {
      this.ring.refresh();
      this.flights?.filled(ours, ahead);
      this.ring.setUsed((this.usedIdx + ahead) & 0xffff, ours.index, written);
    }
    this.pool.give(ours);
  }

  flush(count: number): void {
    this.places.show(count);
    if (this.places.filled === 0) this.look(this.ring);
    const dead = this.owner.broken || this.owner.disabled;
    const published = this.order === undefined ? count : this.publishInOrder(count, dead);
    if (dead) this.lost += published;
    if (dead || published === 0) return;
    const now = (this.usedIdx + published) & 0xffff;
    this.usedIdx = now;
    this.ring.refresh();
    this.flights?.showing(this.index, published);
    this.ring.setUsedIdx(now);
    this.flights?.shown(this.index, published);
    // so much was published since the last decision that the driver's event index says nothing any more
    if (((now - this.signalled) << 16) >> 16 < published) this.signalled = -1;
  }

  /**
   * Writes used elements, with IN_ORDER, for the chains that are finished, from the oldest one on. Answers how many
   * there are.
   *
   * @param dead the device is broken or disabled, so that they are forgotten instead
   */
  private publishInOrder(count: number, dead: boolean): number {
    const order = this.order;
    if (order === undefined) return 0;
    order.credit += count;
    let published = 0;
    this.ring.refresh();
    for (let chain = order.ready(); chain !== undefined; chain = order.ready()) {
      // Virtio 1.3 §6.2 MUST: with IN_ORDER, buffers are used in the order in which they were made available
      if (!dead) {
        this.flights?.filled(chain, published);
        this.ring.setUsed((this.usedIdx + published) & 0xffff, chain.index, chain.written);
      }
      order.shift();
      this.pool.give(chain);
      published++;
    }
    return published;
  }

  notify(): void {
    if (this.eventDecides === 0 || this.epoch !== this.memory.epoch) {
      if (this.shouldNotify()) this.owner.interrupt(this.index);
      return;
    }
    const { usedIdx, signalled } = this;
    const past = (usedIdx - (this.ring.availHalves[(2 + this.size) | 0] as number) - 1) & 0xffff;
    this.signalled = usedIdx;
    // Virtio 1.3 §2.7.7.2 MUST: with EVENT_IDX used_event decides, and the flag is ignored
    // Virtio 1.3 §2.7.7.2 MUST: one if the index has passed used_event
    if (signalled < 0 || past < ((usedIdx - signalled) & 0xffff)) this.owner.interrupt(this.index);
  }

  /** Does the driver want an interrupt for what was made visible? QEMU: `virtio_split_should_notify`. */
  private shouldNotify(): boolean {
    const { ring, usedIdx, signalled } = this;
    ring.refresh();
    if (this.notifyOnEmpty && this.inFlight === 0 && this.isEmpty()) return true;
    // Virtio 1.3 §2.7.7.2 MUST: without EVENT_IDX the flag of the avail ring decides
    if (!this.eventIdx) return (ring.availFlags() & NO_INTERRUPT) === 0;
    this.signalled = usedIdx;
    const past = (usedIdx - ring.usedEvent() - 1) & 0xffff;
    return signalled < 0 || past < ((usedIdx - signalled) & 0xffff);
  }

  setNotification(wanted: boolean): void {
    const { ring } = this;
    ring.refresh();
    this.eventWanted = wanted && this.eventIdx ? 1 : 0;
    // Virtio 1.3 §2.7.10.2 MUST: with EVENT_IDX used.flags stays 0
    if (this.eventIdx) {
      this.shadowAvail = ring.availIdx();
      if (wanted) ring.setAvailEvent(this.shadowAvail);
    } else ring.setNoNotify(!wanted);
    if (wanted) this.asked(ring);
  }

  isEmpty(): boolean {
    if (!this.owner.live || !this.enabled) return true;
    if (this.replay?.waits === true) return false;
    if (this.shadowAvail !== this.lastAvail) return false;
    this.ring.refresh();
    this.shadowAvail = this.ring.availIdx();
    return this.shadowAvail === this.lastAvail;
  }

  availBytes(inBytes: number, outBytes: number): boolean {
    if (!this.owner.live || !this.enabled) return false;
    const { cursor, ring } = this;
    ring.refresh();
    // what came since kicks were asked for was not kicked for: the driver is asked anew, until nothing has come meanwhile
    for (let seen = -1, looks = 0; looks <= this.size; looks++) {
      cursor.start(this.laps * 0x10000 + this.lastAvail);
      if (this.scan(cursor, inBytes, outBytes)) return true;
      if (this.eventWanted === 0 || cursor.availIdx === seen || !this.owner.live) return false;
      seen = cursor.availIdx;
      ring.setAvailEvent(seen);
      this.asked(ring);
    }
    return false;
  }

  adopt(element: VirtQueueElement, _ndescs: number): Chain | undefined {
    return element.index < this.size ? this.mapElement(element, 1) : undefined;
  }

  indices(): RingIndices {
    const { lastAvail, usedIdx, inFlight: inuse, signalled } = this;
    return { lastAvailIdx: lastAvail, lastAvailWrap: true, usedIdx, usedWrap: true, inuse, signalled };
  }
}

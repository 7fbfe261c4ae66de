// A guest that writes anything into a ring, a device that keeps to the contract of queues, and an observer that knows what
// must hold whatever the guest does.
import {
  type Chain,
  freshIndices,
  type Gpa,
  MappedMemory,
  PackedQueue,
  type QueueOwner,
  type QueueSetup,
  type Ring,
  type RingIndices,
  SplitQueue,
} from '@virtkit/core';
import type { Random } from '@virtkit/testing/suite';
import type { RequestInFlight } from '../../core/src/contract/device-model.ts';
import { checkInFlight } from '../../core/src/live/in-flight.ts';
import { demand } from './target.ts';

const SIZES: readonly [number, ...number[]] = [8, 4, 16, 1, 2, 6];
/** Addresses of the parts of a ring: descriptors, driver's part, device's part; then buffers, to the end of memory. */
const DESC = 0x100;
const AVAIL = 0x300;
const USED = 0x400;
const BUFFERS = 0x800;
const MEMORY_BYTES = 0x1000;
/** Memory is two regions that touch. */
const SEAM = 0xa00;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const IN_FLIGHT_MAX = 16;

/** Features of a ring, one in each bit of the first choice. */
interface Shape {
  readonly packed: boolean;
  readonly size: number;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  readonly inOrder: boolean;
  readonly notifyOnEmpty: boolean;
  readonly littleEndian: boolean;
}

class Owner implements QueueOwner {
  broken = false;
  disabled = false;
  faults = 0;
  interrupts = 0;

  get live(): boolean {
    return !this.broken && !this.disabled;
  }

  fault(): void {
    this.faults++;
    this.broken = true;
  }

  interrupt(): void {
    this.interrupts++;
  }
}

/** A device's view of one ring, and what an observer remembers of it. */
class Side {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(MEMORY_BYTES);
  readonly view = new DataView(this.bytes.buffer);
  readonly memory = new MappedMemory([
    { gpa: 0, bytes: this.bytes.subarray(0, SEAM) },
    { gpa: SEAM, bytes: this.bytes.subarray(SEAM) },
  ]);
  readonly #shape: Shape;
  owner = new Owner();
  queue: Ring;
  /** Chains that were taken and not given back, oldest first. */
  taken: Chain[] = [];
  /** Chains that were pushed, but held back until earlier ones are finished: head or id, and bytes written. */
  #pushed = new Map<number, number>();
  /** The chain that was taken last, while it can be put back. */
  #latest: Chain | undefined;
  popped = 0;
  /** Chains given back with push or flush, put back, or forgotten. */
  returned = 0;

  constructor(shape: Shape) {
    this.#shape = shape;
    this.queue = this.#make(freshIndices());
  }

  #setup(indices: RingIndices): QueueSetup {
    return {
      index: 0,
      desc: DESC as Gpa,
      avail: AVAIL as Gpa,
      used: USED as Gpa,
      memory: this.memory,
      indices,
      owner: this.owner,
      ...this.#shape,
    };
  }

  /** Would a restore refuse these requests, since the guest has changed what they were taken from? */
  #contradicts(requests: readonly RequestInFlight[]): boolean {
    let contradiction = false;
    checkInFlight(this.#setup(this.queue.indices()), this.#shape.packed, requests, () => {
      contradiction = true;
    });
    return contradiction;
  }

  #make(indices: RingIndices): Ring {
    const setup = this.#setup(indices);
    return this.#shape.packed ? new PackedQueue(setup) : new SplitQueue(setup);
  }

  /** Resets the queue, as after a reset of the device; memory stays. */
  reset(): void {
    this.owner = new Owner();
    this.taken = [];
    this.#pushed.clear();
    this.#latest = undefined;
    this.popped = 0;
    this.returned = 0;
    this.queue = this.#make(freshIndices());
  }

  push(at: number, written: number): void {
    const [chain] = this.taken.splice(at, 1);
    if (chain === undefined) return;
    if (this.#shape.inOrder) this.#pushed.set(chain.index, written);
    this.queue.push(chain, written);
    this.returned++;
  }

  /** Two chains that become visible at once. */
  pushTwo(written: number): void {
    if (this.taken.length < 2) return;
    for (const [ahead, chain] of this.taken.splice(0, 2).entries()) {
      if (this.#shape.inOrder) this.#pushed.set(chain.index, written);
      this.queue.fill(chain, written, ahead);
    }
    this.queue.flush(2);
    this.returned += 2;
  }

  pop(): Chain | undefined {
    const chain = this.queue.pop();
    if (chain === undefined) return undefined;
    this.taken.push(chain);
    this.#latest = chain;
    this.popped++;
    return chain;
  }

  /** Puts back the chain that was taken last, unless it is finished. */
  unpop(): void {
    const last = this.taken.at(-1);
    if (last === undefined || last !== this.#latest) return;
    this.taken.pop();
    this.#latest = undefined;
    this.returned++;
    this.queue.unpop(last);
  }

  /**
   * Lets another queue take over from the state of this one, as after a migration: indices, and the chains in flight.
   * Answers false if it could not, since the guest has changed what is in flight.
   */
  move(): boolean {
    const held = this.queue.held();
    const elements = [...held, ...this.taken].map((chain) => ({
      element: chain.element(),
      ndescs: chain.ndescs,
      held: held.includes(chain),
    }));
    if (this.#contradicts(elements.map(({ element, ndescs }) => ({ queue: 0, path: '', element, ndescs }))))
      return false;
    const next = this.#make(this.queue.indices());
    const taken: Chain[] = [];
    const finished: Chain[] = [];
    for (const { element, ndescs, held: wasHeld } of elements) {
      const chain = next.adopt(element, ndescs);
      if (chain === undefined) return false;
      (wasHeld ? finished : taken).push(chain);
    }
    this.queue = next;
    this.taken = taken;
    this.#latest = undefined;
    for (const chain of finished) next.push(chain, this.#pushed.get(chain.index) ?? 0);
    return true;
  }
}

/** Report of what the guest and the device have done. */
export interface RingReport {
  readonly steps: number;
  readonly chains: number;
  readonly faults: number;
  readonly moves: number;
}

/**
 * Plays guest and device for so many steps, choices by `random`.
 * @throws OracleError, and whatever a queue throws
 */
export function playRing(random: Random, steps: number): RingReport {
  return new RingGame(random).play(steps);
}

class RingGame {
  readonly #random: Random;
  readonly #shape: Shape;
  readonly #side: Side;
  readonly #before: Uint8Array<ArrayBuffer> = new Uint8Array(MEMORY_BYTES);
  /** Ranges that the device may write without having been given a buffer, and pairs of views of what lies between. */
  readonly #own: readonly (readonly [number, number])[];
  readonly #foreign: readonly (readonly [Buffer, Buffer])[];
  #counts = { steps: 0, chains: 0, faults: 0, moves: 0 };
  /** Slot where the driver of a packed ring goes on; {@link #wrap} is its wrap counter. */
  #slot = 0;
  #wrap = true;

  constructor(random: Random) {
    this.#random = random;
    const choice = random.below(256);
    const packed = (choice & 1) !== 0;
    const size = random.pick(SIZES);
    this.#shape = {
      packed,
      // Virtio 1.3 §2.8.10.1 allows packed rings of any size; split rings that are no power of two are taken as QEMU takes them
      size,
      indirect: (choice & 2) !== 0,
      eventIdx: (choice & 4) !== 0,
      inOrder: (choice & 8) !== 0,
      notifyOnEmpty: (choice & 16) !== 0 && !packed,
      littleEndian: packed || (choice & 0x60) !== 0x60,
    };
    this.#side = new Side(this.#shape);
    const device = [USED, USED + (packed ? 4 : 6 + 8 * size)] as const;
    this.#own = packed ? [[DESC, DESC + 16 * size], device] : [device];
    const ends = [0, ...this.#own.flat(), MEMORY_BYTES];
    const piece = ({ buffer }: Uint8Array<ArrayBuffer>, i: number): Buffer =>
      Buffer.from(buffer, ends[i] ?? 0, (ends[i + 1] ?? 0) - (ends[i] ?? 0));
    this.#foreign = ends
      .map((_, i) => i)
      .filter((i) => i % 2 === 0)
      .map((i) => [piece(this.#side.bytes, i), piece(this.#before, i)] as const);
  }

  play(steps: number): RingReport {
    for (let i = 0; i < steps; i++) {
      this.#step();
      this.#counts.steps++;
    }
    return this.#counts;
  }

  #step(): void {
    const random = this.#random;
    switch (random.below(16)) {
      case 0:
      case 1:
        this.#offer(random.chance(4));
        break;
      case 2:
      case 3:
        this.#offer(false);
        break;
      case 4:
        this.#scribble();
        break;
      default:
        this.#device();
        return;
    }
  }

  #write16(at: number, value: number): void {
    this.#side.view.setUint16(at, value, this.#shape.littleEndian);
  }

  #descriptor(at: number, addr: number, length: number, third: number, last: number): void {
    const little = this.#shape.littleEndian;
    const { view } = this.#side;
    const [low, high] = [addr >>> 0, Math.floor(addr / 2 ** 32)];
    view.setUint32(at, little ? low : high, little);
    view.setUint32(at + 4, little ? high : low, little);
    view.setUint32(at + 8, length, little);
    view.setUint16(at + 12, third, little);
    view.setUint16(at + 14, last, little);
  }

  #address(wild: boolean): number {
    const random = this.#random;
    if (wild && random.chance(3)) return random.pick([0, SEAM - 8, MEMORY_BYTES - 8, MEMORY_BYTES, 2 ** 40]);
    return BUFFERS + random.below(MEMORY_BYTES - BUFFERS - 64);
  }

  #length(wild: boolean): number {
    const random = this.#random;
    if (wild && random.chance(3)) return random.pick([0, 0xffffffff, 0x10000, 15, 17]);
    return 1 + random.below(64);
  }

  /** A chain of some descriptors, as a driver would write it, or nearly. */
  #offer(wild: boolean): void {
    const { packed, size } = this.#shape;
    const random = this.#random;
    const count = 1 + random.below(Math.min(3, size));
    const writableFrom = random.below(count + 1);
    const indirect = random.chance(4);
    const head = random.below(size);
    const table = BUFFERS + 16 * random.below(8);
    if (packed) this.#offerPacked(count, writableFrom, indirect ? table : -1, wild);
    else {
      for (let i = 0; i < count; i++) {
        const more = i + 1 < count;
        const flags = (more ? NEXT : 0) | (i >= writableFrom ? WRITE : 0);
        const at = indirect ? table + 16 * i : DESC + 16 * ((head + i) % size);
        const next = indirect ? i + 1 : (head + i + 1) % size;
        this.#descriptor(
          at,
          this.#address(wild),
          this.#length(wild),
          wild ? flags ^ random.below(8) : flags,
          next,
        );
      }
      if (indirect) this.#descriptor(DESC + 16 * head, table, 16 * count, INDIRECT, 0);
      const index = this.#side.view.getUint16(AVAIL + 2, this.#shape.littleEndian);
      this.#write16(AVAIL + 4 + 2 * (index % size), head);
      this.#write16(AVAIL + 2, index + (wild ? random.below(20) : 1));
    }
  }

  #offerPacked(count: number, writableFrom: number, table: number, wild: boolean): void {
    const { size } = this.#shape;
    const random = this.#random;
    const slots = table >= 0 ? 1 : count;
    const id = random.below(size);
    for (let i = 0; i < count; i++) {
      const flags = i >= writableFrom ? WRITE : 0;
      const change = wild ? random.below(8) : 0;
      if (table >= 0)
        this.#descriptor(table + 16 * i, this.#address(wild), this.#length(wild), id, flags ^ change);
      else
        this.#packedSlot(
          this.#address(wild),
          this.#length(wild),
          id,
          (flags | (i + 1 < count ? NEXT : 0)) ^ change,
        );
    }
    if (table >= 0) this.#packedSlot(table, 16 * count, id, INDIRECT);
    demand(slots <= size, 'a chain longer than its ring');
  }

  #packedSlot(addr: number, length: number, id: number, flags: number): void {
    this.#descriptor(DESC + 16 * this.#slot, addr, length, id, flags | (this.#wrap ? 0x80 : 0x8000));
    if (++this.#slot < this.#shape.size) return;
    this.#slot = 0;
    this.#wrap = !this.#wrap;
  }

  /** Any byte of the ring, or of an indirect table. */
  #scribble(): void {
    const random = this.#random;
    const at = random.pick([DESC, AVAIL, USED, BUFFERS]) + random.below(random.chance(4) ? 0x100 : 8);
    this.#side.bytes[at] = random.below(256);
  }

  /** Something that a device does, and whether all is as it must be. */
  #device(): void {
    const random = this.#random;
    const side = this.#side;
    this.#before.set(side.bytes);
    this.#act(side);
    this.#check(side);
    if (side.owner.broken && random.chance(4)) this.#restart();
  }

  #act(side: Side): void {
    const { queue, taken } = side;
    const random = this.#random;
    switch (random.below(18)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        this.#pop(side);
        break;
      case 5:
      case 6:
        side.push(0, random.below(256));
        break;
      case 7:
        side.push(random.below(Math.max(1, taken.length)), random.below(256));
        break;
      case 8:
        side.pushTwo(random.below(256));
        break;
      case 9:
        side.unpop();
        break;
      case 10:
        queue.setNotification(random.chance(2));
        break;
      case 11:
        queue.availBytes(random.below(256), random.below(256));
        break;
      case 12:
        queue.notify();
        break;
      case 13:
        queue.held();
        break;
      case 14:
        queue.isEmpty();
        break;
      case 15:
        // what is in flight may have been changed by the guest: then the state is refused
        if (side.owner.live && random.chance(4) && !side.move()) this.#restart();
        this.#counts.moves++;
        break;
      default:
        this.#touch(taken[random.below(Math.max(1, taken.length))]);
    }
  }

  #pop(side: Side): void {
    if (side.taken.length >= IN_FLIGHT_MAX) return;
    const chain = side.pop();
    if (chain === undefined) return;
    this.#counts.chains++;
    for (const spans of [chain.out, chain.in])
      for (let i = 0; i < spans.count; i++) {
        const [offset, length] = [spans.offset(i), spans.length(i)];
        demand(
          offset >= 0 && offset + length <= spans.bytes(i).length,
          'a piece of a chain that is not in memory',
        );
      }
  }

  /** A device that writes all that it may. */
  #touch(chain: Chain | undefined): void {
    chain?.in.fill(0, chain.in.total, 0x5a);
  }

  /** Checks what holds whatever the guest does. */
  #check(side: Side): void {
    const { owner, queue, taken } = side;
    demand(owner.faults <= 1, 'more than one fault');
    demand(
      owner.broken || queue.inFlight === taken.length + queue.held().length,
      `${queue.inFlight} chains in flight, the device has ${taken.length}`,
    );
    demand(side.returned <= side.popped, 'more chains came back than were taken');
    const { inuse } = queue.indices();
    const { packed, size } = this.#shape;
    // a chain is taken from a packed ring that is not full, and may be as long as the ring, as in QEMU
    demand(inuse >= 0 && inuse <= (packed ? 2 * size - 1 : size), `inuse ${inuse} in a ring of ${size}`);
    this.#checkWrites(side);
  }

  /** Outside of buffers that it was given, a device writes to its own part of the ring only. */
  #checkWrites({ bytes, taken }: Side): void {
    if (this.#foreign.every(([found, before]) => found.compare(before) === 0)) return;
    for (let at = 0; at < MEMORY_BYTES; at++) {
      if (bytes[at] === this.#before[at] || this.#own.some(([from, to]) => at >= from && at < to)) continue;
      demand(
        taken.some((chain) => covers(chain, at)),
        `a write to 0x${at.toString(16)}`,
      );
    }
  }

  #restart(): void {
    this.#counts.faults++;
    const side = this.#side;
    side.bytes.fill(0, DESC, BUFFERS);
    side.reset();
    this.#before.set(side.bytes);
    this.#slot = 0;
    this.#wrap = true;
  }
}

/** May the device write there for this chain? */
function covers(chain: Chain, at: number): boolean {
  return chain.element().in.some(({ addr, len }) => BigInt(at) >= addr && BigInt(at) < addr + len);
}

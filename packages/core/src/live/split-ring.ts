import type { Gpa } from '../contract/memory.ts';
import type { DescriptorTable } from './descriptor-cursor.ts';
import { readHalf, writeHalf } from './fenced-access.ts';
import type { Mapping } from './mapping.ts';
import type { MappedMemory } from './memory.ts';
import type { QueueSetup } from './ring.ts';
import type { RingViews } from './ring-base.ts';

const NO_NOTIFY = 1;

/**
 * The three parts of a split ring in guest memory. Virtio 1.3 §2.7.5, §2.7.6, §2.7.8
 *
 * If they are aligned, in RAM and in the host's byte order, they are read through views (`fast`); else number by number.
 * What is not there reads as 0 and takes no writes, as in QEMU.
 *
 * Virtio 1.3 §2.7.5.1 MUST NOT: nothing here writes to the descriptor table.
 */
export class SplitRing implements RingViews, DescriptorTable {
  /** True if the three parts can be read and written through views. */
  fast = false;
  declare readonly desc: Gpa;
  declare readonly avail: Gpa;
  declare readonly used: Gpa;
  /** All words of the region that the descriptor table lies in. */
  words: Int32Array = new Int32Array(0);
  /** Index in {@link words} of the word that the descriptor table begins with. */
  descBase = 0;
  declare readonly size: number;
  /** The number of ring slots less 1 if the number is a power of two, else -1. */
  declare private readonly mask: number;
  declare readonly memory: MappedMemory;
  declare readonly littleEndian: boolean;
  /** Memory epoch in which the views were made. */
  private epoch = -1;
  shared = false;
  /** Half-words of the driver's part: flags, index, the entries of the ring, event index. */
  availHalves: Uint16Array = new Uint16Array(0);
  /** Half-words of the device's part: flags and index are the first two, the event index is the last one. */
  usedHalves: Uint16Array = new Uint16Array(0);
  /** Words of the device's part: behind the first one they are id and length of each element. */
  usedWords: Int32Array = new Int32Array(0);

  constructor({ size, desc, avail, used, littleEndian }: QueueSetup, memory: MappedMemory) {
    this.size = size;
    this.mask = (size & (size - 1)) === 0 ? size - 1 : -1;
    this.desc = desc;
    this.avail = avail;
    this.used = used;
    this.littleEndian = littleEndian;
    this.memory = memory;
    this.refresh();
  }

  get plain(): boolean {
    return this.fast && !this.shared && this.memory.log === undefined;
  }

  refresh(): void {
    if (this.epoch !== this.memory.epoch) this.look();
  }

  private look(): void {
    const { memory, size } = this;
    this.epoch = memory.epoch;
    const desc = memory.find(this.desc, 16 * size);
    const avail = memory.find(this.avail, 6 + 2 * size) ?? memory.find(this.avail, 4 + 2 * size);
    const used = memory.find(this.used, 6 + 8 * size) ?? memory.find(this.used, 4 + 8 * size);
    this.fast = false;
    this.shared = desc?.shared === true || avail?.shared === true || used?.shared === true;
    if (this.mask < 0) return;
    if (
      desc === undefined ||
      avail === undefined ||
      used === undefined ||
      used.readonly ||
      !this.littleEndian
    )
      return;
    if ([desc, avail, used].some(({ words }) => words.length === 0)) return;
    const at = this.desc - desc.gpa;
    if (at % 4 !== 0 || (this.avail - avail.gpa) % 2 !== 0 || (this.used - used.gpa) % 4 !== 0) return;
    this.words = desc.words;
    this.descBase = at / 4;
    this.availHalves = halves(avail, this.avail, 3 + size);
    this.usedHalves = halves(used, this.used, 3 + 4 * size);
    const first = (this.used - used.gpa) / 4;
    this.usedWords = used.words.subarray(first, first + 1 + 2 * size);
    this.fast = true;
  }

  private slot(index: number): number {
    return this.mask >= 0 ? index & this.mask : index % this.size;
  }

  availFlags(): number {
    if (!this.fast) return this.read16(this.avail, 0);
    return this.shared ? Atomics.load(this.availHalves, 0) : (this.availHalves[0] as number);
  }

  availIdx(): number {
    if (!this.fast) return this.read16(this.avail, 2);
    return this.shared ? Atomics.load(this.availHalves, 1) : (this.availHalves[1] as number);
  }

  /** Reads the head descriptor that the driver has put at a free-running index. */
  availEntry(index: number): number {
    const slot = this.slot(index);
    return this.fast ? (this.availHalves[2 + slot] as number) : this.read16(this.avail, 4 + 2 * slot);
  }

  usedEvent(): number {
    const at = 2 + this.size;
    if (!this.fast) return this.read16(this.avail, 2 * at);
    return this.shared ? Atomics.load(this.availHalves, at) : (this.availHalves[at] as number);
  }

  setAvailEvent(index: number): void {
    const at = 2 + 4 * this.size;
    if (!this.fast) this.write16(this.used, 2 * at, index);
    else if (this.shared) Atomics.store(this.usedHalves, at, index);
    else this.usedHalves[at] = index;
    if (this.fast) this.written(2 * at, 2);
  }

  /** Writes the used element at a free-running index. */
  setUsed(index: number, id: number, length: number): void {
    const slot = this.slot(index);
    if (!this.fast) {
      this.memory.writeU32((this.used + 4 + 8 * slot) as Gpa, id, this.littleEndian);
      this.memory.writeU32((this.used + 8 + 8 * slot) as Gpa, length, this.littleEndian);
      return;
    }
    this.usedWords[1 + 2 * slot] = id;
    this.usedWords[2 + 2 * slot] = length;
    this.written(4 + 8 * slot, 8);
  }

  setUsedIdx(index: number): void {
    // Virtio 1.3 §2.7.8.2 MUST: the used element's length is set before the index
    if (!this.fast) this.write16(this.used, 2, index);
    else if (this.shared) Atomics.store(this.usedHalves, 1, index);
    else this.usedHalves[1] = index;
    if (this.fast) this.written(2, 2);
  }

  /** Says in `used.flags` whether kicks are not wanted. The other bits stay as they are. */
  setNoNotify(on: boolean): void {
    // Virtio 1.3 §2.7.10.2 MUST: without EVENT_IDX flags are 0 or 1, as long as the driver has put nothing else there
    const flags = Math.max(0, this.memory.readU16(this.used, this.littleEndian));
    this.write16(this.used, 0, on ? flags | NO_NOTIFY : flags & ~NO_NOTIFY);
  }

  private read16(base: Gpa, offset: number): number {
    return readHalf(this.memory, (base + offset) as Gpa, this.littleEndian, this.shared);
  }

  private write16(base: Gpa, offset: number, value: number): void {
    writeHalf(this.memory, (base + offset) as Gpa, value, this.littleEndian, this.shared);
  }

  /** Tells the dirty log, if there is one, of bytes of the used ring that were written through a view. */
  written(offset: number, length: number): void {
    if (this.memory.log !== undefined) this.memory.markDirty((this.used + offset) as Gpa, length);
  }
}

/** Makes a view of a part of a ring. It is shorter if the region ends in front of the event index. */
function halves(region: Mapping, start: Gpa, length: number): Uint16Array {
  const first = (start - region.gpa) / 2;
  return region.halves.subarray(first, first + length);
}

import type { Gpa } from '../contract/memory.ts';
import type { DescriptorTable } from './descriptor-cursor.ts';
import { readHalf, writeHalf } from './fenced-access.ts';
import type { Mapping } from './mapping.ts';
import type { MappedMemory } from './memory.ts';
import type { QueueSetup } from './ring.ts';
import type { RingViews } from './ring-base.ts';

/** Descriptor flags of packed rings, Virtio 1.3 §2.8.1. */
export const DESC_AVAIL = 1 << 7;
export const DESC_USED = 1 << 15;
/** Length of a descriptor in bytes. Virtio 1.3 §2.8.13 */
const DESC_BYTES = 16;
/** Offsets in bytes of a packed descriptor's length, buffer id and flags. Virtio 1.3 §2.8.13 */
export const DESC_OFFSET = { LENGTH: 8, ID: 12, FLAGS: 14 } as const;
/** Bit of an event structure's offset that holds the wrap counter. Virtio 1.3 §2.8.14 */
export const EVENT_WRAP = 0x8000;
/** Event flags, Virtio 1.3 §2.8.14. */
export const EVENT_ENABLE = 0;
export const EVENT_DISABLE = 1;
export const EVENT_DESC = 2;
/**
 * Value of {@link availTail} that means "not available": in a descriptor that is available, AVAIL differs from USED, so
 * that none has it as its last word.
 */
export const NOT_AVAIL = 0;

/**
 * A packed ring and its two event structures in guest memory. Virtio 1.3 §2.8.13, §2.8.14
 *
 * If the descriptors are aligned, in RAM and in the host's byte order, they are read through words (`fast`); else number
 * by number. What is not there reads as 0 and takes no writes, as in QEMU.
 */
export class PackedRing implements RingViews, DescriptorTable {
  /** True if the descriptors can be read and written through {@link words}. */
  fast = false;
  shared = false;
  declare readonly size: number;
  declare readonly desc: Gpa;
  /** Guest address of the driver's event suppression structure; {@link deviceEvent} is that of the device's. */
  declare readonly driverEvent: Gpa;
  declare readonly deviceEvent: Gpa;
  /** All words of the region that the descriptors lie in. */
  words: Int32Array = new Int32Array(0);
  /** Index in {@link words} of the word that the first descriptor begins with. */
  descBase = 0;
  declare readonly memory: MappedMemory;
  declare readonly littleEndian: boolean;
  /** Memory epoch in which the views were made. */
  private epoch = -1;
  /** All words of the region that the driver's event structure lies in. */
  private eventWords: Int32Array = new Int32Array(0);
  /** Index in {@link eventWords} of the driver's event structure; -1: it is read number by number. */
  private eventAt = -1;
  /** All half-words of the region that the device's event structure lies in. */
  private deviceHalves: Uint16Array = new Uint16Array(0);
  /** Index in {@link deviceHalves} of the device's event structure; -1: it is written number by number. */
  private deviceAt = -1;

  constructor({ size, desc, avail, used, littleEndian }: QueueSetup, memory: MappedMemory) {
    this.size = size;
    this.desc = desc;
    this.driverEvent = avail;
    this.deviceEvent = used;
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
    const { memory, littleEndian: little } = this;
    this.epoch = memory.epoch;
    const desc = memory.find(this.desc, 16 * this.size);
    const driver = memory.find(this.driverEvent, 4);
    const device = memory.find(this.deviceEvent, 4);
    this.shared = [desc, driver, device].some((region) => region?.shared === true);
    this.fast = little && desc !== undefined && !desc.readonly && isAligned(desc, this.desc, 4);
    if (desc !== undefined && this.fast) {
      this.words = desc.words;
      this.descBase = (this.desc - desc.gpa) / 4;
    }
    this.eventAt = -1;
    if (little && driver !== undefined && isAligned(driver, this.driverEvent, 4)) {
      this.eventWords = driver.words;
      this.eventAt = (this.driverEvent - driver.gpa) / 4;
    }
    this.deviceAt = -1;
    if (little && device !== undefined && !device.readonly && isAligned(device, this.deviceEvent, 2)) {
      this.deviceHalves = device.halves;
      this.deviceAt = (this.deviceEvent - device.gpa) / 2;
    }
  }

  /**
   * Reads the last word of the descriptor in a slot, id and flags, if the descriptor is available in a lap with this
   * wrap counter; else answers {@link NOT_AVAIL}. The word that was found available is the one that is used: nobody
   * reads it again.
   */
  availTail(slot: number, wrap: boolean): number {
    const tail = this.readTail(slot);
    // Virtio 1.3 §2.8.15 MUST NOT: used only once AVAIL is seen to have changed, to the wrap counter (§2.8.1)
    return ((tail >>> 16) & (DESC_AVAIL | DESC_USED)) === (wrap ? DESC_AVAIL : DESC_USED) ? tail : NOT_AVAIL;
  }

  private readTail(slot: number): number {
    if (this.fast) {
      const at = this.descBase + (slot << 2) + 3;
      return this.shared ? Atomics.load(this.words, at) : (this.words[at] as number);
    }
    // the flags first: what they show to be there was written before them
    const flags = this.read16(this.desc, DESC_BYTES * slot + DESC_OFFSET.FLAGS);
    return (flags << 16) | this.read16(this.desc, DESC_BYTES * slot + DESC_OFFSET.ID);
  }

  /** Writes a used descriptor into a slot. */
  setUsed(slot: number, id: number, length: number, wrap: boolean): void {
    const flags = wrap ? DESC_AVAIL | DESC_USED : 0;
    if (!this.fast) {
      const { memory, littleEndian: little } = this;
      const at = this.desc + DESC_BYTES * slot;
      memory.writeU16((at + DESC_OFFSET.ID) as Gpa, id, little);
      memory.writeU32((at + DESC_OFFSET.LENGTH) as Gpa, length, little);
      this.write16(this.desc, DESC_BYTES * slot + DESC_OFFSET.FLAGS, flags);
      return;
    }
    // Virtio 1.3 §2.8.15 MUST NOT: nothing of a descriptor changes after its USED bit, so the flags come last
    const at = this.descBase + (slot << 2);
    this.words[at + 2] = length;
    if (this.shared) Atomics.store(this.words, at + 3, (id & 0xffff) | (flags << 16));
    else this.words[at + 3] = (id & 0xffff) | (flags << 16);
    if (this.memory.log !== undefined) this.memory.markDirty((this.desc + 16 * slot + 8) as Gpa, 8);
  }

  /** Reads the driver's event structure: `off_wrap` in the low half, flags in the high one. */
  event(): number {
    const { eventAt } = this;
    if (eventAt >= 0)
      return this.shared ? Atomics.load(this.eventWords, eventAt) : (this.eventWords[eventAt] as number);
    const flags = this.read16(this.driverEvent, 2);
    return this.read16(this.driverEvent, 0) | (flags << 16);
  }

  /** Asks for a kick when the driver makes a slot available; the wrap counter is bit 15 of `offWrap`. */
  setEventOffset(offWrap: number): void {
    const { deviceAt } = this;
    if (deviceAt < 0) {
      this.write16(this.deviceEvent, 0, offWrap);
      return;
    }
    if (this.shared) Atomics.store(this.deviceHalves, deviceAt, offWrap);
    else this.deviceHalves[deviceAt] = offWrap;
    if (this.memory.log !== undefined) this.memory.markDirty(this.deviceEvent, 2);
  }

  /** Reads the flags of the device's event structure, which say whether and when the device has asked for kicks. */
  eventFlags(): number {
    return this.read16(this.deviceEvent, 2);
  }

  setEventFlags(flags: number): void {
    this.write16(this.deviceEvent, 2, flags);
  }

  private read16(base: Gpa, offset: number): number {
    return readHalf(this.memory, (base + offset) as Gpa, this.littleEndian, this.shared);
  }

  private write16(base: Gpa, offset: number, value: number): void {
    writeHalf(this.memory, (base + offset) as Gpa, value, this.littleEndian, this.shared);
  }
}

/** Is an address of a region aligned for access through its words (4 bytes) or half-words (2 bytes)? */
function isAligned(region: Mapping, gpa: Gpa, bytes: 2 | 4): boolean {
  return region.words.length > 0 && (gpa - region.gpa) % bytes === 0;
}

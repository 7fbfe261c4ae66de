import type { Gpa, LoggedMemory, MemoryRegion } from '../contract/memory.ts';
import { copyIn, copyOut } from './copy.ts';
import { DirtyLog, type WriteListener } from './dirty-log.ts';
import { HostError } from './errors.ts';
import { Mapping, type Region } from './mapping.ts';

/** Region that stands for the last one looked up where there is none. */
const NOWHERE = new Mapping({ gpa: 0, bytes: new Uint8Array(0) });

/**
 * Guest memory made of regions, each over an array of the host program. Between them are holes. Addresses are numbers;
 * nothing lies at or above 2^53.
 *
 * `onWrite` hears of each piece that a device writes, before the driver can: an emulator that keeps translated code drops what
 * it made of these bytes. It is called often, and must neither throw nor touch devices.
 *
 * @throws HostError if regions overlap or are no regions
 */
export class MappedMemory implements LoggedMemory {
  readonly contract = 1;
  epoch = 0;
  /** Regions by address. Their order never changes: chains keep the index. */
  declare readonly mappings: readonly Mapping[];
  /** Log of the pages that devices wrote, if somebody listens. */
  log: DirtyLog | undefined;
  private readonly listener: WriteListener | undefined;
  declare private last: Mapping;
  declare private readonly moving: readonly Mapping[];

  constructor(regions: readonly Region[], options: { readonly onWrite?: WriteListener } = {}) {
    const mappings = regions.map((region) => new Mapping(region)).sort((a, b) => a.gpa - b.gpa);
    mappings.forEach((mapping, index) => {
      mapping.index = index;
    });
    this.mappings = mappings;
    this.moving = mappings.filter(({ source }) => !(source instanceof Uint8Array));
    this.listener = options.onWrite;
    if (this.listener !== undefined) {
      this.log = new DirtyLog(this.listener);
      this.sizeLog();
    }
    this.last = mappings[0] ?? NOWHERE;
    this.checkOverlap();
  }

  sync(): void {
    let moved = false;
    const { moving } = this;
    for (let i = 0; i < moving.length; i++) if (moving[i]?.refresh()) moved = true;
    if (!moved) return;
    this.epoch++;
    this.checkOverlap();
    this.sizeLog();
  }

  get regions(): readonly MemoryRegion[] {
    return this.mappings;
  }

  regionAt(gpa: number): MemoryRegion | undefined {
    return this.at(gpa);
  }

  get tracksWrites(): boolean {
    return this.log !== undefined;
  }

  /** Finds the region that an address lies in. */
  at(gpa: number): Mapping | undefined {
    const last = this.last;
    if (gpa >= last.gpa && gpa < last.end) return last;
    const found = this.search(gpa);
    if (found !== undefined) this.last = found;
    return found;
  }

  /** Forgets the region that {@link at} has found last, so that it looks again. */
  protected forget(): void {
    this.last = NOWHERE;
  }

  /** Finds the region that an address lies in, which is not the region found last. */
  protected search(gpa: number): Mapping | undefined {
    const { mappings } = this;
    let low = 0;
    let high = mappings.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const mapping = mappings[middle] as Mapping;
      if (gpa < mapping.gpa) high = middle;
      else if (gpa >= mapping.end) low = middle + 1;
      else return mapping;
    }
    return undefined;
  }

  /** Finds the region that holds all of `length` bytes. */
  find(gpa: number, length: number): Mapping | undefined {
    const mapping = this.at(gpa);
    return mapping !== undefined && length <= mapping.end - gpa ? mapping : undefined;
  }

  /**
   * Does memory begin at the address, and not go on for `length` bytes in one region? A ring's parts and tables of
   * descriptors must lie in one region, as in QEMU.
   */
  isCut(gpa: number, length: number): boolean {
    const mapping = this.at(gpa);
    return mapping !== undefined && length > mapping.end - gpa;
  }

  covers(gpa: Gpa, length: number, writable = false): boolean {
    let at: number = gpa;
    let left = length;
    while (left > 0) {
      const mapping = this.at(at);
      if (mapping === undefined || (writable && mapping.readonly)) return false;
      left -= mapping.end - at;
      at = mapping.end;
    }
    return true;
  }

  read(gpa: Gpa, target: Uint8Array, offset = 0, length: number = target.length - offset): boolean {
    checkRange(target, offset, length);
    if (!this.covers(gpa, length)) return false;
    let at: number = gpa;
    for (let done = 0; done < length; ) {
      const mapping = this.at(at) as Mapping;
      const piece = Math.min(length - done, mapping.end - at);
      copyOut(mapping, at - mapping.gpa, target, offset + done, piece);
      done += piece;
      at += piece;
    }
    return true;
  }

  write(gpa: Gpa, source: Uint8Array, offset = 0, length: number = source.length - offset): boolean {
    checkRange(source, offset, length);
    if (!this.covers(gpa, length, true)) return false;
    let at: number = gpa;
    for (let done = 0; done < length; ) {
      const mapping = this.at(at) as Mapping;
      const piece = Math.min(length - done, mapping.end - at);
      copyIn(mapping, at - mapping.gpa, source, offset + done, piece);
      this.log?.mark(mapping.index, at - mapping.gpa, piece);
      done += piece;
      at += piece;
    }
    return true;
  }

  readU8(gpa: Gpa): number {
    const mapping = this.at(gpa);
    return mapping === undefined ? -1 : (mapping.bytes[gpa - mapping.gpa] as number);
  }

  readU16(gpa: Gpa, littleEndian: boolean): number {
    const first = this.readU8(gpa);
    const second = this.readU8((gpa + 1) as Gpa);
    if (first < 0 || second < 0) return -1;
    return littleEndian ? first | (second << 8) : (first << 8) | second;
  }

  readU32(gpa: Gpa, littleEndian: boolean): number {
    const first = this.readU16(gpa, littleEndian);
    const second = this.readU16((gpa + 2) as Gpa, littleEndian);
    if (first < 0 || second < 0) return -1;
    return (littleEndian ? first | (second << 16) : (first << 16) | second) >>> 0;
  }

  writeU8(gpa: Gpa, value: number): boolean {
    const mapping = this.at(gpa);
    if (mapping === undefined || mapping.readonly) return false;
    mapping.bytes[gpa - mapping.gpa] = value;
    this.log?.mark(mapping.index, gpa - mapping.gpa, 1);
    return true;
  }

  orU8(gpa: Gpa, bits: number): number {
    const mapping = this.at(gpa);
    if (mapping === undefined || mapping.readonly) return -1;
    this.log?.mark(mapping.index, gpa - mapping.gpa, 1);
    return Atomics.or(mapping.bytes, gpa - mapping.gpa, bits);
  }

  writeU16(gpa: Gpa, value: number, littleEndian: boolean): boolean {
    if (!this.covers(gpa, 2, true)) return false;
    this.writeU8(gpa, littleEndian ? value & 0xff : (value >>> 8) & 0xff);
    return this.writeU8((gpa + 1) as Gpa, littleEndian ? (value >>> 8) & 0xff : value & 0xff);
  }

  writeU32(gpa: Gpa, value: number, littleEndian: boolean): boolean {
    if (!this.covers(gpa, 4, true)) return false;
    this.writeU16(gpa, littleEndian ? value & 0xffff : value >>> 16, littleEndian);
    return this.writeU16((gpa + 2) as Gpa, littleEndian ? value >>> 16 : value & 0xffff, littleEndian);
  }

  markDirty(gpa: Gpa, length: number): void {
    const { log } = this;
    if (log === undefined) return;
    let at: number = gpa;
    for (let left = length; left > 0; ) {
      const mapping = this.at(at);
      if (mapping === undefined) return;
      const piece = Math.min(left, mapping.end - at);
      log.mark(mapping.index, at - mapping.gpa, piece);
      left -= piece;
      at += piece;
    }
  }

  /** Begins to remember the pages that devices write. */
  startDirtyLog(): void {
    if (this.log?.recording) return;
    this.log ??= new DirtyLog();
    this.log.recording = true;
    this.sizeLog();
    // rings look at it when they renew their views
    this.epoch++;
  }

  /** Ends the log and forgets what it holds. */
  stopDirtyLog(): void {
    if (this.listener === undefined) this.log = undefined;
    else if (this.log !== undefined) {
      this.log.recording = false;
      this.log.clear();
    }
  }

  /**
   * Visits runs of pages of 4 KiB that were written since the log was started or taken last, and forgets them. Answers how
   * many pages; 0 if the log is off. A page that two regions share is in both.
   */
  takeDirty(visit: (gpa: Gpa, length: number) => void): number {
    return this.log?.take(visit) ?? 0;
  }

  private sizeLog(): void {
    for (const { index, gpa, size } of this.mappings) this.log?.setRegion(index, gpa, size);
  }

  private checkOverlap(): void {
    for (const [index, mapping] of this.mappings.entries()) {
      const next = this.mappings[index + 1];
      if (next === undefined || mapping.end <= next.gpa) continue;
      const [a, b] = [mapping, next].map(({ gpa, size }) => `0x${gpa.toString(16)} (${size} bytes)`);
      throw new HostError(`regions overlap: ${a} and ${b}`);
    }
  }
}

function checkRange(array: Uint8Array, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= array.length) return;
  throw new HostError(`bytes ${offset} to ${offset + length} of an array of ${array.length}`);
}

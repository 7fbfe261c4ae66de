import type { Segment, VirtQueueElement } from '../contract/element.ts';
import type { Chain, Spans, Virtqueue } from '../contract/queue.ts';
import { copyIn, copyOut } from './copy.ts';
import { HostError } from './errors.ts';
import type { Mapping } from './mapping.ts';
import type { MappedMemory } from './memory.ts';

/** The most pieces that a chain may have, both directions together. QEMU: `VIRTQUEUE_MAX_SIZE`. */
export const PIECES_MAX = 1024;

/** One direction of a chain: a run of the chain's pieces. */
export class Pieces implements Spans {
  count = 0;
  /** Index among the pieces of the chain of this direction's piece 0. */
  first = 0;
  /** Value of {@link total}, if it was counted while the chain was collected, else -1. */
  known = -1;
  // `declare`: a field that is undefined before it gets its value costs the engine's knowledge of its type, at each read
  declare private readonly chain: RingChain;
  declare private readonly writable: boolean;

  constructor(chain: RingChain, writable: boolean) {
    this.chain = chain;
    this.writable = writable;
  }

  private checkWritable(): void {
    // Virtio 1.3 §2.7.5.1 MUST NOT, §2.8.15 MUST NOT: a device-readable buffer is not written
    if (!this.writable) throw new HostError('what the driver wrote is not for the device to write');
  }

  get total(): number {
    return this.known >= 0 ? this.known : this.addUp();
  }

  private addUp(): number {
    let sum = 0;
    for (let i = 0; i < this.count; i++) sum += this.length(i);
    return sum;
  }

  bytes(i: number): Uint8Array {
    return this.mapping(i).bytes;
  }

  offset(i: number): number {
    return (this.chain.pieces[(this.first + i) << 1] as number) >>> 0;
  }

  length(i: number): number {
    return (this.chain.pieces[((this.first + i) << 1) + 1] as number) >>> 0;
  }

  mapping(i: number): Mapping {
    return this.chain.mapping(this.first + i);
  }

  // Virtio 1.3 §2.7.4.1 MUST NOT: how a request is cut into descriptors does not matter: devices copy across them
  copyTo(from: number, target: Uint8Array, at = 0, length: number = target.length - at): number {
    let skip = from;
    let done = 0;
    for (let i = 0; i < this.count && done < length; i++) {
      const size = this.length(i);
      if (skip >= size) {
        skip -= size;
        continue;
      }
      const piece = Math.min(size - skip, length - done);
      copyOut(this.mapping(i), this.offset(i) + skip, target, at + done, piece);
      done += piece;
      skip = 0;
    }
    return done;
  }

  copyFrom(from: number, source: Uint8Array, at = 0, length: number = source.length - at): number {
    this.checkWritable();
    let skip = from;
    let done = 0;
    for (let i = 0; i < this.count && done < length; i++) {
      const size = this.length(i);
      if (skip >= size) {
        skip -= size;
        continue;
      }
      const piece = Math.min(size - skip, length - done);
      copyIn(this.mapping(i), this.offset(i) + skip, source, at + done, piece);
      done += piece;
      skip = 0;
    }
    return done;
  }

  fill(from: number, length: number, value: number): number {
    this.checkWritable();
    let skip = from;
    let done = 0;
    for (let i = 0; i < this.count && done < length; i++) {
      const size = this.length(i);
      if (skip >= size) {
        skip -= size;
        continue;
      }
      const piece = Math.min(size - skip, length - done);
      const start = this.offset(i) + skip;
      this.bytes(i).fill(value, start, start + piece);
      done += piece;
      skip = 0;
    }
    return done;
  }

  u8(at: number): number {
    let skip = at;
    for (let i = 0; i < this.count; i++) {
      const size = this.length(i);
      if (skip < size) return this.bytes(i)[this.offset(i) + skip] as number;
      skip -= size;
    }
    return -1;
  }

  u16(at: number, littleEndian: boolean): number {
    const first = this.u8(at);
    const second = this.u8(at + 1);
    if (first < 0 || second < 0) return -1;
    return littleEndian ? first | (second << 8) : (first << 8) | second;
  }

  u32(at: number, littleEndian: boolean): number {
    const first = this.u16(at, littleEndian);
    const second = this.u16(at + 2, littleEndian);
    if (first < 0 || second < 0) return -1;
    return (littleEndian ? first | (second << 16) : (first << 16) | second) >>> 0;
  }

  /** Tells the dirty log, if there is one, of the first `written` bytes. QEMU: `virtqueue_unmap_sg`. */
  markDirty(written: number): void {
    const { log } = this.chain.memory;
    if (log === undefined) return;
    let left = written;
    for (let i = 0; i < this.count && left > 0; i++) {
      const piece = Math.min(left, this.length(i));
      log.mark(this.mapping(i).index, this.offset(i), piece);
      left -= piece;
    }
  }

  segments(): Segment[] {
    return Array.from({ length: this.count }, (_, i) => ({
      addr: BigInt(this.mapping(i).gpa + this.offset(i)),
      len: BigInt(this.length(i)),
    }));
  }
}

/** State of a chain that nobody has. */
export const FREE = 0;
/** State of a chain that the device has. */
export const TAKEN = 1;
/** State of a chain that the device has given back by `fill`, with IN_ORDER, until the driver can see it. */
export const FILLED = 2;

/** A chain of either ring format. The pool of its queue owns it and uses it again. */
export class RingChain implements Chain {
  declare readonly queue: Virtqueue;
  index = 0;
  ndescs = 1;
  declare readonly out: Pieces;
  declare readonly in: Pieces;
  pieces: Int32Array = new Int32Array(2 * 8);
  /** Length of {@link pieces}. A field of its own costs less to read than the length of an array. */
  room = 2 * 8;
  /** Index of the region that the first piece lies in. */
  region = 0;
  /** Flat list of pairs, piece and region: from that piece on, pieces lie in that region. Usually it is empty. */
  private readonly cuts: number[] = [];
  private cutCount = 0;
  /** Holder of the chain: {@link FREE}, {@link TAKEN} or {@link FILLED}. */
  state: number = FREE;
  /** Index of the chain in the pool of its queue. */
  declare readonly number: number;
  /** Number of the next free chain while it is free itself; -1: there is none. */
  nextFree = -1;
  /** Number of bytes that the device has written into a {@link FILLED} chain. */
  written = 0;
  declare readonly memory: MappedMemory;

  constructor(queue: Virtqueue, memory: MappedMemory, number: number) {
    this.queue = queue;
    this.number = number;
    this.memory = memory;
    this.out = new Pieces(this, false);
    this.in = new Pieces(this, true);
  }

  element(): VirtQueueElement {
    return { index: this.index, out: this.out.segments(), in: this.in.segments() };
  }

  /** Doubles the room for pieces. */
  grow(): void {
    const { pieces } = this;
    this.room = Math.min(2 * pieces.length, 2 * PIECES_MAX);
    this.pieces = new Int32Array(this.room);
    this.pieces.set(pieces);
  }

  /** Finds the region that a piece lies in. */
  mapping(piece: number): Mapping {
    return this.memory.mappings[this.cutCount === 0 ? this.region : this.search(piece)] as Mapping;
  }

  /** Finds the index of a piece's region: that of the last cut at or before it. */
  private search(piece: number): number {
    let low = 0;
    let high = this.cutCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.cuts[2 * middle] as number) <= piece) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? this.region : (this.cuts[2 * low - 1] as number);
  }

  /** Begins to collect a chain whose first piece lies in this region. */
  begin(region: number): void {
    this.region = region;
    this.cutCount = 0;
  }

  /** Notes that pieces lie in another region from the given one on. */
  cut(piece: number, region: number): void {
    if (piece === 0) {
      this.region = region;
      return;
    }
    this.cuts[2 * this.cutCount] = piece;
    this.cuts[2 * this.cutCount + 1] = region;
    this.cutCount++;
  }

  /**
   * Says which of the pieces are for the device to read.
   *
   * @param outCount so many of the first ones
   * @param count of all
   */
  split(outCount: number, count: number): void {
    const { out, in: into } = this;
    out.count = outCount;
    out.known = -1;
    into.first = outCount;
    into.count = count - outCount;
    into.known = -1;
  }

  /** Does what {@link split} does, where the bytes to write were counted, and those to read noted in {@link out} before. */
  splitKnown(outCount: number, count: number, inBytes: number): void {
    const { out, in: into } = this;
    out.count = outCount;
    into.first = outCount;
    into.count = (count - outCount) | 0;
    into.known = inBytes;
  }

  /**
   * Adds a buffer as piece `n` and following, region by region. Answers the new number of pieces, or -1 with {@link
   * problem} set. QEMU: `virtqueue_map_desc`.
   */
  map(n: number, gpa: number, length: number, writable: boolean): number {
    if (length === 0) return this.fail('virtio: zero sized buffers are not allowed');
    let count = n;
    let at = gpa;
    for (let left = length; left > 0; count++) {
      if (count === PIECES_MAX) return this.fail('virtio: too many write descriptors in indirect table');
      if (2 * count === this.room) this.grow();
      const mapping = this.memory.at(at);
      if (mapping === undefined || (writable && mapping.readonly)) {
        return this.fail('virtio: bogus descriptor or out of resources');
      }
      const piece = Math.min(left, mapping.end - at);
      this.pieces[2 * count] = at - mapping.gpa;
      this.pieces[2 * count + 1] = piece;
      const before = count === 0 ? -1 : this.mapping(count - 1).index;
      if (before !== mapping.index) this.cut(count, mapping.index);
      left -= piece;
      at += piece;
    }
    return count;
  }

  /** Text that says why {@link map} failed. */
  problem = '';

  private fail(problem: string): -1 {
    this.problem = problem;
    return -1;
  }
}

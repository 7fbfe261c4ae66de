import type { Chain, Spans, Virtqueue } from '../contract/queue.ts';
import type { Segment, VirtQueueElement } from '../state/element.ts';
import type { Mapping } from './mapping.ts';
import type { MappedMemory } from './memory.ts';

/** Most pieces of a chain, both directions together. QEMU: `VIRTQUEUE_MAX_SIZE`. */
export const PIECES_MAX = 1024;
/** 32-bit fields of a piece: offset in its region, length, index of the region, nothing. */
export const PIECE = 4;
/** Below this many bytes a loop is faster than a view and `set`. */
const SMALL_COPY = 48;

/** One direction of a chain. Its pieces lie in the chain's array. */
export class Pieces implements Spans {
  count = 0;
  /** Index of the first piece in {@link list}. */
  first = 0;
  // `declare`: see RingBase
  declare list: Int32Array;
  declare private readonly memory: MappedMemory;

  constructor(memory: MappedMemory, list: Int32Array) {
    this.memory = memory;
    this.list = list;
  }

  /** {@link total}, if it was worth counting at once; -1: it is not known. */
  known = -1;

  get total(): number {
    return this.known >= 0 ? this.known : this.addUp();
  }

  private addUp(): number {
    const { list, count } = this;
    let sum = 0;
    for (let i = 0, at = this.first * PIECE + 1; i < count; i++, at += PIECE)
      sum += (list[at] as number) >>> 0;
    return sum;
  }

  bytes(i: number): Uint8Array {
    return this.mapping(i).bytes;
  }

  offset(i: number): number {
    return (this.list[(this.first + i) * PIECE] as number) >>> 0;
  }

  length(i: number): number {
    return (this.list[(this.first + i) * PIECE + 1] as number) >>> 0;
  }

  mapping(i: number): Mapping {
    return this.memory.mappings[this.list[(this.first + i) * PIECE + 2] as number] as Mapping;
  }

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
      copy(this.bytes(i), this.offset(i) + skip, target, at + done, piece);
      done += piece;
      skip = 0;
    }
    return done;
  }

  copyFrom(from: number, source: Uint8Array, at = 0, length: number = source.length - at): number {
    let skip = from;
    let done = 0;
    for (let i = 0; i < this.count && done < length; i++) {
      const size = this.length(i);
      if (skip >= size) {
        skip -= size;
        continue;
      }
      const piece = Math.min(size - skip, length - done);
      copy(source, at + done, this.bytes(i), this.offset(i) + skip, piece);
      done += piece;
      skip = 0;
    }
    return done;
  }

  fill(from: number, length: number, value: number): number {
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

  /** Tells the dirty log of the first `written` bytes. QEMU: `virtqueue_unmap_sg`. */
  markDirty(written: number): void {
    const { log } = this.memory;
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

/** Where a chain is. */
export const FREE = 0;
/** The device has it. */
export const TAKEN = 1;
/** Filled, and not yet flushed. */
export const FILLED = 2;

/** A chain of either ring format. Reused: the pool of its queue owns it. */
export class RingChain implements Chain {
  declare readonly queue: Virtqueue;
  index = 0;
  ndescs = 1;
  declare readonly out: Pieces;
  declare readonly in: Pieces;
  /** Pieces of both directions, out first; {@link PIECE} fields each. */
  list: Int32Array = new Int32Array(8 * PIECE);
  /** {@link FREE}, {@link TAKEN} or {@link FILLED}. */
  state = 0;
  /** Among the chains of its queue; and the next free one. */
  declare readonly number: number;
  nextFree = -1;
  /** Bytes written, of a filled chain. */
  written = 0;
  declare private readonly memory: MappedMemory;

  constructor(queue: Virtqueue, memory: MappedMemory, number: number) {
    this.queue = queue;
    this.number = number;
    this.memory = memory;
    this.out = new Pieces(memory, this.list);
    this.in = new Pieces(memory, this.list);
  }

  element(): VirtQueueElement {
    return { index: this.index, out: this.out.segments(), in: this.in.segments() };
  }

  /** Room for twice as many pieces. */
  grow(): void {
    const list = new Int32Array(Math.min(2 * this.list.length, PIECES_MAX * PIECE));
    list.set(this.list);
    this.list = list;
    this.out.list = list;
    this.in.list = list;
  }

  /** How many pieces are for the device to read, and how many there are; the same for bytes, or -1. */
  split(outCount: number, count: number, outBytes: number, bytes: number): void {
    const { out, in: into } = this;
    out.count = outCount;
    out.known = outBytes;
    into.first = outCount;
    into.count = count - outCount;
    into.known = bytes < 0 ? -1 : bytes - outBytes;
  }

  /**
   * Adds a buffer as piece `n` and following, region by region. Answers the new number of pieces, or -1 with
   * {@link problem} set. QEMU: `virtqueue_map_desc`.
   */
  map(n: number, gpa: number, length: number, writable: boolean): number {
    if (length === 0) return this.#fail('virtio: zero sized buffers are not allowed');
    let count = n;
    let at = gpa;
    for (let left = length; left > 0; count++) {
      if (count === PIECES_MAX) return this.#fail('virtio: too many write descriptors in indirect table');
      if (count * PIECE === this.list.length) this.grow();
      const mapping = this.memory.at(at);
      if (mapping === undefined || (writable && mapping.readonly)) {
        return this.#fail('virtio: bogus descriptor or out of resources');
      }
      const piece = Math.min(left, mapping.end - at);
      this.list[count * PIECE] = at - mapping.gpa;
      this.list[count * PIECE + 1] = piece;
      this.list[count * PIECE + 2] = mapping.index;
      left -= piece;
      at += piece;
    }
    return count;
  }

  /** Why {@link map} failed. */
  problem = '';

  #fail(problem: string): -1 {
    this.problem = problem;
    return -1;
  }
}

/** Copies bytes without an object where few are copied. */
function copy(source: Uint8Array, from: number, target: Uint8Array, to: number, length: number): void {
  if (length <= SMALL_COPY) {
    for (let i = 0; i < length; i++) target[to + i] = source[from + i] as number;
    return;
  }
  target.set(source.subarray(from, from + length), to);
}

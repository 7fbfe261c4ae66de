import type { Spans } from '@virtkit/core/live';

/** Buffer of one array that a back end reads into or writes from. */
export class ArraySpans implements Spans {
  readonly count = 1;
  #bytes: Uint8Array;
  #offset: number;
  #length: number;

  constructor(bytes: Uint8Array, offset = 0, length: number = bytes.length - offset) {
    this.#bytes = bytes;
    this.#offset = offset;
    this.#length = length;
  }

  get total(): number {
    return this.#length;
  }

  bytes(): Uint8Array {
    return this.#bytes;
  }

  offset(): number {
    return this.#offset;
  }

  length(): number {
    return this.#length;
  }

  copyTo(from: number, target: Uint8Array, at = 0, length: number = target.length - at): number {
    const count = this.#clamp(from, length);
    const start = this.#offset + from;
    target.set(this.#bytes.subarray(start, start + count), at);
    return count;
  }

  copyFrom(from: number, source: Uint8Array, at = 0, length: number = source.length - at): number {
    const count = this.#clamp(from, length);
    this.#bytes.set(source.subarray(at, at + count), this.#offset + from);
    return count;
  }

  fill(from: number, length: number, value: number): number {
    const count = this.#clamp(from, length);
    const start = this.#offset + from;
    this.#bytes.fill(value, start, start + count);
    return count;
  }

  u8(at: number): number {
    return at >= 0 && at < this.#length ? (this.#bytes[this.#offset + at] as number) : -1;
  }

  u16(at: number, littleEndian: boolean): number {
    const [a, b] = [this.u8(at), this.u8(at + 1)];
    if (a < 0 || b < 0) return -1;
    return littleEndian ? a | (b << 8) : (a << 8) | b;
  }

  u32(at: number, littleEndian: boolean): number {
    const [a, b] = [this.u16(at, littleEndian), this.u16(at + 2, littleEndian)];
    if (a < 0 || b < 0) return -1;
    return (littleEndian ? a | (b << 16) : (a << 16) | b) >>> 0;
  }

  #clamp(from: number, length: number): number {
    return Math.max(0, Math.min(length, this.#length - from));
  }
}

import { StateError } from './errors.ts';
import type { Trace } from './trace.ts';

/**
 * Big-endian output into one growing buffer. {@link Writer.reset} keeps the buffer, so that a writer used
 * again and again allocates only while it still grows.
 */
export class Writer {
  /**
   * Buffer of the output: what was written is in front of {@link offset}, the rest is room. It is another array after
   * it has grown.
   */
  bytes: Uint8Array;
  /** View of {@link bytes} that writes numbers. */
  view: DataView;
  /** Number of bytes written so far. */
  offset = 0;
  /** Trace that records where each field lies, if it is set. */
  trace: Trace | undefined;

  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Makes room for `count` bytes and answers where they begin. Their content is whatever was there: write it. */
  reserve(count: number): number {
    const start = this.offset;
    const end = start + count;
    if (end > this.bytes.length) this.#grow(end);
    this.offset = end;
    return start;
  }

  /** Writes the lower 8 bits. */
  u8(value: number): void {
    // in two steps: reserve may replace the buffer
    const at = this.reserve(1);
    this.bytes[at] = value;
  }

  /** Writes the lower 16 bits, big-endian. */
  u16(value: number): void {
    const at = this.reserve(2);
    this.view.setUint16(at, value);
  }

  /** Writes the lower 32 bits, big-endian. */
  u32(value: number): void {
    const at = this.reserve(4);
    this.view.setUint32(at, value);
  }

  /** Writes the lower 64 bits, big-endian. */
  u64(value: bigint): void {
    const at = this.reserve(8);
    this.view.setBigUint64(at, value);
  }

  /** Writes bytes as they are. */
  raw(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
  }

  /** Writes `count` bytes of zeros. */
  zeros(count: number): void {
    const at = this.reserve(count);
    this.bytes.fill(0, at, at + count);
  }

  /** Copies what was written. */
  finish(): Uint8Array {
    return this.bytes.slice(0, this.offset);
  }

  /** Lends the bytes that were written, shared with the writer: valid until it is used again. */
  peek(): Uint8Array {
    return this.bytes.subarray(0, this.offset);
  }

  /** Forgets the content, keeps the buffer. */
  reset(): void {
    this.offset = 0;
  }

  #grow(wanted: number): void {
    const larger = new Uint8Array(Math.max(wanted, this.bytes.length * 2));
    larger.set(this.bytes);
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }
}

/** Demands a whole number in `[low, high]` from a host program's state. @throws StateError `value` for anything else */
export function demand(value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new StateError('value', `${String(value)} is not an integer from ${low} to ${high}`, {
    value: typeof value === 'number' ? value : String(value),
    low,
    high,
  });
}

/**
 * Demands a 64-bit number in `[low, high]` from a host program's state. @throws StateError `value` for anything else
 */
export function demandBig(value: bigint, low: bigint, high: bigint): bigint {
  if (typeof value === 'bigint' && value >= low && value <= high) return value;
  throw new StateError('value', `${String(value)} is not a bigint from ${low} to ${high}`, {
    value: String(value),
    low,
    high,
  });
}

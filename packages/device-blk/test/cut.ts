import type { Chain, Spans, VirtQueueElement, Virtqueue } from '@virtkit/core';

/** A buffer in pieces of these lengths, which lie in arrays of their own, `n` bytes behind the beginning of the `n`th. */
export class Cut implements Spans {
  readonly arrays: Uint8Array[];
  readonly #lengths: readonly number[];

  /** Filled with 1, 2, 3 and so on; around them there are 0xee. */
  constructor(lengths: readonly number[]) {
    let value = 0;
    this.#lengths = lengths;
    this.arrays = lengths.map((length, n) =>
      Uint8Array.of(...Array<number>(n).fill(0xee), ...Array.from({ length }, () => ++value & 0xff), 0xee),
    );
  }

  get count(): number {
    return this.#lengths.length;
  }
  get total(): number {
    return this.#lengths.reduce((sum, length) => sum + length, 0);
  }
  bytes = (i: number): Uint8Array => this.arrays[i] ?? new Uint8Array(0);
  offset = (i: number): number => i;
  length = (i: number): number => this.#lengths[i] ?? 0;

  get content(): number[] {
    return this.arrays.flatMap((array, n) => [...array.subarray(n, n + this.length(n))]);
  }
  copyTo(from: number, target: Uint8Array, at = 0, length = target.length - at): number {
    const bytes = this.content.slice(from, from + length);
    target.set(bytes, at);
    return bytes.length;
  }
  copyFrom(from: number, source: Uint8Array, at = 0, length = source.length - at): number {
    return this.#put(from, [...source.subarray(at, at + length)]);
  }
  fill(from: number, length: number, value: number): number {
    return this.#put(from, Array<number>(length).fill(value));
  }
  u8 = (at: number): number => this.content[at] ?? -1;
  u16 = (at: number, little: boolean): number => this.#number(at, 2, little);
  u32 = (at: number, little: boolean): number => this.#number(at, 4, little);

  #put(from: number, bytes: readonly number[]): number {
    let put = 0;
    for (let i = 0, at = 0; i < this.count; at += this.length(i), i++)
      for (let n = 0; n < this.length(i); n++) {
        const value = bytes[at + n - from];
        if (value === undefined) continue;
        this.bytes(i)[i + n] = value;
        put++;
      }
    return put;
  }
  #number(at: number, length: number, little: boolean): number {
    const bytes = this.content.slice(at, at + length);
    if (bytes.length < length) return -1;
    return Number(`0x${Buffer.from(little ? bytes.reverse() : bytes).toString('hex')}`);
  }
}

/** A chain of these buffers that comes from no ring. */
export class LooseChain implements Chain {
  readonly index = 0;
  readonly ndescs = 1;
  readonly pieces: Int32Array = new Int32Array(0);
  readonly out: Cut;
  readonly in: Cut;

  constructor(out: Cut, into: Cut) {
    this.out = out;
    this.in = into;
  }

  get queue(): Virtqueue {
    throw new Error('nobody should ask for the queue');
  }

  element(): VirtQueueElement {
    throw new Error('nobody should ask for the element');
  }
}

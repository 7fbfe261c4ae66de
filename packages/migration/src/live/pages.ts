import { HostError } from '@virtkit/core';
import { bytesOf, type LiveRam, type LiveRamBlock, PAGE } from './machine.ts';

const NO_BYTES = new Uint8Array(0);
const NO_WORDS = new Int32Array(0);

/** Set of the pages of a RAM block that have still to be sent: one bit each. */
export class BlockPages {
  readonly block: LiveRamBlock;
  readonly #bits: Uint32Array;
  readonly #pages: number;
  /** Number of pages that are marked. */
  count = 0;

  constructor(block: LiveRamBlock) {
    this.block = block;
    this.#pages = block.length / PAGE;
    this.#bits = new Uint32Array(Math.ceil(this.#pages / 32));
  }

  /** Marks all pages that have some of these bytes. What lies outside of the block is ignored. */
  mark(offset: number, length: number): void {
    const first = Math.max(0, Math.floor(offset / PAGE));
    const last = Math.min(this.#pages, Math.ceil((offset + length) / PAGE));
    for (let page = first; page < last; page++) {
      const word = this.#bits[page >>> 5] ?? 0;
      const bit = 1 << (page & 31);
      if ((word & bit) !== 0) continue;
      this.#bits[page >>> 5] = word | bit;
      this.count++;
    }
  }

  /** Takes the first marked page from a given one on, and unmarks it; -1 if there is none. */
  take(from: number): number {
    for (let page = from; page < this.#pages; page++) {
      const word = this.#bits[page >>> 5] ?? 0;
      if (word === 0) {
        page |= 31;
        continue;
      }
      if (((word >>> (page & 31)) & 1) === 0) continue;
      this.#bits[page >>> 5] = word & ~(1 << (page & 31));
      this.count--;
      return page;
    }
    return -1;
  }
}

/** Reader of a block's content, page by page, with a fast test for pages that are all zeros. */
export class PageReader {
  readonly #ram: LiveRam;
  readonly #index: number;
  readonly #block: LiveRamBlock;
  /** Array that the page of {@link look} lies in. */
  bytes: Uint8Array = NO_BYTES;
  /** Offset in {@link bytes} at which the page begins. */
  at = 0;
  #words: Int32Array = NO_WORDS;

  constructor(ram: LiveRam, index: number, block: LiveRamBlock) {
    this.#ram = ram;
    this.#index = index;
    this.#block = block;
  }

  /** Finds the block's bytes anew: a WebAssembly memory may have grown. @throws HostError */
  refresh(): void {
    if (this.#ram.snapshot === undefined) this.#use(bytesOf(this.#block));
  }

  /** Goes to the page at an offset of the block. @throws HostError */
  look(offset: number): void {
    this.at = offset;
    if (this.#ram.snapshot === undefined) return;
    const page = this.#ram.snapshot(this.#index, offset);
    if (page.length !== PAGE)
      throw new HostError(
        `a page of RAM block "${this.#block.name}" has ${page.length} bytes, ${PAGE} expected`,
      );
    this.#use(page);
    this.at = 0;
  }

  /** Is the page all zeros? */
  get isZero(): boolean {
    const { bytes, at: from } = this;
    const words = this.#words;
    if (words.length === 0) {
      for (let at = from; at < from + PAGE; at++) if (bytes[at] !== 0) return false;
      return true;
    }
    const end = (from + PAGE) / 4;
    for (let at = from / 4; at < end; at++) if (words[at] !== 0) return false;
    return true;
  }

  #use(bytes: Uint8Array): void {
    if (bytes.buffer === this.bytes.buffer && bytes.byteOffset === this.bytes.byteOffset) return;
    this.bytes = bytes;
    const aligned = bytes.byteOffset % 4 === 0;
    this.#words = aligned ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2) : NO_WORDS;
  }
}

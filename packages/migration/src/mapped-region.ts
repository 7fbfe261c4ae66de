import { StateError } from '@virtkit/vmstate';
import type { RamBlock } from './events.ts';

/** Smallest and largest length in bytes of a page that a target has. */
const [PAGE_MIN, PAGE_MAX] = [512n, 1n << 20n];

/**
 * Layout of a block's region in a mapped-ram file: a bitmap of the pages that are there, a gap, and the place of each
 * page.
 */
export interface MappedLayout {
  /** Length of a page in bytes. */
  readonly pageSize: number;
  /** Number of pages of the block. */
  readonly pages: number;
  /** Length of the bitmap in bytes, a bit a page. */
  readonly bitmapBytes: number;
  /** Offset of the first page's place from the beginning of the bitmap, in bytes. */
  readonly pagesAt: number;
  /** Length of the whole region in bytes. */
  readonly length: number;
}

/**
 * Finds the layout of a block's region; undefined for a block that is not in the file (`x-ignore-shared`).
 * @throws StateError `mapped-ram`
 */
export function mappedLayout({ name, length, mapped }: RamBlock): MappedLayout | undefined {
  if (mapped === undefined || mapped.pagesOffset === 0n) return undefined;
  const { pageSize, bitmapOffset, pagesOffset } = mapped;
  const place = { layer: 'stream', path: `ram.${name}` } as const;
  if (pageSize < PAGE_MIN || pageSize > PAGE_MAX || (pageSize & (pageSize - 1n)) !== 0n)
    throw new StateError('mapped-ram', `mapped-ram pages of ${pageSize} bytes`, { pageSize }, place);
  const pages = Math.ceil(length / Number(pageSize));
  // a whole number of longs
  const bitmapBytes = Math.ceil(pages / 64) * 8;
  const pagesAt = Number(pagesOffset - bitmapOffset);
  if (bitmapBytes > pagesAt) {
    const facts = { pages, bitmapBytes, available: pagesAt };
    throw new StateError('mapped-ram', `no room for the bitmap of ${pages} pages`, facts, place);
  }
  return { pageSize: Number(pageSize), pages, bitmapBytes, pagesAt, length: pagesAt + length };
}

/** Reader of a region's bytes as they come, which fills the block's memory. */
export class MappedReader {
  readonly #layout: MappedLayout;
  readonly #memory: Uint8Array;
  readonly #bitmap: Uint8Array;
  #at = 0;

  constructor(layout: MappedLayout, memory: Uint8Array) {
    this.#layout = layout;
    this.#memory = memory;
    this.#bitmap = new Uint8Array(layout.bitmapBytes);
  }

  take(bytes: Uint8Array, start: number, end: number): void {
    const { bitmapBytes, pagesAt, length } = this.#layout;
    copyPart(bytes.subarray(start, end), this.#at, this.#bitmap, 0, bitmapBytes);
    copyPart(bytes.subarray(start, end), this.#at, this.#memory, pagesAt, length);
    this.#at += end - start;
    if (this.#at >= length) this.#clearAbsent();
  }

  /** Clears the pages that are not there: old bytes may stand at their places. */
  #clearAbsent(): void {
    const { pages, pageSize } = this.#layout;
    for (let page = 0; page < pages; page++) {
      if ((((this.#bitmap[page >> 3] ?? 0) >> (page & 7)) & 1) === 0)
        this.#memory.fill(0, page * pageSize, (page + 1) * pageSize);
    }
  }
}

/** Copies that part of a piece, which stands at `at`, that lies in `from` to `end`; `into` stands at `from`. */
function copyPart(piece: Uint8Array, at: number, into: Uint8Array, from: number, end: number): void {
  const [first, last] = [Math.max(at, from), Math.min(at + piece.length, end)];
  if (first < last) into.set(piece.subarray(first - at, last - at), first - from);
}

import type { RamBlock } from '../events.ts';
import { type MappedLayout, mappedLayout } from '../mapped-region.ts';
import type { ChangedPage } from './changed-page.ts';

/** Bytes that replace those at an offset of the region. */
interface Patch {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/**
 * Changes of a block's region in a mapped-ram file: there each page has one place, so that changes go there and not
 * behind the others, and the bitmap says that they are there.
 */
export class MappedPages {
  readonly #layout: MappedLayout;
  readonly #pages: readonly ChangedPage[];
  readonly #marks = new Map<number, number>();
  #patches: readonly Patch[] | undefined;
  #at = 0;

  private constructor(layout: MappedLayout, pages: readonly ChangedPage[]) {
    this.#layout = layout;
    this.#pages = pages;
    for (const { offset, bytes } of pages) {
      const last = Math.ceil((offset + bytes.length) / layout.pageSize);
      for (let page = Math.floor(offset / layout.pageSize); page < last; page++)
        this.#marks.set(page >> 3, (this.#marks.get(page >> 3) ?? 0) | (1 << (page & 7)));
    }
  }

  /** Collects the changes of a block; undefined for a block without a region, or without changes. */
  static of(block: RamBlock, pages: readonly ChangedPage[]): MappedPages | undefined {
    const layout = mappedLayout(block);
    const own = pages.filter((page) => page.block === block.name);
    return layout === undefined || own.length === 0 ? undefined : new MappedPages(layout, own);
  }

  /** Takes the next piece of the region, and answers it with the changes in it. */
  apply(piece: Uint8Array): Uint8Array {
    const changed = piece.slice();
    this.#mark(changed);
    const begin = this.#at;
    for (const { at, bytes } of this.#patches ?? []) {
      const [first, last] = [Math.max(at, begin), Math.min(at + bytes.length, begin + piece.length)];
      if (first < last) changed.set(bytes.subarray(first - at, last - at), first - begin);
    }
    this.#at += piece.length;
    return changed;
  }

  /** Marks pages in the bitmap; those that were not there are cleared first, for their place may hold old bytes. */
  #mark(piece: Uint8Array): void {
    const { bitmapBytes, pageSize, pagesAt, length } = this.#layout;
    if (this.#at >= bitmapBytes) return;
    const absent: Patch[] = [];
    for (const [byte, mask] of this.#marks) {
      const at = byte - this.#at;
      const before = piece[at];
      if (before === undefined || byte >= bitmapBytes) continue;
      piece[at] = before | mask;
      for (let bit = 0; bit < 8; bit++) {
        if (((mask & ~before) >> bit) & 1) {
          const place = pagesAt + (8 * byte + bit) * pageSize;
          absent.push({ at: place, bytes: new Uint8Array(Math.min(pageSize, length - place)) });
        }
      }
    }
    const pages = this.#pages.map(({ offset, bytes }) => ({ at: pagesAt + offset, bytes }));
    const known = (this.#patches ?? pages).filter((patch) => !absent.includes(patch));
    this.#patches = [...absent, ...known];
  }
}

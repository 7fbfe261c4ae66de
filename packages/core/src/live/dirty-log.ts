import type { Gpa } from '../contract/memory.ts';

/** Bytes of a page of the dirty log. */
export const DIRTY_PAGE = 4096;

/** Function that is told of each piece of guest memory that a device writes: address, and length in bytes. */
export type WriteListener = (gpa: Gpa, length: number) => void;

/** Log of the pages that were written since it was last taken: one bit a page, one bitmap a region. */
export class DirtyLog {
  /** True if pages are remembered; else there is only the listener. */
  recording = false;
  private readonly listener: WriteListener | undefined;
  private readonly first: number[] = [];
  private readonly maps: Uint32Array[] = [];
  private readonly base: number[] = [];

  constructor(listener?: WriteListener) {
    this.listener = listener;
  }

  /** Makes room for the pages of a region; called again when the region has grown. */
  setRegion(index: number, gpa: Gpa, length: number): void {
    const first = Math.floor(gpa / DIRTY_PAGE);
    const pages = length === 0 ? 0 : Math.floor((gpa + length - 1) / DIRTY_PAGE) - first + 1;
    const map = new Uint32Array(Math.ceil(pages / 32));
    const old = this.maps[index];
    if (old !== undefined) map.set(old.subarray(0, map.length));
    this.first[index] = first;
    this.base[index] = gpa - first * DIRTY_PAGE;
    this.maps[index] = map;
  }

  /** Notes that bytes `[offset, offset + length)` of a region were written. */
  mark(region: number, offset: number, length: number): void {
    const map = this.maps[region];
    if (map === undefined || length <= 0) return;
    const from = offset + (this.base[region] ?? 0);
    this.listener?.(((this.first[region] ?? 0) * DIRTY_PAGE + from) as Gpa, length);
    if (!this.recording) return;
    const last = Math.floor((from + length - 1) / DIRTY_PAGE);
    for (let page = Math.floor(from / DIRTY_PAGE); page <= last; page++) {
      map[page >>> 5] = (map[page >>> 5] ?? 0) | (1 << (page & 31));
    }
  }

  /** Forgets all pages. */
  clear(): void {
    for (const map of this.maps) map.fill(0);
  }

  /** Calls `visit` for each run of dirty pages, and clears them. Answers how many pages there were. */
  take(visit: (gpa: Gpa, length: number) => void): number {
    let count = 0;
    for (const [region, map] of this.maps.entries()) {
      const pages = map.length * 32;
      const gpaOf = (page: number): Gpa => (((this.first[region] ?? 0) + page) * DIRTY_PAGE) as Gpa;
      let start = -1;
      for (let page = 0; page <= pages; page++) {
        const word = map[page >>> 5] ?? 0;
        if (word === 0 && start < 0) {
          page |= 31;
          continue;
        }
        const dirty = ((word >>> (page & 31)) & 1) !== 0;
        if (dirty && start < 0) start = page;
        if (!dirty && start >= 0) {
          visit(gpaOf(start), (page - start) * DIRTY_PAGE);
          count += page - start;
          start = -1;
        }
      }
      map.fill(0);
    }
    return count;
  }
}

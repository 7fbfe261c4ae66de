// Guest memory as an emulator without a flat array has it: pages of 4 KiB that are made when they are first touched. Written from
// the contract alone.
import type { MemoryMap, MemoryRegion } from '../../src/contract/memory.ts';

export const PAGE = 4096;

export class PagedMemory implements MemoryMap {
  readonly contract = 1;
  epoch = 0;
  tracksWrites = false;
  /** What devices wrote: address, bytes. */
  readonly written: (readonly [gpa: number, length: number])[] = [];
  readonly pages: Map<number, MemoryRegion> = new Map();
  readonly #size: number;
  #changed = false;

  /** @param size bytes of RAM, from address 0 on */
  constructor(size: number) {
    this.#size = size;
  }

  sync(): void {
    if (this.#changed) this.epoch++;
    this.#changed = false;
  }

  regionAt(gpa: number): MemoryRegion | undefined {
    if (gpa >= this.#size) return undefined;
    const number = Math.floor(gpa / PAGE);
    let page = this.pages.get(number);
    if (page === undefined) {
      page = { gpa: number * PAGE, bytes: new Uint8Array(PAGE) };
      this.pages.set(number, page);
    }
    return page;
  }

  markDirty(gpa: number, length: number): void {
    this.written.push([gpa, length]);
  }

  /** All pages move to other arrays, as when an emulator has packed its heap. */
  relocate(): void {
    for (const [number, { gpa, bytes }] of this.pages) {
      this.pages.set(number, { gpa, bytes: bytes.slice() });
      bytes.fill(0xbb);
    }
    this.#changed = true;
  }

  /** Devices are to say what they write, from the next entry on. */
  track(on: boolean): void {
    this.tracksWrites = on;
    this.#changed = true;
  }
}

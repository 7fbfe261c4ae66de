import type { Gpa, MemoryMap, MemoryRegion } from '@virtkit/core';

/** Bytes of a page. Buffers, rings and tables of descriptors may lie in it as they like, and cross into the next one. */
export const PAGE = 0x1000;

/**
 * Guest memory of an emulator that has no flat array. A page is made when somebody first touches it, so that a guest with 64 GiB costs what
 * it uses. This is all that `@virtkit/core` asks of guest memory: `MemoryMap`.
 */
export class PagedMemory implements MemoryMap {
  readonly contract = 1;
  /** Pages never move and never go, so that what was looked up stays good. */
  readonly epoch = 0;
  /** This emulator translates code, and has to know when a device writes over it. */
  readonly tracksWrites = true;
  /** Size of guest memory, in bytes: a multiple of {@link PAGE}, at most 2^53. */
  readonly size: number;
  readonly #pages = new Map<number, MemoryRegion>();
  readonly #written: (gpa: number, length: number) => void;

  constructor(size: number, written: (gpa: number, length: number) => void = () => {}) {
    this.size = size;
    this.#written = written;
  }

  /** Pages that there are by now. */
  get pages(): number {
    return this.#pages.size;
  }

  sync(): void {
    // pages do not move
  }

  regionAt(gpa: number): MemoryRegion | undefined {
    if (gpa < 0 || gpa >= this.size) return undefined;
    const number = Math.floor(gpa / PAGE);
    const page = this.#pages.get(number) ?? { gpa: number * PAGE, bytes: new Uint8Array(PAGE) };
    this.#pages.set(number, page);
    return page;
  }

  markDirty(gpa: Gpa, length: number): void {
    this.#written(gpa, length);
  }
}

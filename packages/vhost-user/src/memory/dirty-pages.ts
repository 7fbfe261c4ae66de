import type { Platform, SharedMapping } from '@virtkit/linux';
import { FrontEndError } from '../errors.ts';
import type { SharedArea } from '../wire/message.ts';

/** Length in bytes of a page of the log, which is the specification's. */
const PAGE = 4096;
/** Largest length of a log in bytes: a bit a page of 16 TiB. */
export const LOG_MAX = 2 ** 29;

/**
 * Log of the pages that were written, in memory that the front end reads and clears meanwhile: a bit a page, from
 * address 0 on.
 */
export class DirtyPages {
  readonly #bytes: Uint8Array;
  readonly #mapping: SharedMapping;

  /** @throws FrontEndError */
  constructor(platform: Platform, descriptor: number | undefined, { size, offset }: SharedArea) {
    if (descriptor === undefined) throw new FrontEndError('SET_LOG_BASE: no file descriptor');
    if (size === 0n || size > BigInt(LOG_MAX) || offset > 2n ** 53n - size)
      throw new FrontEndError(`SET_LOG_BASE: ${size} bytes at ${offset}, at most ${LOG_MAX} expected`, {
        size,
        offset,
      });
    this.#mapping = platform.map(descriptor, Number(offset), Number(size));
    this.#bytes = this.#mapping.window(0, Number(size));
  }

  /**
   * Notes that bytes `[gpa, gpa + length)` were written. What is behind the end of the log is not the front end's
   * memory.
   */
  mark(gpa: number, length: number): void {
    if (length <= 0) return;
    const last = Math.floor((gpa + length - 1) / PAGE);
    for (let page = Math.floor(gpa / PAGE); page <= last; page++) {
      const at = Math.floor(page / 8);
      if (at >= this.#bytes.length) return;
      // the front end takes bits out at the same time
      Atomics.or(this.#bytes, at, 1 << (page % 8));
    }
  }

  /** Could the front end make it shorter? */
  get shrinkable(): boolean {
    return this.#mapping.shrinkable;
  }

  close(): void {
    this.#mapping.close();
  }
}

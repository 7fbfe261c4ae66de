import { errorCode } from '../live/backend.ts';

/**
 * Latch that remembers that a flush failed. Systems tell of it once: the pages that could not be written count as clean
 * afterwards, and the next flush says that all is well. So from then on every flush fails, until the disk is opened
 * again. QEMU: `page_cache_inconsistent`.
 */
export class FlushLatch {
  readonly #name: string;
  #failure: unknown;
  #hasFailed = false;

  /** @param name of the disk, for the error */
  constructor(name: string) {
    this.#name = name;
  }

  /** Goes on only if no flush has failed. @throws Error with the code of the flush that failed */
  check(): void {
    if (!this.#hasFailed) return;
    const cause = this.#failure;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `${this.#name}: an earlier flush failed (${reason}), so writes before it may be lost; open the disk again`;
    throw Object.assign(new Error(message, { cause }), { code: errorCode(cause) });
  }

  /** Notes that a flush has failed. Answers its error. */
  fail(error: unknown): unknown {
    if (!this.#hasFailed) this.#failure = error;
    this.#hasFailed = true;
    return error;
  }
}

/** Makes the error that every operation on a closed disk is answered with. */
export function closedError(name: string): Error {
  return Object.assign(new Error(`${name}: the disk is closed`), { code: 'EBADF' });
}

import type { ByteDuplex, Clock } from './duplex.ts';

/** Milliseconds that a chunk without bytes counts as. */
const EMPTY_MS = 1;

/**
 * Reader of a connection, with one read at a time: one that was not waited for to its end is taken up by the next who
 * asks.
 */
export class Reading {
  readonly #duplex: ByteDuplex;
  readonly #clock: Clock;
  #pending: Promise<Uint8Array | undefined> | undefined;
  #stopped = false;

  constructor(duplex: ByteDuplex, clock: Clock) {
    this.#duplex = duplex;
    this.#clock = clock;
  }

  /** Reads the next bytes, at least one; undefined when the other side has closed. */
  next(): Promise<Uint8Array | undefined> {
    const reading = this.#begun();
    const over = (): void => {
      if (this.#pending === reading) this.#pending = undefined;
    };
    reading.then(over, over);
    return reading;
  }

  /** Does the other side say nothing for so many milliseconds? */
  silentFor(milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(milliseconds, () => resolve(true));
      const heard = (): void => {
        cancel();
        resolve(false);
      };
      this.#begun().then(heard, heard);
    });
  }

  /** Ends the reading, since nobody asks any more. */
  stop(): void {
    this.#stopped = true;
  }

  #begun(): Promise<Uint8Array | undefined> {
    if (this.#pending === undefined) {
      this.#pending = this.#read();
      this.#pending.catch(() => {});
    }
    return this.#pending;
  }

  async #read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = await this.#duplex.read();
      if (chunk === undefined || chunk.length > 0 || this.#stopped) return chunk;
      // nothing was said: who says that without end gets no turn that others need
      await new Promise<void>((resolve) => void this.#clock.after(EMPTY_MS, resolve));
    }
  }
}

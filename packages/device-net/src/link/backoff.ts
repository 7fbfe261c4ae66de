import { positive } from './settings.ts';
import type { ReconnectOptions } from './types.ts';

const WEEK = 7 * 24 * 3600 * 1000;

/** Waiting times between attempts to connect, which grow with each attempt. */
export class Backoff {
  readonly #min: number;
  readonly #max: number;
  #next: number;
  #upSince: number | undefined;

  /** @throws HostError that names the option */
  constructor({ min = 1000, max = 30_000 }: ReconnectOptions = {}) {
    this.#min = positive('reconnect.min', min, 1, WEEK);
    this.#max = positive('reconnect.max', max, min, WEEK);
    this.#next = min;
  }

  up(): void {
    this.#upSince = Date.now();
  }

  /**
   * Chooses the time to wait before the next attempt, in milliseconds. After a connection that stood longer than the
   * longest wait it begins anew; a peer that hangs up at once does not reset it.
   */
  next(): number {
    if (this.#upSince !== undefined && Date.now() - this.#upSince > this.#max) this.#next = this.#min;
    this.#upSince = undefined;
    const delay = this.#next;
    this.#next = Math.min(2 * delay, this.#max);
    return delay;
  }
}

import { positive } from './settings.ts';
import type { ReconnectOptions } from './types.ts';

const WEEK = 7 * 24 * 3600 * 1000;

/** How long to wait before the next attempt. */
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

  /** Milliseconds. What stood longer than the longest wait begins anew; a peer that hangs up at once does not. */
  next(): number {
    if (this.#upSince !== undefined && Date.now() - this.#upSince > this.#max) this.#next = this.#min;
    this.#upSince = undefined;
    const delay = this.#next;
    this.#next = Math.min(2 * delay, this.#max);
    return delay;
  }
}

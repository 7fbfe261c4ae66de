import type { Settings } from './options.ts';

/**
 * Number of bytes that a guest may still have in this period. QEMU: `quota_remaining`, `rate_limit_timer`. It is not in
 * a saved state: where one is restored, a period begins.
 */
export class Quota {
  readonly #settings: Settings;
  readonly #renewed: () => void;
  #left: number;
  #running = false;

  /** @param renewed is called when a new period begins */
  constructor(settings: Settings, renewed: () => void) {
    this.#settings = settings;
    this.#renewed = renewed;
    this.#left = settings.maxBytes;
  }

  /** Takes as many of `bytes` as are left: 0 to `bytes`. */
  atMost(bytes: number): number {
    return this.#left < bytes ? this.#left : bytes;
  }

  /**
   * Begins a period with the first request in it, so that nothing runs while a guest wants nothing. QEMU:
   * `activate_timer`.
   */
  begin(): void {
    if (this.#running || this.#left === Number.POSITIVE_INFINITY) return;
    this.#running = true;
    const { after, period, maxBytes } = this.#settings;
    after(period, () => {
      this.#running = false;
      this.#left = maxBytes;
      this.#renewed();
    });
  }

  take(bytes: number): void {
    // without a limit nothing is counted: each sum would be a new object
    if (this.#left !== Number.POSITIVE_INFINITY) this.#left -= bytes;
  }
}

import type { GuestPort } from '../live/backend.ts';

/** Largest number of bytes that wait for the guest to have room: what a person can paste. More are refused. */
export const WAITING_MAX = 1 << 20;

/** Queue of bytes on their way to the guest, for back ends whose source cannot be made to wait. */
export class Outgoing {
  readonly #waiting: Uint8Array[] = [];
  #bytes = 0;
  #port: GuestPort | undefined;

  attach(port: GuestPort): void {
    this.#port = port;
  }

  /** Number of bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Sends bytes, now or when there is room. The array must not change any more. Answers false if too many wait already,
   * and these are lost.
   */
  send(bytes: Uint8Array): boolean {
    if (this.#bytes + bytes.length > WAITING_MAX) return false;
    if (bytes.length === 0) return true;
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
    this.flush();
    return true;
  }

  /** Sends what waits, since the guest may have room. */
  flush(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const sent = this.#port?.send(next) ?? 0;
      this.#bytes -= sent;
      if (sent < next.length) {
        this.#waiting[0] = next.subarray(sent);
        return;
      }
      this.#waiting.shift();
    }
  }
}

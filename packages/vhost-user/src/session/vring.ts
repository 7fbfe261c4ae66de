import type { Platform, Watch } from '@virtkit/linux';
import type { VringAddress } from '../wire/message.ts';
import type { QueueTable } from './in-flight.ts';

/** A queue as the front end has set it up. */
export class Vring {
  readonly index: number;
  /** Entries; 0: the front end has not said. */
  size = 0;
  /** Where the ring goes on, as SET_VRING_BASE has it. */
  base = 0;
  address: VringAddress | undefined;
  /** The device may work on it. */
  enabled = false;
  /** Core has the ring. */
  started = false;
  /** The list of its chains in flight, while the ring is started. */
  flights: QueueTable | undefined;
  readonly #platform: Platform;
  #kick: number | undefined;
  #call: number | undefined;
  #error: number | undefined;
  #watch: Watch | undefined;

  constructor(index: number, platform: Platform) {
    this.index = index;
    this.#platform = platform;
  }

  /** The driver's kicks come here from now on; undefined: no more. */
  setKick(fd: number | undefined, kicked: () => void): void {
    this.#watch?.close();
    this.#watch = undefined;
    this.#kick = this.#replace(this.#kick, fd);
    if (fd === undefined) return;
    this.#watch = this.#platform.watch(fd, () => {
      this.#platform.clear(fd);
      kicked();
    });
  }

  get hasKick(): boolean {
    return this.#kick !== undefined;
  }

  /** Where the driver is interrupted; undefined: it looks itself. */
  setCall(fd: number | undefined): void {
    this.#call = this.#replace(this.#call, fd);
    // what was told to somebody who was not there any more
    this.interrupt();
  }

  setError(fd: number | undefined): void {
    this.#error = this.#replace(this.#error, fd);
  }

  interrupt(): void {
    if (this.#call !== undefined) this.#platform.signal(this.#call);
  }

  /** Tells the front end that the ring makes no sense. */
  tellError(): void {
    if (this.#error !== undefined) this.#platform.signal(this.#error);
  }

  /** Nobody is told anything any more, and the ring is as it was at first. */
  clear(): void {
    this.setKick(undefined, () => {});
    this.#call = this.#replace(this.#call, undefined);
    this.setError(undefined);
    this.size = 0;
    this.base = 0;
    this.address = undefined;
    this.enabled = false;
    this.started = false;
    this.flights = undefined;
  }

  #replace(old: number | undefined, fd: number | undefined): number | undefined {
    if (old !== undefined) this.#platform.close(old);
    return fd;
  }
}

import type { Platform, Watch } from '@virtkit/linux';
import type { VringAddress } from '../wire/message.ts';
import type { QueueTable } from './in-flight.ts';

/** Queue as the front end has set it up. */
export class Vring {
  readonly index: number;
  /** Number of entries of the ring; 0: the front end has not said. */
  size = 0;
  /** Position where the ring goes on, as SET_VRING_BASE has it. */
  base = 0;
  address: VringAddress | undefined;
  /** True if the device may work on the queue. */
  enabled = false;
  /** True if core has the ring. */
  started = false;
  /** List of the queue's chains in flight, while the ring is started. */
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

  /** Sets the descriptor that the driver's kicks come from; undefined: no more. */
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

  /** Sets the descriptor by which the driver is interrupted; undefined: the driver looks itself. */
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

  /** Clears the ring to what it was at first: nobody is told anything any more. */
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

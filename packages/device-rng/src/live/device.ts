import {
  type Chain,
  type DeviceHost,
  type DeviceIdentity,
  type DeviceModel,
  HostError,
  later,
  STATUS,
  type Virtqueue,
} from '@virtkit/core/live';
import { rngIdentity } from '../identity.ts';
import type { RngState } from '../state.ts';
import { type RngOptions, type Settings, settle } from './options.ts';
import { Quota } from './quota.ts';

/** Number of entries of the queue, which is QEMU's. */
const QUEUE_SIZE = 8;
/**
 * Number of bytes that a back end is asked for at a time, and that a request gets at most: as many as Web Crypto gives.
 */
export const FILL_MAX = 65_536;

/**
 * virtio-rng, live: Virtio 1.3 §5.4; QEMU `hw/virtio/virtio-rng.c`.
 *
 * ```ts
 * const entropy = new RngDevice({ backend: webCrypto(crypto) });
 * const { device } = new PciFunction(entropy, { memory }); // of @virtkit/transport-pci
 * ```
 *
 * A request stays in the ring until there are bytes for it, so a save needs no drain, and nothing of it is in the state. Bytes that come
 * while the machine is stopped are thrown away: they are asked for anew when it goes on.
 */
export class RngDevice implements DeviceModel<RngState> {
  readonly layer: DeviceIdentity<RngState> = rngIdentity;
  readonly features = 0n;
  readonly queueSizes: readonly number[] = [QUEUE_SIZE];
  readonly #settings: Settings;
  readonly #quota: Quota;
  /** Buffer that the back end fills. It is wiped when its bytes are the guest's. */
  readonly #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(FILL_MAX);
  /** Beginning of {@link #bytes}, as long as the last request. */
  #target: Uint8Array<ArrayBuffer> = this.#bytes;
  #host: DeviceHost | undefined;
  /** Answer of the back end that is waited for. */
  #answer: Promise<void> | undefined;
  /** True while the back end works, within a call. */
  #filling = false;
  /** True while the back end, which has failed, is left alone. */
  #resting = false;
  /** True if the back end failed, and has not answered since: that is told once. */
  #failed = false;
  #laterAsked = false;
  /** Number of resets: a chain that was taken before the last one is not given back any more. */
  #life = 0;

  /** @throws HostError that names the option */
  constructor(options: RngOptions) {
    this.#settings = settle(options);
    this.#quota = new Quota(this.#settings, () => this.#goOn());
  }

  /** Waits until the back end has nothing to do any more. */
  idle(): Promise<void> {
    return this.#answer ?? Promise.resolve();
  }

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  /** Serves, at DRIVER_OK, what was kicked before. QEMU: `virtio_rng_set_status`. */
  setStatus(): void {
    const queue = this.#host?.queue(0);
    if (queue !== undefined) this.handleQueue(queue);
  }

  reset(): void {
    this.#life++;
  }

  resetQueue(): void {
    this.#life++;
  }

  /** Serves the requests of the queue. QEMU: `virtio_rng_process`. */
  handleQueue(queue: Virtqueue): void {
    if (this.#answer !== undefined || this.#resting || this.#filling || !this.#ready()) return;
    const life = this.#life;
    let served = 0;
    try {
      while (served < QUEUE_SIZE && this.#ready() && this.#serveNext(queue)) served++;
    } finally {
      if (served > 0 && life === this.#life) queue.notify();
    }
    // a driver on another thread may be as fast as this: others have their turn
    if (served === QUEUE_SIZE) this.#serveLater();
  }

  /**
   * Takes the device's part of the state, which is empty. @throws HostError while the back end's `fill` runs: its chain
   * is neither in the ring nor given back
   */
  capture(): RngState {
    if (this.#filling) throw new HostError('an entropy device cannot be saved from inside of its back end');
    return {};
  }

  /** Is the guest ready? QEMU: `is_guest_ready`. Virtio 1.3 §2.1.2 MUST NOT: nothing is used before DRIVER_OK */
  #ready(): boolean {
    const host = this.#host;
    return host?.running === true && (host.status & STATUS.DRIVER_OK) !== 0;
  }

  /** Serves one request. Answers false if there is none, or it waits. */
  #serveNext(queue: Virtqueue): boolean {
    const chain = queue.pop();
    if (chain === undefined) return false;
    const { total } = chain.in;
    if (total === 0) {
      // a buffer that no byte fits into: the driver gets it back, and those behind it are served
      queue.push(chain, 0);
      return true;
    }
    this.#quota.begin();
    const wanted = this.#quota.atMost(Math.min(total, FILL_MAX));
    if (wanted === 0) {
      queue.unpop(chain);
      return false;
    }
    return this.#ask(queue, chain, wanted);
  }

  #ask(queue: Virtqueue, chain: Chain, wanted: number): boolean {
    if (this.#target.length !== wanted) this.#target = this.#bytes.subarray(0, wanted);
    const life = this.#life;
    let answer: number | Promise<number>;
    this.#filling = true;
    try {
      answer = this.#settings.backend.fill(this.#target);
    } catch (error) {
      if (life === this.#life) queue.unpop(chain);
      this.#rest(error);
      return false;
    } finally {
      this.#filling = false;
    }
    // the guest, which may run inside of the back end, has reset the queue: this chain is not ours any more
    const current = life === this.#life;
    if (typeof answer !== 'number') {
      if (current) queue.unpop(chain);
      this.#wait(answer);
      return false;
    }
    if (!this.#counts(answer)) {
      if (current) queue.unpop(chain);
      return false;
    }
    if (current) this.#deliver(queue, chain, answer);
    return current;
  }

  #wait(answer: Promise<number>): void {
    this.#answer = Promise.resolve(answer).then(
      (count) => this.#answered(count),
      (error: unknown) => {
        this.#answer = undefined;
        this.#rest(error);
      },
    );
  }

  /** Gives bytes that have come to whoever waits now: after a reset that is another request. */
  #answered(count: number): void {
    this.#answer = undefined;
    if (!this.#counts(count)) return;
    const queue = this.#host?.queue(0);
    if (queue === undefined || !this.#ready()) {
      this.#bytes.fill(0, 0, count);
      return;
    }
    this.#host?.memory.sync();
    const chain = queue.pop();
    if (chain === undefined) {
      this.#bytes.fill(0, 0, count);
      return;
    }
    this.#deliver(queue, chain, count);
    queue.notify();
    this.#goOn();
  }

  /** Is this a number of bytes that the back end can have filled? Other numbers are failures. */
  #counts(count: number): boolean {
    const { length } = this.#target;
    if (!Number.isInteger(count) || count < 0 || count > length) {
      this.#rest(new HostError(`the back end filled ${count} of ${length} bytes`));
      return false;
    }
    if (count === 0) {
      this.#rest(new HostError('the back end has no bytes'));
      return false;
    }
    this.#failed = false;
    return true;
  }

  #deliver(queue: Virtqueue, chain: Chain, count: number): void {
    // Virtio 1.3 §5.4.6.2 MUST: one random byte or more, and the driver is told how many
    const written = chain.in.copyFrom(0, this.#bytes, 0, count);
    this.#quota.take(written);
    this.#bytes.fill(0, 0, count);
    queue.push(chain, written);
  }

  /** Leaves a back end that failed alone for a while. */
  #rest(error: unknown): void {
    const { after, retryMs } = this.#settings;
    this.#resting = true;
    if (!this.#failed) {
      this.#failed = true;
      const reason = error instanceof Error ? error.message : String(error);
      this.#host?.event('entropy-failed', { reason });
    }
    after(retryMs, () => {
      this.#resting = false;
      this.#goOn();
    });
  }

  #serveLater(): void {
    if (this.#laterAsked) return;
    this.#laterAsked = true;
    later(() => {
      this.#laterAsked = false;
      this.#goOn();
    });
  }

  /** Looks into the ring, outside of a kick. */
  #goOn(): void {
    const host = this.#host;
    if (host === undefined || !this.#ready()) return;
    host.memory.sync();
    const queue = host.queue(0);
    if (queue !== undefined) this.handleQueue(queue);
  }
}

import type { DeviceHost, DeviceModel, Virtqueue } from '@virtkit/core';
import { type EntropyState, entropy } from './layer.ts';

/** Gives random bytes: fills as much of `target` as there is, and answers how many bytes that were. 0: none for now. */
export type Source = (target: Uint8Array) => number;

/** Most bytes of one answer. A guest may ask for more than its memory holds; this is what the device keeps for it. */
const ANSWER_MAX = 4096;

/**
 * virtio-rng, Virtio 1.3 §5.4: the driver hands in buffers, the device fills them with random bytes. Six members are all that
 * core asks of a device type; everything else has a default.
 */
export class EntropyDevice implements DeviceModel<EntropyState> {
  readonly layer = entropy;
  /** virtio-rng has no feature bits of its own. Core adds those of rings and transport. */
  readonly features = 0n;
  /** One queue, of eight entries as in QEMU. */
  readonly queueSizes = [8];
  readonly #source: Source;
  readonly #bytes = new Uint8Array(ANSWER_MAX);
  #host: DeviceHost | undefined;

  constructor(source: Source) {
    this.#source = source;
  }

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  handleQueue(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const wanted = Math.min(chain.in.total, ANSWER_MAX);
      const found = this.#source(this.#bytes.subarray(0, wanted));
      if (found === 0 && wanted > 0) {
        // it waits in the ring, where the next machine finds it too
        queue.unpop(chain);
        break;
      }
      queue.push(chain, chain.in.copyFrom(0, this.#bytes, 0, found));
    }
    queue.notify();
  }

  /** The source has bytes again. */
  refill(): void {
    const queue = this.#host?.running ? this.#host.queue(0) : undefined;
    if (queue === undefined) return;
    // an emulator's memory may have moved since the last access of the driver
    this.#host?.memory.sync();
    this.handleQueue(queue);
  }

  capture(): EntropyState {
    return {};
  }
}

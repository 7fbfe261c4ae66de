import type { Virtqueue } from '@virtkit/core';
import type { Coalescing } from './options.ts';

/** What the driver set for a queue. 0: no limit of that kind. */
export class CoalescingLimits {
  maxPackets = 0;
  maxUsecs = 0;
}

/**
 * Holds used-buffer notifications of one queue back, until so many packets or microseconds have passed. Virtio 1.3
 * §5.1.6.5.9. Not in a saved state: where it is restored, notifications come at once again.
 */
export class Notifier {
  readonly limits: CoalescingLimits = new CoalescingLimits();
  readonly #clock: Coalescing | undefined;
  #queue: Virtqueue | undefined;
  #count = 0;
  /** Tells timers apart that are of use no more. */
  #round = 0;

  constructor(clock: Coalescing | undefined) {
    this.#clock = clock;
  }

  /** The queue has one more used buffer, or all of one packet's. */
  notify(queue: Virtqueue): void {
    const { maxPackets, maxUsecs } = this.limits;
    // without a timer a packet could wait for ever
    if (this.#clock === undefined || maxUsecs === 0 || maxPackets <= 1) {
      queue.notify();
      return;
    }
    this.#queue = queue;
    this.#count++;
    if (this.#count >= maxPackets) {
      this.flush();
    } else if (this.#count === 1) {
      const round = ++this.#round;
      this.#clock.after(maxUsecs, () => {
        if (round === this.#round) this.flush();
      });
    }
  }

  /** Notifies now of what was held back. */
  flush(): void {
    const queue = this.#queue;
    this.forget();
    queue?.notify();
  }

  /** Takes over parameters. Virtio 1.3 §5.1.6.5.9.4: what they would have told already is told now. */
  set(maxPackets: number, maxUsecs: number): void {
    this.limits.maxPackets = maxPackets;
    this.limits.maxUsecs = maxUsecs;
    if (this.#count > 0 && (maxUsecs === 0 || this.#count >= maxPackets)) this.flush();
  }

  /** The queue is no more. */
  forget(): void {
    this.#queue = undefined;
    this.#count = 0;
    this.#round++;
  }

  /** A reset: the parameters are what the driver set for all queues of this direction. */
  reset({ maxPackets, maxUsecs }: CoalescingLimits): void {
    this.forget();
    this.limits.maxPackets = maxPackets;
    this.limits.maxUsecs = maxUsecs;
  }
}

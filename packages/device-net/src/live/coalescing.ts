import type { Virtqueue } from '@virtkit/core/live';
import type { Card } from './card.ts';
import type { Coalescing } from './options.ts';

/** Limits that the driver set for a queue; 0: there is no limit of that kind. */
export class CoalescingLimits {
  maxPackets = 0;
  maxUsecs = 0;
}

/**
 * Holder of used-buffer notifications of one queue, until so many packets or microseconds have passed. Virtio 1.3
 * §5.1.6.5.9. It is not in a saved state: where one is restored, notifications come at once again.
 *
 * At most one timer is under way, whatever the driver sets and however many packets pass. One that has become useless
 * is cancelled where the clock can do that. Where it cannot, the timer serves the packets that are held back when it
 * runs: they are told early. A driver that then asks for less time than the timer still may take is told of each packet
 * at once, until it has run.
 */
export class Notifier {
  readonly limits: CoalescingLimits = new CoalescingLimits();
  readonly #card: Card;
  readonly #index: number;
  readonly #clock: Coalescing | undefined;
  /** Number of notifications held back. */
  #count = 0;
  /** Microseconds of the timer under way; 0: there is none. */
  #armed = 0;
  #timer: unknown;

  constructor(card: Card, index: number) {
    this.#card = card;
    this.#index = index;
    this.#clock = card.settings.coalescing;
  }

  /** Notes that the queue has one more used buffer, or all of one packet's. */
  notify(queue: Virtqueue): void {
    const { maxPackets, maxUsecs } = this.limits;
    // without a timer a packet could wait for ever
    if (this.#clock === undefined || maxUsecs === 0 || maxPackets <= 1 || this.#armed > maxUsecs) {
      queue.notify();
      return;
    }
    this.#count++;
    if (this.#count >= maxPackets) this.flush();
    else if (this.#armed === 0) this.#start(this.#clock, maxUsecs);
  }

  /** Notifies the driver now of what was held back. */
  flush(): void {
    const held = this.#count > 0;
    this.forget();
    if (held) this.#card.host.queue(this.#index)?.notify();
  }

  /** Takes over limits. What they would have told already is told now. Virtio 1.3 §5.1.6.5.9.4 */
  set(maxPackets: number, maxUsecs: number): void {
    this.limits.maxPackets = maxPackets;
    this.limits.maxUsecs = maxUsecs;
    if (this.#count > 0 && (maxUsecs < this.#armed || this.#count >= maxPackets)) this.flush();
  }

  /** Forgets what was held back, since the queue is no more. */
  forget(): void {
    this.#count = 0;
    if (this.#armed === 0 || this.#clock?.cancel === undefined) return;
    this.#clock.cancel(this.#timer);
    this.#armed = 0;
    this.#timer = undefined;
  }

  /** Resets the limits to those that the driver set for all queues of this direction. */
  reset({ maxPackets, maxUsecs }: CoalescingLimits): void {
    this.forget();
    this.limits.maxPackets = maxPackets;
    this.limits.maxUsecs = maxUsecs;
  }

  /**
   * Starts the timer. It is a method of its own because where a closure is made, its scope is allocated at each call.
   */
  #start(clock: Coalescing, usecs: number): void {
    this.#armed = usecs;
    this.#timer = clock.after(usecs, this.#due);
  }

  readonly #due = (): void => {
    this.#armed = 0;
    this.#timer = undefined;
    if (this.#count === 0) return;
    this.#card.host.memory.sync();
    this.flush();
  };
}

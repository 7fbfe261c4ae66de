import { FrameQueue } from '../switch/frame-queue.ts';
import { FramePacket } from './frame-packet.ts';
import type { LinkCard } from './listener.ts';
import { FRAME_MIN, type LinkCounters } from './types.ts';

/**
 * Queue of frames from a network that does not wait, on their way to a card: those that it cannot take now are kept,
 * and not too many. A frame at which the card throws is lost.
 */
export class Inbox {
  readonly #card: LinkCard;
  readonly #counters: LinkCounters;
  readonly #frameMax: number;
  readonly #queue: FrameQueue;
  readonly #packet = new FramePacket();
  /** True while a delivery is under way; {@link #again} tells that the card said meanwhile that it is ready. */
  #busy = false;
  #again = false;

  constructor(card: LinkCard, counters: LinkCounters, frameMax: number, frames: number, bytes: number) {
    this.#card = card;
    this.#counters = counters;
    this.#frameMax = frameMax;
    this.#queue = new FrameQueue(frames, bytes);
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Takes a frame from the network, which is lent. */
  take(frame: Uint8Array): void {
    const counters = this.#counters;
    if (frame.length < FRAME_MIN || frame.length > this.#frameMax) {
      counters.rxMalformed++;
      return;
    }
    counters.rxFrames++;
    counters.rxBytes += frame.length;
    if (!this.#card.attached) {
      counters.rxDropped++;
      return;
    }
    if (!this.#busy && this.#queue.length === 0 && this.#give(frame)) return;
    if (!this.#queue.push(this.#packet.set(frame, undefined, 0), 0)) counters.rxDropped++;
  }

  /** Delivers what waits, since the card may have buffers. */
  ready(): void {
    this.#again = true;
    if (this.#busy) return;
    for (let { head } = this.#queue; head !== undefined; { head } = this.#queue) {
      if (!this.#give(head.bytes)) return;
      this.#queue.shift();
    }
  }

  clear(): void {
    this.#queue.clear();
  }

  /** Gives the card a frame, and once more if the card has become ready while it refused. */
  #give(frame: Uint8Array): boolean {
    this.#busy = true;
    let taken: boolean | undefined;
    do {
      this.#again = false;
      taken = this.#card.receive(frame);
    } while (taken === false && this.#again);
    this.#busy = false;
    if (taken === undefined) this.#counters.rxDropped++;
    return taken !== false;
  }
}

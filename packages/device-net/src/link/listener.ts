import { later } from '@virtkit/core';
import type { NetPort } from '../live/backend.ts';
import type { LinkEvent } from './types.ts';

/**
 * Calls a listener of the host program. What it throws reaches neither a card nor a socket: a timer throws it once
 * more.
 */
export function tell<Event>(listener: ((event: Event) => void) | undefined, event: Event): void {
  try {
    listener?.(event);
  } catch (mistake) {
    later(() => {
      throw mistake;
    });
  }
}

/**
 * Card at a link. What the card throws is an event, or without a listener a timer's exception, and the link goes on.
 */
export class LinkCard {
  readonly #onEvent: ((event: LinkEvent) => void) | undefined;
  #port: NetPort | undefined;

  constructor(onEvent: ((event: LinkEvent) => void) | undefined) {
    this.#onEvent = onEvent;
  }

  get attached(): boolean {
    return this.#port !== undefined;
  }

  attach(port: NetPort): void {
    this.#port = port;
  }

  /**
   * Gives the card a frame. Answers whether it was taken; undefined if the card threw, and the frame is lost; false
   * without a card.
   */
  receive(frame: Uint8Array): boolean | undefined {
    try {
      return this.#port?.receive(frame) ?? false;
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  txReady(): void {
    try {
      this.#port?.txReady();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    const listener =
      this.#onEvent ??
      (() => {
        throw error;
      });
    tell(listener, { name: 'failed', error });
  }
}

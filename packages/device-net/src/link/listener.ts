import { later } from '@virtkit/core';
import type { NetPort } from '../live/backend.ts';
import type { LinkEvent } from './types.ts';

/** Calls a listener of the host program. What it throws ends nowhere near a card or a socket: a timer throws it once more. */
export function tell<Event>(listener: ((event: Event) => void) | undefined, event: Event): void {
  try {
    listener?.(event);
  } catch (mistake) {
    later(() => {
      throw mistake;
    });
  }
}

/** The card at a link. What it throws is an event, or without a listener a timer's exception, and the link goes on. */
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

  /** Undefined: the card threw, and the frame is lost. Without a card: false. */
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

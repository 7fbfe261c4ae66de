import { later } from './later.ts';

/**
 * Number of kicks out of interrupts that are served before the program's timers have their turn: a guest that answers
 * each interrupt with a kick could go on for ever.
 */
const KICKS_IN_A_ROW = 1024;

/** Device that does what a kick asks for. */
export interface KickHandler {
  handleKick(queue: number): void;
}

/**
 * Kicks, one after the other. No device re-enters itself: a kick that comes while the device type works, or while the driver
 * is being interrupted, waits until the device type has returned.
 */
export class KickQueue {
  readonly #handler: KickHandler;
  /** Queues whose kicks wait, each once. */
  readonly #waiting: Set<number> = new Set();
  #busy = false;
  #isLater = false;
  /** Number of kicks that waited and were served since timers had their turn. */
  #inARow = 0;

  constructor(handler: KickHandler) {
    this.#handler = handler;
  }

  /** Serves a kick and those that it causes, or remembers it while the device is busy. */
  kick(queue: number): void {
    if (this.#busy) {
      this.#waiting.add(queue);
      return;
    }
    this.#busy = true;
    try {
      this.#handler.handleKick(queue);
      this.serve();
    } finally {
      this.#busy = false;
    }
  }

  /** Lets kicks wait from now on. Answers the value that {@link leave} must be given. */
  enter(): boolean {
    const outer = this.#busy;
    this.#busy = true;
    return outer;
  }

  /** Lets kicks be served again, unless they had to wait before already. */
  leave(outer: boolean): void {
    this.#busy = outer;
  }

  /**
   * Serves kicks that came while the device was busy, and those that come meanwhile, until timers must have their turn.
   */
  serve(): void {
    for (const queue of this.#waiting) {
      if (++this.#inARow > KICKS_IN_A_ROW) {
        this.#serveLater();
        return;
      }
      this.#waiting.delete(queue);
      this.#handler.handleKick(queue);
    }
  }

  /**
   * Serves waiting kicks when the device type has finished what it is doing; for callers that were not called by {@link
   * kick}.
   */
  serveSoon(outer: boolean): void {
    if (!outer && this.#waiting.size > 0) this.#serveLater();
  }

  /** Forgets kicks that wait, for a reset or a load of another state. */
  clear(): void {
    this.#waiting.clear();
  }

  #serveLater(): void {
    if (this.#isLater) return;
    this.#isLater = true;
    if (this.#inARow <= KICKS_IN_A_ROW) void Promise.resolve().then(() => this.#serveWaiting());
    else {
      later(() => {
        this.#inARow = 0;
        this.#serveWaiting();
      });
    }
  }

  #serveWaiting(): void {
    this.#isLater = false;
    if (this.#busy) return;
    this.#busy = true;
    try {
      this.serve();
    } finally {
      this.#busy = false;
    }
  }
}

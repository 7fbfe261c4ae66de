import type { ByteDuplex, Clock } from '../../src/live.ts';

/** What becomes of a connection that is cut: both sides notice, or nothing is heard any more. */
export type CutKind = 'closed' | 'silent';

/** One direction of a pipe. */
export class Direction {
  /** Bytes that were written. */
  written = 0;
  /** Bytes that were read. */
  delivered = 0;
  /** Everything that was written. */
  readonly record: Uint8Array[] = [];
  /** So many are delivered, and the next one cuts the connection. */
  limit = Number.POSITIVE_INFINITY;
  queue: Uint8Array[] = [];
  queued = 0;
  ended = false;
}

/** Bytes of an answer: the second one is the agreement. */
const PONG = 8;
/** So much may be under way before a writer waits. */
const WINDOW = 1 << 17;

/** Two ends of a connection in one program, which can be cut at any byte. */
export class Pipe {
  readonly forth = new Direction();
  readonly back = new Direction();
  readonly kind: CutKind;
  /** Called before anything is written: the guest's turn. */
  turn: () => void = () => {};
  cut = false;
  /** When the destination has agreed, so many bytes more are let through to it. */
  afterAgreement: number | undefined;
  /** The reader sees no more than this at a time. */
  chunk = Number.POSITIVE_INFINITY;
  #waiting: (() => void)[] = [];

  constructor(kind: CutKind = 'closed') {
    this.kind = kind;
  }

  /** The source's end. */
  get a(): ByteDuplex {
    return this.#end(this.forth, this.back);
  }

  get b(): ByteDuplex {
    return this.#end(this.back, this.forth);
  }

  /** Nothing more comes through. */
  sever(): void {
    if (this.cut) return;
    this.cut = true;
    this.#wake();
  }

  #end(out: Direction, into: Direction): ByteDuplex {
    return {
      write: (bytes) => this.#write(out, bytes),
      read: () => this.#read(into),
      close: () => {
        out.ended = true;
        this.#wake();
      },
    };
  }

  async #write(out: Direction, bytes: Uint8Array): Promise<void> {
    this.turn();
    if (this.cut) return this.#broken();
    out.record.push(bytes.slice());
    if (out === this.back && out.written === PONG && this.afterAgreement !== undefined)
      this.forth.limit = this.forth.written + this.afterAgreement;
    const room = out.limit - out.written;
    out.written += bytes.length;
    const piece = room < bytes.length ? bytes.subarray(0, Math.max(room, 0)) : bytes;
    if (piece.length > 0) {
      out.queue.push(piece);
      out.queued += piece.length;
      this.#wake();
    }
    if (room < bytes.length) {
      // what was on its way still arrives
      while (out.queued > 0 && !this.cut) await this.#change();
      this.sever();
      return this.#broken();
    }
    while (out.queued > WINDOW && !this.cut) await this.#change();
    if (this.cut) return this.#broken();
  }

  async #read(into: Direction): Promise<Uint8Array | undefined> {
    for (;;) {
      const first = into.queue.shift();
      if (first !== undefined) {
        const chunk = first.subarray(0, this.chunk);
        if (chunk.length < first.length) into.queue.unshift(first.subarray(chunk.length));
        into.queued -= chunk.length;
        into.delivered += chunk.length;
        this.#wake();
        return chunk;
      }
      if (this.cut) {
        if (this.kind === 'closed') return undefined;
        return new Promise(() => {});
      }
      if (into.ended) return undefined;
      await this.#change();
    }
  }

  #broken(): Promise<void> {
    return this.kind === 'closed' ? Promise.reject(new Error('the pipe was cut')) : new Promise(() => {});
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const each of this.#waiting.splice(0)) each();
  }
}

/** Time that goes by when nothing else happens. */
export class TestClock implements Clock {
  #now = 0;
  #timers: { at: number; callback: () => void }[] = [];
  /** The guest's turn, whenever time goes by. */
  #running = true;

  constructor() {
    void this.#run();
  }

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { at: this.#now + milliseconds, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer);
    };
  }

  /** Some time goes by at once. */
  pass(milliseconds: number): void {
    this.#now += milliseconds;
  }

  stop(): void {
    this.#running = false;
  }

  async #run(): Promise<void> {
    while (this.#running) {
      // all that can happen without time has happened then
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      const [next] = this.#timers.toSorted((a, b) => a.at - b.at);
      if (next === undefined) continue;
      this.#timers = this.#timers.filter((each) => each !== next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
  }
}

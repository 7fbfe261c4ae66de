import type { ByteDuplex } from './duplex.ts';

/**
 * Message between two sides besides bytes. A port or channel outlives an attempt to move a machine, and messages of an
 * attempt that was given up are still under way when the next one begins. So each side gives its attempt a number, and
 * what it says counts for the other side from the greeting on that repeats the other's number.
 */
export type Word =
  /**
   * Greeting: the sender is attempt `from`, reads `window` bytes ahead, and what follows is for attempt `to` of the
   * other side; 0: that one is not known yet.
   */
  | { readonly greeting: true; readonly from: number; readonly to: number; readonly window: number }
  /** Acknowledgement of bytes that were read: the other side may send as many more. */
  | { readonly read: number }
  /** End: attempt `end` says nothing more. */
  | { readonly end: number };

/** Sender of messages through a port or channel. */
export interface Voice {
  /** Longest message in bytes. */
  readonly longest: number;
  data(bytes: Uint8Array): void;
  say(word: Word): void;
}

/** Number of other sides that are greeted; each greets once, and a new one comes with each of its attempts. */
const GREETINGS_MAX = 64;
/** Length in bytes up to which short messages are put together: a message of one byte costs a hundred. */
const BLOCK = 4096;

/** One attempt to use a port or channel as a connection. They have no back-pressure of their own, so the reader tells what it has read. */
export class MessageDuplex implements ByteDuplex {
  readonly #voice: Voice;
  readonly #window: number;
  /** Number of this attempt. */
  readonly #own = 1 + Math.floor(Math.random() * 0xffff_ffff);
  #forget: () => void = () => {};
  /** Number of the other side's attempt, once it has greeted this one. */
  #peer: number | undefined;
  /** Number of bytes that may be under way to the other side. */
  #room = 0;
  /** Longest message to the other side, in bytes. */
  #longest = 0;
  /** Number of the attempt that was greeted last. */
  #greeted = 0;
  #greetings = 0;
  readonly #queue: Uint8Array[] = [];
  /** Last array of the queue, if short messages are put together there. */
  #block: Uint8Array | undefined;
  #blockUsed = 0;
  #queued = 0;
  /** Number of bytes sent that the other side has not read. */
  #unread = 0;
  #failure: string | undefined;
  /** True if the other side has ended. */
  #ended = false;
  #closed = false;
  #wake: (() => void)[] = [];

  /** @param window bytes that may come before they were read */
  constructor(voice: Voice, window: number) {
    this.#voice = voice;
    this.#window = window;
  }

  /** Begins to listen to messages, until `forget` is called. */
  open(forget: () => void): void {
    this.#forget = forget;
    try {
      this.#greet(0);
    } catch (error) {
      this.onFailure(error instanceof Error ? error.message : String(error));
    }
  }

  /** Sends bytes in messages that fit into the window of the other side, each when there is room for it. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#check();
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, this.#longest);
      if (this.#peer === undefined || this.#unread + count > this.#room) {
        await this.#change();
        this.#check();
        continue;
      }
      this.#unread += count;
      this.#voice.data(count === bytes.length ? bytes : bytes.slice(at, at + count));
      at += count;
    }
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#take();
      if (chunk !== undefined) {
        this.#queued -= chunk.length;
        // the other side may have gone, and what it said is still good
        if (!this.#ended && !this.#closed) this.#tell({ read: chunk.length });
        return chunk;
      }
      if (this.#failure !== undefined) throw new Error(this.#failure);
      if (this.#ended || this.#closed) return undefined;
      await this.#change();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#forget();
    this.#changed();
    if (!this.#ended) this.#tell({ end: this.#own });
  }

  onData(bytes: Uint8Array): void {
    // of an attempt that was given up, or after a failure
    if (this.#peer === undefined || this.#ended || this.#failure !== undefined) return;
    if (this.#queued + bytes.length > this.#window) {
      this.onFailure('more bytes than were asked for');
      return;
    }
    this.#keep(bytes);
    this.#changed();
  }

  /** @param word what has come; anything */
  onWord(word: unknown): void {
    if (this.#ended || this.#failure !== undefined) return;
    if (isGreeting(word)) this.#onGreeting(word);
    else if (hasNumber(word, 'end')) this.#onEnd(word.end);
    else if (hasNumber(word, 'read')) this.#onRead(word.read);
    else if (this.#peer !== undefined) this.onFailure('a message that is no part of a migration');
  }

  /** Ends the attempt, since the port or channel has closed. */
  onClose(): void {
    this.#ended = true;
    this.#changed();
  }

  onFailure(what: string): void {
    this.#failure ??= what;
    this.#queue.length = 0;
    this.#block = undefined;
    this.#blockUsed = 0;
    this.#queued = 0;
    this.#changed();
  }

  #onGreeting({ from, to, window }: Extract<Word, { greeting: true }>): void {
    if (this.#peer !== undefined) {
      // it has begun anew, without a word of farewell
      if (this.#peer !== from) this.onClose();
      return;
    }
    if (this.#greeted !== from) {
      if (++this.#greetings > GREETINGS_MAX) {
        this.onFailure(`more than ${GREETINGS_MAX} greetings`);
        return;
      }
      this.#greeted = from;
      this.#tryTo(() => this.#greet(from));
    }
    if (to !== this.#own) return;
    this.#peer = from;
    // who says that it takes any number of bytes would have them wait here
    this.#room = Math.min(window, this.#window);
    // several are under way at a time
    this.#longest = Math.min(this.#voice.longest, Math.max(1, Math.floor(this.#room / 4)));
    this.#changed();
  }

  #onEnd(number: number): void {
    // attempts that nobody has heard of end unheard
    if (number === (this.#peer ?? this.#greeted)) this.onClose();
  }

  #onRead(count: number): void {
    if (this.#peer === undefined) return;
    if (!(count >= 0 && count <= this.#unread)) {
      this.onFailure(`${count} bytes were read of ${this.#unread}`);
      return;
    }
    this.#unread -= count;
    this.#changed();
  }

  #greet(to: number): void {
    this.#voice.say({ greeting: true, from: this.#own, to, window: this.#window });
  }

  /** Sends a word, if there is somebody to hear it. */
  #tell(word: Word): void {
    this.#tryTo(() => this.#voice.say(word));
  }

  /**
   * Runs a send whose failure is not reported here: that nothing can be said any more is noticed by whoever writes, or
   * by the end that comes.
   */
  #tryTo(action: () => void): void {
    try {
      action();
    } catch {}
  }

  /** Queues bytes that have come, so that what is held is about as much as was counted. */
  #keep(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#queued += bytes.length;
    if (bytes.length >= BLOCK) {
      this.#endBlock();
      // shared memory would change while it is read, and a part of a larger buffer holds all of it
      const own = bytes.buffer instanceof ArrayBuffer && bytes.buffer.byteLength === bytes.length;
      this.#queue.push(own ? bytes : bytes.slice());
      return;
    }
    if (this.#blockUsed + bytes.length > BLOCK) this.#endBlock();
    this.#block ??= new Uint8Array(BLOCK);
    this.#block.set(bytes, this.#blockUsed);
    this.#blockUsed += bytes.length;
  }

  /** Puts the block of short messages into the queue. */
  #endBlock(): void {
    if (this.#block !== undefined) this.#queue.push(this.#block.slice(0, this.#blockUsed));
    this.#block = undefined;
    this.#blockUsed = 0;
  }

  #take(): Uint8Array | undefined {
    if (this.#queue.length === 0) this.#endBlock();
    return this.#queue.shift();
  }

  #check(): void {
    if (this.#failure !== undefined) throw new Error(this.#failure);
    if (this.#ended || this.#closed) throw new Error('the connection is closed');
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  #changed(): void {
    for (const each of this.#wake.splice(0)) each();
  }
}

function isGreeting(word: unknown): word is Extract<Word, { greeting: true }> {
  return (
    typeof word === 'object' &&
    word !== null &&
    'greeting' in word &&
    hasNumber(word, 'from') &&
    hasNumber(word, 'to') &&
    hasNumber(word, 'window') &&
    Number.isSafeInteger(word.window) &&
    word.window >= 1
  );
}

function hasNumber<K extends string>(word: unknown, key: K): word is Readonly<Record<K, number>> {
  return typeof word === 'object' && word !== null && typeof Reflect.get(word, key) === 'number';
}

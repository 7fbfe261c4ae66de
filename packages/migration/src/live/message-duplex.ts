import type { ByteDuplex } from './duplex.ts';

/** What {@link portDuplex} needs of a `MessagePort` (or a worker). */
export interface MessagePortLike {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: 'message' | 'messageerror' | 'close', listener: (event: object) => void): void;
  removeEventListener(type: 'message' | 'messageerror' | 'close', listener: (event: object) => void): void;
  start?(): void;
}

/** What {@link channelDuplex} needs of an `RTCDataChannel`: one that is open, reliable and ordered, which they are by default. */
export interface DataChannelLike {
  binaryType: string;
  send(data: ArrayBuffer): void;
  send(data: string): void;
  addEventListener(type: 'message' | 'close' | 'error', listener: (event: object) => void): void;
  removeEventListener(type: 'message' | 'close' | 'error', listener: (event: object) => void): void;
}

/** How much is under way. */
export interface MessageDuplexOptions {
  /** Bytes that may be sent before the other side has read them; the same on both sides. Default 1 MiB. */
  readonly window?: number;
}

const WINDOW = 1 << 20;
/** Longest message that every WebRTC implementation takes. */
const CHANNEL_MESSAGE = 16 << 10;

/**
 * A `MessagePort` as a connection: both ends of a `MessageChannel`, a worker and its `self`. Bytes are moved, not copied. The port is
 * used for nothing else meanwhile, and is not closed. That the other side has gone is noticed where the port has an event `close`;
 * elsewhere by its silence.
 */
export function portDuplex(port: MessagePortLike, options: MessageDuplexOptions = {}): ByteDuplex {
  const duplex = new MessageDuplex(
    {
      data: (bytes) => {
        const whole = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
        const own = whole ? bytes : bytes.slice();
        port.postMessage(own, own.buffer instanceof ArrayBuffer ? [own.buffer] : []);
      },
      credit: (count) => port.postMessage(count, []),
      end: () => port.postMessage(null, []),
      forget: () => {
        port.removeEventListener('message', onMessage);
        port.removeEventListener('messageerror', onError);
        port.removeEventListener('close', onClose);
      },
    },
    options.window ?? WINDOW,
  );
  const onMessage = (event: object): void => {
    const data = dataOf(event);
    if (data instanceof Uint8Array) duplex.onData(data);
    else if (typeof data === 'number') duplex.onCredit(data);
    else if (data === null) duplex.onEnd();
    else duplex.onFailure('a message that is no part of a migration');
  };
  const onError = (): void => duplex.onFailure('a message that could not be read');
  const onClose = (): void => duplex.onEnd();
  port.addEventListener('message', onMessage);
  port.addEventListener('messageerror', onError);
  port.addEventListener('close', onClose);
  port.start?.();
  return duplex;
}

/** A WebRTC data channel as a connection. It is used for nothing else meanwhile, and is not closed. */
export function channelDuplex(channel: DataChannelLike, options: MessageDuplexOptions = {}): ByteDuplex {
  channel.binaryType = 'arraybuffer';
  const duplex = new MessageDuplex(
    {
      data: (bytes) => {
        for (let at = 0; at < bytes.length; at += CHANNEL_MESSAGE)
          channel.send(bytes.slice(at, at + CHANNEL_MESSAGE).buffer as ArrayBuffer);
      },
      // a text is about the bytes
      credit: (count) => channel.send(String(count)),
      end: () => channel.send('end'),
      forget: () => {
        channel.removeEventListener('message', onMessage);
        channel.removeEventListener('close', onClose);
        channel.removeEventListener('error', onError);
      },
    },
    options.window ?? WINDOW,
  );
  const onMessage = (event: object): void => {
    const data = dataOf(event);
    if (data instanceof ArrayBuffer) duplex.onData(new Uint8Array(data));
    else if (data === 'end') duplex.onEnd();
    else if (typeof data === 'string') duplex.onCredit(Number(data));
    else duplex.onFailure('a message that is no part of a migration');
  };
  const onClose = (): void => duplex.onEnd();
  const onError = (): void => duplex.onFailure('the channel failed');
  channel.addEventListener('message', onMessage);
  channel.addEventListener('close', onClose);
  channel.addEventListener('error', onError);
  return duplex;
}

function dataOf(event: object): unknown {
  return 'data' in event ? event.data : undefined;
}

/** How something is said to the other side. */
interface Voice {
  data(bytes: Uint8Array): void;
  /** So many bytes were read: as many more may come. */
  credit(count: number): void;
  /** Nothing more will come. */
  end(): void;
  /** Stops listening. */
  forget(): void;
}

/** A connection over messages: they have no back-pressure of their own, so the reader tells what it has read. */
class MessageDuplex implements ByteDuplex {
  readonly #voice: Voice;
  readonly #window: number;
  #queue: Uint8Array[] = [];
  #queued = 0;
  /** Bytes sent that the other side has not read. */
  #unread = 0;
  #failure: string | undefined;
  /** The other side has ended. */
  #ended = false;
  #closed = false;
  #wake: (() => void)[] = [];

  constructor(voice: Voice, window: number) {
    this.#voice = voice;
    this.#window = window;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#check();
    this.#unread += bytes.length;
    this.#voice.data(bytes);
    while (this.#unread > this.#window) {
      await this.#change();
      this.#check();
    }
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#queue.shift();
      if (chunk !== undefined) {
        this.#queued -= chunk.length;
        // the other side may have gone, and what it said is still good
        if (!this.#ended && !this.#closed) this.#voice.credit(chunk.length);
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
    if (!this.#ended) this.#voice.end();
    this.#voice.forget();
    this.#changed();
  }

  onData(bytes: Uint8Array): void {
    if (this.#failure !== undefined) return;
    // shared memory would change while it is read
    this.#queue.push(bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice());
    this.#queued += bytes.length;
    // one write may go beyond the window, and a writer does not send more than it has
    if (this.#queued > 2 * this.#window) this.onFailure('more bytes than were asked for');
    else this.#changed();
  }

  onCredit(count: number): void {
    if (!(count >= 0 && count <= this.#unread)) {
      this.onFailure(`${count} bytes were read of ${this.#unread}`);
      return;
    }
    this.#unread -= count;
    this.#changed();
  }

  onEnd(): void {
    this.#ended = true;
    this.#changed();
  }

  onFailure(what: string): void {
    this.#failure ??= what;
    this.#queue = [];
    this.#queued = 0;
    this.#changed();
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

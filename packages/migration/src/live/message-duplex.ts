import { HostError } from '@virtkit/core';
import type { ByteDuplex } from './duplex.ts';
import { MessageDuplex } from './message-attempt.ts';

/** Part of a `MessagePort` (or a worker) that {@link portDuplex} needs. */
export interface MessagePortLike {
  /** Sends one message; the arrays of `transfer` are moved and not copied. */
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  /**
   * Has the listener called for each message, for what cannot be read as one, and at the end where the platform tells
   * it.
   */
  addEventListener(type: 'message' | 'messageerror' | 'close', listener: (event: object) => void): void;
  /** Has the listener called no more. */
  removeEventListener(type: 'message' | 'messageerror' | 'close', listener: (event: object) => void): void;
  /** Lets messages come: a `MessagePort` keeps them until then. */
  start?(): void;
}

/**
 * Part of an `RTCDataChannel` that {@link channelDuplex} needs. The channel is open, reliable and ordered, which they
 * are by default.
 */
export interface DataChannelLike {
  /** Form in which bytes come; it is set to `arraybuffer`. */
  binaryType: string;
  /** Sends one message. */
  send(data: ArrayBuffer): void;
  send(data: string): void;
  /** Has the listener called for each message, at the end, and when something went wrong. */
  addEventListener(type: 'message' | 'close' | 'error', listener: (event: object) => void): void;
  /** Has the listener called no more. */
  removeEventListener(type: 'message' | 'close' | 'error', listener: (event: object) => void): void;
}

/** Options of a connection over messages. */
export interface MessageDuplexOptions {
  /**
   * Largest number of bytes that may be under way before they were read; 1 or more, default 1 MiB. The smaller one of
   * both sides counts.
   */
  readonly window?: number;
}

const WINDOW = 1 << 20;
/** Longest message, in bytes, that every WebRTC implementation takes. */
const CHANNEL_MESSAGE = 16 << 10;

/**
 * A `MessagePort` as a connection: both ends of a `MessageChannel`, a worker and its `self`. Bytes are moved, not copied. The port is
 * used for nothing else meanwhile, and is not closed: it can be used for another attempt, at both ends. That the other side has gone
 * is noticed where the port has an event `close`; elsewhere by its silence.
 *
 * @throws HostError for a window that is none
 */
export function portDuplex(port: MessagePortLike, options: MessageDuplexOptions = {}): ByteDuplex {
  const duplex = new MessageDuplex(
    {
      longest: Number.POSITIVE_INFINITY,
      data: (bytes) => {
        const whole = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
        const own = whole ? bytes : bytes.slice();
        port.postMessage(own, own.buffer instanceof ArrayBuffer ? [own.buffer] : []);
      },
      say: (word) => port.postMessage(word, []),
    },
    windowOf(options),
  );
  const onMessage = (event: object): void => {
    const data = dataOf(event);
    if (data instanceof Uint8Array) duplex.onData(data);
    else duplex.onWord(data);
  };
  const onError = (): void => duplex.onFailure('a message that could not be read');
  const onClose = (): void => duplex.onClose();
  port.addEventListener('message', onMessage);
  port.addEventListener('messageerror', onError);
  port.addEventListener('close', onClose);
  port.start?.();
  duplex.open(() => {
    port.removeEventListener('message', onMessage);
    port.removeEventListener('messageerror', onError);
    port.removeEventListener('close', onClose);
  });
  return duplex;
}

/**
 * A WebRTC data channel as a connection. It is used for nothing else meanwhile, and is not closed: it can be used for another attempt,
 * at both ends.
 *
 * @throws HostError for a window that is none
 */
export function channelDuplex(channel: DataChannelLike, options: MessageDuplexOptions = {}): ByteDuplex {
  channel.binaryType = 'arraybuffer';
  const duplex = new MessageDuplex(
    {
      longest: CHANNEL_MESSAGE,
      data: (bytes) => {
        const whole = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
        channel.send(whole ? bytes.buffer : bytes.slice().buffer);
      },
      // a text is about the bytes
      say: (word) => channel.send(JSON.stringify(word)),
    },
    windowOf(options),
  );
  const onMessage = (event: object): void => {
    const data = dataOf(event);
    if (data instanceof ArrayBuffer) duplex.onData(new Uint8Array(data));
    else duplex.onWord(typeof data === 'string' ? wordOf(data) : undefined);
  };
  const onClose = (): void => duplex.onClose();
  const onError = (): void => duplex.onFailure('the channel failed');
  channel.addEventListener('message', onMessage);
  channel.addEventListener('close', onClose);
  channel.addEventListener('error', onError);
  duplex.open(() => {
    channel.removeEventListener('message', onMessage);
    channel.removeEventListener('close', onClose);
    channel.removeEventListener('error', onError);
  });
  return duplex;
}

function windowOf({ window = WINDOW }: MessageDuplexOptions): number {
  if (Number.isSafeInteger(window) && window >= 1) return window;
  throw new HostError(`window: ${window}, a whole number of bytes expected, 1 or more`);
}

function dataOf(event: object): unknown {
  return 'data' in event ? event.data : undefined;
}

/** Longest text, in characters, that is looked at: the words of this protocol are short. */
const WORD_MAX = 256;

function wordOf(text: string): unknown {
  if (text.length > WORD_MAX) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

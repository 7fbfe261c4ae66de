/** Types of messages from destination to source. QEMU: `enum mig_rp_message_type` */
const MESSAGE = { SHUT: 1, PONG: 2 } as const;
/** Length in bytes of a message's type and length. */
const HEAD = 4;
/** Length in bytes of the one word that both messages have. Other messages are a postcopy's. */
const WORD = 4;

/** Value of the ping behind the start of the stream, as in QEMU. */
export const PING_START = 1;
/**
 * Value of the ping behind the last section: its answer says that everything has arrived and nothing speaks against it.
 * What is still to come then is the end of the stream, and with it the hand-over. The bytes are those of the text
 * `virt`.
 */
export const PING_HAND_OVER = 0x76697274;

export function pong(value: number): Uint8Array {
  return message(MESSAGE.PONG, value);
}

/** Makes the message of the last word: 0, the guest runs here; else it does not. */
export function shut(value: number): Uint8Array {
  return message(MESSAGE.SHUT, value);
}

export function word(value: number): Uint8Array {
  const bytes = new Uint8Array(WORD);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** Reads a be32 at the beginning of some bytes. */
export function wordOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0);
}

function message(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(HEAD + WORD);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, type);
  view.setUint16(2, WORD);
  view.setUint32(HEAD, value);
  return bytes;
}

/** Reader of what a destination says, in chunks of any size. */
export class ReturnPathReader {
  readonly #carry = new Uint8Array(HEAD + WORD);
  #carried = 0;
  #count = 0;

  /** Takes bytes and answers the messages that are whole now; undefined: this is no return path of a pre-copy. */
  push(bytes: Uint8Array): readonly ReturnPathMessage[] | undefined {
    const messages: ReturnPathMessage[] = [];
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, HEAD + WORD - this.#carried);
      this.#carry.set(bytes.subarray(at, at + count), this.#carried);
      this.#carried += count;
      at += count;
      if (this.#carried < HEAD + WORD) break;
      this.#carried = 0;
      const view = new DataView(this.#carry.buffer);
      const [type, length, value] = [view.getUint16(0), view.getUint16(2), view.getUint32(HEAD)];
      if ((type !== MESSAGE.SHUT && type !== MESSAGE.PONG) || length !== WORD) return undefined;
      if (++this.#count > MESSAGES_MAX) return undefined;
      messages.push({ kind: type === MESSAGE.SHUT ? 'shut' : 'pong', value });
    }
    return messages;
  }
}

/** Largest number of messages of a destination: it answers a few pings, and says one last word. */
const MESSAGES_MAX = 64;

/** A message of the return path. */
export interface ReturnPathMessage {
  readonly kind: 'shut' | 'pong';
  readonly value: number;
}

import { FrontEndError } from '../errors.ts';
import { type Header, type Message, readHeader, readMessage } from './message.ts';
import { DESCRIPTORS_MAX, HEADER_BYTES, PAYLOAD_MAX } from './requests.ts';

/** Message with the file descriptors that came with it: they are whoever's takes them, and else to be closed. */
export interface Arrived {
  readonly message: Message;
  readonly descriptors: number[];
}

/**
 * Reader that makes messages of what comes over a socket, in whatever pieces it comes. It keeps one message at most.
 */
export class MessageReader {
  readonly #bytes = new Uint8Array(HEADER_BYTES + PAYLOAD_MAX);
  readonly #view = new DataView(this.#bytes.buffer);
  #filled = 0;
  #header: Header | undefined;
  #descriptors: number[] = [];

  /**
   * Array where the next bytes go; no more than the message still wants, since those behind it may bring descriptors of
   * another one.
   */
  get room(): Uint8Array {
    return this.#bytes.subarray(this.#filled, HEADER_BYTES + (this.#header?.size ?? 0));
  }

  /** Is the reader in the middle of a message? */
  get started(): boolean {
    return this.#filled > 0;
  }

  /**
   * Takes bytes that were put into {@link room}.
   *
   * @returns the message, if it is whole
   * @throws FrontEndError for one that is none
   */
  took(count: number, descriptors: readonly number[]): Arrived | undefined {
    this.#filled += count;
    this.#descriptors.push(...descriptors);
    if (this.#descriptors.length > DESCRIPTORS_MAX)
      throw new FrontEndError(`more than ${DESCRIPTORS_MAX} file descriptors with a message`);
    if (this.#filled < HEADER_BYTES) return undefined;
    this.#header ??= readHeader(this.#view);
    const end = HEADER_BYTES + this.#header.size;
    if (this.#filled < end) return undefined;
    const message = readMessage(
      this.#header,
      this.#bytes.subarray(HEADER_BYTES, end),
      this.#descriptors.length,
    );
    this.#filled = 0;
    this.#header = undefined;
    return { message, descriptors: this.abandon() };
  }

  /** Gives up a message that is not whole. Answers its descriptors, which are the caller's to close. */
  abandon(): number[] {
    const descriptors = this.#descriptors;
    this.#descriptors = [];
    return descriptors;
  }
}

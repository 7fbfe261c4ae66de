import { ClientError } from '../errors.ts';
import {
  COMMAND_NAMES,
  type CommandName,
  DESCRIPTORS_MAX,
  FLAG,
  HEADER_BYTES,
  PAYLOAD_MAX,
} from './commands.ts';

/** Message of the client, which is lent: the next one is read into the same memory. */
export interface Message {
  readonly id: number;
  /** Number of the command. */
  readonly command: number;
  /** Name of the command; undefined for one that is not known. */
  readonly name: CommandName | undefined;
  readonly isReply: boolean;
  /** True if the client waits for no reply. */
  readonly noReply: boolean;
  /** True for a reply that says that the client could not do it. */
  readonly isError: boolean;
  /** Number of bytes behind the header. */
  readonly length: number;
  /** Bytes behind the header, {@link length} of them; what lies behind is of older messages. */
  readonly payload: DataView<ArrayBuffer>;
}

/**
 * Reader that makes messages of what comes over a socket, in whatever pieces it comes. It keeps one message at most.
 */
export class MessageReader implements Message {
  id = 0;
  command = 0;
  name: CommandName | undefined;
  isReply = false;
  noReply = false;
  isError = false;
  length = 0;
  readonly payload: DataView<ArrayBuffer>;
  readonly #bytes = new Uint8Array(HEADER_BYTES + PAYLOAD_MAX);
  readonly #header = new DataView(this.#bytes.buffer, 0, HEADER_BYTES);
  #filled = 0;
  #hasHeader = false;
  #descriptors: number[] = [];

  constructor() {
    this.payload = new DataView(this.#bytes.buffer, HEADER_BYTES);
  }

  /**
   * Array where the next bytes go; no more than the message still wants, since those behind it may bring descriptors of
   * another one.
   */
  get room(): Uint8Array {
    return this.#bytes.subarray(this.#filled, HEADER_BYTES + (this.#hasHeader ? this.length : 0));
  }

  /** Is the reader in the middle of a message? */
  get started(): boolean {
    return this.#filled > 0;
  }

  /**
   * Takes bytes that were put into {@link room}.
   *
   * @returns true if the message is whole: it is this object
   * @throws ClientError for one that is none
   */
  took(count: number, descriptors: readonly number[]): boolean {
    this.#filled += count;
    if (descriptors.length > 0) this.#descriptors.push(...descriptors);
    if (this.#descriptors.length > DESCRIPTORS_MAX)
      throw new ClientError(`more than ${DESCRIPTORS_MAX} file descriptors with a message`);
    if (this.#filled < HEADER_BYTES) return false;
    if (!this.#hasHeader) this.#readHeader();
    if (this.#filled < HEADER_BYTES + this.length) return false;
    this.#filled = 0;
    this.#hasHeader = false;
    return true;
  }

  #readHeader(): void {
    const header = this.#header;
    const size = header.getUint32(4, true);
    const flags = header.getUint32(8, true);
    this.id = header.getUint16(0, true);
    this.command = header.getUint16(2, true);
    this.name = COMMAND_NAMES.get(this.command);
    const type = flags & FLAG.TYPE;
    if (size < HEADER_BYTES || size > HEADER_BYTES + PAYLOAD_MAX)
      throw new ClientError(
        `a message of ${size} bytes, ${HEADER_BYTES} to ${HEADER_BYTES + PAYLOAD_MAX} expected`,
        { command: this.command, size },
      );
    if (type > FLAG.REPLY)
      throw new ClientError(`a message of type ${type}, a command or a reply expected`, { flags });
    this.isReply = type === FLAG.REPLY;
    this.noReply = (flags & FLAG.NO_REPLY) !== 0;
    this.isError = (flags & FLAG.ERROR) !== 0;
    this.length = size - HEADER_BYTES;
    this.#hasHeader = true;
  }

  /** Takes the descriptors that have come: they are the caller's from now on. */
  takeDescriptors(): number[] {
    if (this.#descriptors.length === 0) return NONE;
    const descriptors = this.#descriptors;
    this.#descriptors = [];
    return descriptors;
  }
}

/** Array without descriptors, into which nobody puts anything. */
const NONE: number[] = [];

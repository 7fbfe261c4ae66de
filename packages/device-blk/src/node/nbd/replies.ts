import {
  CHUNK,
  CHUNK_DONE,
  CHUNK_ERROR,
  CHUNK_ERROR_OFFSET,
  COMMAND,
  EXTENDED_REPLY_MAGIC,
  NbdProtocolError,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
  serverError,
} from './protocol.ts';
import type { NbdRequest } from './request.ts';

/** Number of bytes of the largest thing that is read whole before it is looked at: headers, offsets, errors. */
const SMALL_BYTES = 4096 + 32;

const HEADER_BYTES = { simple: 16, structured: 20, extended: 32 } as const;

/** Requests that a connection waits for. */
export interface Waiting {
  get(cookie: bigint): NbdRequest | undefined;
  /** Takes the request with this cookie out: its reply is whole. */
  answered(cookie: bigint, request: NbdRequest): void;
}

/**
 * Reader of replies out of the bytes of a connection, however these are cut. What is read from the disk goes straight
 * to where it is wanted.
 */
export class ReplyReader {
  readonly #waiting: Waiting;
  readonly #form: keyof typeof HEADER_BYTES;
  /** Bytes that have come of the header or other small thing that is read now. */
  readonly #small = Buffer.alloc(SMALL_BYTES);
  #have = 0;
  #need = 0;
  /** Function that is called when the small thing is there. */
  #then: () => void;
  /** Cookie of the reply that is read now. */
  #cookie = 0n;
  #request: NbdRequest | undefined;
  #isLast = false;
  #chunkType = 0;
  #chunkLength = 0;
  /** Number of bytes of the disk that come next; {@link #offset} is their place in the read. */
  #data = 0;
  #offset = 0;

  constructor(form: keyof typeof HEADER_BYTES, waiting: Waiting) {
    this.#form = form;
    this.#waiting = waiting;
    this.#then = this.#header;
    this.#expect(HEADER_BYTES.simple, this.#header);
  }

  /**
   * Takes bytes of the connection. @throws NbdProtocolError for what the protocol forbids: the connection is of no use
   * any more
   */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#data > 0) {
        const length = Math.min(this.#data, bytes.length - at);
        this.#request?.receive(this.#offset, bytes, at, length);
        this.#offset += length;
        this.#data -= length;
        at += length;
        if (this.#data === 0) this.#endOfChunk();
        continue;
      }
      const length = Math.min(this.#need - this.#have, bytes.length - at);
      this.#small.set(bytes.subarray(at, at + length), this.#have);
      this.#have += length;
      at += length;
      if (this.#have === this.#need) this.#then();
    }
  }

  #expect(bytes: number, then: () => void): void {
    this.#have = 0;
    this.#need = bytes;
    this.#then = then;
  }

  #header(): void {
    const magic = this.#small.readUInt32BE(0);
    if (magic === SIMPLE_REPLY_MAGIC && this.#form !== 'extended') {
      // 16 bytes, which every reply has at least
      this.#simple();
      return;
    }
    const right = this.#form === 'extended' ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC;
    if (magic !== right || this.#form === 'simple')
      throw new NbdProtocolError(`a reply begins with ${magic.toString(16)}, which none does`);
    // the rest of this header, behind what has come of it
    this.#need = HEADER_BYTES[this.#form];
    this.#then = this.#chunkHeader;
  }

  #simple(): void {
    const error = this.#small.readUInt32BE(4);
    const request = this.#find(this.#small.readBigUInt64BE(8));
    this.#isLast = true;
    if (error !== 0) request.failure = serverError(error, request.text);
    if (error !== 0 || request.facts.command !== COMMAND.READ) {
      this.#endOfChunk();
      return;
    }
    if (this.#form !== 'simple') throw new NbdProtocolError('a read is answered without structure');
    this.#claim(0, request.facts.length);
    this.#offset = 0;
    this.#data = request.facts.length;
  }

  #chunkHeader(): void {
    this.#isLast = (this.#small.readUInt16BE(4) & CHUNK_DONE) !== 0;
    const type = this.#small.readUInt16BE(6);
    this.#find(this.#small.readBigUInt64BE(8));
    const length =
      this.#form === 'extended' ? Number(this.#small.readBigUInt64BE(24)) : this.#small.readUInt32BE(16);
    this.#chunkType = type;
    this.#chunkLength = length;
    if (type === CHUNK.NONE && length === 0 && this.#isLast) this.#endOfChunk();
    else if (type === CHUNK.OFFSET_DATA && length > 8) this.#expect(8, this.#dataOffset);
    else if (type === CHUNK.OFFSET_HOLE && length === 12) this.#expect(12, this.#hole);
    else if ((type & CHUNK_ERROR) !== 0 && length >= 6 && length <= SMALL_BYTES)
      this.#expect(length, this.#error);
    else throw new NbdProtocolError(`a chunk of type ${type} with ${length} bytes, last: ${this.#isLast}`);
  }

  #dataOffset(): void {
    const length = this.#chunkLength - 8;
    this.#offset = this.#within(length);
    this.#data = length;
  }

  #hole(): void {
    const length = this.#small.readUInt32BE(8);
    this.#request?.receiveZeros(this.#within(length), length);
    this.#endOfChunk();
  }

  /** Reads the position on the disk that a chunk begins with; answers its offset in bytes within what was asked for. */
  #within(length: number): number {
    const position = this.#request?.facts.position ?? 0;
    const offset = this.#small.readBigUInt64BE(0) - BigInt(position);
    if (offset < 0n || offset > 0xffffffffn)
      throw new NbdProtocolError('bytes came that the read did not ask for');
    this.#claim(Number(offset), length);
    return Number(offset);
  }

  #claim(offset: number, length: number): void {
    const request = this.#request;
    if (request?.facts.command === COMMAND.READ && request.claim(offset, length)) return;
    throw new NbdProtocolError(
      `${request?.text ?? 'a request'} is answered with ${length} bytes at offset ${offset}, which it did not ask for or has`,
    );
  }

  #error(): void {
    const number = this.#small.readUInt32BE(0);
    const length = this.#small.readUInt16BE(4);
    const rest = this.#chunkLength - 6 - (this.#chunkType === CHUNK_ERROR_OFFSET ? 8 : 0);
    if (length > rest) throw new NbdProtocolError(`the text of an error has ${length} bytes of ${rest}`);
    const text = this.#small.toString('utf8', 6, 6 + length);
    const request = this.#request;
    if (request !== undefined) request.failure ??= serverError(number, request.text, text);
    this.#endOfChunk();
  }

  #find(cookie: bigint): NbdRequest {
    this.#cookie = cookie;
    this.#request = this.#waiting.get(cookie);
    if (this.#request === undefined)
      throw new NbdProtocolError(`a reply to request ${cookie}, which is not under way`);
    return this.#request;
  }

  #endOfChunk(): void {
    const request = this.#request;
    this.#expect(HEADER_BYTES.simple, this.#header);
    if (!this.#isLast || request === undefined) return;
    if (request.failure === undefined && !request.isWhole)
      throw new NbdProtocolError(`${request.text} is answered without some of its bytes`);
    this.#request = undefined;
    this.#waiting.answered(this.#cookie, request);
  }
}

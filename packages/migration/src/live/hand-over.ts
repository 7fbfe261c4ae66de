import { COMMAND, TYPE } from '../wire.ts';
import { PING_HAND_OVER, word } from './return-path.ts';

const QUESTION_WORD = word(PING_HAND_OVER);
const QUESTION = Uint8Array.of(TYPE.COMMAND, 0, COMMAND.PING, 0, 4, ...QUESTION_WORD);

/** Is this the payload of the command with which the source asks whether all is well? */
export function isQuestion(payload: Uint8Array): boolean {
  return equal(payload, QUESTION_WORD);
}

/**
 * Watcher of the last bytes of the stream: are they those of the source's question? A guest may have written them into
 * its devices.
 */
export class QuestionSpotter {
  #last: Uint8Array = new Uint8Array(0);

  get found(): boolean {
    return equal(this.#last, QUESTION);
  }

  push(chunk: Uint8Array): void {
    const size = QUESTION.length;
    this.#last =
      chunk.length >= size
        ? chunk.slice(chunk.length - size)
        : Uint8Array.of(
            ...this.#last.subarray(Math.max(0, this.#last.length + chunk.length - size)),
            ...chunk,
          );
  }
}

/** Number of bytes in front of a vmdesc's text: EOF byte, type of the vmdesc, be32 length. */
const HEAD = 6;

/**
 * Reader of the bytes behind the agreement of both sides: the end of the stream, which is the EOF byte and a vmdesc,
 * and nothing else.
 */
export class EndReader {
  readonly #head = new Uint8Array(HEAD);
  #bytes = 0;
  #isOther = false;

  /** Has something else come? Then it was no question that was answered, or this is no stream. */
  get isOther(): boolean {
    return this.#isOther;
  }

  /** Has the whole end come? */
  get isWhole(): boolean {
    return !this.#isOther && this.#bytes >= HEAD && this.#bytes === HEAD + this.#length;
  }

  push(chunk: Uint8Array): void {
    if (this.#bytes < HEAD) this.#head.set(chunk.subarray(0, HEAD - this.#bytes), this.#bytes);
    this.#bytes += chunk.length;
    const [eof, type] = this.#head;
    this.#isOther ||=
      eof !== TYPE.EOF ||
      (this.#bytes > 1 && type !== TYPE.VMDESCRIPTION) ||
      (this.#bytes >= HEAD && this.#bytes > HEAD + this.#length);
  }

  get #length(): number {
    return new DataView(this.#head.buffer).getUint32(2);
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

import { COMMAND, TYPE } from '../wire.ts';
import { PING_HAND_OVER, word } from './return-path.ts';

const QUESTION_WORD = word(PING_HAND_OVER);
const QUESTION = Uint8Array.of(TYPE.COMMAND, 0, COMMAND.PING, 0, 4, ...QUESTION_WORD);

/** Is this the payload of the source's question? */
export function isQuestion(payload: Uint8Array): boolean {
  return equal(payload, QUESTION_WORD);
}

/** Are the bytes that came last those of the source's question? A guest may have written them into its devices. */
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

/** EOF byte, type of the vmdesc, be32 length of its text. */
const HEAD = 6;

/** What comes behind the agreement: the end of the stream, which is the EOF byte and a vmdesc, and nothing else. */
export class EndReader {
  readonly #head = new Uint8Array(HEAD);
  #bytes = 0;
  #isOther = false;

  /** Something else has come: it was no question that was answered, or this is no stream. */
  get isOther(): boolean {
    return this.#isOther;
  }

  /** All of it has come. */
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

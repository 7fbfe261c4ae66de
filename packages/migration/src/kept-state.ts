import { latin1, StateError } from '@virtkit/vmstate';
import { be32, TYPE } from './wire.ts';

const CLOSING_BRACE = 0x7d;
/**
 * Number of bytes of a vmdesc's text that are looked at before it is read: the name of the first section stands in
 * them.
 */
const TEXT_HEAD = 1 << 16;

/**
 * Buffer of device state that has come and cannot be split into sections yet. It also tells whether its end looks like
 * that of a stream, which costs the same whatever is kept.
 */
export class KeptState {
  readonly #limit: number;
  /** Array with the kept bytes, and room behind them. */
  #buffer: Uint8Array = new Uint8Array(0);
  #length = 0;
  #base = 0;
  /** Number of bytes of bodies and commands that were told: whoever collects them keeps them. */
  #told = 0;
  /** Index of the last kept byte that is not zero; -1: there is none. */
  #lastNonZero = -1;
  /** Index of the last zero in front of {@link #lastNonZero}. */
  #lastZero = -1;

  /** @param limit most bytes of device state, told or kept */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** View of the kept bytes, valid until more are kept. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  get length(): number {
    return this.#length;
  }

  /** Offset in the stream of the first kept byte. */
  get base(): number {
    return this.#base;
  }

  /** Number of kept bytes, without the zeros at their end. */
  get end(): number {
    return this.#lastNonZero + 1;
  }

  /** Number of bytes that may still be kept. */
  get left(): number {
    return this.#limit - this.#told;
  }

  /** Keeps bytes that stand at `position` in the stream. @throws StateError `limit` */
  keep(bytes: Uint8Array, position: number): void {
    if (this.#length === 0) this.#base = position;
    this.#demandRoom(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /**
   * Keeps bytes behind the end of RAM, and remembers what {@link looksEnded} needs.
   *
   * @param zeros so many zeros stand in front of them
   * @param last index of the last of them that is not zero; -1: none
   * @throws StateError `limit`
   */
  keepTail(bytes: Uint8Array, position: number, zeros: number, last: number): void {
    if (zeros > 0) {
      this.#demandRoom(zeros + bytes.length);
      // a buffer that was used before has other bytes there
      this.#buffer.fill(0, this.#length, this.#length + zeros);
      this.#length += zeros;
    }
    const before = this.#length;
    this.keep(bytes, position);
    if (last < 0) return;
    const zero = last === 0 ? -1 : bytes.lastIndexOf(0, last);
    if (zero >= 0) this.#lastZero = before + zero;
    else if (before > this.#lastNonZero + 1) this.#lastZero = before - 1;
    this.#lastNonZero = before + last;
  }

  /** Forgets the kept bytes, of which the first `told` were told. */
  forget(told = 0): void {
    this.#told += told;
    this.#length = 0;
  }

  /** Counts bytes that were told without being kept. @throws StateError `limit` */
  count(bytes: number): void {
    this.#demandRoom(bytes);
    this.#told += bytes;
  }

  /** Do the kept bytes end with what looks like a whole vmdesc, and zeros? */
  get looksEnded(): boolean {
    return this.#textStart() >= 0;
  }

  /**
   * Is the first kept section one that the vmdesc names? Nearly all that only looks like an end names another one, or
   * none.
   */
  namesFirst(): boolean {
    const text = this.#textStart();
    const [type, length = 0] = [this.#buffer[0], this.#buffer[5]];
    const name = latin1(this.#buffer.subarray(6, 6 + length));
    const head = latin1(this.#buffer.subarray(text, Math.min(this.end, text + TEXT_HEAD)));
    return type !== TYPE.FULL || head.includes(name);
  }

  /**
   * Index at which the text of a vmdesc begins that is the last of the kept bytes, but for zeros; -1: there is none.
   */
  #textStart(): number {
    const [bytes, end] = [this.#buffer, this.end];
    if (end === 0 || bytes[end - 1] !== CLOSING_BRACE) return -1;
    // the text holds no zero, and in front of it stand the EOF byte, which is one, the type and the length
    const last = this.#lastZero;
    for (let at = last + 1; at <= Math.min(last + 6, end); at++) {
      const begins = bytes[at - 6] === TYPE.EOF && bytes[at - 5] === TYPE.VMDESCRIPTION;
      if (begins && be32(bytes, at - 4) === end - at) return at;
    }
    return -1;
  }

  /** Makes room for `count` bytes more. @throws StateError `limit` */
  #demandRoom(count: number): void {
    const wanted = this.#length + count;
    if (wanted > this.left) {
      throw new StateError(
        'limit',
        `more than ${this.#limit} bytes of device state`,
        { bytes: this.#told + wanted, limit: this.#limit },
        { layer: 'stream', offset: this.#base },
      );
    }
    if (wanted <= this.#buffer.length) return;
    // in large steps: what was outgrown stays in memory for a while, and what is not written yet takes none on most systems
    const larger = new Uint8Array(
      Math.min(Math.max(Math.ceil(1.5 * wanted), 4 * this.#buffer.length), this.left),
    );
    larger.set(this.bytes);
    this.#buffer = larger;
  }
}

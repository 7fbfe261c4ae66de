import type { Spans } from '@virtkit/core';
import { ensure, Failure } from './case.ts';

/**
 * Buffer of bytes in three pieces of odd lengths, each in its own array, between margins; lent until it is said that
 * they are not.
 */
export class LentBuffer implements Spans {
  /** Number of bytes in front of the content, and behind it. */
  static readonly MARGIN = 16;
  readonly count = 3;
  readonly total: number;
  readonly #arrays: readonly Uint8Array[];
  readonly #starts: readonly number[];
  #ended: string | undefined;

  constructor(content: Uint8Array) {
    const whole = new Uint8Array(content.length + 2 * LentBuffer.MARGIN).fill(0xa5);
    whole.set(content, LentBuffer.MARGIN);
    const { length } = whole;
    this.total = length;
    this.#starts = [0, Math.floor(length / 3) | 1, Math.floor(length / 2) | 1];
    // three bytes in front: pieces begin anywhere in their arrays
    this.#arrays = this.#starts.map((start, i) =>
      Uint8Array.of(0, 0, 0, ...whole.subarray(start, this.#starts[i + 1] ?? length)),
    );
  }

  /** Ends the loan: from now on whoever uses it does so in vain, and fails. */
  end(how: string): void {
    this.#ended = how;
  }

  /** Takes the content. @throws Failure if the margins are not what they were */
  content(): Uint8Array {
    const whole = new Uint8Array(this.total);
    this.copyTo(0, whole);
    const end = this.total - LentBuffer.MARGIN;
    const margins = [...whole.subarray(0, LentBuffer.MARGIN), ...whole.subarray(end)];
    ensure(
      margins.every((byte) => byte === 0xa5),
      'bytes beside the target of a read were written',
    );
    return whole.slice(LentBuffer.MARGIN, end);
  }

  bytes(i: number): Uint8Array {
    return this.#array(i);
  }

  offset(_i: number): number {
    return 3;
  }

  length(i: number): number {
    return this.#array(i).length - 3;
  }

  copyTo(from: number, target: Uint8Array, at = 0, length: number = target.length - at): number {
    return this.#each(from, length, (piece, done) => target.set(piece, at + done));
  }

  copyFrom(from: number, source: Uint8Array, at = 0, length: number = source.length - at): number {
    return this.#each(from, length, (piece, done) =>
      piece.set(source.subarray(at + done, at + done + piece.length)),
    );
  }

  fill(from: number, length: number, value: number): number {
    return this.#each(from, length, (piece) => piece.fill(value));
  }

  u8(at: number): number {
    const byte = new Uint8Array(1);
    return at >= 0 && this.copyTo(at, byte) === 1 ? (byte[0] ?? -1) : -1;
  }

  u16(at: number, littleEndian: boolean): number {
    const bytes = new Uint8Array(2);
    return this.copyTo(at, bytes) === 2 ? new DataView(bytes.buffer).getUint16(0, littleEndian) : -1;
  }

  u32(at: number, littleEndian: boolean): number {
    const bytes = new Uint8Array(4);
    return this.copyTo(at, bytes) === 4 ? new DataView(bytes.buffer).getUint32(0, littleEndian) : -1;
  }

  #array(i: number): Uint8Array {
    if (this.#ended !== undefined) throw new Failure(`the back end used the buffer of ${this.#ended}`);
    const array = this.#arrays[i];
    if (array === undefined) throw new Failure(`piece ${i} of ${this.count}`);
    return array;
  }

  #each(from: number, length: number, work: (piece: Uint8Array, done: number) => void): number {
    let done = 0;
    for (const [i, start] of this.#starts.entries()) {
      const array = this.#array(i);
      const skip = from + done - start;
      const piece = array.subarray(3 + skip, Math.min(array.length, 3 + skip + length - done));
      if (done >= length || skip < 0 || skip >= array.length - 3) continue;
      work(piece, done);
      done += piece.length;
    }
    return done;
  }
}

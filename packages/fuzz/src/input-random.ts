import { Random } from '@virtkit/testing/suite';

/**
 * A source of "random" numbers that are the bytes of an input: a fuzzer that changes a byte changes one decision.
 * Behind the input's end they are those of a generator, always the same, so that loops over choices end.
 */
export class InputRandom extends Random {
  readonly #input: Uint8Array;
  #at = 0;

  constructor(input: Uint8Array) {
    super(0);
    this.#input = input;
  }

  #take(bytes: number): number {
    if (this.#at >= this.#input.length) return super.next();
    let value = 0;
    for (let i = 0; i < bytes; i++) value = value * 256 + (this.#input[this.#at++] ?? 0);
    return value;
  }

  override next(): number {
    return this.#take(4);
  }

  /** Takes as many bytes as the limit needs. */
  override below(limit: number): number {
    if (limit <= 1) return 0;
    return this.#take(limit <= 0x100 ? 1 : limit <= 0x1_0000 ? 2 : 4) % limit;
  }

  override bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.#take(1));
  }
}

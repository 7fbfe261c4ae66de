/**
 * Gate that lets a number of operations through at a time, and a number of bytes; the others wait, oldest first. An
 * operation that is larger than all goes through alone.
 */
export class Gate {
  readonly #operationsMax: number;
  readonly #bytesMax: number;
  #operations = 0;
  #bytes = 0;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  /** Index of the first operation that still waits; those in front of it have gone. */
  #head = 0;

  constructor(operationsMax: number, bytesMax: number = Number.POSITIVE_INFINITY) {
    this.#operationsMax = operationsMax;
    this.#bytesMax = bytesMax;
  }

  /**
   * Enters the gate, at once or when the promise resolves. Whoever has entered must {@link leave} with the same number
   * of bytes.
   */
  enter(bytes = 0): Promise<void> | undefined {
    if (this.#head === this.#waiting.length && this.#fits(bytes)) {
      this.#take(bytes);
      return undefined;
    }
    return new Promise((go) => {
      this.#waiting.push({ bytes, go });
    });
  }

  leave(bytes = 0): void {
    this.#operations--;
    this.#bytes -= bytes;
    for (;;) {
      const next = this.#waiting[this.#head];
      if (next === undefined || !this.#fits(next.bytes)) break;
      this.#head++;
      this.#take(next.bytes);
      next.go();
    }
    if (this.#head * 2 < this.#waiting.length) return;
    this.#waiting.splice(0, this.#head);
    this.#head = 0;
  }

  #fits(bytes: number): boolean {
    if (this.#operations === 0) return true;
    return this.#operations < this.#operationsMax && this.#bytes + bytes <= this.#bytesMax;
  }

  #take(bytes: number): void {
    this.#operations++;
    this.#bytes += bytes;
  }
}

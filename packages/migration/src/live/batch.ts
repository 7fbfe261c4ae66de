/** Number of bytes that are handed to the connection at a time. */
const CHUNK = 1 << 16;

/** Queue of bytes on their way to the connection, in arrays that are given away. */
export class Batch {
  #full: Uint8Array[] = [];
  #current: Uint8Array = new Uint8Array(CHUNK);
  #used = 0;
  /** Number of bytes that were ever appended. */
  total = 0;

  /** Are there enough bytes for the connection to be asked? */
  get isLarge(): boolean {
    return this.#full.length > 0;
  }

  /** Appends a copy of some bytes, since guest memory goes on changing. */
  append(bytes: Uint8Array, start: number, end: number): void {
    this.total += end - start;
    for (let at = start; at < end; ) {
      const count = Math.min(end - at, CHUNK - this.#used);
      this.#current.set(bytes.subarray(at, at + count), this.#used);
      this.#used += count;
      at += count;
      if (this.#used < CHUNK) return;
      this.#full.push(this.#current);
      this.#current = new Uint8Array(CHUNK);
      this.#used = 0;
    }
  }

  /** Takes the full arrays, and with `all` the one that is not full. */
  take(all: boolean): Uint8Array[] {
    const chunks = this.#full;
    this.#full = [];
    if (all && this.#used > 0) {
      chunks.push(this.#current.slice(0, this.#used));
      this.#used = 0;
    }
    return chunks;
  }
}

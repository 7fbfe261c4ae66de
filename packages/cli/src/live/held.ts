/** Length of a block in bytes. */
const BLOCK_BYTES = 1 << 16;

/**
 * Queue of bytes that are held back, in blocks: a source may send one byte at a time, and an array for each of them
 * would take a hundred times its bytes.
 */
export class Held {
  #blocks: Uint8Array[] = [];
  /** Number of bytes used of the last block. */
  #used = BLOCK_BYTES;

  /** Appends a copy of some bytes. */
  append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#used === BLOCK_BYTES) {
        this.#blocks.push(new Uint8Array(BLOCK_BYTES));
        this.#used = 0;
      }
      const count = Math.min(bytes.length - at, BLOCK_BYTES - this.#used);
      this.#blocks.at(-1)?.set(bytes.subarray(at, at + count), this.#used);
      this.#used += count;
      at += count;
    }
  }

  /** Takes all that was held, in order; nothing is held afterwards. */
  take(): Uint8Array[] {
    const blocks = this.#blocks;
    const last = blocks.pop();
    if (last !== undefined) blocks.push(last.subarray(0, this.#used));
    this.#blocks = [];
    this.#used = BLOCK_BYTES;
    return blocks;
  }
}

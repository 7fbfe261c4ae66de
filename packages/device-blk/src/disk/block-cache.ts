/** Cache of the blocks that were used last. */
export class BlockCache {
  readonly #limit: number;
  readonly #blocks = new Map<number, Uint8Array>();
  #bytes = 0;

  /** @param limit bytes; one block stays in any case */
  constructor(limit: number) {
    this.#limit = limit;
  }

  has(block: number): boolean {
    return this.#blocks.has(block);
  }

  get(block: number): Uint8Array | undefined {
    const bytes = this.#blocks.get(block);
    if (bytes === undefined) return undefined;
    // a Map keeps the order of insertion
    this.#blocks.delete(block);
    this.#blocks.set(block, bytes);
    return bytes;
  }

  set(block: number, bytes: Uint8Array): void {
    this.#bytes += bytes.length - (this.#blocks.get(block)?.length ?? 0);
    this.#blocks.delete(block);
    this.#blocks.set(block, bytes);
    for (const [oldest, { length }] of this.#blocks) {
      if (this.#bytes <= this.#limit || this.#blocks.size === 1) break;
      this.#blocks.delete(oldest);
      this.#bytes -= length;
    }
  }

  clear(): void {
    this.#blocks.clear();
    this.#bytes = 0;
  }
}

import type { Spans } from '@virtkit/core';
import type { BlkBackend } from '@virtkit/device-blk';

/**
 * A disk like QEMU's `null-co` with `read-zeroes=on`: reads give zeros, writes are lost. Nothing completes before
 * {@link complete} says so, because that is how QEMU does it: each request of a kick is served at once, and completed by a
 * bottom half; and bottom halves run in the reverse order.
 */
export class NullDisk implements BlkBackend {
  readonly size: number;
  readonly wantsEmpty = true;
  /** Submitted, and not completed. */
  readonly #done: (() => void)[] = [];
  #completing = false;

  constructor(size: number) {
    this.size = size;
  }

  /** Requests under way. */
  get pending(): number {
    return this.#done.length;
  }

  /** Completes a request, the last one first. */
  complete(): void {
    this.#completing = true;
    this.#done.pop()?.();
  }

  /** Is called when what was to be done about the completed request is done. */
  settled(): void {
    this.#completing = false;
  }

  protected later(): Promise<void> {
    return new Promise((resolve) => this.#done.push(resolve));
  }

  read(_position: number, target: Spans, from: number, length: number): Promise<void> {
    target.fill(from, length, 0);
    return this.later();
  }

  write(_position: number, _source: Spans, _from: number, _length: number): Promise<void> {
    return this.later();
  }

  /** Flushes the disk: with the write cache off, a flush follows a write, and QEMU does both in one. */
  flush(): Promise<void> | undefined {
    return this.#completing ? undefined : this.later();
  }

  discard(): Promise<void> {
    return this.later();
  }

  writeZeroes(_position: number, _length: number): Promise<void> {
    return this.later();
  }
}

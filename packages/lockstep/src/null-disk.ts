import type { BlkBackend } from '@virtkit/device-blk';
import type { Spans } from '@virtkit/core';

/**
 * A disk like QEMU's `null-co` with `read-zeroes=on`: reads give zeros, writes are lost. Nothing completes before
 * {@link complete} says so, because that is how QEMU does it: each request of a kick is served at once, and completed by a
 * bottom half; and bottom halves run in the reverse order.
 */
export class NullDisk implements BlkBackend {
  readonly size: number;
  readonly #done: (() => void)[] = [];

  constructor(size: number) {
    this.size = size;
  }

  get pending(): boolean {
    return this.#done.length > 0;
  }

  /** Completes what was requested, the last first. */
  complete(): void {
    for (let done = this.#done.pop(); done !== undefined; done = this.#done.pop()) done();
  }

  #later(): Promise<void> {
    return new Promise((resolve) => this.#done.push(resolve));
  }

  read(_position: number, target: Spans, from: number, length: number): Promise<void> {
    target.fill(from, length, 0);
    return this.#later();
  }

  write(): Promise<void> {
    return this.#later();
  }

  flush(): Promise<void> {
    return this.#later();
  }

  discard(): Promise<void> {
    return this.#later();
  }

  writeZeroes(): Promise<void> {
    return this.#later();
  }
}

import type { Spans } from '@virtkit/core';
import type { BlkBackend } from '@virtkit/device-blk';

/** An operation that waits. */
export interface Waiting {
  readonly operation: string;
  readonly position: number;
  readonly length: number;
  /** Does it, and says so. Promises settle when the microtasks have run. */
  finish(): void;
  fail(code: string): void;
}

/** A disk whose operations are done when the test says so, in any order. */
export class SlowDisk implements BlkBackend {
  readonly bytes: Uint8Array;
  readonly waiting: Waiting[] = [];
  /** Every operation that was begun. */
  readonly begun: string[] = [];

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get size(): number {
    return this.bytes.length;
  }

  read(position: number, target: Spans, from: number, length: number): Promise<void> {
    return this.#later('read', position, length, () => {
      target.copyFrom(from, this.bytes, position, length);
    });
  }

  write(position: number, source: Spans, from: number, length: number): Promise<void> {
    const data = new Uint8Array(length);
    source.copyTo(from, data, 0, length);
    return this.#later('write', position, length, () => this.bytes.set(data, position));
  }

  flush(): Promise<void> {
    return this.#later('flush', 0, 0, () => undefined);
  }

  discard(position: number, length: number): Promise<void> {
    return this.#later('discard', position, length, () => this.bytes.fill(0, position, position + length));
  }

  /** Finishes operations, oldest first or as told, until none waits; answers when the device knows. */
  async finishAll(pick: (count: number) => number = () => 0): Promise<void> {
    for (; this.waiting.length > 0; await settle()) this.finish(pick(this.waiting.length));
  }

  finish(index = 0): void {
    this.take(index).finish();
  }

  take(index = 0): Waiting {
    const [waiting] = this.waiting.splice(index, 1);
    if (waiting === undefined) throw new Error(`operation ${index} does not wait`);
    return waiting;
  }

  #later(operation: string, position: number, length: number, work: () => void): Promise<void> {
    this.begun.push(`${operation} ${position / 512}`);
    return new Promise((resolve, reject) => {
      this.waiting.push({
        operation,
        position,
        length,
        finish: () => {
          work();
          resolve();
        },
        fail: (code) => reject(Object.assign(new Error(code), { code })),
      });
    });
  }
}

/** Lets all promises settle that can. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve();
}

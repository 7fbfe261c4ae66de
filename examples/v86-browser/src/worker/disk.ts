import type { Spans } from '@virtkit/core';
import type { BlkBackend, Pending } from '@virtkit/device-blk';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Counts what goes through a disk, and can make it slow: then requests are in flight when a guest moves. */
export class MeteredDisk implements BlkBackend {
  readonly size: number;
  /** The disk itself; undefined while another machine has it. Then nothing may be asked of it: the guest stands still. */
  backend: BlkBackend | undefined;
  /** ms from the moment that a request is done to the moment that the guest hears of it. */
  latency = 0;
  reads = 0;
  writes = 0;
  bytesRead = 0;
  bytesWritten = 0;

  constructor(size: number) {
    this.size = size;
  }

  get #disk(): BlkBackend {
    if (this.backend === undefined) throw new Error('the disk is closed');
    return this.backend;
  }

  read(position: number, target: Spans, from: number, length: number): Pending {
    this.reads++;
    this.bytesRead += length;
    return this.#later(this.#disk.read(position, target, from, length));
  }

  write(position: number, source: Spans, from: number, length: number): Pending {
    this.writes++;
    this.bytesWritten += length;
    return this.#later(this.#disk.write(position, source, from, length));
  }

  flush(): Pending {
    return this.#later(this.#disk.flush?.());
  }

  discard(position: number, length: number): Pending {
    return this.#later(this.#disk.discard?.(position, length));
  }

  #later(done: Pending): Pending {
    if (this.latency === 0) return done;
    const { latency } = this;
    return Promise.resolve(done).then(() => sleep(latency));
  }
}

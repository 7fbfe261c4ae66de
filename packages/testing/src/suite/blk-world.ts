import type { DeviceModel, Spans } from '@virtkit/core';
import type { World } from './bench.ts';
import { Random } from './case.ts';

/** Back end that a block device is given: that of `@virtkit/device-blk`, as far as the suites need it. */
export interface TestDiskBackend {
  /** Length of the disk in bytes. */
  readonly size: number;
  /** Fills `length` bytes of the target from byte `from` on with what the disk has at `position`. */
  read(position: number, target: Spans, from: number, length: number): undefined | Promise<void>;
  /** Writes `length` bytes of the source from byte `from` on to `position`. */
  write(position: number, source: Spans, from: number, length: number): undefined | Promise<void>;
  /** Makes durable what was written. */
  flush(): undefined | Promise<void>;
  /** Discards a range, whose content is of no use any more. */
  discard(position: number, length: number): undefined | Promise<void>;
  /** Fills this range with zeros. */
  writeZeroes(position: number, length: number): undefined | Promise<void>;
}

/** Operation that the disk was asked for and has not done. */
interface Operation {
  act(): void;
  resolve(): void;
  reject(error: Error): void;
}

/** Time at which the disk does what it is asked for: at once, or later and in another order. */
export type DiskTiming = 'sync' | 'async';

/** Disk that outlives the devices over it, and can be slow. */
export class DiskWorld<D> implements World<D> {
  /** Content of the disk. */
  readonly disk: Uint8Array;
  readonly #make: (backend: TestDiskBackend) => DeviceModel<D>;
  readonly #timing: DiskTiming;
  readonly #random: Random;
  #operations: Operation[] = [];
  /** Number of writes that reached the disk. */
  writes = 0;
  /** True if nothing that is asked for is done until it is false again. */
  held = false;

  constructor(
    bytes: number,
    make: (backend: TestDiskBackend) => DeviceModel<D>,
    timing: DiskTiming,
    seed: number,
  ) {
    this.disk = new Uint8Array(bytes);
    this.#make = make;
    this.#timing = timing;
    this.#random = new Random(seed);
  }

  /**
   * Makes a device over the disk; the device before has lost it. Each operation that it was still waiting for is done
   * or is not: so it is when a machine is stopped.
   */
  connect(): DeviceModel<D> {
    for (const { act } of this.#operations.splice(0)) if (this.#random.chance(2)) act();
    return this.#make(this.#backend());
  }

  tick(): void {
    if (this.held || this.#operations.length === 0) return;
    // the oldest one every other time, so that none waits for ever
    const index = this.#random.chance(2) ? 0 : this.#random.below(this.#operations.length);
    const [operation] = this.#operations.splice(index, 1);
    operation?.act();
    operation?.resolve();
  }

  /** Number of operations under way. */
  get waiting(): number {
    return this.#operations.length;
  }

  /** Lets the oldest operation fail. */
  fail(code: string): void {
    this.#operations.shift()?.reject(Object.assign(new Error('the disk failed'), { code }));
  }

  seen(): unknown {
    return this.disk;
  }

  #backend(): TestDiskBackend {
    const { disk } = this;
    return {
      size: disk.length,
      read: (position, target, from, length) => this.#do(() => target.copyFrom(from, disk, position, length)),
      write: (position, source, from, length) => {
        const bytes = new Uint8Array(length);
        source.copyTo(from, bytes, 0, length);
        return this.#do(() => {
          disk.set(bytes, position);
          this.writes++;
        });
      },
      flush: () => this.#do(() => undefined),
      discard: (position, length) => this.#do(() => disk.fill(0, position, position + length)),
      writeZeroes: (position, length) => this.#do(() => disk.fill(0, position, position + length)),
    };
  }

  #do(act: () => void): undefined | Promise<void> {
    if (this.#timing === 'sync' && !this.held) {
      act();
      return undefined;
    }
    return new Promise((resolve, reject) => {
      this.#operations.push({ act, resolve, reject });
    });
  }
}

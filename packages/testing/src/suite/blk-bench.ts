import type { DeviceLayer, DeviceModel } from '@virtkit/core';
import { BlkDriver, type BlkLayout, type BlkRequest, SECTOR } from '../driver/blk.ts';
import type { DriverSetup, VirtioDriver } from '../driver/virtio.ts';
import type { DeviceBench, Workload } from './bench.ts';
import { type DiskTiming, DiskWorld, type TestDiskBackend } from './blk-world.ts';
import { checksum, ensure, Random } from './case.ts';

/** Options of a block device's bench. */
export interface BlkBenchOptions<D> {
  /** Format of the device type's part of the saved state. */
  readonly layer: DeviceLayer<D>;
  /** Makes the device, with `queues` request queues over this disk. */
  readonly make: (backend: TestDiskBackend, queues: number) => DeviceModel<D>;
  /** Time at which the disk answers; default `sync`: at once. */
  readonly timing?: DiskTiming;
  /** Number of request queues; default 1. */
  readonly queues?: number;
  /** Layout of the driver's requests. */
  readonly layout?: BlkLayout;
}

const SLOTS = 96;
const SLOT_SECTORS = 8;
const DISK_BYTES = SLOTS * SLOT_SECTORS * SECTOR;

/** Makes the bench of any virtio-blk. */
export function blkBench<D>(options: BlkBenchOptions<D>): DeviceBench<D> {
  const { layer, make, timing = 'sync', queues = 1, layout = {} } = options;
  const words = [
    timing,
    queues > 1 ? `${queues} queues` : '',
    layout.joined === true ? 'joined segments' : '',
  ];
  return {
    name: `blk (${words.filter((word) => word !== '').join(', ')})`,
    layer,
    world: (seed) => new DiskWorld(DISK_BYTES, (backend) => make(backend, queues), timing, seed),
    workload: (setup, _world, seed) => new BlkWork(setup, { ...layout, queues }, seed),
  };
}

/**
 * Work of reads, writes, zeroes, discards and flushes, each on a place of its own on the disk, and a shadow of what
 * must be there.
 */
export class BlkWork implements Workload {
  /** Driver that works. */
  readonly driver: BlkDriver;
  readonly #seed: number;
  readonly #shadow = new Uint8Array(DISK_BYTES);
  /** Requests of steps that are not done. */
  readonly #open = new Map<
    number,
    { readonly request: BlkRequest; readonly expected: Uint8Array | undefined }
  >();
  readonly #results = new Map<number, unknown>();

  constructor(setup: DriverSetup, layout: BlkLayout & { readonly queues: number }, seed: number) {
    this.driver = new BlkDriver(setup, layout);
    this.#seed = seed;
  }

  /** Part of the driver that all device types have. */
  get virtio(): VirtioDriver {
    return this.driver.virtio;
  }

  get pending(): number {
    return this.#open.size;
  }

  resetQueue(queue: number): void {
    const lost = new Set(this.driver.resetQueue(queue));
    for (const [index, { request }] of [...this.#open]) {
      if (!lost.has(request)) continue;
      this.#open.delete(index);
      this.step(index);
    }
  }

  start(): void {
    if (this.driver.virtio.id === 0) this.driver.probe();
    this.driver.start();
    // what did not come back before the reset is asked for again, as a file system would
    const again = [...this.#open.keys()];
    this.#open.clear();
    for (const index of again) this.step(index);
  }

  step(index: number): void {
    const random = new Random(this.#seed * 100_003 + index);
    const sector = (index % SLOTS) * SLOT_SECTORS;
    const count = 1 + random.below(SLOT_SECTORS);
    const queue = index % this.driver.queues;
    const { driver } = this;
    const at = sector * SECTOR;
    const zero = (sectors: number): void => {
      this.#shadow.fill(0, at, at + sectors * SECTOR);
    };
    switch (random.below(16)) {
      case 0:
        this.#begin(index, driver.flush(queue));
        break;
      case 1:
        this.#begin(index, driver.getId(queue));
        break;
      case 2:
        if (driver.has('writeZeroes')) {
          zero(count);
          this.#begin(index, driver.writeZeroes(sector, count, random.chance(2), queue));
          break;
        }
        this.#read(index, sector, count, queue);
        break;
      case 3:
        if (driver.has('discard')) {
          zero(count);
          this.#begin(index, driver.discard(sector, count, queue));
          break;
        }
        this.#read(index, sector, count, queue);
        break;
      case 4:
      case 5:
      case 6:
      case 7:
      case 8:
        this.#read(index, sector, count, queue);
        break;
      default: {
        const data = random.bytes(count * SECTOR);
        this.#shadow.set(data, at);
        this.#begin(index, driver.write(sector, data, queue));
      }
    }
    this.#finish();
  }

  service(): number {
    const count = this.driver.service();
    this.#finish();
    return count;
  }

  /** Lists what came back for each step. */
  seen(): unknown {
    return [...this.#results].sort(([a], [b]) => a - b);
  }

  /** Bytes that the disk must hold when all is done. */
  get shadow(): Uint8Array {
    return this.#shadow;
  }

  #read(index: number, sector: number, count: number, queue: number): void {
    const expected = this.#shadow.slice(sector * SECTOR, (sector + count) * SECTOR);
    this.#begin(index, this.driver.read(sector, count, queue), expected);
  }

  #begin(index: number, request: BlkRequest, expected?: Uint8Array): void {
    for (const other of this.#open.keys())
      ensure(
        other % SLOTS !== index % SLOTS || other === index,
        `step ${other} is still open at step ${index}`,
      );
    this.#open.set(index, { request, expected });
  }

  #finish(): void {
    for (const [index, { request, expected }] of this.#open) {
      const { status, type, data, written } = request;
      if (status === undefined) continue;
      ensure(status === 0, `step ${index}, ${type}: status ${status}`);
      const found = type === 'in' || type === 'getId' ? checksum(data) : 0;
      ensure(
        expected === undefined || found === checksum(expected),
        `step ${index}: other bytes were read than were written`,
      );
      this.#open.delete(index);
      ensure(!this.#results.has(index), `step ${index} came back twice`);
      this.#results.set(index, [type, found, written]);
    }
  }
}

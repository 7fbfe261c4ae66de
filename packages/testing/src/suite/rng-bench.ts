import type { DeviceLayer, DeviceModel } from '@virtkit/core';
import { RngDriver, type RngDriverOptions, type RngRequest } from '../driver/rng.ts';
import type { DriverSetup, VirtioDriver } from '../driver/virtio.ts';
import type { DeviceBench, Workload, World } from './bench.ts';
import { ensure, Random } from './case.ts';

/** Back end that an entropy device is given: that of `@virtkit/device-rng`, as far as the suites need it. */
export interface TestRngBackend {
  /** Fills the target from its beginning; answers how many bytes it filled. */
  fill(target: Uint8Array): number | Promise<number>;
}

/** Timing of a source of bytes: they are there at once, or later and fewer than were asked for. */
export type EntropyTiming = 'sync' | 'async';

/** Options of an entropy device's bench. */
export interface RngBenchOptions<D> {
  /** Format of the device type's part of the saved state. */
  readonly layer: DeviceLayer<D>;
  /** Makes the device over a source of random bytes. */
  readonly make: (backend: TestRngBackend) => DeviceModel<D>;
  /** Time at which the source answers; default `sync`: at once. */
  readonly timing?: EntropyTiming;
  /** Options of the driver. */
  readonly driver?: RngDriverOptions;
}

/** Makes the bench of any virtio-rng. */
export function rngBench<D>({ layer, make, timing = 'sync', driver }: RngBenchOptions<D>): DeviceBench<D> {
  return {
    name: `rng (${timing})`,
    layer,
    configBytes: 0,
    world: () => new EntropyWorld(make, timing),
    workload: (setup, _world, seed) => new RngWork(setup, driver, timing, seed),
  };
}

/** Computes byte `i` of each answer of the back end: what a guest finds anywhere else was not meant for it. */
const byteAt = (i: number): number => 0x80 | ((i * 31) & 0x7f);

/** Computes how many bytes a slow back end gives of what it is asked for. */
const part = (length: number): number => (length > 100 ? length - Math.floor(length / 3) : length);

/** Source of bytes that are not random, so that a guest can tell that they are the right ones. */
export class EntropyWorld<D> implements World<D> {
  readonly #make: (backend: TestRngBackend) => DeviceModel<D>;
  readonly #timing: EntropyTiming;
  /** Answer that a device waits for. */
  #waiting: { readonly target: Uint8Array; readonly resolve: (count: number) => void } | undefined;

  constructor(make: (backend: TestRngBackend) => DeviceModel<D>, timing: EntropyTiming) {
    this.#make = make;
    this.#timing = timing;
  }

  connect(): DeviceModel<D> {
    this.#waiting = undefined;
    return this.#make({ fill: (target) => this.#fill(target) });
  }

  tick(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    waiting.resolve(give(waiting.target, part(waiting.target.length)));
  }

  /** Sees nothing: bytes are all alike. */
  seen(): unknown {
    return [];
  }

  #fill(target: Uint8Array): number | Promise<number> {
    if (this.#timing === 'sync') return give(target, target.length);
    ensure(this.#waiting === undefined, 'the device asks for bytes while it waits for some');
    return new Promise((resolve) => {
      this.#waiting = { target, resolve };
    });
  }
}

function give(target: Uint8Array, count: number): number {
  for (let i = 0; i < count; i++) target[i] = byteAt(i);
  return count;
}

/** Work of requests for bytes, of a few lengths. */
export class RngWork implements Workload {
  /** Driver that works. */
  readonly driver: RngDriver;
  readonly #timing: EntropyTiming;
  readonly #seed: number;
  readonly #open = new Map<number, RngRequest>();
  readonly #results = new Map<number, number>();

  constructor(
    setup: DriverSetup,
    options: RngDriverOptions | undefined,
    timing: EntropyTiming,
    seed: number,
  ) {
    this.driver = new RngDriver(setup, options);
    this.#timing = timing;
    this.#seed = seed;
  }

  /** Part of the driver that all device types have. */
  get virtio(): VirtioDriver {
    return this.driver.virtio;
  }

  get pending(): number {
    return this.#open.size;
  }

  start(): void {
    if (this.driver.virtio.id === 0) this.driver.probe();
    this.driver.start();
    const again = [...this.#open.keys()];
    this.#open.clear();
    for (const index of again) this.step(index);
  }

  step(index: number): void {
    const random = new Random(this.#seed * 100_043 + index);
    this.#open.set(index, this.driver.read(random.pick([1, 4, 16, 64, 97, 128, 512, 1000])));
    this.#finish();
  }

  resetQueue(): void {
    const lost = new Set(this.driver.resetQueue());
    for (const [index, request] of [...this.#open]) {
      if (!lost.has(request)) continue;
      this.#open.delete(index);
      this.step(index);
    }
  }

  service(): number {
    const count = this.driver.service();
    this.#finish();
    return count;
  }

  /** Lists how many bytes came for each step. */
  seen(): unknown {
    return [...this.#results].sort(([a], [b]) => a - b);
  }

  #finish(): void {
    for (const [index, { length, data }] of this.#open) {
      if (data === undefined) continue;
      const expected = this.#timing === 'sync' ? length : part(length);
      ensure(data.length === expected, `step ${index}: ${data.length} bytes of ${expected}`);
      ensure(
        data.every((byte, i) => byte === byteAt(i)),
        `step ${index}: other bytes than the back end gave`,
      );
      this.#open.delete(index);
      ensure(!this.#results.has(index), `step ${index} came back twice`);
      this.#results.set(index, data.length);
    }
  }
}

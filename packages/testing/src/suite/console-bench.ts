import type { DeviceLayer, DeviceModel } from '@virtkit/core';
import {
  CONSOLE_DRIVER_FEATURES,
  ConsoleDriver,
  type ConsoleDriverOptions,
  type Written,
} from '../driver/console.ts';
import type { DriverSetup, VirtioDriver } from '../driver/virtio.ts';
import type { DeviceBench, Workload, World } from './bench.ts';
import { ensure, Random } from './case.ts';

/** Port as its back end sees it: that of `@virtkit/device-console`, as far as the suites need it. */
export interface TestGuestPort {
  /** Brings bytes to the guest; answers how many it took. */
  send(bytes: Uint8Array): number;
  /** Tells that the other end takes bytes again. */
  ready(): void;
}

/** Back end that a port is connected to: that of `@virtkit/device-console`. */
export interface TestPortBackend {
  /** Takes its port, before anything else. */
  attach(port: TestGuestPort): void;
  /** Takes bytes `[start, end)` that the guest wrote; answers how many it took. */
  write(bytes: Uint8Array, start: number, end: number): number;
  /** Is told that the guest has room for bytes again. */
  guestWritable(): void;
}

/** Timing of a line's ends: they take all at once, or now and then a part. */
export type LineTiming = 'sync' | 'busy';

/** Options of a console device's bench. */
export interface ConsoleBenchOptions<D> {
  /** Format of the device type's part of the saved state. */
  readonly layer: DeviceLayer<D>;
  /** Makes the device, with a port for each back end; the first is a console. */
  readonly make: (backends: readonly TestPortBackend[]) => DeviceModel<D>;
  /** Time at which the other end of a port takes and brings bytes; default `sync`: at once. */
  readonly timing?: LineTiming;
  /** Number of ports; default 3. */
  readonly ports?: number;
  /** Options of the driver. */
  readonly driver?: ConsoleDriverOptions;
}

/** Makes the bench of any virtio-console. */
export function consoleBench<D>(options: ConsoleBenchOptions<D>): DeviceBench<D> {
  const { layer, make, timing = 'sync', ports = 3, driver = {} } = options;
  const words = [timing, ports > 1 ? `${ports} ports` : ''];
  return {
    name: `console (${words.filter((word) => word !== '').join(', ')})`,
    layer,
    world: (seed) => new LinesWorld(make, ports, timing, seed),
    workload: (setup, world, seed) =>
      new ConsoleWork(
        { ...setup, features: setup.features ?? CONSOLE_DRIVER_FEATURES },
        { ports, ...driver },
        world as LinesWorld<D>,
        seed,
      ),
  };
}

/** Line between a port and the world: streams of bytes, of which none is lost or doubled. */
class Line {
  /** Bytes from the guest. */
  readonly written: number[] = [];
  /** Bytes for the guest. */
  readonly arriving: number[] = [];
  port: TestGuestPort | undefined;
  /** True if the guest had no room; until it says that it may have some, nothing is sent. */
  full = false;
  /** True if a part of what the guest wrote was refused. */
  refused = false;
}

/** World at the other ends of a console device's lines: they outlive it. */
export class LinesWorld<D> implements World<D> {
  readonly #make: (backends: readonly TestPortBackend[]) => DeviceModel<D>;
  readonly #timing: LineTiming;
  readonly #random: Random;
  /** Lines at the other ends of the ports, by port. */
  readonly lines: readonly Line[];
  /** Number of times that a part of something was refused. */
  refusals = 0;
  #connection = 0;

  constructor(
    make: (backends: readonly TestPortBackend[]) => DeviceModel<D>,
    ports: number,
    timing: LineTiming,
    seed: number,
  ) {
    this.#make = make;
    this.#timing = timing;
    this.#random = new Random(seed);
    this.lines = Array.from({ length: ports }, () => new Line());
  }

  connect(): DeviceModel<D> {
    const connection = ++this.#connection;
    return this.#make(this.lines.map((line) => this.#backend(line, connection)));
  }

  /** Sends bytes to the guest. */
  deliver(port: number, bytes: Uint8Array): void {
    this.#line(port).arriving.push(...bytes);
  }

  /** Gives up what has not reached the guest. */
  drop(port: number): void {
    this.#line(port).arriving.length = 0;
  }

  tick(): void {
    for (const line of this.lines) {
      if (line.refused) {
        line.refused = false;
        line.port?.ready();
      }
      if (line.full || line.arriving.length === 0 || line.port === undefined) continue;
      const sent = line.port.send(Uint8Array.from(line.arriving));
      line.arriving.splice(0, sent);
      line.full = line.arriving.length > 0;
    }
  }

  forget(): void {
    for (const line of this.lines) line.written.length = 0;
  }

  seen(): unknown {
    return this.lines.map(({ written }) => Uint8Array.from(written));
  }

  #line(port: number): Line {
    const line = this.lines[port];
    ensure(line !== undefined, `port ${port} of ${this.lines.length}`);
    return line;
  }

  #backend(line: Line, connection: number): TestPortBackend {
    line.full = false;
    line.refused = false;
    line.port = undefined;
    return {
      attach: (port) => {
        line.port = port;
      },
      guestWritable: () => {
        line.full = false;
      },
      write: (bytes, start, end) => {
        ensure(connection === this.#connection, 'a device that is gone writes');
        const busy = this.#timing === 'busy' && this.#random.chance(3);
        const taken = busy ? this.#random.below(end - start) : end - start;
        line.written.push(...bytes.subarray(start, start + taken));
        if (taken < end - start) {
          line.refused = true;
          this.refusals++;
        }
        return taken;
      },
    };
  }
}

/** Work of bytes out and bytes in, on all ports. */
export class ConsoleWork<D> implements Workload {
  /** Driver that works. */
  readonly driver: ConsoleDriver;
  readonly #world: LinesWorld<D>;
  readonly #ports: number;
  readonly #seed: number;
  readonly #writing = new Map<number, Written>();
  /** Bytes that must have arrived at each port. */
  readonly #expected: number[][];
  readonly #results = new Set<number>();

  constructor(setup: DriverSetup, options: ConsoleDriverOptions, world: LinesWorld<D>, seed: number) {
    this.driver = new ConsoleDriver(setup, options);
    this.#world = world;
    this.#ports = world.lines.length;
    this.#seed = seed;
    this.#expected = world.lines.map(() => []);
  }

  /** Part of the driver that all device types have. */
  get virtio(): VirtioDriver {
    return this.driver.virtio;
  }

  get pending(): number {
    const arriving = this.#expected.map((bytes, port) => bytes.length - this.#received(port).length);
    return this.#writing.size + this.driver.pending + arriving.filter((left) => left > 0).length;
  }

  start(): void {
    if (this.driver.virtio.id === 0) this.driver.probe();
    this.driver.start();
    // what was on its way in may be lost with the old rings; what was on its way out is written again
    for (let port = 0; port < this.#ports; port++) this.#giveUp(port);
    const again = [...this.#writing.keys()];
    this.#writing.clear();
    for (const index of again) this.step(index);
  }

  step(index: number): void {
    const random = new Random(this.#seed * 100_049 + index);
    const port = this.driver.multiport ? index % this.#ports : 0;
    const bytes = random.bytes(1 + random.below(200));
    if (random.chance(2)) this.#writing.set(index, this.driver.write(port, bytes));
    else {
      this.#expected[port]?.push(...bytes);
      this.#world.deliver(port, bytes);
    }
    this.#finish();
  }

  resetQueue(queue: number): void {
    const lost = new Set(this.driver.resetQueue(queue));
    for (const [index, written] of [...this.#writing]) {
      if (!lost.has(written)) continue;
      this.#writing.delete(index);
      this.step(index);
    }
    if (queue % 2 === 0 && queue !== 2) this.#giveUp(queue === 0 ? 0 : queue / 2 - 1);
  }

  service(): number {
    const count = this.driver.service();
    this.#finish();
    return count;
  }

  /** Lists what has arrived at each port. */
  seen(): unknown {
    return [
      this.#expected.map((_bytes, port) => Uint8Array.from(this.#received(port))),
      [...this.#results].sort((a, b) => a - b),
    ];
  }

  #received(port: number): readonly number[] {
    return this.driver.ports.get(port)?.received ?? [];
  }

  #giveUp(port: number): void {
    this.#world.drop(port);
    const expected = this.#expected[port];
    if (expected !== undefined) expected.length = this.#received(port).length;
  }

  #finish(): void {
    for (const [index, { done }] of this.#writing) {
      if (!done) continue;
      this.#writing.delete(index);
      ensure(!this.#results.has(index), `step ${index} came back twice`);
      this.#results.add(index);
    }
    for (const [port, expected] of this.#expected.entries()) {
      const received = this.#received(port);
      ensure(received.length <= expected.length, `port ${port}: more bytes arrived than were sent`);
      const wrong = received.findIndex((byte, i) => byte !== expected[i]);
      ensure(wrong < 0, `port ${port}: byte ${wrong} is another one than was sent`);
    }
  }
}

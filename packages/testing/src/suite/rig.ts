import {
  type DeviceEvent,
  type GuestMemory,
  type TransportParts,
  type VirtioCodec,
  type VirtioState,
  virtioDevice,
} from '@virtkit/core';
import type { DriverSetup } from '../driver/virtio.ts';
import { GuestRam } from '../ram.ts';
import type { DriverTransport, Reach } from '../transport/transport.ts';
import type { DeviceBench, Machine, TransportBench, Workload, World } from './bench.ts';
import { equalBytes, Failure, same } from './case.ts';
import type { RingMode } from './rings.ts';

/** Options of a rig. */
export interface RigOptions {
  /** Format and features of the rings. */
  readonly rings: RingMode;
  /** Maps guest memory for the device: `(bytes) => new MappedMemory([{ gpa: 0, bytes }])`. */
  readonly map: (bytes: Uint8Array) => GuestMemory;
  /** Seed of random cases; default 1. */
  readonly seed?: number;
  /** Number of bytes of guest memory. */
  readonly ram?: number;
  /** Number of accesses of the driver to the device from one move of it to the next; 0 or absent: it never moves. */
  readonly moveEvery?: number;
  /** Features of the device type that the driver takes. */
  readonly features?: bigint;
}

/** Length of guest memory in bytes: small, since it is copied with every move. */
const RAM_BYTES = 0x58000;
/** Number of bytes of guest memory for rings and buffers; the rest is for transports. */
const DRIVER_BYTES = 0x40000;
/** Number of turns in which nothing may happen before the guest counts as waiting for ever. */
const PATIENCE = 2000;

/**
 * Guest, its machine and the device in it. The device can be moved to a new machine between any two accesses of the
 * driver: captured, encoded, decoded and restored over a copy of guest memory.
 */
export class Rig<H, T extends TransportParts, D> {
  /** Transport under test. */
  readonly bench: TransportBench<H, T>;
  /** Device type under test. */
  readonly device: DeviceBench<D>;
  /** Options that the rig was made with. */
  readonly options: RigOptions;
  /** Codec that reads and writes the saved state. */
  readonly codec: VirtioCodec<T, D>;
  /** Guest memory. It is another array after each move. */
  readonly ram: GuestRam;
  /** World that the device is connected to. */
  readonly world: World<D>;
  /** Transport by which the driver reaches the device. */
  readonly transport: DriverTransport;
  /** Driver, and the work that it does. */
  readonly work: Workload;
  /** Events that the device has told its host program so far. */
  readonly events: DeviceEvent[] = [];
  /** Machine that has the device now; another one after each move. */
  machine: Machine<H, T, D>;
  /** Number of accesses of the driver. */
  accesses = 0;
  /** Number of times that the device has moved. */
  moves = 0;
  /** True if the device moves by itself. */
  moving = true;

  constructor(bench: TransportBench<H, T>, device: DeviceBench<D>, options: RigOptions) {
    const { seed = 1, rings, features } = options;
    this.bench = bench;
    this.device = device;
    this.options = options;
    this.codec = virtioDevice(bench.layer, device.layer);
    this.ram = new GuestRam(new Uint8Array(options.ram ?? RAM_BYTES));
    this.world = device.world(seed);
    this.machine = this.#build(this.ram.bytes);
    this.transport = bench.drive(this.reach, this.ram);
    const setup: DriverSetup = {
      transport: this.transport,
      ram: this.ram,
      rings: rings.wishes,
      memory: (options.ram ?? RAM_BYTES) - RAM_BYTES + DRIVER_BYTES,
      ...(features !== undefined && { features }),
    };
    this.work = device.workload(setup, this.world, seed);
  }

  /** Finds the machine, for the driver. */
  readonly reach: Reach<H> = () => {
    const { moveEvery = 0 } = this.options;
    this.accesses++;
    if (this.moving && moveEvery > 0 && this.accesses % moveEvery === 0) this.move();
    return this.machine.host;
  };

  /** Encodes the state as a stream has it. */
  save(): Uint8Array {
    return this.codec.encode(this.machine.device.capture());
  }

  /**
   * Stops the machine, saves the device, and goes on with another one in a new machine.
   *
   * @param between may look at or change the state on the way
   */
  move(between?: (state: VirtioState<T, D>) => VirtioState<T, D>): void {
    const old = this.machine;
    old.device.pause();
    const body = this.codec.encode(old.device.capture());
    const loaded = this.codec.load(body);
    const state = between?.(loaded) ?? loaded;
    const bytes = this.ram.bytes.slice();
    const machine = this.#build(bytes, old.host);
    machine.device.restore(state);
    // what is saved again before anything happens is what was loaded
    const again = this.codec.encode(machine.device.capture());
    if (between === undefined && !equalBytes(again, body)) {
      const json = this.codec.toJSON(machine.device.capture());
      same(json, this.codec.toJSON(state), 'saved, loaded and saved again');
      throw new Failure('saved, loaded and saved again: other bytes for the same state');
    }
    this.ram.replace(bytes);
    this.machine = machine;
    this.moves++;
    machine.device.resume();
  }

  /** Lets everything happen until `until` says that it is enough. @throws Failure if it never does */
  async settle(until: () => boolean = () => this.work.pending === 0, what = 'the work'): Promise<void> {
    for (let idle = 0; !until(); idle++) {
      if (idle > PATIENCE)
        throw new Failure(`${what} is never done: ${this.work.pending} pending, ${this.#faults()}`);
      this.world.tick();
      // back ends that answer promises, and those who wait for them
      for (let i = 0; i < 4; i++) await Promise.resolve();
      if (this.work.service() > 0) idle = 0;
    }
  }

  /** Does all work of a list of steps, `depth` at a time. */
  async run(first: number, count: number, depth = 4): Promise<void> {
    for (let index = first; index < first + count; index++) {
      this.work.step(index);
      await this.settle(() => this.work.pending < depth);
    }
    await this.settle();
  }

  /** Lists the faults since the beginning. */
  faults(): readonly DeviceEvent[] {
    return this.events.filter(({ name }) => name === 'fault');
  }

  #faults(): string {
    const faults = this.faults().map(({ reason }) => reason);
    return faults.length === 0 ? 'no fault' : `fault: ${faults.join('; ')}`;
  }

  #build(bytes: Uint8Array, from?: H): Machine<H, T, D> {
    return this.bench.build(this.world.connect(), {
      memory: this.options.map(bytes),
      rings: this.options.rings.offered,
      onEvent: (event) => this.events.push(event),
      ...(from !== undefined && { from }),
    });
  }
}

import type { DeviceLayer, DeviceModel } from '@virtkit/core';
import { NetDriver, type NetDriverOptions, netFeatures, type Sent } from '../driver/net.ts';
import { CTRL, type CtrlRequest } from '../driver/net-ctrl.ts';
import { NET_DRIVER_FEATURES } from '../driver/net-features.ts';
import type { DriverSetup, VirtioDriver } from '../driver/virtio.ts';
import type { DeviceBench, Workload } from './bench.ts';
import { checksum, ensure, Random } from './case.ts';
import { type CableTiming, CableWorld, type TestNetBackend } from './net-world.ts';

/** Options of a network card's bench. */
export interface NetBenchOptions<D> {
  /** Format of the device type's part of the saved state. */
  readonly layer: DeviceLayer<D>;
  /** Makes the device, with `pairs` queue pairs at this cable. */
  readonly make: (backend: TestNetBackend, pairs: number) => DeviceModel<D>;
  /** Time at which the cable takes and brings frames; default `sync`: at once. */
  readonly timing?: CableTiming;
  /** Number of queue pairs; default 1. */
  readonly pairs?: number;
  /** Options of the driver. */
  readonly driver?: NetDriverOptions;
  /**
   * True if the driver takes GUEST_ANNOUNCE: each move is a configuration change then. Default false, since a device
   * that is moved before every access would do nothing else.
   */
  readonly announce?: boolean;
}

/** Makes the bench of any virtio-net. */
export function netBench<D>(options: NetBenchOptions<D>): DeviceBench<D> {
  const { layer, make, timing = 'sync', pairs = 1, driver = {}, announce = false } = options;
  const without = announce ? 0n : netFeatures('GUEST_ANNOUNCE');
  const words = [timing, pairs > 1 ? `${pairs} pairs` : '', driver.joined === true ? 'joined segments' : ''];
  return {
    name: `net (${words.filter((word) => word !== '').join(', ')})`,
    layer,
    world: (seed) => new CableWorld((backend) => make(backend, pairs), timing, seed),
    workload: (setup, world, seed) =>
      new NetWork(
        { ...setup, features: (setup.features ?? NET_DRIVER_FEATURES) & ~without },
        { pairs, ...driver },
        world as CableWorld<D>,
        seed,
      ),
  };
}

const HEADER_BYTES = 14;
/** Offset of the number of the step, behind the Ethernet header. */
const STEP_AT = HEADER_BYTES;
const FRAME_MIN = 60;
const FRAME_SPREAD = 1455;
/** Source address of these frames: frames of others are none of our business. */
const SENDER = [0x02, 0x76, 0x6b, 0, 0, 0];
/** Number of an experimental Ethernet type. */
const ETHER_TYPE = 0x88b5;
const COMMANDS: readonly (readonly [type: number, command: number])[] = [
  [CTRL.rx, CTRL.rxAllMulti],
  [CTRL.rx, CTRL.rxPromisc],
  [CTRL.vlan, CTRL.vlanAdd],
  [CTRL.vlan, CTRL.vlanDel],
];

/** Work of frames out, frames in, and commands. */
export class NetWork<D> implements Workload {
  /** Driver that works. */
  readonly driver: NetDriver;
  readonly #world: CableWorld<D>;
  readonly #seed: number;
  readonly #sending = new Map<number, Sent>();
  readonly #commands = new Map<number, CtrlRequest>();
  /** Frames under way to the guest: step, and what must arrive. */
  readonly #arriving = new Map<number, number>();
  readonly #results = new Map<number, unknown>();
  #taken = 0;

  constructor(setup: DriverSetup, options: NetDriverOptions, world: CableWorld<D>, seed: number) {
    this.driver = new NetDriver(setup, options);
    this.#world = world;
    this.#seed = seed;
  }

  /** Part of the driver that all device types have. */
  get virtio(): VirtioDriver {
    return this.driver.virtio;
  }

  get pending(): number {
    return this.#sending.size + this.#commands.size + this.#arriving.size;
  }

  start(): void {
    if (this.driver.virtio.id === 0) this.driver.probe();
    this.driver.start();
    // what was on its way in may be lost with the old rings; what was on its way out is sent again
    this.#world.drop();
    this.#arriving.clear();
    this.#taken = this.driver.received.length;
    const again = [...this.#sending.keys(), ...this.#commands.keys()];
    this.#sending.clear();
    this.#commands.clear();
    for (const index of again) this.step(index);
  }

  step(index: number): void {
    const random = new Random(this.#seed * 100_019 + index);
    const kind = random.below(12);
    const pair = index % this.driver.pairs;
    if (kind === 0 && this.#canCommand) {
      const [type, command] = random.pick(COMMANDS as readonly [(typeof COMMANDS)[number]]);
      const data = type === CTRL.rx ? Uint8Array.of(1) : this.#vlan(index % 4096);
      this.#commands.set(index, this.driver.ctrl(type, command, data));
    } else if (kind < 6) {
      this.#sending.set(index, this.driver.send(this.#frame(index, random), {}, pair));
    } else {
      const frame = this.#frame(index, random);
      this.#arriving.set(index, checksum(frame));
      this.#world.deliver(frame, pair);
    }
    this.#finish();
  }

  resetQueue(queue: number): void {
    if (queue >= 2 * this.driver.pairs) return;
    const lost = new Set(this.driver.resetQueue(queue));
    for (const [index, sent] of [...this.#sending]) {
      if (!lost.has(sent)) continue;
      this.#sending.delete(index);
      this.step(index);
    }
    if (queue % 2 === 0) {
      this.#world.drop();
      this.#arriving.clear();
      this.#taken = this.driver.received.length;
    }
  }

  service(): number {
    const count = this.driver.service();
    this.#finish();
    return count;
  }

  seen(): unknown {
    return [...this.#results].sort(([a], [b]) => a - b);
  }

  get #canCommand(): boolean {
    const { virtio, maxPairs } = this.driver;
    return virtio.rings.has(2 * maxPairs);
  }

  #vlan(id: number): Uint8Array {
    const bytes = new Uint8Array(2);
    new DataView(bytes.buffer).setUint16(0, id, this.driver.virtio.littleEndian);
    return bytes;
  }

  /** Makes a frame to everybody, with the step's number in it. */
  #frame(index: number, random: Random): Uint8Array {
    const frame = random.bytes(FRAME_MIN + random.below(FRAME_SPREAD));
    frame.fill(0xff, 0, 6);
    const view = new DataView(frame.buffer);
    frame.set(SENDER, 6);
    view.setUint16(12, ETHER_TYPE);
    view.setUint32(STEP_AT, index);
    return frame;
  }

  #finish(): void {
    for (const [index, sent] of this.#sending) {
      if (!sent.done) continue;
      this.#sending.delete(index);
      this.#result(index, 'sent');
    }
    for (const [index, { ack }] of this.#commands) {
      if (ack === undefined) continue;
      ensure(ack === 0, `step ${index}: the command was refused`);
      this.#commands.delete(index);
      this.#result(index, 'command');
    }
    const { received } = this.driver;
    for (; this.#taken < received.length; this.#taken++) {
      const arrived = received[this.#taken];
      if (arrived !== undefined) this.#receive(arrived.frame, arrived.buffers);
    }
  }

  #receive(frame: Uint8Array, buffers: number): void {
    if (!SENDER.every((byte, i) => frame[6 + i] === byte)) return;
    const index = new DataView(frame.buffer, frame.byteOffset).getUint32(STEP_AT);
    const expected = this.#arriving.get(index);
    ensure(expected !== undefined, `a frame of step ${index} arrived, and was not under way`);
    ensure(checksum(frame) === expected, `step ${index}: the frame arrived with other bytes`);
    this.#arriving.delete(index);
    this.#result(index, ['received', expected, buffers]);
  }

  #result(index: number, result: unknown): void {
    ensure(!this.#results.has(index), `step ${index} came back twice`);
    this.#results.set(index, result);
  }
}

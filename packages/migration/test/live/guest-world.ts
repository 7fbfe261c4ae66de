import { type DeviceModel, type LiveDevice, MappedMemory } from '@virtkit/core';
import { type BlkBackend, BlkDevice } from '@virtkit/device-blk';
import { type NetBackend, NetDevice, type NetPort } from '@virtkit/device-net';
import { CcwDriver, ChannelMachine, GuestRam, PciBus, PciModernDriver } from '@virtkit/testing';
import { NET_DRIVER_FEATURES, netFeatures } from '@virtkit/testing/drivers';
import { BlkWork, type CableWorld, NetWork, Random } from '@virtkit/testing/suite';
import type { DriverTransport } from '@virtkit/testing/transports';
import { CcwDevice, type CcwParts, ChannelSubsystem, s390Css, s390Flic } from '@virtkit/transport-ccw';
import { PciFunction, type PciParts } from '@virtkit/transport-pci';
import {
  declaredSection,
  type LiveMachine,
  type LiveSection,
  mappedRam,
  opaqueSection,
  virtioSection,
} from '../../src/live.ts';

const RAM_BYTES = 0x130000;
const DISK_BYTES = 96 * 8 * 512;
const MAC = '52:54:00:12:34:56';
const DISK = 2;
const CARD = 3;

/** What both machines reach: a disk that takes its time, and a cable. It notices who touches them. */
export class GuestWorld {
  readonly disk = new Uint8Array(DISK_BYTES);
  running: GuestMachine | undefined;
  readonly faults: string[] = [];
  readonly #random = new Random(7);
  /** Frames under way to the guest. */
  readonly #arriving: { readonly frame: Uint8Array; readonly pair: number }[] = [];

  tick(): void {
    this.running?.tick(this.#random);
    const [next] = this.#arriving;
    if (next !== undefined && this.running?.port?.receive(next.frame, undefined, next.pair) === true)
      this.#arriving.shift();
  }

  /** The workload of a card puts frames here. */
  deliver(frame: Uint8Array, pair = 0): void {
    this.#arriving.push({ frame, pair });
  }

  drop(): void {
    this.#arriving.length = 0;
  }

  touched(by: GuestMachine, what: string): void {
    if (this.running !== by) this.faults.push(`a machine that does not run ${what}`);
  }
}

/** A machine with a disk and a network card; how they are plugged in is its kind's. */
export abstract class GuestMachine implements LiveMachine {
  abstract readonly name: string;
  abstract readonly sections: readonly LiveSection[];
  readonly bytes = new Uint8Array(RAM_BYTES);
  readonly memory = new MappedMemory([{ gpa: 0, bytes: this.bytes }]);
  readonly ram = mappedRam(this.memory);
  port: NetPort | undefined;
  readonly #world: GuestWorld;
  #operations: { act(): void; done(): void }[] = [];
  #made = false;

  constructor(world: GuestWorld) {
    this.#world = world;
  }

  protected abstract readonly devices: readonly { pause(): void; resume(): void }[];

  protected models(): readonly [DeviceModel<unknown>, DeviceModel<unknown>] {
    return [
      new BlkDevice({ backend: this.#backend(), queues: 2, serial: 'moves' }) as DeviceModel<unknown>,
      new NetDevice({ backend: this.#cable(), mac: MAC, queuePairs: 2 }) as DeviceModel<unknown>,
    ];
  }

  protected ready(): void {
    for (const device of this.devices) device.pause();
    this.#made = true;
  }

  pause(): void {
    if (this.#world.running === this) {
      for (const device of this.devices) device.pause();
      // what the disk has begun, it does: the next machine begins it anew, and nothing may come behind that
      for (const { act, done } of this.#operations.splice(0)) {
        act();
        done();
      }
      this.#world.running = undefined;
    }
  }

  resume(): void {
    const { running } = this.#world;
    if (running !== undefined && running !== this) this.#world.faults.push('two machines run');
    this.#world.running = this;
    for (const device of this.devices) device.resume();
  }

  /** The disk does one of the things that it was asked for. */
  tick(random: Random): void {
    if (this.#operations.length === 0) return;
    const [operation] = this.#operations.splice(random.below(this.#operations.length), 1);
    operation?.act();
    operation?.done();
  }

  #do(what: string, act: () => void): Promise<void> {
    this.#world.touched(this, what);
    return new Promise((resolve) => {
      this.#operations.push({ act, done: resolve });
    });
  }

  #backend(): BlkBackend {
    const { disk } = this.#world;
    return {
      size: disk.length,
      read: (position, target, from, length) => {
        const copy = (): void => void target.copyFrom(from, disk, position, length);
        // it looks for a partition table when it is made
        if (this.#made) return this.#do('reads', copy);
        copy();
        return undefined;
      },
      write: (position, source, from, length) => {
        const bytes = new Uint8Array(length);
        source.copyTo(from, bytes, 0, length);
        return this.#do('writes', () => disk.set(bytes, position));
      },
      flush: () => this.#do('flushes', () => {}),
      discard: (position, length) => this.#do('discards', () => disk.fill(0, position, position + length)),
      writeZeroes: (position, length) => this.#do('zeroes', () => disk.fill(0, position, position + length)),
    };
  }

  #cable(): NetBackend {
    return {
      attach: (port) => {
        this.port = port;
      },
      send: () => {
        this.#world.touched(this, 'sends');
        return true;
      },
    };
  }
}

/** How the guest reaches its devices. */
export interface Kind<M extends GuestMachine> {
  readonly title: string;
  make(world: GuestWorld): M;
  drive(reach: () => M, ram: GuestRam): readonly [DriverTransport, DriverTransport];
}

class PciMachine extends GuestMachine {
  readonly name = 'virtkit-pci-1.0';
  readonly bus = new PciBus();
  readonly devices: readonly LiveDevice<PciParts, unknown>[];
  readonly sections: readonly LiveSection[];

  constructor(world: GuestWorld) {
    super(world);
    const { bus, memory } = this;
    this.devices = this.models().map((model, index) => {
      const slot = DISK + index;
      const fn = new PciFunction(model, {
        memory,
        rings: { packed: index === 1 },
        sendMsi: (address, data) => bus.send(address, data),
        setIntx: (level) => bus.setIntx(slot, level),
      });
      bus.plug(slot, fn);
      return fn.device;
    });
    this.sections = [
      // interrupts that have left a device, and the guest has not taken
      opaqueSection({
        name: 'messages',
        version: 1,
        save: () => Buffer.from(JSON.stringify(bus.messages)),
        load: (state) => {
          const messages = JSON.parse(Buffer.from(state).toString()) as typeof bus.messages;
          return () => {
            for (const { address, data } of messages) bus.send(address, data);
          };
        },
      }),
      ...this.devices.map((device, index) => virtioSection(device, { path: `0000:00:0${DISK + index}.0` })),
    ];
    this.ready();
  }
}

/** PCI: a disk on split rings, a card on packed ones, MSI-X. */
export const PCI: Kind<PciMachine> = {
  title: 'PCI',
  make: (world) => new PciMachine(world),
  drive: (reach) => [
    new PciModernDriver(() => reach().bus, { slot: DISK }),
    new PciModernDriver(() => reach().bus, { slot: CARD }),
  ],
};

class ChannelHostMachine extends GuestMachine {
  readonly name = 'virtkit-ccw-1.0';
  readonly css = new ChannelSubsystem({ memory: this.memory });
  readonly cpu = new ChannelMachine(this.css);
  readonly devices: readonly LiveDevice<CcwParts, unknown>[];
  readonly sections: readonly LiveSection[];

  constructor(world: GuestWorld) {
    super(world);
    const { css, memory } = this;
    this.devices = this.models().map((model, index) => {
      const device = new CcwDevice(model, { host: css, memory, devno: index, schid: index });
      css.attach(device);
      return device.device;
    });
    this.sections = [
      declaredSection(s390Css, {
        context: undefined,
        capture: () => css.captureCss(),
        restore: (state) => css.restoreCss(state),
      }),
      ...this.devices.map((device, index) => virtioSection(device, { path: `/fe.0.000${index}` })),
      declaredSection(s390Flic, {
        context: { ais: false },
        capture: () => ({ full: { pending: 0, serviceParam: 0, io: css.interrupts.capture() } }),
        restore: ({ full }) => css.interrupts.restore(full?.io ?? []),
      }),
    ];
    this.ready();
  }
}

/** Channel I/O: adapter interrupts for the disk, classic ones for the card. */
export const CHANNEL: Kind<ChannelHostMachine> = {
  title: 'channel I/O',
  make: (world) => new ChannelHostMachine(world),
  drive: (reach, ram) => [
    new CcwDriver(() => reach().cpu, ram, { schid: 0x10000, indicators: 'adapter' }),
    new CcwDriver(() => reach().cpu, ram, { schid: 0x10001, indicators: 'classic' }),
  ],
};

/** The guest's view of its memory: what its processor writes is in the dirty log. */
class LoggedRam extends GuestRam {
  memory: MappedMemory | undefined;

  override setU8(at: number, value: number): void {
    super.setU8(at, value);
    this.#mark(at, 1);
  }

  override setU16(at: number, value: number, littleEndian: boolean): void {
    super.setU16(at, value, littleEndian);
    this.#mark(at, 2);
  }

  override setU32(at: number, value: number, littleEndian: boolean): void {
    super.setU32(at, value, littleEndian);
    this.#mark(at, 4);
  }

  override write(at: number, bytes: Uint8Array): void {
    super.write(at, bytes);
    this.#mark(at, bytes.length);
  }

  override fill(at: number, length: number, value: number): void {
    super.fill(at, length, value);
    this.#mark(at, length);
  }

  #mark(at: number, length: number): void {
    this.memory?.markDirty(at as never, length);
  }
}

/** The drivers, and the work that they do: they do not know on which machine. */
export class WorkingGuest<M extends GuestMachine> {
  readonly disk: BlkWork;
  readonly card: NetWork<unknown>;
  readonly #ram: LoggedRam;
  readonly #world: GuestWorld;
  #next = 0;

  constructor(kind: Kind<M>, world: GuestWorld, first: M) {
    this.#world = world;
    this.#ram = new LoggedRam(first.bytes);
    this.#place(first);
    const reach = (): M => world.running as M;
    const [disk, card] = kind.drive(reach, this.#ram);
    const setup = { ram: this.#ram, memory: 0x60000 };
    this.disk = new BlkWork({ ...setup, transport: disk }, { queues: 2 }, 1);
    // an announcement would be asked for at each arrival, and is none of this test's business
    const features = NET_DRIVER_FEATURES & ~netFeatures('GUEST_ANNOUNCE');
    const cable = world as unknown as CableWorld<unknown>;
    const packed = kind.title === 'PCI' ? { rings: { packed: true } } : {};
    this.card = new NetWork({ ...setup, ...packed, transport: card, features }, { pairs: 2 }, cable, 1);
    this.disk.start();
    this.card.start();
  }

  /** Steps done, and begun. */
  get steps(): number {
    return this.#next;
  }

  get pending(): number {
    return this.disk.pending + this.card.pending;
  }

  /** Something happens, if a machine runs. */
  turn(): void {
    const machine = this.#world.running as M | undefined;
    if (machine === undefined) return;
    this.#place(machine);
    if (this.pending < 12) {
      this.disk.step(this.#next);
      this.card.step(this.#next++);
    }
    this.#world.tick();
    this.disk.service();
    this.card.service();
  }

  /** Until everything is done. @throws if it never is */
  async finish(): Promise<void> {
    for (let idle = 0; this.pending > 0; idle++) {
      if (idle > 5000)
        throw new Error(`${this.disk.pending} requests and ${this.card.pending} frames are never done`);
      const machine = this.#world.running as M | undefined;
      if (machine === undefined) throw new Error('no machine runs');
      this.#place(machine);
      this.#world.tick();
      for (let n = 0; n < 4; n++) await Promise.resolve();
      this.disk.service();
      this.card.service();
    }
  }

  #place(machine: GuestMachine): void {
    if (this.#ram.bytes !== machine.bytes) this.#ram.replace(machine.bytes);
    this.#ram.memory = machine.memory;
  }
}

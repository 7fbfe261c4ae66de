import { codecOf, type DeviceEvent, type DeviceModel } from '@virtkit/core';
import { BlkDevice, type BlkState } from '@virtkit/device-blk';
import { NetDevice, type NetState } from '@virtkit/device-net';
import type { SwitchPort } from '@virtkit/device-net/switch';
import { type Attachment, attach, suspend } from '@virtkit/v86';
import { V86 } from 'v86';
import session from '../../guest/session.sh?raw';
import type { DeviceView, Guest } from '../protocol.ts';
import type { Assets } from './assets.ts';
import { Console } from './console.ts';
import type { MeteredDisk } from './disk.ts';
import type { Lan } from './lan.ts';
import { Watch } from './watch.ts';

const DISK_SLOT = 3;
const CARD_SLOT = 4;
/** What a booted guest says when its shell is there. */
const READY = 'LAB:SHELL';

/** A device in a machine. */
class Part<M extends DeviceModel<D>, D> {
  readonly model: M;
  readonly watch: Watch<D>;
  readonly #attached: Attachment<D>;

  constructor(model: M, attached: Attachment<D>) {
    this.model = model;
    this.#attached = attached;
    this.watch = new Watch(attached.function.device);
  }

  /** Its state, in QEMU's format: what v86's snapshot holds of it. */
  saved(): { readonly name: string; readonly bytes: Uint8Array<ArrayBuffer> } {
    const { device } = this.#attached.function;
    return { name: device.model.layer.name, bytes: codecOf(device).encode(device.capture()).slice() };
  }
}

/** A guest that stands still, as plain data: what moves. */
export interface Bundle {
  readonly guest: Guest;
  /** What v86 saves: CPU, RAM, its own devices, and ours. */
  readonly machine: ArrayBuffer;
  /** The states of our devices, in QEMU's format, to show them. */
  readonly devices: readonly { readonly name: string; readonly bytes: Uint8Array<ArrayBuffer> }[];
  /** What the console showed last. */
  readonly screen: Uint8Array<ArrayBuffer>;
  readonly latency: number;
}

export interface MachineOptions {
  readonly assets: Assets;
  readonly guest: Guest;
  readonly disk: MeteredDisk;
  readonly lan: Lan;
  /** What the console showed before, elsewhere. */
  readonly screen?: Uint8Array;
  readonly onOutput: (bytes: Uint8Array<ArrayBuffer>) => void;
  readonly onTrouble: (text: string) => void;
}

/** An instance of v86 with a guest, a disk and a network card. */
export class Machine {
  readonly guest: Guest;
  readonly disk: MeteredDisk;
  readonly console: Console;
  readonly #options: MachineOptions;
  readonly #emulator: V86;
  #port: SwitchPort | undefined;
  #blk: Part<BlkDevice, BlkState> | undefined;
  #net: Part<NetDevice, NetState> | undefined;
  #goOn: (() => Promise<void>) | undefined;

  /** A guest that has booted already, or that boots now. Resolves when it runs, and is told its name. */
  static async start(options: MachineOptions, size: { rows: number; columns: number }): Promise<Machine> {
    const { assets, guest } = options;
    const kernel = assets.snapshot === undefined ? await assets.kernel() : undefined;
    const machine = new Machine(options, await emulate(assets, kernel));
    const ready = kernel === undefined ? undefined : machine.console.waitFor(READY);
    if (assets.snapshot !== undefined) await machine.#emulator.restore_state(assets.snapshot);
    // hot-plugged: the guest looks at its bus again when it has its name
    machine.#plug();
    await machine.#emulator.run();
    await ready;
    const { name, address } = guest;
    machine.console.send(
      `NAME=${name} ADDRESS=${address} ROWS=${size.rows} COLUMNS=${size.columns}\n${session}`,
    );
    return machine;
  }

  /** A guest that was elsewhere. Its requests in flight begin again; it stands still until {@link run}. */
  static async receive(options: MachineOptions, { machine: state, latency }: Bundle): Promise<Machine> {
    const machine = new Machine(options, await emulate(options.assets, undefined));
    machine.#plug();
    await machine.#emulator.restore_state(state);
    machine.disk.latency = latency;
    return machine;
  }

  private constructor(options: MachineOptions, emulator: V86) {
    this.#options = options;
    this.guest = options.guest;
    this.disk = options.disk;
    this.#emulator = emulator;
    this.console = new Console(emulator, options.screen ?? new Uint8Array(), options.onOutput);
  }

  #plug(): void {
    const { lan, guest, disk } = this.#options;
    const port = lan.port();
    const onEvent = ({ name, device, reason }: DeviceEvent): void =>
      this.#options.onTrouble(`${device}: ${reason ?? name}`);
    const blk = new BlkDevice({ backend: disk, serial: guest.name });
    const net = new NetDevice({ backend: port, mac: guest.mac });
    this.#blk = new Part(blk, attach(this.#emulator, blk, { slot: DISK_SLOT, onEvent }));
    this.#net = new Part(net, attach(this.#emulator, net, { slot: CARD_SLOT, onEvent }));
    this.#port = port;
  }

  /**
   * Stops the guest wherever it is, and takes out all that it is. Requests in flight stay in flight, as part of the disk's
   * state; only the back end comes to rest, because another may open the disk next.
   */
  async suspend(): Promise<Bundle> {
    const { state, goOn } = await suspend(this.#emulator);
    this.#goOn = goOn;
    const devices = [this.#blk, this.#net].flatMap((part) => part?.saved() ?? []);
    const { guest, console, disk } = this;
    return { guest, machine: state, devices, screen: console.tail, latency: disk.latency };
  }

  /** Runs: on, where it was suspended; or for the first time here. */
  async run(): Promise<void> {
    await (this.#goOn?.() ?? this.#emulator.run());
    this.#goOn = undefined;
  }

  /** For good. The disk is the caller's. */
  async destroy(): Promise<void> {
    this.console.close();
    this.#port?.close();
    await this.#emulator.destroy();
  }

  view(): DeviceView[] {
    const { disk } = this;
    const views: DeviceView[] = [];
    if (this.#blk !== undefined) {
      const { watch } = this.#blk;
      views.push({
        name: 'virtio-blk',
        status: watch.status,
        queues: watch.queues(),
        bytesIn: disk.bytesRead,
        bytesOut: disk.bytesWritten,
        countIn: disk.reads,
        countOut: disk.writes,
      });
    }
    if (this.#net !== undefined) {
      const { watch, model } = this.#net;
      const { rxBytes, txBytes, rxPackets, txPackets } = model.counters;
      views.push({
        name: 'virtio-net',
        status: watch.status,
        queues: watch.queues(),
        bytesIn: rxBytes,
        bytesOut: txBytes,
        countIn: rxPackets,
        countOut: txPackets,
      });
    }
    return views;
  }
}

/** A v86 that stands still before its first instruction. */
function emulate(
  { wasm, bios, vgaBios, shape }: Assets,
  kernel: { readonly bzimage: ArrayBuffer; readonly initrd: ArrayBuffer } | undefined,
): Promise<V86> {
  return new Promise((resolve) => {
    const emulator = new V86({
      wasm_fn: async (imports) => (await WebAssembly.instantiate(wasm, imports)).exports,
      bios: { buffer: bios },
      vga_bios: { buffer: vgaBios },
      memory_size: shape.memory_size,
      vga_memory_size: shape.vga_memory_size,
      acpi: false,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      // an empty object: no card of v86's own
      net_device: {},
      autostart: false,
      ...(kernel !== undefined && {
        bzimage: { buffer: kernel.bzimage },
        initrd: { buffer: kernel.initrd },
        cmdline: shape.cmdline,
      }),
    });
    emulator.add_listener('emulator-loaded', () => resolve(emulator));
  });
}

import { type DeviceEvent, type DeviceModel, HostError } from '@virtkit/core';
import { type Bar, PciFunction, type PciOptions } from '@virtkit/transport-pci';
import type { V86Machine } from './emulator.ts';
import { Line, type Lines } from './lines.ts';
import type { Mmio } from './mmio.ts';
import { PortRange } from './ports.ts';
import type { GuestRam } from './ram.ts';
import { type Counters, Target } from './target.ts';

/** Options of a device in a slot: those of {@link PciOptions}, except what v86 is for. */
export interface AttachOptions
  extends Omit<PciOptions, 'memory' | 'setIntx' | 'sendMsi' | 'onBarChange' | 'vectors' | 'express'> {
  /**
   * Number of the PCI slot, 2 to 31. v86's own: 1 bridge, 5 `ne2k`, 6 9p, 7 ACPI, 10 net, 11 balloon, 12 console, 18
   * VGA, 30 IDE.
   */
  readonly slot: number;
  /**
   * True for kicks by port I/O (QEMU's `modern-pio-notify`), which Linux prefers where they are there. Default here:
   * true, unless `mode` is `legacy`. v86 can take an interrupt at once behind a port, but not behind a memory access:
   * disks are half as fast again.
   */
  readonly modernPioNotify?: boolean;
  /**
   * Function that hears of what the device tells, and of two events more: `error`, an exception while the guest
   * accessed the device; `unreachable`, a BAR where v86 has no place.
   */
  readonly onEvent?: (event: DeviceEvent) => void;
}

const IO_END = 0x1_0000;
const MEMORY_END = 2 ** 32;
const INTERRUPT_LINE = 0x3c;

/** Emulator whose machine is there, with our side of it. */
export interface Running {
  readonly machine: V86Machine;
  readonly mmio: Mmio;
  readonly lines: Lines;
}

/** Emulator as a slot sees it. */
export interface SlotHost {
  readonly ram: GuestRam;
  /** Emulator with its machine. @throws HostError if there is no machine yet */
  readonly running: Running;
}

/** Slot of v86's PCI bus with a device in it, or about to. */
export class Slot<D = unknown> {
  readonly slot: number;
  readonly function: PciFunction<D>;
  readonly target: Target;
  readonly #host: SlotHost;
  readonly #onEvent: ((event: DeviceEvent) => void) | undefined;
  /** Functions that take a mapped BAR away, by BAR. */
  readonly #mapped = new Map<number, () => void>();
  line: Line | undefined;

  constructor(host: SlotHost, model: DeviceModel<D>, { slot, onEvent, ...options }: AttachOptions) {
    if (!Number.isInteger(slot) || slot < 2 || slot > 31)
      throw new HostError(`slot ${slot}: 2 to 31 expected, 0 and 1 are v86's bridges`);
    this.slot = slot;
    this.#host = host;
    this.#onEvent = onEvent;
    this.function = new PciFunction<D>(model, {
      modernPioNotify: options.mode !== 'legacy',
      ...options,
      ...(onEvent && { onEvent: (event) => this.#tell(event) }),
      memory: host.ram.memory,
      setIntx: (level) => this.line?.set(level),
      onBarChange: (bar) => this.#place(bar),
    });
    this.target = new Target(this.function as PciFunction, (error, access) => this.#failed(error, access));
  }

  get name(): string {
    return this.function.device.model.layer.name;
  }

  get counters(): Counters {
    return this.target.counters;
  }

  /** Puts the function on the bus, when the machine is there. @throws HostError if the slot is taken */
  plug(): void {
    const { machine, lines } = this.#host.running;
    const id = this.slot << 3;
    const { devices } = machine.pci;
    if (devices[id] !== undefined) {
      const { name = 'another device' } = devices[id] as { name?: string };
      throw new HostError(`slot ${this.slot} is taken by v86's ${name}`);
    }
    this.line = new Line(lines, this.slot, () => {
      this.counters.interrupts++;
    });
    const header = Array.from({ length: 64 }, (_, i) => this.function.configRead(i, 1));
    machine.pci.register_device({
      name: `virtkit ${this.name}`,
      pci_id: id,
      pci_space: header,
      pci_bars: [],
    });
    // a firmware does so at boot; for a device that comes later nobody does, and Linux believes what it reads
    this.function.configWrite(INTERRUPT_LINE, 1, lines.route(this.slot));
    this.line.set(this.function.intx);
    for (const bar of this.function.bars) this.#place(bar);
  }

  unplug(): void {
    const { machine } = this.#host.running;
    for (const remove of this.#mapped.values()) remove();
    this.#mapped.clear();
    this.line?.set(false);
    this.line = undefined;
    machine.pci.devices[this.slot << 3] = undefined;
    machine.pci.device_spaces[this.slot << 3] = undefined;
    this.function.unplug();
  }

  #place({ index, kind, size, address, enabled }: Bar): void {
    this.#mapped.get(index)?.();
    this.#mapped.delete(index);
    if (!enabled || this.line === undefined) return;
    const { machine, mmio } = this.#host.running;
    const end = kind === 'io' ? IO_END : MEMORY_END;
    if (address + size > end) {
      this.#tell({ name: 'unreachable', device: this.name, facts: { bar: index, address, size } });
      return;
    }
    if (kind === 'io') {
      const range = new PortRange(machine.cpu, this.target, index, address, size);
      this.#mapped.set(index, () => range.remove());
    } else this.#mapped.set(index, mmio.map(this.target, index, address, size));
  }

  #failed(error: unknown, access: string): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#tell({ name: 'error', device: this.name, reason, facts: { slot: this.slot, access } });
  }

  #tell(event: DeviceEvent): void {
    try {
      this.#onEvent?.(event);
    } catch {
      // a listener that throws must not stop v86 either
    }
  }
}

import { STATUS, type TransportHost } from '@virtkit/core/live';
import { PCI_HEADER as HEADER } from '../pci-header.ts';
import type { Region } from './access.ts';
import { DEVCTL_BIT, EXPRESS, LNKCTL_BITS } from './capabilities.ts';
import { COMMAND } from './config-registers.ts';
import type { MachineProperties } from './machine.ts';
import type { ModernRegion } from './modern-region.ts';
import type { PciTransport } from './transport.ts';

/** Offsets in the PCI configuration access capability. Virtio 1.3 §4.1.4.9 */
const WINDOW = { OFFSET: 8, LENGTH: 12, DATA: 16, DATA_BYTES: 4 } as const;
const POWER_CONTROL = 4;
/** Length in bytes of the six BARs' registers. */
const BARS_BYTES = 24;

/** Actions of configuration space outside of itself. */
export interface ConfigActions {
  /** Resets the function, by a function level reset. */
  reset(): void;
}

/** Configuration space as the driver reaches it, with all that hangs on its accesses. */
export class ConfigAccess implements Region {
  readonly #host: TransportHost;
  readonly #transport: PciTransport;
  readonly #modern: ModernRegion | undefined;
  readonly #properties: MachineProperties;
  readonly #actions: ConfigActions;

  constructor(
    host: TransportHost,
    transport: PciTransport,
    modern: ModernRegion | undefined,
    properties: MachineProperties,
    actions: ConfigActions,
  ) {
    this.#host = host;
    this.#transport = transport;
    this.#modern = modern;
    this.#properties = properties;
    this.#actions = actions;
  }

  /** Reads configuration space. QEMU: `virtio_read_config`. */
  read(offset: number, size: number): number {
    const { space } = this.#transport.layout;
    if (this.#touchesWindow(offset, size)) this.#readWindow();
    return space.get(offset, size);
  }

  /** Writes configuration space. QEMU: `virtio_write_config`. */
  write(offset: number, size: number, value: number): void {
    this.#writeRegisters(offset, size, value);
    this.#functionLevelReset();
    if (covers(offset, size, HEADER.COMMAND)) this.#busMasterWritten();
    if (this.#touchesWindow(offset, size)) this.#writeWindow();
  }

  /** Writes registers, and follows what they switch. QEMU: `pci_default_write_config`. */
  #writeRegisters(offset: number, size: number, value: number): void {
    const { space, bars, msix } = this.#transport.layout;
    space.write(offset, size, value);
    const command = covers(offset, size, HEADER.COMMAND);
    if (command || overlaps(offset, size, HEADER.BAR0, BARS_BYTES) || overlaps(offset, size, HEADER.ROM, 4))
      bars.update();
    if (command) this.#transport.busMaster = (space.u16(HEADER.COMMAND) & COMMAND.MASTER) !== 0;
    if (overlaps(offset, size, HEADER.COMMAND, 2)) this.#transport.intx.update();
    if (msix.configWritten(offset, size)) this.#transport.intx.deassert();
  }

  /**
   * Follows a write of the bus mastering bit: without it a device may not touch memory, and does nothing until a driver
   * begins anew.
   */
  #busMasterWritten(): void {
    const host = this.#host;
    const on = this.#transport.busMaster;
    if (this.#properties.useDisabled) host.setDisabled(!on);
    if (!on) host.setStatus(host.status & ~STATUS.DRIVER_OK);
  }

  /**
   * Switches bus mastering on as if the driver had written Command, but `disabled` stays: QEMU goes past
   * `virtio_write_config` here.
   */
  enableBusMaster(): void {
    const { space } = this.#transport.layout;
    this.#writeRegisters(HEADER.COMMAND, 1, space.u8(HEADER.COMMAND) | COMMAND.MASTER);
  }

  #functionLevelReset(): void {
    const { space, express } = this.#transport.layout;
    if (express === undefined || !this.#properties.flr) return;
    const at = express.express + EXPRESS.DEVCTL;
    if ((space.u16(at) & DEVCTL_BIT.FLR) === 0) return;
    this.#actions.reset();
    space.set(at, 2, space.u16(at) & ~DEVCTL_BIT.FLR);
  }

  /** Resets the function's registers to how they were made. QEMU: `virtio_pci_bus_reset`, `pci_do_device_reset`. */
  reset(): void {
    const { space, bars, msix, express } = this.#transport.layout;
    if (express !== undefined) {
      const control = express.express + EXPRESS.DEVCTL;
      const link = express.express + EXPRESS.LNKCTL;
      space.set(control, 2, space.u16(control) & ~DEVCTL_BIT.ERRORS);
      space.set(link, 2, space.u16(link) & ~LNKCTL_BITS);
      space.set(express.power + POWER_CONTROL, 2, 0);
    }
    this.#transport.intx.deassert();
    space.clearWritable(HEADER.COMMAND, 2);
    space.clearWritable(HEADER.STATUS, 2);
    space.clearWritable(HEADER.INTERRUPT_LINE, 1);
    space.set(HEADER.CACHE_LINE_SIZE, 1, 0);
    bars.reset();
    msix.reset();
  }

  // The PCI configuration access capability: BARs without mapping them. Virtio 1.3 §4.1.4.9

  #touchesWindow(offset: number, size: number): boolean {
    const { window } = this.#transport.layout;
    return window !== 0 && overlaps(offset, size, window + WINDOW.DATA, WINDOW.DATA_BYTES);
  }

  /** Finds where the window shows to, or undefined. The BAR that the driver names does not matter: there is one. */
  #target(): { at: number; length: number } | undefined {
    const { space, window } = this.#transport.layout;
    const length = space.u32(window + WINDOW.LENGTH);
    if (length !== 1 && length !== 2 && length !== 4) return undefined;
    const offset = space.u32(window + WINDOW.OFFSET);
    const at = offset - (offset % length);
    return this.#modern?.holds(at, length) === true ? { at, length } : undefined;
  }

  #readWindow(): void {
    const target = this.#target();
    if (target === undefined) return;
    const { space, window } = this.#transport.layout;
    // Virtio 1.3 §4.1.4.9.1 MUST: a read of pci_cfg_data reads the BAR
    const value = this.#modern?.read(target.at, target.length) ?? 0;
    space.set(window + WINDOW.DATA, target.length, value);
  }

  #writeWindow(): void {
    const target = this.#target();
    if (target === undefined) return;
    const { space, window } = this.#transport.layout;
    // Virtio 1.3 §4.1.4.9.1 MUST: a write of pci_cfg_data writes the BAR, with the first bytes of it
    const value = space.get(window + WINDOW.DATA, target.length);
    this.#modern?.write(target.at, target.length, value);
  }
}

function covers(offset: number, size: number, byte: number): boolean {
  return offset <= byte && byte < offset + size;
}

function overlaps(offset: number, size: number, from: number, bytes: number): boolean {
  return offset < from + bytes && from < offset + size;
}

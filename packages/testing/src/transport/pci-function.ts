import { DriverError } from '../spec.ts';
import type { PciHost } from './pci-host.ts';
import type { Reach } from './transport.ts';

const COMMAND = 4;
const STATUS = 6;
const HEADER_BARS = 0x10;
const CAPABILITIES = 0x34;
const STATUS_CAPABILITY_LIST = 0x10;
const CAP_VENDOR = 0x09;
const CAP_MSIX = 0x11;
/** Bits of the command register for I/O, memory and bus mastering. */
const COMMAND_ON = 7;
/** Largest number of capabilities: no list can be longer in 256 bytes. */
const CAPABILITIES_MAX = 48;
/** Address where the driver begins to put ports; each function gets 16 MiB and 4096 ports of its own. */
const PORTS = 0x1000;
const MEMORY32 = 0xc000_0000;
const MEMORY64 = 0x40_0000_0000;

/** Base address register with the address that the driver gave it. */
export interface Bar {
  /** True if the range is in the space of ports. */
  readonly io: boolean;
  /** Address where the range is mapped. */
  readonly address: number;
  /** Length of the range in bytes, a power of two. */
  readonly size: number;
}

/** Structure of virtio in a BAR. Virtio 1.3 §4.1.4 */
export interface VirtioCapability {
  /** Offset of the capability in configuration space. */
  readonly at: number;
  /** Type of the structure, its cfg_type: 1 common, 2 notify, 3 ISR, 4 device, 5 PCI configuration access. */
  readonly type: number;
  /** Number of the BAR that the structure is in. */
  readonly bar: number;
  /** Offset of the structure in the BAR, in bytes. */
  readonly offset: number;
  /** Length of the structure in bytes. */
  readonly length: number;
}

/** PCI part of a driver: configuration space, BARs and capabilities of one function. */
export class PciFunctionDriver {
  /** Machine whose bus the function is on. */
  readonly host: Reach<PciHost>;
  /** Slot on the bus. */
  readonly slot: number;
  /** Base address registers by number; undefined: there is none. */
  bars: readonly (Bar | undefined)[] = [];
  /** Capabilities of virtio, in the order of the list. */
  virtio: readonly VirtioCapability[] = [];
  /** Offset of the MSI-X capability. */
  msixAt: number | undefined;
  /** Vendor id; 0 before the function was looked at. */
  vendor = 0;
  /** Device id; 0 before the function was looked at. */
  device = 0;
  /** Subsystem id; 0 before the function was looked at. */
  subsystem = 0;

  constructor(host: Reach<PciHost>, slot: number) {
    this.host = host;
    this.slot = slot;
  }

  /** Walks configuration space, gives each BAR an address and switches the function on. */
  probe(): void {
    this.vendor = this.read(0, 2);
    this.device = this.read(2, 2);
    this.subsystem = this.read(0x2e, 2);
    if (this.vendor !== 0x1af4) throw new DriverError(`no virtio device in slot ${this.slot}`);
    this.#walkCapabilities();
    // a BAR must not answer while all ones are in it
    this.write(COMMAND, 2, 0);
    this.#placeBars();
    this.write(COMMAND, 2, COMMAND_ON);
  }

  /** Reads configuration space. */
  read(offset: number, size: number): number {
    return this.host().configRead(this.slot, offset, size);
  }

  /** Writes configuration space. */
  write(offset: number, size: number, value: number): void {
    this.host().configWrite(this.slot, offset, size, value);
  }

  /** Lets the function write to memory, or keeps it from that. */
  setBusMaster(on: boolean): void {
    const command = this.read(COMMAND, 2);
    this.write(COMMAND, 2, on ? command | 4 : command & ~4);
  }

  /** Reads in a BAR, at an offset from its beginning. */
  barRead(bar: number, offset: number, size: number): number {
    const { io, address } = this.#bar(bar);
    return io ? this.host().portRead(address + offset, size) : this.host().memoryRead(address + offset, size);
  }

  /** Writes in a BAR, at an offset from its beginning. */
  barWrite(bar: number, offset: number, size: number, value: number): void {
    const { io, address } = this.#bar(bar);
    if (io) this.host().portWrite(address + offset, size, value);
    else this.host().memoryWrite(address + offset, size, value);
  }

  #bar(index: number): Bar {
    const bar = this.bars[index];
    if (bar === undefined) throw new DriverError(`the function has no BAR ${index}`);
    return bar;
  }

  #walkCapabilities(): void {
    const virtio: VirtioCapability[] = [];
    this.msixAt = undefined;
    let at = (this.read(STATUS, 2) & STATUS_CAPABILITY_LIST) === 0 ? 0 : this.read(CAPABILITIES, 1) & 0xfc;
    for (let count = 0; at !== 0; count++) {
      if (count === CAPABILITIES_MAX) throw new DriverError('the list of capabilities has no end');
      const id = this.read(at, 1);
      if (id === CAP_MSIX) this.msixAt = at;
      if (id === CAP_VENDOR) {
        virtio.push({
          at,
          type: this.read(at + 3, 1),
          bar: this.read(at + 4, 1),
          offset: this.read(at + 8, 4),
          length: this.read(at + 12, 4),
        });
      }
      at = this.read(at + 1, 1) & 0xfc;
    }
    this.virtio = virtio;
  }

  #placeBars(): void {
    const bars: (Bar | undefined)[] = [];
    let port = PORTS * (this.slot + 1);
    let low = MEMORY32 + 0x100_0000 * this.slot;
    let high = MEMORY64 + 0x1_0000_0000 * this.slot;
    const align = (at: number, size: number): number => Math.ceil(at / size) * size;
    for (let index = 0; index < 6; index++) {
      const at = HEADER_BARS + 4 * index;
      this.write(at, 4, 0xffff_ffff);
      const found = this.read(at, 4);
      if (found === 0) {
        bars[index] = undefined;
      } else if ((found & 1) === 1) {
        const size = (~(found & 0xfffc) & 0xffff) + 1;
        port = align(port, size);
        this.write(at, 4, port);
        bars[index] = { io: true, address: port, size };
        port += size;
      } else {
        const size = (~(found & ~0xf) >>> 0) + 1;
        const wide = (found & 6) === 4;
        const address = align(wide ? high : low, size);
        this.write(at, 4, address >>> 0);
        bars[index] = { io: false, address, size };
        if (wide) {
          this.write(at + 4, 4, Math.floor(address / 0x1_0000_0000));
          high = address + size;
          index++;
        } else {
          low = address + size;
        }
      }
    }
    this.bars = bars;
  }
}

import { CONVENTIONAL_BYTES, EXPRESS_BYTES } from '../config-space.ts';
import { PCI_HEADER as HEADER } from '../pci-header.ts';
import { truncate } from './access.ts';

/** Bits of the command register. */
export const COMMAND = { IO: 0x1, MEMORY: 0x2, MASTER: 0x4, SERR: 0x100, INTX_DISABLE: 0x400 } as const;

/** Bits of the status register. */
export const STATUS_BIT = { INTERRUPT: 0x08, CAPABILITIES: 0x10 } as const;

/**
 * Bits of the status register that are cleared by writing ones: parity, target abort (2), master abort, system error,
 * parity.
 */
const STATUS_W1C = 0xf900;

const HEADER_FIELDS: readonly (readonly [offset: number, bytes: number, name: string])[] = [
  [HEADER.VENDOR_ID, 2, 'vendor id'],
  [HEADER.DEVICE_ID, 2, 'device id'],
  [HEADER.COMMAND, 2, 'command'],
  [HEADER.STATUS, 2, 'status'],
  [HEADER.REVISION_ID, 1, 'revision id'],
  [HEADER.CLASS, 3, 'class code'],
  [HEADER.CACHE_LINE_SIZE, 1, 'cache line size'],
  [HEADER.HEADER_TYPE, 1, 'header type'],
  [HEADER.SUBSYSTEM_VENDOR_ID, 2, 'subsystem vendor id'],
  [HEADER.SUBSYSTEM_ID, 2, 'subsystem id'],
  [HEADER.ROM, 4, 'expansion ROM base address'],
  [HEADER.CAPABILITIES, 1, 'capabilities pointer'],
  [HEADER.INTERRUPT_LINE, 1, 'interrupt line'],
  [HEADER.INTERRUPT_PIN, 1, 'interrupt pin'],
];

/** Byte in which saved and own configuration space differ, and must not. */
export interface Mismatch {
  readonly at: number;
  /** Name of the field or capability that the byte belongs to. */
  readonly name: string;
  readonly read: number;
  readonly device: number;
  readonly cmask: number;
  readonly wmask: number;
  readonly w1cmask: number;
}

/**
 * Registers of configuration space: the bytes, and for each bit whether the driver can write it (`wmask`), can clear it
 * with a one (`w1cmask`), and whether a saved state must have the same (`cmask`). QEMU: `PCIDevice`.
 */
export class ConfigRegisters {
  readonly bytes: Uint8Array;
  readonly cmask: Uint8Array;
  readonly wmask: Uint8Array;
  readonly w1cmask: Uint8Array;
  readonly #names: { readonly at: number; readonly end: number; readonly name: string }[] = [];
  /** Offset of the next capability. */
  #free: number = HEADER.END;

  constructor(express: boolean) {
    const size = express ? EXPRESS_BYTES : CONVENTIONAL_BYTES;
    this.bytes = new Uint8Array(size);
    this.cmask = new Uint8Array(size);
    this.wmask = new Uint8Array(size);
    this.w1cmask = new Uint8Array(size);
    for (const [at, bytes, name] of HEADER_FIELDS) this.name(at, bytes, name);
    this.#initialiseMasks();
  }

  /**
   * Sets the masks of what the driver can change. What no capability covers, it can write. QEMU: `pci_init_cmask`,
   * `pci_init_wmask`, `pci_init_w1cmask`.
   */
  #initialiseMasks(): void {
    const { cmask, wmask, w1cmask } = this;
    cmask.fill(0xff, HEADER.VENDOR_ID, HEADER.DEVICE_ID + 2);
    cmask[HEADER.STATUS] = STATUS_BIT.CAPABILITIES;
    cmask.fill(0xff, HEADER.REVISION_ID, HEADER.CLASS + 3);
    cmask[HEADER.HEADER_TYPE] = 0xff;
    cmask[HEADER.CAPABILITIES] = 0xff;
    const command = COMMAND.IO | COMMAND.MEMORY | COMMAND.MASTER | COMMAND.INTX_DISABLE | COMMAND.SERR;
    put(wmask, HEADER.COMMAND, 2, command);
    wmask[HEADER.CACHE_LINE_SIZE] = 0xff;
    wmask[HEADER.INTERRUPT_LINE] = 0xff;
    wmask.fill(0xff, HEADER.END);
    put(w1cmask, HEADER.STATUS, 2, STATUS_W1C);
  }

  get size(): number {
    return this.bytes.length;
  }

  get isExpress(): boolean {
    return this.bytes.length === EXPRESS_BYTES;
  }

  u8(at: number): number {
    return this.bytes[at] ?? 0;
  }

  u16(at: number): number {
    return this.u8(at) | (this.u8(at + 1) << 8);
  }

  u32(at: number): number {
    return (this.u16(at) | (this.u16(at + 2) << 16)) >>> 0;
  }

  get(at: number, size: number): number {
    return size === 4 ? this.u32(at) : size === 2 ? this.u16(at) : this.u8(at);
  }

  /** Sets bytes, whatever the masks say. */
  set(at: number, size: number, value: number): void {
    put(this.bytes, at, size, value);
  }

  /** Makes bits writable for the driver. */
  allow(at: number, size: number, mask: number): void {
    for (let i = 0; i < size; i++)
      this.wmask[at + i] = (this.wmask[at + i] ?? 0) | ((mask >>> (8 * i)) & 0xff);
  }

  /** Makes bits that the driver clears by writing a one clearable. */
  allowClear(at: number, size: number, mask: number): void {
    for (let i = 0; i < size; i++)
      this.w1cmask[at + i] = (this.w1cmask[at + i] ?? 0) | ((mask >>> (8 * i)) & 0xff);
  }

  /** Writes bytes for the driver, as far as the masks let it. QEMU: `pci_default_write_config`. */
  write(at: number, size: number, value: number): void {
    const { bytes, wmask, w1cmask } = this;
    for (let i = 0; i < size; i++) {
      const byte = (value >>> (8 * i)) & 0xff;
      const mask = wmask[at + i] ?? 0;
      const written = ((bytes[at + i] ?? 0) & ~mask) | (byte & mask);
      bytes[at + i] = written & ~(byte & (w1cmask[at + i] ?? 0));
    }
  }

  /** Clears all bits that the driver can change. QEMU: `pci_word_test_and_clear_mask` with both masks. */
  clearWritable(at: number, size: number): void {
    for (let i = at; i < at + size; i++)
      this.bytes[i] = this.u8(i) & ~((this.wmask[i] ?? 0) | (this.w1cmask[i] ?? 0));
  }

  /**
   * Puts a capability behind the others and at the head of the list; read-only, and checked. QEMU: `pci_add_capability`.
   *
   * @returns its offset
   */
  addCapability(id: number, size: number, name: string): number {
    const at = this.#free;
    this.#free = (at + size + 3) & ~3;
    this.bytes[at] = id;
    this.bytes[at + 1] = this.u8(HEADER.CAPABILITIES);
    this.bytes[HEADER.CAPABILITIES] = at;
    this.bytes[HEADER.STATUS] = this.u8(HEADER.STATUS) | STATUS_BIT.CAPABILITIES;
    this.#protect(at, size, name);
    return at;
  }

  /** Puts an extended capability at an offset above 256. QEMU: `pcie_add_capability`. */
  addExtended(at: number, id: number, version: number, size: number, name: string): void {
    this.set(at, 4, id | (version << 16));
    this.w1cmask.fill(0, at, at + size);
    this.#protect(at, size, name);
  }

  #protect(at: number, size: number, name: string): void {
    this.wmask.fill(0, at, at + size);
    this.cmask.fill(0xff, at, at + size);
    this.name(at, size, name);
  }

  /** Gives a range a name; later names win. */
  name(at: number, size: number, name: string): void {
    this.#names.unshift({ at, end: at + size, name });
  }

  /** Finds the name of a byte. */
  nameOf(at: number): string {
    return this.#names.find((range) => at >= range.at && at < range.end)?.name ?? 'unused';
  }

  /** Lists every byte of a saved configuration space that does not fit. QEMU: `get_pci_config_device`. */
  mismatches(saved: Uint8Array): Mismatch[] {
    const found: Mismatch[] = [];
    this.bytes.forEach((device, at) => {
      const [cmask = 0, wmask = 0, w1cmask = 0] = [this.cmask[at], this.wmask[at], this.w1cmask[at]];
      const read = saved[at] ?? 0;
      if (((read ^ device) & cmask & ~wmask & ~w1cmask) === 0) return;
      found.push({ at, name: this.nameOf(at), read, device, cmask, wmask, w1cmask });
    });
    return found;
  }
}

function put(bytes: Uint8Array, at: number, size: number, value: number): void {
  const word = truncate(value, size === 3 ? 4 : size);
  for (let i = 0; i < size; i++) bytes[at + i] = (word >>> (8 * i)) & 0xff;
}

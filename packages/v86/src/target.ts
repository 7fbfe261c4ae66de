import { PCI_HEADER, type PciFunction } from '@virtkit/transport-pci';

/** Counters of how often the guest and the device spoke to each other. */
export interface Counters {
  /** Number of reads of BARs. */
  reads: number;
  /** Number of writes to BARs; kicks are among them. */
  writes: number;
  /** Number of times that the interrupt line went up. */
  interrupts: number;
}

const STRUCTURE = { COMMON: 1 } as const;
const VENDOR_CAPABILITY = 0x09;
/** Number of capabilities that have room behind the header: more are a loop. */
const CAPABILITIES_MAX = 48;
const GENERATION = 0x15;

/**
 * PCI function as v86's port and memory handlers call it. Nothing that is thrown gets out of here: it would stop v86's
 * loop, while `is_running()` stays true.
 */
export class Target {
  readonly function: PciFunction;
  readonly counters: Counters = { reads: 0, writes: 0, interrupts: 0 };
  readonly #onError: (error: unknown, access: string) => void;
  #common: { readonly bar: number; readonly at: number; readonly end: number } | undefined;

  constructor(pciFunction: PciFunction, onError: (error: unknown, access: string) => void) {
    this.function = pciFunction;
    this.#onError = onError;
    this.#common = commonConfigOf(pciFunction);
  }

  read(bar: number, offset: number, size: number): number {
    this.counters.reads++;
    try {
      return this.function.barRead(bar, offset, size);
    } catch (error) {
      this.#onError(error, `read of ${size} bytes at ${offset} of BAR ${bar}`);
      return allOnes(size);
    }
  }

  /**
   * Reads a byte of a memory BAR. v86 makes two of a read of 16 bits; the registers of the common configuration know
   * only themselves whole (Virtio 1.3 §4.1.3.1), so that the upper half is taken from there.
   */
  readByte(bar: number, offset: number): number {
    const common = this.#common;
    if (common?.bar === bar && offset >= common.at && offset < common.end) {
      const at = offset - common.at;
      if ((at & 1) !== 0 && at !== GENERATION) return this.read(bar, offset - 1, 2) >>> 8;
    }
    return this.read(bar, offset, 1);
  }

  write(bar: number, offset: number, size: number, value: number): void {
    this.counters.writes++;
    try {
      this.function.barWrite(bar, offset, size, value);
    } catch (error) {
      this.#onError(error, `write of ${size} bytes at ${offset} of BAR ${bar}`);
    }
  }

  configRead(offset: number, size: number): number {
    try {
      return this.function.configRead(offset, size);
    } catch (error) {
      this.#onError(error, `read of ${size} bytes at ${offset} of configuration space`);
      return allOnes(size);
    }
  }

  configWrite(offset: number, size: number, value: number): void {
    try {
      this.function.configWrite(offset, size, value);
    } catch (error) {
      this.#onError(error, `write of ${size} bytes at ${offset} of configuration space`);
    }
  }
}

function allOnes(size: number): number {
  return size === 4 ? 0xffffffff : (1 << (8 * size)) - 1;
}

/** Finds where the common configuration is, by the function's own capabilities. Virtio 1.3 §4.1.4 */
function commonConfigOf(pci: PciFunction): { bar: number; at: number; end: number } | undefined {
  let at = pci.configRead(PCI_HEADER.CAPABILITIES, 1);
  for (let n = 0; at >= PCI_HEADER.END && n < CAPABILITIES_MAX; n++) {
    if (pci.configRead(at, 1) === VENDOR_CAPABILITY && pci.configRead(at + 3, 1) === STRUCTURE.COMMON) {
      const offset = pci.configRead(at + 8, 4);
      return { bar: pci.configRead(at + 4, 1), at: offset, end: offset + pci.configRead(at + 12, 4) };
    }
    at = pci.configRead(at + 1, 1);
  }
  return undefined;
}

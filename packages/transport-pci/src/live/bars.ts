import { PCI_HEADER as HEADER } from '../pci-header.ts';
import { BAR } from './capabilities.ts';
import { COMMAND, type ConfigRegisters } from './config-registers.ts';

/** Kind of address space that a base address register asks for. */
export type BarKind = 'io' | 'memory32' | 'memory64' | 'rom';

/** Base address register, as an emulator maps it. */
export interface Bar {
  /** Number of the register, 0 to 5; 6 is the expansion ROM. A `memory64` takes two. */
  readonly index: number;
  /** Kind of address space: of ports or of memory, and with 32 or 64 bits of address. */
  readonly kind: BarKind;
  /** Length of the range in bytes, a power of two. */
  readonly size: number;
  /** True if reading has no side effects. Memory only. */
  readonly prefetchable: boolean;
  /** Address where the guest has put the range; of use only while {@link enabled}. */
  readonly address: number;
  /** True if the function answers at the address: the guest has switched decoding on, and the address is one. */
  readonly enabled: boolean;
}

const TYPE: Readonly<Record<BarKind, number>> = { io: 0x1, memory32: 0x0, memory64: 0x4, rom: 0x0 };
const PREFETCHABLE = 0x8;
const ROM_ENABLE = 0x1;

/** Base address registers of a function, and where they are mapped. */
export class Bars {
  readonly #space: ConfigRegisters;
  readonly #allowZero: boolean;
  readonly #onChange: ((bar: Bar) => void) | undefined;
  readonly #bars: Bar[] = [];

  constructor(space: ConfigRegisters, allowZero: boolean, onChange: ((bar: Bar) => void) | undefined) {
    this.#space = space;
    this.#allowZero = allowZero;
    this.#onChange = onChange;
  }

  get all(): readonly Bar[] {
    return this.#bars;
  }

  /** Length of a BAR's range in bytes, 0 if there is no such BAR. */
  sizeOf(index: number): number {
    return this.#bars.find((bar) => bar.index === index)?.size ?? 0;
  }

  /** Adds a base address register. QEMU: `pci_register_bar`. */
  add(index: number, kind: BarKind, size: number, prefetchable = false): void {
    const space = this.#space;
    const at = registerOf(index);
    const bytes = kind === 'memory64' ? 8 : 4;
    space.set(at, 4, TYPE[kind] | (prefetchable ? PREFETCHABLE : 0));
    space.allow(at, 4, -size | (kind === 'rom' ? ROM_ENABLE : 0));
    if (bytes === 8) space.allow(at + 4, 4, 0xffffffff);
    space.cmask.fill(0xff, at, at + bytes);
    space.name(
      at,
      bytes,
      kind === 'rom' ? `expansion ROM (${size} bytes)` : `BAR ${index} (${kind}, ${size} bytes)`,
    );
    this.#bars.push({ index, kind, size, prefetchable, address: 0, enabled: false });
    this.#bars.sort((a, b) => a.index - b.index);
  }

  /** Resets all registers to no address. QEMU: `pci_reset_regions`. */
  reset(): void {
    for (const { index, kind, prefetchable } of this.#bars) {
      const at = registerOf(index);
      this.#space.set(at, 4, TYPE[kind] | (prefetchable ? PREFETCHABLE : 0));
      if (kind === 'memory64') this.#space.set(at + 4, 4, 0);
    }
    this.update();
  }

  /** Looks where the guest has put the ranges, and tells of changes. QEMU: `pci_update_mappings`. */
  update(): void {
    this.#bars.forEach((bar, i) => {
      const address = this.#addressOf(bar);
      const enabled = this.#answers(bar, address);
      if (enabled === bar.enabled && (!enabled || address === bar.address)) {
        if (address !== bar.address) this.#bars[i] = { ...bar, address };
        return;
      }
      const changed = { ...bar, address, enabled };
      this.#bars[i] = changed;
      this.#onChange?.(changed);
    });
  }

  #addressOf({ index, kind, size }: Bar): number {
    const at = registerOf(index);
    const low = (this.#space.u32(at) & -size) >>> 0;
    return kind === 'memory64' ? this.#space.u32(at + 4) * 2 ** 32 + low : low;
  }

  /**
   * Does the function answer at this address? Sizing writes all ones, which is no address either. QEMU:
   * `pci_bar_address`.
   */
  #answers({ index, kind, size }: Bar, address: number): boolean {
    const command = this.#space.u16(HEADER.COMMAND);
    if ((command & (kind === 'io' ? COMMAND.IO : COMMAND.MEMORY)) === 0) return false;
    if (kind === 'rom' && (this.#space.u32(registerOf(index)) & ROM_ENABLE) === 0) return false;
    if (address === 0 && !this.#allowZero) return false;
    return kind === 'memory64' ? address + size < 2 ** 64 : address + size < 2 ** 32;
  }
}

function registerOf(index: number): number {
  return index === BAR.ROM ? HEADER.ROM : HEADER.BAR0 + 4 * index;
}

/** Finds the smallest power of two that is not below a number. */
export function powerOfTwo(bytes: number): number {
  let size = 1;
  while (size < bytes) size *= 2;
  return size;
}

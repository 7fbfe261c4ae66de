import type { MsiMessage, PciHost } from '../transport/pci-host.ts';

/** Base address register as a function tells it: `PciFunction` of `@virtkit/transport-pci` has such. */
export interface PciBar {
  /** Number of the register, 0 to 5. */
  readonly index: number;
  /** Space that the register asks for. */
  readonly kind: 'io' | 'memory32' | 'memory64' | 'rom';
  /** Length of the range in bytes, a power of two. */
  readonly size: number;
  /** Address where the driver has put the range. */
  readonly address: number;
  /** True if the function answers there now. */
  readonly enabled: boolean;
}

/** PCI function as the bus needs it. */
export interface PciBusFunction {
  /** Base address registers of the function as they stand now. */
  readonly bars: readonly PciBar[];
  /** Reads configuration space for the driver. */
  configRead(offset: number, size: number): number;
  /** Writes configuration space for the driver. */
  configWrite(offset: number, size: number, value: number): void;
  /** Reads in a BAR for the driver, at an offset from its beginning. */
  barRead(bar: number, offset: number, size: number): number;
  /** Writes in a BAR for the driver, at an offset from its beginning. */
  barWrite(bar: number, offset: number, size: number, value: number): void;
  /** Is told that the function is taken out of its slot. */
  unplug?(): void;
}

/**
 * Largest number of messages that are kept until the guest takes them. Equal ones are one, as in an interrupt
 * controller.
 */
const MESSAGES_MAX = 1024;

/**
 * PCI bus of a few slots for tests and examples: routes ports and memory to the BARs that the guest has placed, and
 * collects interrupts. It takes a bounded amount of memory whatever the guest writes.
 */
export class PciBus implements PciHost {
  readonly messages: MsiMessage[] = [];
  readonly #slots = new Map<number, PciBusFunction>();
  readonly #lines = new Set<number>();

  /** Puts a function into a slot; another one there is gone. */
  plug(slot: number, fn: PciBusFunction): void {
    this.unplug(slot);
    this.#slots.set(slot, fn);
  }

  /** Takes the function out of a slot, if there is one. */
  unplug(slot: number): void {
    const fn = this.#slots.get(slot);
    this.#slots.delete(slot);
    fn?.unplug?.();
    this.#lines.delete(slot);
  }

  /** Finds the function in a slot. */
  at(slot: number): PciBusFunction | undefined {
    return this.#slots.get(slot);
  }

  /** Takes a message of a function. */
  send(address: number, data: number): void {
    if (this.messages.some((message) => message.address === address && message.data === data)) return;
    if (this.messages.length === MESSAGES_MAX) this.messages.shift();
    this.messages.push({ address, data });
  }

  /** Raises or lowers the INTx line of a function. */
  setIntx(slot: number, level: boolean): void {
    if (level) this.#lines.add(slot);
    else this.#lines.delete(slot);
  }

  intx(slot: number): boolean {
    return this.#lines.has(slot);
  }

  configRead(slot: number, offset: number, size: number): number {
    return this.#slots.get(slot)?.configRead(offset, size) ?? allOnes(size);
  }

  /** Writes a slot's configuration space for the driver. */
  configWrite(slot: number, offset: number, size: number, value: number): void {
    this.#slots.get(slot)?.configWrite(offset, size, value);
  }

  portRead(port: number, size: number): number {
    const hit = this.#find(true, port, size);
    return hit === undefined ? allOnes(size) : hit.fn.barRead(hit.bar, hit.offset, size);
  }

  /** Writes to a port of the bus for the driver. */
  portWrite(port: number, size: number, value: number): void {
    const hit = this.#find(true, port, size);
    hit?.fn.barWrite(hit.bar, hit.offset, size, value);
  }

  memoryRead(address: number, size: number): number {
    const hit = this.#find(false, address, size);
    return hit === undefined ? allOnes(size) : hit.fn.barRead(hit.bar, hit.offset, size);
  }

  /** Writes to a memory BAR of the bus for the driver. */
  memoryWrite(address: number, size: number, value: number): void {
    const hit = this.#find(false, address, size);
    hit?.fn.barWrite(hit.bar, hit.offset, size, value);
  }

  #find(
    io: boolean,
    address: number,
    size: number,
  ): { readonly fn: PciBusFunction; readonly bar: number; readonly offset: number } | undefined {
    for (const fn of this.#slots.values()) {
      for (const bar of fn.bars) {
        const offset = address - bar.address;
        if (!bar.enabled || (bar.kind === 'io') !== io || offset < 0 || offset + size > bar.size) continue;
        return { fn, bar: bar.index, offset };
      }
    }
    return undefined;
  }
}

function allOnes(size: number): number {
  return 2 ** (8 * size) - 1;
}

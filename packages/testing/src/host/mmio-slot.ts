import type { MmioHost } from '../transport/mmio.ts';

/** A register window, as the machine needs it: `MmioDevice` of `@virtkit/transport-mmio` has it. */
export interface MmioWindow {
  /** The driver reads `size` bytes at this offset of the register window. */
  read(offset: number, size: number): number;
  /** The driver writes `size` bytes at this offset of the register window. */
  write(offset: number, size: number, value: number): void;
  /** It is taken out of its slot. */
  unplug?(): void;
}

/** One virtio-mmio slot and its interrupt line, for tests and examples. */
export class MmioSlot implements MmioHost {
  irq = false;
  #window: MmioWindow | undefined;

  /** Puts a device in; another one there is gone. */
  plug(window: MmioWindow): void {
    this.unplug();
    this.#window = window;
  }

  /** Takes the device out, if there is one. */
  unplug(): void {
    const window = this.#window;
    this.#window = undefined;
    window?.unplug?.();
    this.irq = false;
  }

  /** Level of the interrupt line: hand it to the device as its `setIrq`. */
  setIrq(level: boolean): void {
    this.irq = level;
  }

  mmioRead(offset: number, size: number): number {
    return this.#window?.read(offset, size) ?? 0;
  }

  /** The driver writes a register. */
  mmioWrite(offset: number, size: number, value: number): void {
    this.#window?.write(offset, size, value);
  }
}

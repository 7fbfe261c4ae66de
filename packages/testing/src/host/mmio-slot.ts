import type { MmioHost } from '../transport/mmio.ts';

/** Register window as the machine needs it: `MmioDevice` of `@virtkit/transport-mmio` has it. */
export interface MmioWindow {
  /** Reads `size` bytes at an offset of the register window, for the driver. */
  read(offset: number, size: number): number;
  /** Writes `size` bytes at an offset of the register window, for the driver. */
  write(offset: number, size: number, value: number): void;
  /** Is told that the device is taken out of its slot. */
  unplug?(): void;
}

/** Slot of virtio-mmio with its interrupt line, for tests and examples. */
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

  /** Sets the level of the interrupt line: hand it to the device as its `setIrq`. */
  setIrq(level: boolean): void {
    this.irq = level;
  }

  mmioRead(offset: number, size: number): number {
    return this.#window?.read(offset, size) ?? 0;
  }

  /** Writes a register for the driver. */
  mmioWrite(offset: number, size: number, value: number): void {
    this.#window?.write(offset, size, value);
  }
}

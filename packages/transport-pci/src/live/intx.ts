import { PCI_HEADER as HEADER } from '../pci-header.ts';
import { COMMAND, type ConfigRegisters, STATUS_BIT } from './config-registers.ts';

const PINS = 4;

/** Interrupt pins of a function. A saved state has the levels of all four, a function has one pin. */
export class Intx {
  readonly #space: ConfigRegisters;
  readonly #set: (level: boolean) => void;
  /** Levels of the pins, a bit each. */
  #state = 0;
  /** Level that the host was told last. */
  #told = false;

  constructor(space: ConfigRegisters, set: (level: boolean) => void) {
    this.#space = space;
    this.#set = set;
  }

  get levels(): number[] {
    return Array.from({ length: PINS }, (_, pin) => (this.#state >> pin) & 1);
  }

  /** Level of the line: low while the guest has it disabled. */
  get level(): boolean {
    const disabled = (this.#space.u16(HEADER.COMMAND) & COMMAND.INTX_DISABLE) !== 0;
    return !disabled && this.#state !== 0;
  }

  /** Sets the function's own pin. QEMU: `pci_set_irq`. */
  set(level: boolean): void {
    const before = this.#state;
    this.#setPin(level);
    if (this.#state !== before) this.update();
  }

  #setPin(level: boolean): void {
    // a saved state may name any pin, and none
    const bit = 1 << ((this.#space.u8(HEADER.INTERRUPT_PIN) - 1) & (PINS - 1));
    this.#state = level ? this.#state | bit : this.#state & ~bit;
  }

  /** Lowers all pins. QEMU: `pci_device_deassert_intx`. */
  deassert(): void {
    this.#state = 0;
    this.update();
  }

  /**
   * Takes over saved levels, and that of the function's own pin if it is known better. The host is told in any case:
   * its idea of the line may be another one.
   */
  restore(levels: readonly number[], own: boolean | undefined): void {
    this.#state = levels.slice(0, PINS).reduce((state, level, pin) => state | (level << pin), 0);
    if (own !== undefined) this.#setPin(own);
    this.#told = !this.level;
    this.update();
  }

  /** Tells the host the level of the line if it has changed, after the levels or the disable bit may have. */
  update(): void {
    const status = this.#space.u8(HEADER.STATUS);
    // Virtio 1.3 §4.1.4.5.1 MUST: Interrupt Status in the PCI status register follows the ISR status
    this.#space.bytes[HEADER.STATUS] =
      this.#state === 0 ? status & ~STATUS_BIT.INTERRUPT : status | STATUS_BIT.INTERRUPT;
    const { level } = this;
    if (level === this.#told) return;
    this.#told = level;
    this.#set(level);
  }
}

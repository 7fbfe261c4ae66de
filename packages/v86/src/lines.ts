import type { V86Cpu, V86Pci } from './emulator.ts';
import type { Mmio } from './mmio.ts';

const PIRQ_ROUTES = 0x60;

/**
 * Interrupt lines of v86's interrupt controller, each shared by any number of functions. v86 itself knows one owner a
 * line.
 */
export class Lines {
  readonly #cpu: V86Cpu;
  readonly #pci: V86Pci;
  readonly #mmio: Mmio;
  /** Number of our functions that hold each line up. */
  readonly #holders = new Uint8Array(256);
  readonly #waiting: Line[] = [];
  readonly #flush = (): void => {
    for (const line of this.#waiting.splice(0)) line.apply();
  };

  constructor(cpu: V86Cpu, pci: V86Pci, mmio: Mmio) {
    this.#cpu = cpu;
    this.#pci = pci;
    this.#mmio = mmio;
  }

  /** Finds the line that INTA of a slot is routed to now: 0 to 15, or 128 and above if to none. */
  route(slot: number): number {
    return this.#pci.isa_bridge_space8[PIRQ_ROUTES + ((slot - 1) & 3)] ?? 0x80;
  }

  get canRaise(): boolean {
    return this.#mmio.depth === 0;
  }

  raise(irq: number): void {
    if (irq < 16 && (this.#holders[irq] ?? 0) === 0) this.#cpu.device_raise_irq(irq);
    this.#holders[irq] = (this.#holders[irq] ?? 0) + 1;
  }

  lower(irq: number): void {
    this.#holders[irq] = Math.max(0, (this.#holders[irq] ?? 0) - 1);
    if (irq < 16 && this.#holders[irq] === 0) this.#cpu.device_lower_irq(irq);
  }

  /** Raises a line as soon as the guest's present time slice is over. */
  later(line: Line): void {
    if (this.#waiting.length === 0) Promise.resolve().then(this.#flush);
    if (!this.#waiting.includes(line)) this.#waiting.push(line);
  }
}

/** INTA line of one function. */
export class Line {
  /** Level that the function wants. */
  wanted = false;
  readonly #lines: Lines;
  readonly #slot: number;
  readonly #onRaise: () => void;
  #irq = -1;

  constructor(lines: Lines, slot: number, onRaise: () => void) {
    this.#lines = lines;
    this.#slot = slot;
    this.#onRaise = onRaise;
  }

  set(level: boolean): void {
    this.wanted = level;
    // down at once: with the line still up, the edge of the next interrupt would be lost
    if (!level || this.#lines.canRaise) this.apply();
    else this.#lines.later(this);
  }

  apply(): void {
    if (this.wanted === this.#irq >= 0) return;
    if (this.wanted) {
      this.#irq = this.#lines.route(this.#slot);
      this.#lines.raise(this.#irq);
      this.#onRaise();
    } else {
      const irq = this.#irq;
      this.#irq = -1;
      this.#lines.lower(irq);
    }
  }

  /** Tells the level again to an interrupt controller that has been replaced. */
  again(): void {
    if (this.#irq >= 0) {
      const irq = this.#irq;
      this.#irq = -1;
      this.#lines.lower(irq);
    }
    this.apply();
  }
}

import type { PortEntry, V86Cpu } from './emulator.ts';
import type { Target } from './target.ts';

/** SeaBIOS and Linux put I/O BARs above; v86's own devices sit below, and must not be covered. */
const FIRST_PORT = 0x1000;
const PORTS = 0x10000;

/** `this` of a port's handlers. */
class Port {
  readonly target: Target;
  readonly bar: number;
  readonly offset: number;

  constructor(target: Target, bar: number, offset: number) {
    this.target = target;
    this.bar = bar;
    this.offset = offset;
  }
}

function read8(this: unknown): number {
  const { target, bar, offset } = this as Port;
  return target.read(bar, offset, 1);
}
function read16(this: unknown): number {
  const { target, bar, offset } = this as Port;
  return target.read(bar, offset, 2);
}
function read32(this: unknown): number {
  const { target, bar, offset } = this as Port;
  return target.read(bar, offset, 4) | 0;
}
function write8(this: unknown, value: number): void {
  const { target, bar, offset } = this as Port;
  target.write(bar, offset, 1, value & 0xff);
}
function write16(this: unknown, value: number): void {
  const { target, bar, offset } = this as Port;
  target.write(bar, offset, 2, value & 0xffff);
}
function write32(this: unknown, value: number): void {
  const { target, bar, offset } = this as Port;
  target.write(bar, offset, 4, value >>> 0);
}

/** An I/O BAR where the guest has put it. */
export class PortRange {
  readonly #ports: PortEntry[];
  readonly #first: number;
  readonly #before: (PortEntry | undefined)[] = [];
  readonly #ours: PortEntry[] = [];

  /** Ports below 0x1000 are left alone. */
  constructor(cpu: V86Cpu, target: Target, bar: number, address: number, size: number) {
    this.#ports = cpu.io.ports;
    this.#first = address;
    for (let i = 0; i < size && address + i < PORTS; i++) {
      const device = new Port(target, bar, i);
      const entry: PortEntry = { read8, read16, read32, write8, write16, write32, device };
      this.#ours.push(entry);
      this.#before.push(this.#ports[address + i]);
      if (address + i >= FIRST_PORT) this.#ports[address + i] = entry;
    }
  }

  remove(): void {
    for (const [i, entry] of this.#ours.entries()) {
      const at = this.#first + i;
      const before = this.#before[i];
      if (this.#ports[at] === entry && before !== undefined) this.#ports[at] = before;
    }
  }
}

import type { PortEntry, V86Cpu } from './emulator.ts';
import type { Target } from './target.ts';

/**
 * First port that I/O BARs may have: SeaBIOS and Linux put them above; v86's own devices sit below, and must not be
 * covered.
 */
const FIRST_PORT = 0x1000;
const PORTS = 0x10000;

/** Port of an I/O BAR, which is `this` of its handlers. */
class Port {
  readonly target: Target;
  readonly bar: number;
  readonly offset: number;
  /** Handlers that answered here before, and do again when this BAR is gone. */
  before: PortEntry;
  gone = false;

  constructor(target: Target, bar: number, offset: number, before: PortEntry) {
    this.target = target;
    this.bar = bar;
    this.offset = offset;
    this.before = before;
  }
}

function read8(this: unknown, at: number): number {
  const { target, bar, offset, gone, before } = this as Port;
  return gone ? before.read8.call(before.device, at) : target.read(bar, offset, 1);
}
function read16(this: unknown, at: number): number {
  const { target, bar, offset, gone, before } = this as Port;
  return gone ? before.read16.call(before.device, at) : target.read(bar, offset, 2);
}
function read32(this: unknown, at: number): number {
  const { target, bar, offset, gone, before } = this as Port;
  return gone ? before.read32.call(before.device, at) : target.read(bar, offset, 4) | 0;
}
function write8(this: unknown, value: number): void {
  const { target, bar, offset, gone, before } = this as Port;
  if (gone) before.write8.call(before.device, value);
  else target.write(bar, offset, 1, value & 0xff);
}
function write16(this: unknown, value: number): void {
  const { target, bar, offset, gone, before } = this as Port;
  if (gone) before.write16.call(before.device, value);
  else target.write(bar, offset, 2, value & 0xffff);
}
function write32(this: unknown, value: number): void {
  const { target, bar, offset, gone, before } = this as Port;
  if (gone) before.write32.call(before.device, value);
  else target.write(bar, offset, 4, value >>> 0);
}

/**
 * Ports of an I/O BAR where the guest has put it. Guests may put several BARs into one place: the last one answers
 * there, while it is there.
 */
export class PortRange {
  readonly #ports: PortEntry[];
  readonly #first: number;
  readonly #ours: PortEntry[] = [];

  /** Covers the ports from 0x1000 on; those below are left alone. */
  constructor(cpu: V86Cpu, target: Target, bar: number, address: number, size: number) {
    this.#ports = cpu.io.ports;
    this.#first = Math.max(address, FIRST_PORT);
    for (let at = this.#first; at < Math.min(address + size, PORTS); at++) {
      const before = this.#ports[at] ?? cpu.io.create_empty_entry();
      const device = new Port(target, bar, at - address, before);
      const entry: PortEntry = { read8, read16, read32, write8, write16, write32, device };
      this.#ours.push(entry);
      this.#ports[at] = entry;
    }
  }

  remove(): void {
    this.#ours.forEach((entry, i) => {
      this.#removeAt(this.#first + i, entry);
    });
  }

  /**
   * Takes an entry out of those that lie over each other at a port. One that others have hooked stays, and passes
   * everything on.
   */
  #removeAt(at: number, entry: PortEntry): void {
    const gone = entry.device as Port;
    gone.gone = true;
    if (this.#ports[at] === entry) {
      this.#ports[at] = gone.before;
      return;
    }
    for (let above = this.#ports[at]?.device; above instanceof Port; above = above.before.device) {
      if (above.before !== entry) continue;
      above.before = gone.before;
      return;
    }
  }
}

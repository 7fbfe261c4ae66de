// BARs that a guest puts over each other, and takes away in any order: the last one that is still there answers, and what v86 had at a
// port is there again in the end.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { V86Cpu } from '../src/emulator.ts';
import { PortRange } from '../src/ports.ts';
import type { Target } from '../src/target.ts';

type PortEntry = V86Cpu['io']['ports'][number];

const BASE = 0x1000;
const PORTS = 0x1010;

/** An entry that answers with a number and keeps what is written. */
function entryOf(answer: number, writes: number[] = []): PortEntry {
  const read = () => answer;
  const write = (value: number): void => {
    writes.push(value);
  };
  return {
    read8: read,
    read16: read,
    read32: read,
    write8: write,
    write16: write,
    write32: write,
    device: {},
  };
}

function table(): Pick<V86Cpu, 'io'> {
  const ports = Array.from({ length: PORTS }, (_, at) => entryOf(-1 - at));
  return { io: { ports, create_empty_entry: () => entryOf(0) } };
}

/** A BAR that answers with its number and the offset. */
function target(number: number): Pick<Target, 'read' | 'write'> {
  return { read: (_bar, offset) => 100 * number + offset, write: () => {} };
}

const read = ({ io }: Pick<V86Cpu, 'io'>, at: number): number | undefined => {
  const entry = io.ports[at];
  return entry?.read8.call(entry.device, at);
};

describe('I/O BARs over each other', () => {
  const step = fc.record({
    bar: fc.integer({ min: 0, max: 4 }),
    at: fc.integer({ min: BASE - 4, max: PORTS - 1 }),
    size: fc.constantFrom(1, 4, 8, 16),
    enabled: fc.boolean(),
  });

  test('in any order', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const cpu = table();
        const before = [...cpu.io.ports];
        /** Oldest first. */
        let placed: { bar: number; at: number; size: number; range: PortRange }[] = [];
        const take = (bar: number): void => {
          for (const one of placed) if (one.bar === bar) one.range.remove();
          placed = placed.filter((one) => one.bar !== bar);
        };
        for (const { bar, at, size, enabled } of steps) {
          take(bar);
          if (enabled) {
            const range = new PortRange(cpu as V86Cpu, target(bar) as Target, bar, at, size);
            placed.push({ bar, at, size, range });
          }
          for (let port = BASE - 8; port < PORTS; port++) {
            const top = placed.findLast((one) => port >= BASE && port >= one.at && port < one.at + one.size);
            expect(read(cpu, port)).toBe(top === undefined ? -1 - port : 100 * top.bar + port - top.at);
          }
        }
        for (let bar = 0; bar < 5; bar++) take(bar);
        cpu.io.ports.forEach((entry, port) => {
          if (entry !== before[port] && port < PORTS) throw new Error(`port ${port} is not as it was`);
        });
      }),
    );
  });

  test('what others hook over ours stays, and reaches what is left', () => {
    const cpu = table();
    const written: number[] = [];
    cpu.io.ports[BASE] = entryOf(-5, written);
    const range = new PortRange(cpu as V86Cpu, target(1) as Target, 1, BASE, 4);
    const ours = cpu.io.ports[BASE];
    if (ours === undefined) throw new Error('no entry');
    let seen = 0;
    const hook: PortEntry = {
      ...ours,
      read8: (at) => {
        seen++;
        return ours.read8.call(ours.device, at);
      },
      write16: (value) => ours.write16.call(ours.device, value),
      device: {},
    };
    cpu.io.ports[BASE] = hook;
    expect(read(cpu, BASE)).toBe(100);
    range.remove();
    expect(cpu.io.ports[BASE]).toBe(hook);
    expect([read(cpu, BASE), seen]).toEqual([-5, 2]);
    hook.write16.call(hook.device, 7);
    expect(written).toEqual([7]);
  });
});

// A driver and a device that keep the rules: everything arrives once, whole, in order; the same over every kind of ring.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Chain } from '../../src/contract/queue.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { type Buffer, bytesAt, type Driver, PackedDriver, SplitDriver } from './driver.ts';
import { Rig, type RigOptions } from './rig.ts';

type Step =
  | {
      readonly op: 'add';
      readonly lengths: readonly number[];
      readonly out: number;
      readonly indirect: boolean;
    }
  | { readonly op: 'pop' }
  | { readonly op: 'push'; readonly which: number; readonly written: number }
  | { readonly op: 'batch'; readonly count: number }
  | { readonly op: 'unpop' }
  | { readonly op: 'take' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('add' as const),
      lengths: fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 5 }),
      out: fc.nat(5),
      indirect: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('pop' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant('push' as const), which: fc.nat(7), written: fc.nat(400) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('batch' as const), count: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('unpop' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('take' as const) }) },
);

/** Plays the steps and writes down all that driver and device see; buffers and ids are named by the order of adding. */
function play(driver: Driver, rig: Rig, steps: readonly Step[], limit = Number.POSITIVE_INFINITY): unknown[] {
  const log: unknown[] = [];
  const added: { id: number; serial: number; buffers: Buffer[] }[] = [];
  const expected: number[] = [];
  const taken: { chain: Chain; serial: number; written: number }[] = [];
  let serial = 0;
  let outstanding = 0;
  for (const it of steps) {
    if (it.op === 'add') {
      if (outstanding >= limit) continue;
      const base = 0x10000 + (serial % 32) * 0x400;
      let addr = base;
      const buffers = it.lengths.map((length, i) => {
        const buffer = { addr, length, write: i >= it.out };
        addr += length + 1;
        return buffer;
      });
      const id = driver.add(buffers, it.indirect);
      if (id === undefined) {
        log.push('full');
        continue;
      }
      outstanding++;
      added.push({ id, serial, buffers });
      expected.push(serial);
      serial++;
    } else if (it.op === 'pop') {
      const chain = driver.queue.pop();
      const next = expected.shift();
      if (chain === undefined) {
        expect(next).toBeUndefined();
        continue;
      }
      const request = added.find((other) => other.serial === next);
      expect(chain.index).toBe(request?.id);
      const segments = (write: boolean) =>
        request?.buffers
          .filter((buffer) => buffer.write === write)
          .map(({ addr, length }) => ({ addr: BigInt(addr), len: BigInt(length) }));
      expect(chain.element()).toEqual({ index: request?.id, out: segments(false), in: segments(true) });
      chain.in.fill(0, 1e9, next ?? 0);
      taken.push({ chain, serial: next ?? -1, written: 0 });
      log.push(['popped', next, chain.out.total, chain.in.total]);
    } else if (it.op === 'unpop') {
      const last = taken.at(-1);
      // only what was taken last, and not if later chains went back already
      if (last === undefined || last.serial !== (expected[0] ?? serial) - 1) continue;
      driver.queue.unpop(last.chain);
      taken.pop();
      expected.unshift(last.serial);
    } else if (it.op === 'push') {
      const [one] = taken.splice(it.which % Math.max(1, taken.length), 1);
      if (one === undefined) continue;
      driver.queue.push(one.chain, it.written);
      driver.queue.notify();
      log.push(['pushed', one.serial]);
    } else if (it.op === 'batch') {
      const batch = taken.splice(0, it.count);
      batch.forEach(({ chain }, i) => {
        driver.queue.fill(chain, i, i);
      });
      driver.queue.flush(batch.length);
    } else {
      driver.wantInterrupt();
      for (const { id, length } of driver.take()) {
        const at = added.findIndex((request) => request.id === id);
        const [request] = added.splice(at, 1);
        if (request === undefined) throw new Error(`id ${id} is not known`);
        for (const { addr, length: size, write } of request.buffers) {
          if (write)
            expect(bytesAt(rig, addr, size).every((byte) => byte === (request.serial & 0xff))).toBe(true);
        }
        outstanding--;
        log.push(['used', request.serial, length]);
      }
    }
    expect(driver.queue.inFlight).toBe(taken.length + driver.queue.held().length);
  }
  expect(rig.owner.faults).toEqual([]);
  return log;
}

const shared = (): MappedMemory =>
  new MappedMemory([{ gpa: 0, bytes: new Uint8Array(new SharedArrayBuffer(0x40000)) }]);
const twoRegions = (): MappedMemory =>
  new MappedMemory([
    { gpa: 0, bytes: new Uint8Array(0x8000) },
    { gpa: 0x8000, bytes: new Uint8Array(0x38000) },
  ]);
const unaligned = (): MappedMemory =>
  new MappedMemory([{ gpa: 0, bytes: new Uint8Array(new ArrayBuffer(0x40003), 3) }]);

const kinds: readonly (readonly [string, () => RigOptions])[] = [
  ['aligned', () => ({})],
  ['EVENT_IDX', () => ({ eventIdx: true })],
  ['shared memory', () => ({ eventIdx: true, memory: shared() })],
  ['big-endian', () => ({ littleEndian: false })],
  ['an odd host address', () => ({ eventIdx: true, memory: unaligned() })],
  ['odd guest addresses', () => ({ desc: 0x1004, avail: 0x2001, used: 0x3003 })],
  ['regions', () => ({ memory: twoRegions() })],
  ['11 entries', () => ({ size: 11 })],
  ['one entry', () => ({ size: 1 })],
];

const drivers = {
  split: (rig: Rig): Driver => new SplitDriver(rig),
  'split, before the index wraps': (rig: Rig): Driver => new SplitDriver(rig, 0xfff8),
  packed: (rig: Rig): Driver => new PackedDriver(rig),
};

for (const [name, make] of Object.entries(drivers)) {
  describe(name, () => {
    test.each(kinds)('%s', (_, options) => {
      if (name.includes('wraps') && (options().size ?? 8) === 11) return;
      fc.assert(
        fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
          const made = options();
          const start = name.includes('wraps') ? 0xfff8 : 0;
          const rig = new Rig({ ...made, indices: { lastAvailIdx: start, usedIdx: start } });
          play(make(rig), rig, steps);
        }),
        { numRuns: 40 },
      );
    });

    test('IN_ORDER: what comes back is in the order of adding', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 120, size: 'max' }), fc.boolean(), (steps, littleEndian) => {
          const start = name.includes('wraps') ? 0xfff8 : 0;
          const rig = new Rig({
            inOrder: true,
            littleEndian,
            indices: { lastAvailIdx: start, usedIdx: start },
          });
          const log = play(make(rig), rig, steps) as [string, number][];
          const used = log.filter(([what]) => what === 'used').map(([, serial]) => serial);
          expect(used).toEqual(used.map((_, i) => i));
        }),
        { numRuns: 60 },
      );
    });
  });
}

test('split and packed rings show a device and a driver the same', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150, size: 'max' }), (steps) => {
      // fewer chains than either ring has room for: which one is full first is not the same
      const [split, packed] = [new Rig({ size: 16 }), new Rig({ size: 16 })];
      expect(play(new PackedDriver(packed), packed, steps, 3)).toEqual(
        play(new SplitDriver(split), split, steps, 3),
      );
    }),
    { numRuns: 200 },
  );
});

// A guest that means no good: bounded time and memory, at most one event, and the host program does not notice.
import { BLK_T, BlkDevice, memoryDisk } from '@virtkit/device-blk';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Machine, type MachineOptions, pattern } from './machine.ts';
import { SlowDisk, settle } from './slow-disk.ts';

const DISK = 64 * 512;

describe('a ring that its own requests write', () => {
  test('is not looked at again before the next kick', () => {
    const SECTORS = 8192;
    const disk = memoryDisk(SECTORS * 512);
    const view = new DataView(disk.bytes.buffer);
    // Sector n says that there is one more, and that the next request reads sector n + 1
    for (let n = 0; n < SECTORS; n++) {
      view.setUint16(n * 512 + 2, (n + 2) & 0xffff, true);
      view.setUint32(n * 512 + 4, n + 1, true);
    }
    const m = new Machine(new BlkDevice({ backend: disk, queueSize: 16 }));
    const ring = m.ring(0);
    const header = m.header(0, 0);
    m.add(0, [
      { addr: header, len: 16 },
      { addr: ring.avail, len: 4, write: true },
      { addr: header + 8, len: 8, write: true },
      { addr: m.alloc(501), len: 501, write: true },
    ]);
    // every entry of the avail ring names the same chain
    const head = m.view.getUint16(ring.avail + 4, true);
    for (let i = 0; i < 16; i++) m.view.setUint16(ring.avail + 4 + 2 * i, head, true);
    for (let kick = 1; kick <= 100; kick++) {
      m.kick();
      expect(m.view.getUint16(ring.used + 2, true)).toBe(kick);
      expect(m.view.getUint32(header + 8, true)).toBe(kick);
    }
    expect(m.disk.inFlight).toBe(0);
    expect(m.faults).toEqual([]);
  });
});

describe('a driver on another thread that is as fast as the device', () => {
  /** For each request that is done at once, the driver puts in another one. */
  function busy(defer?: (proceed: () => void) => void) {
    const state = { left: 0, done: 0 };
    const lifetime = () => {
      state.done += m.used().length;
      if (state.left-- > 0) m.submit(BLK_T.GET_LIFETIME, 0, 6);
      return { preEolInfo: 1, typA: 1, typB: 1 };
    };
    const backend = memoryDisk(DISK);
    const m = new Machine(new BlkDevice({ backend, queueSize: 4, lifetime, ...(defer && { defer }) }), {
      indirect: true,
    });
    const start = (left: number): void => {
      state.left = left;
      m.submit(BLK_T.GET_LIFETIME, 0, 6);
      m.kick();
    };
    const done = (): number => {
      state.done += m.used().length;
      return state.done;
    };
    return { m, start, done };
  }

  test('has one ring’s worth for each kick', () => {
    const { m, start, done } = busy();
    start(9);
    expect(done()).toBe(4);
    m.kick();
    expect(done()).toBe(8);
    m.kick();
    expect(done()).toBe(10);
  });

  test('and goes on without one when others had their turn', async () => {
    const { start, done } = busy();
    start(9);
    expect(done()).toBe(4);
    await expect.poll(done).toBe(10);
  });

  test('or goes on when others had their turn, if the host program offers one', () => {
    const turns: (() => void)[] = [];
    const { m, start, done } = busy((proceed) => turns.push(proceed));
    start(5);
    expect(done()).toBe(4);
    expect(turns).toHaveLength(1);
    turns.pop()?.();
    expect(done()).toBe(6);
    expect(turns).toHaveLength(0);
    // a turn that comes too late is none
    start(5);
    m.live.reset();
    turns.pop()?.();
    expect(m.disk.inFlight).toBe(0);
    m.start();
    expect(m.read(0, 512).status).toBe(0);
  });
});

/** Anything that a descriptor can say. */
const segment = fc.record({
  addr: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0x100000, max: 0x110000 }) },
    fc.constantFrom(0, 0x1000, 0x1ff000, 0x1fffff, 0x200000, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER),
  ),
  len: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(0, 1, 15, 16, 17, 512, 513, 528, 529) },
    fc.constantFrom(4096, 0x100000, 0x7fffffff, 0xffffffff),
  ),
  write: fc.boolean(),
});
const header = fc.record({
  type: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.constantFrom(0x80000000, 0x80000001, 0xffffffff)),
  sector: fc.oneof(fc.nat({ max: 70 }), fc.constantFrom(2 ** 32, 2 ** 53, 2 ** 63)),
});
type Anything = typeof chain extends fc.Arbitrary<infer T> ? T : never;
const chain = fc.record({ header, segments: fc.array(segment, { maxLength: 6 }), sane: fc.boolean() });

describe.each<[string, MachineOptions]>([
  ['split', {}],
  ['split, indirect', { indirect: true }],
  ['packed', { rings: { packed: true } }],
  ['legacy', { legacy: true }],
])('chains of anything: %s', (_name, how) => {
  const check = (m: Machine): void => {
    expect(m.events.filter(({ name }) => name === 'fault').length).toBeLessThanOrEqual(1);
    expect(m.disk.inFlight).toBeLessThanOrEqual(256);
  };
  const submit = (m: Machine, { header: { type, sector }, segments, sane }: Anything): void => {
    const at = m.header(type, sector);
    const ordered = [...segments].sort((a, b) => Number(a.write) - Number(b.write));
    m.add(0, [
      { addr: at, len: 16 },
      ...(sane ? ordered : segments),
      { addr: m.alloc(1), len: 1, write: true },
    ]);
  };

  test('at once', () => {
    fc.assert(
      fc.property(fc.array(chain, { minLength: 1, maxLength: 20 }), (chains) => {
        const m = new Machine(new BlkDevice({ backend: memoryDisk(DISK), serial: 'x' }), how);
        for (const one of chains) {
          submit(m, one);
          m.kick();
          check(m);
          expect(m.disk.inFlight).toBe(0);
          if (!m.live.broken) continue;
          m.events.length = 0;
          m.start();
        }
        if (m.live.broken) m.start();
        expect(m.read(0, 512).status).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  test('with a slow disk, saves and resets in between', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(chain, fc.nat({ max: 7 })), { minLength: 1, maxLength: 20 }),
        async (steps) => {
          const disk = new SlowDisk(pattern(DISK, 1));
          const m = new Machine(new BlkDevice({ backend: disk }), how);
          for (const [one, what] of steps) {
            try {
              submit(m, one);
            } catch {
              m.start();
            }
            m.kick();
            check(m);
            if (what === 0 && disk.waiting.length > 0) disk.finish(disk.waiting.length - 1);
            else if (what === 1) m.live.restore(m.live.capture());
            else if (what === 2) m.live.resume();
            else if (what === 3 && m.live.broken) {
              m.events.length = 0;
              m.start();
            } else if (what === 4) m.live.pause();
            await settle();
          }
          m.live.resume();
          await disk.finishAll();
          check(m);
          if (!m.live.broken) expect(m.disk.inFlight).toBe(0);
        },
      ),
      { numRuns: 100 },
    );
  });
});

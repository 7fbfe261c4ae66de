// What the two ring formats promise devices, case by case; queue-sequences.test.ts has the same with random sequences.
import { describe, expect, test } from 'vitest';
import { HostError } from '../../src/live/errors.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { mapRing } from '../../src/live/ring-map.ts';
import { type Driver, PackedDriver, SplitDriver } from './driver.ts';
import { NEXT, pieces, popped, Rig, type RigOptions } from './rig.ts';

const formats = {
  split: (rig: Rig): Driver => new SplitDriver(rig),
  packed: (rig: Rig): Driver => new PackedDriver(rig),
};
const kinds: readonly (readonly [string, RigOptions])[] = [
  ['usual', {}],
  ['big-endian', { littleEndian: false }],
  ['IN_ORDER', { inOrder: true }],
];

describe.each(Object.entries(formats))('%s', (_format, make) => {
  describe.each(kinds)('%s', (_kind, options) => {
    function offered(chains: number): Driver {
      const driver = make(new Rig(options));
      for (let i = 0; i < chains; i++)
        driver.add([{ addr: 0x10000 + 0x100 * i, length: 0x100, write: true }], false);
      return driver;
    }
    const lengths = (driver: Driver): number[] => driver.take().map(({ length }) => length);

    test('what is filled is shown in the order of its places, as many as are flushed', () => {
      const driver = offered(4);
      const { queue } = driver;
      for (let i = 0; i < 4; i++) queue.fill(popped(queue), 10 + i, i);
      expect(lengths(driver)).toEqual([]);
      queue.flush(1);
      expect(lengths(driver)).toEqual([10]);
      queue.flush(2);
      expect(lengths(driver)).toEqual([11, 12]);
      queue.flush(1);
      expect(lengths(driver)).toEqual([13]);
      expect(queue.inFlight).toBe(0);
    });

    test('a place is filled once, and none is left out; what is wrong changes nothing', () => {
      const driver = offered(3);
      const { queue } = driver;
      const [first, second, third] = [popped(queue), popped(queue), popped(queue)];
      queue.fill(first, 1, 0);
      expect(() => queue.fill(second, 2, 0)).toThrow(HostError);
      expect(() => queue.push(second, 2)).toThrow('filled twice, 0 ahead');
      expect(() => queue.fill(second, 2, 8)).toThrow('filled 8 ahead, in a ring of 8');
      expect(() => queue.fill(second, 2, -1)).toThrow('filled -1 ahead, in a ring of 8');
      queue.fill(third, 3, 2);
      expect(() => queue.flush(2)).toThrow('2 flushed, and nothing was filled 1 ahead');
      expect(() => queue.flush(3)).toThrow('3 flushed, 2 filled');
      expect(lengths(driver)).toEqual([]);
      queue.fill(second, 2, 1);
      queue.flush(3);
      expect(queue.inFlight).toBe(0);
      expect(lengths(driver)).toEqual([1, 2, 3]);
    });

    test('places go round with the ring, in whatever order they are filled', () => {
      const driver = offered(0);
      const { queue } = driver;
      for (let round = 0; round < 7; round++) {
        for (let i = 0; i < 3; i++) driver.add([{ addr: 0x10000, length: 0x100, write: true }], false);
        const chains = [popped(queue), popped(queue), popped(queue)];
        for (const i of [2, 0, 1]) queue.fill(chains[i] ?? popped(queue), 10 * round + i, i);
        expect(() => queue.flush(4)).toThrow('4 flushed, 3 filled');
        queue.flush(1);
        queue.flush(2);
        expect(lengths(driver)).toEqual([10 * round, 10 * round + 1, 10 * round + 2]);
      }
    });

    test('the place behind the last one of the ring is none, the last one is', () => {
      const driver = offered(1);
      const { queue } = driver;
      const chain = popped(queue);
      expect(() => queue.fill(chain, 1, 8)).toThrow(HostError);
      expect(() => queue.fill(chain, 1, Number.NaN)).toThrow(HostError);
      queue.fill(chain, 1, 7);
      expect(() => queue.flush(1)).toThrow('1 flushed, and nothing was filled 0 ahead');
    });

    test('a chain that is pushed takes the next place: those that are filled further ahead move up', () => {
      const driver = offered(2);
      const { queue } = driver;
      const [first, second] = [popped(queue), popped(queue)];
      queue.fill(second, 2, 1);
      queue.push(first, 1);
      expect(lengths(driver)).toEqual([1]);
      queue.flush(1);
      expect(lengths(driver)).toEqual([2]);
    });
  });
});

describe.each(Object.entries(formats))('%s: the pieces as a list', (_format, make) => {
  test.each(kinds)(
    '%s: those to read, and behind them those to write, as the two directions have them',
    (_kind, options) => {
      const memory = new MappedMemory([
        { gpa: 0, bytes: new Uint8Array(0x18000) },
        { gpa: 0x18000, bytes: new Uint8Array(0x8000) },
      ]);
      const driver = make(new Rig({ ...options, memory, size: 64 }));
      // more pieces than a new chain has room for; the third buffer crosses from region to region
      const buffers = Array.from({ length: 20 }, (_, i) => ({
        addr: i === 2 ? 0x17ff0 : 0x10000 + 0x100 * i,
        length: 0x20 + i,
        write: i >= 5,
      }));
      for (let round = 0; round < 3; round++) {
        const used = round === 1 ? buffers.slice(4, 6) : buffers;
        driver.add(used, false);
        const chain = popped(driver.queue);
        const all = [...pieces(chain.out), ...pieces(chain.in)];
        expect(all).toHaveLength(round === 1 ? 2 : 21);
        expect(chain.out.count).toBe(round === 1 ? 1 : 6);
        expect(
          all.map((_, n) => [(chain.pieces[2 * n] ?? -1) >>> 0, (chain.pieces[2 * n + 1] ?? -1) >>> 0]),
        ).toEqual(all);
        expect(chain.out.total + chain.in.total).toBe(used.reduce((sum, { length }) => sum + length, 0));
        driver.queue.push(chain, 0);
        driver.take();
      }
    },
  );
});

describe('packed: the device says in its event structure what it has taken', () => {
  const BUFFER = [{ addr: 0x10000, length: 1, write: false }];
  const offset = (rig: Rig): number => rig.get16(0x3000);

  test.each([
    ['aligned', 0x3000, true],
    ['at an odd address', 0x3001, true],
    ['at an address that is no multiple of four', 0x3002, true],
    ['big-endian', 0x3000, false],
  ])('%s: after each chain the slot behind it', (_, used, littleEndian) => {
    const rig = new Rig({ used, littleEndian, eventIdx: true });
    const driver = new PackedDriver(rig);
    driver.queue.setNotification(true);
    for (let i = 1; i < 6; i++) {
      driver.add(BUFFER, false);
      driver.queue.push(popped(driver.queue), 0);
      driver.take();
      expect(rig.get16(used)).toBe(i | 0x8000);
    }
  });

  test('in ROM nothing is written', () => {
    const rom = { gpa: 0x3000, bytes: new Uint8Array(0x1000).fill(7), readonly: true };
    const regions = [
      { gpa: 0, bytes: new Uint8Array(0x3000) },
      rom,
      { gpa: 0x4000, bytes: new Uint8Array(0x20000) },
    ];
    const rig = new Rig({ memory: new MappedMemory(regions), eventIdx: true });
    const driver = new PackedDriver(rig);
    driver.queue.setNotification(true);
    driver.add(BUFFER, false);
    popped(driver.queue);
    expect(offset(rig)).toBe(0x0707);
  });

  test('the dirty log hears of it', () => {
    const writes: number[] = [];
    const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(0x20000) }], {
      onWrite: (gpa, length) => writes.push(gpa, length),
    });
    const rig = new Rig({ memory, eventIdx: true });
    const driver = new PackedDriver(rig);
    driver.queue.setNotification(true);
    const { queue } = driver;
    driver.add(BUFFER, false);
    writes.length = 0;
    popped(queue);
    expect(offset(rig)).toBe(0x8001);
    expect(writes).toEqual([0x3000, 2]);
  });
});

describe('the last entry of a table', () => {
  // the entry behind it is as good as any other, so that only the check of `next` can tell
  test.each([
    ['the ring', false],
    ['an indirect table', true],
  ])('%s: next may not be one beyond it', (_, indirect) => {
    const rig = new Rig({ size: 8 });
    const table = indirect ? 0x8000 : 0x1000;
    const last = indirect ? 1 : 7;
    if (indirect) rig.desc(0x1000, 0, table, 32, 4, 0);
    rig.desc(table, 0, 0x10000, 1, NEXT, last);
    rig.desc(table, last, 0x10100, 1, NEXT, last + 1);
    rig.desc(table, last + 1, 0x10200, 1, 0, 0);
    rig.offer(0);
    expect(rig.split().pop()).toBeUndefined();
    expect(rig.owner.faults.map(({ reason }) => reason)).toEqual([`Desc next is ${last + 1}`]);
  });

  test('the last entry itself is in it', () => {
    const rig = new Rig({ size: 8 });
    rig.desc(0x1000, 0, 0x10000, 1, NEXT, 7);
    rig.desc(0x1000, 7, 0x10100, 1, 0, 0);
    rig.offer(0);
    expect(popped(rig.split()).out.count).toBe(2);
  });
});

describe('mapRing', () => {
  const END = 0x40000;
  const bytes = { avail: 4 + 2 * 8, used: 4 + 8 * 8 };

  test.each(['avail', 'used'] as const)(
    '%s: the event index is a part of it, with EVENT_IDX only',
    (part) => {
      const at = (gpa: number, eventIdx: boolean) => mapRing(new Rig({ [part]: gpa, eventIdx }).setup, false);
      const exact = END - bytes[part];
      expect(at(exact, false)).toEqual({ kind: 'mapped' });
      expect(at(exact, true)).toEqual({ kind: 'cut', part });
      expect(at(exact - 2, true)).toEqual({ kind: 'mapped' });
      expect(at(exact + 1, false)).toEqual({ kind: 'cut', part });
    },
  );

  test.each(['avail', 'used'] as const)(
    'packed: the %s structure has four bytes, whatever is negotiated',
    (part) => {
      for (const eventIdx of [false, true]) {
        const at = (gpa: number) => mapRing(new Rig({ [part]: gpa, eventIdx }).setup, true);
        expect(at(END - 4)).toEqual({ kind: 'mapped' });
        expect(at(END - 3)).toEqual({ kind: 'cut', part });
      }
    },
  );

  test.each([false, true])('packed %s: sixteen bytes a descriptor', (packed) => {
    const at = (desc: number) => mapRing(new Rig({ desc }).setup, packed);
    expect(at(END - 128)).toEqual({ kind: 'mapped' });
    expect(at(END - 127)).toEqual({ kind: 'cut', part: 'desc' });
  });
});

// Asked for the bytes of available chains, a ring that makes no sense breaks the device, and one that only just does is counted.
import { describe, expect, test } from 'vitest';
import { AVAIL_BIT, INDIRECT, NEXT, Rig, USED_BIT, WRITE } from './rig.ts';

const DESC = 0x1000;
const TABLE = 0x8000;
const BUFFER = 0x10000;
const END = 0x40000;
const ALL = 1 << 30;

type Format = 'split' | 'packed';
type Put = (table: number, i: number, addr: number, length: number, flags: number, next?: number) => void;

/** A ring of eight, with what `setUp` puts there; split: with these heads available. */
function rigOf(format: Format, setUp: (put: Put) => void, heads: readonly number[] = [0]): Rig {
  const rig = new Rig();
  setUp((table, i, addr, length, flags, next = 0) => {
    if (format === 'split') rig.desc(table, i, addr, length, flags, next);
    else rig.desc(table, i, addr, length, 0, table === DESC ? flags | AVAIL_BIT : flags);
  });
  if (format === 'split') for (const head of heads) rig.offer(head);
  return rig;
}

/** The answer to a question that nothing satisfies, and why the device broke. */
function asked(rig: Rig, format: Format): readonly [boolean, string[]] {
  const answer = rig[format]().availBytes(ALL, ALL);
  return [answer, rig.owner.faults.map(({ reason }) => reason)];
}

/** The most that there is, to write and to read. */
function most(rig: Rig, format: Format): [number, number] {
  const queue = rig[format]();
  const largest = (ask: (bytes: number) => boolean): number => {
    let bytes = 0;
    while (ask(bytes + 1)) bytes++;
    return bytes;
  };
  return [largest((bytes) => queue.availBytes(bytes, 0)), largest((bytes) => queue.availBytes(0, bytes))];
}

describe.each(['split', 'packed'] as const)('%s', (format) => {
  test.each<[string, string, (put: Put) => void]>([
    [
      'a table without length',
      'Invalid size for indirect buffer table',
      (put) => put(DESC, 0, TABLE, 0, INDIRECT),
    ],
    [
      'a table of 17 bytes',
      'Invalid size for indirect buffer table',
      (put) => put(DESC, 0, TABLE, 17, INDIRECT),
    ],
    [
      'a table across the end of RAM',
      'Cannot map indirect buffer',
      (put) => put(DESC, 0, END - 16, 32, INDIRECT),
    ],
    [
      'a chain as long as the ring that goes on',
      'Looped descriptor',
      (put) => {
        for (let i = 0; i < 8; i++) put(DESC, i, BUFFER, 1, NEXT, (i + 1) % 8);
      },
    ],
  ])('%s: %s', (_, reason, setUp) => {
    expect(asked(rigOf(format, setUp), format)).toEqual([false, [reason]]);
  });

  test('a chain as long as the ring, a table that ends with RAM, and one in a hole: counted', () => {
    const whole = rigOf(format, (put) => {
      for (let i = 0; i < 8; i++) put(DESC, i, BUFFER, 1, (i < 3 ? 0 : WRITE) | (i < 7 ? NEXT : 0), i + 1);
    });
    expect([most(whole, format), whole.owner.faults]).toEqual([[5, 3], []]);
    const last = rigOf(format, (put) => {
      put(DESC, 0, END - 32, 32, INDIRECT);
      put(END - 32, 0, BUFFER, 2, NEXT, 1);
      put(END - 32, 1, BUFFER, 7, WRITE);
    });
    expect([most(last, format), last.owner.faults]).toEqual([[7, 2], []]);
    expect(
      asked(
        rigOf(format, (put) => put(DESC, 0, 0x50_0000, 16, INDIRECT)),
        format,
      ),
    ).toEqual([false, []]);
  });

  test('table and ring together: the flags of a head say nothing about its table’s entries', () => {
    const rig = rigOf(
      format,
      (put) => {
        put(DESC, 0, BUFFER, 3, WRITE);
        put(DESC, 1, TABLE, 48, INDIRECT | WRITE | NEXT, 5);
        put(TABLE, 0, BUFFER, 2, NEXT, 1);
        put(TABLE, 1, BUFFER, 1, NEXT, 2);
        put(TABLE, 2, BUFFER, 4, WRITE);
        put(DESC, 2, BUFFER, 5, 0);
      },
      [0, 1, 2],
    );
    expect(most(rig, format)).toEqual([7, 8]);
  });

  test('a ring that is full: each entry once', () => {
    const heads = [0, 1, 2, 3, 4, 5, 6, 7];
    const rig = rigOf(
      format,
      (put) => {
        for (const i of heads) put(DESC, i, BUFFER, 1, WRITE);
      },
      heads,
    );
    expect([most(rig, format), rig.owner.faults]).toEqual([[8, 0], []]);
  });

  test('a device that is not live has nothing', () => {
    const rig = rigOf(format, (put) => put(DESC, 0, BUFFER, 3, WRITE));
    rig.owner.paused = true;
    expect(rig[format]().availBytes(0, 0)).toBe(false);
  });
});

describe('split', () => {
  test.each<[string, string, (put: Put) => void, readonly number[]]>([
    ['a head behind the ring', 'Guest says index 8 is available', () => {}, [8]],
    ['next behind the ring', 'Desc next is 8', (put) => put(DESC, 0, BUFFER, 1, NEXT, 8), [0]],
    [
      'next behind a table',
      'Desc next is 2',
      (put) => {
        put(DESC, 0, TABLE, 32, INDIRECT);
        put(TABLE, 0, BUFFER, 1, NEXT, 2);
      },
      [0],
    ],
    [
      'a loop in a table',
      'Looped descriptor',
      (put) => {
        put(DESC, 0, TABLE, 32, INDIRECT);
        put(TABLE, 0, BUFFER, 1, NEXT, 1);
        put(TABLE, 1, BUFFER, 1, NEXT, 0);
      },
      [0],
    ],
    [
      'chains that have more descriptors than there are, together',
      'Looped descriptor',
      (put) => {
        for (let i = 0; i < 5; i++) put(DESC, i, BUFFER, 1, i < 4 ? NEXT : 0, i + 1);
      },
      [0, 0],
    ],
    [
      'a table behind chains that have all descriptors',
      'Looped descriptor',
      (put) => {
        for (let i = 0; i < 8; i++) put(DESC, i, BUFFER, 1, i < 7 ? NEXT : 0, i + 1);
        put(DESC, 7, TABLE, 16, INDIRECT);
        put(TABLE, 0, BUFFER, 1, 0);
      },
      [0, 7],
    ],
  ])('%s: %s', (_, reason, setUp, heads) => {
    expect(asked(rigOf('split', setUp, heads), 'split')).toEqual([false, [reason]]);
  });

  test('more heads than the ring has entries', () => {
    const rig = rigOf('split', () => {}, []);
    rig.put16(rig.setup.avail + 2, 9);
    expect(asked(rig, 'split')).toEqual([false, ['Guest moved used index from 0 to 9']]);
  });

  test('heads across the end of the index', () => {
    const rig = new Rig({ indices: { lastAvailIdx: 0xfffe, usedIdx: 0xfffe } });
    for (let i = 0; i < 4; i++) rig.desc(DESC, i, BUFFER, 1 << i, WRITE, 0);
    rig.put16(rig.setup.avail + 2, 0xfffe);
    for (let i = 0; i < 4; i++) rig.offer(i);
    expect(most(rig, 'split')).toEqual([15, 0]);
  });
});

describe('packed', () => {
  test('from the device’s slot on, over the end of the ring, and not into the lap before', () => {
    const rig = new Rig({ indices: { lastAvailIdx: 6, usedIdx: 6 } });
    const put = (i: number, length: number, flags: number): void =>
      rig.desc(DESC, i, BUFFER, length, 0, flags);
    put(6, 1, WRITE | AVAIL_BIT);
    // one chain of three slots
    put(7, 2, NEXT | AVAIL_BIT);
    put(0, 4, NEXT | WRITE | USED_BIT);
    put(1, 8, WRITE | USED_BIT);
    put(2, 16, WRITE | USED_BIT);
    // of the lap before
    put(3, 32, WRITE | AVAIL_BIT);
    expect(most(rig, 'packed')).toEqual([29, 2]);
  });

  test('chains that have more slots than there are, together', () => {
    const rig = new Rig();
    const put = (i: number, flags: number): void => rig.desc(DESC, i, BUFFER, 1, 0, flags | AVAIL_BIT);
    for (let i = 0; i < 5; i++) put(i, i < 4 ? NEXT : 0);
    for (let i = 5; i < 8; i++) put(i, NEXT);
    expect(asked(rig, 'packed')).toEqual([false, ['Looped descriptor']]);
  });
});

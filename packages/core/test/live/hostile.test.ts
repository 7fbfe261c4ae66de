// A driver that breaks every rule: the device breaks, once, in bounded time, and says what QEMU says.
import { describe, expect, test } from 'vitest';
import { MappedMemory } from '../../src/live/memory.ts';
import { chaos, random } from './chaos.ts';
import { AVAIL_BIT, INDIRECT, NEXT, Rig, type RigOptions, WRITE } from './rig.ts';

const DESC = 0x1000;
const BUFFER = 0x10000;

/** RAM to 256 KiB, ROM behind it, a hole, and RAM once more. */
const memory = (bytes = (length: number): Uint8Array => new Uint8Array(length)): MappedMemory =>
  new MappedMemory([
    { gpa: 0, bytes: bytes(0x40000) },
    { gpa: 0x40000, bytes: bytes(0x1000), readonly: true },
    { gpa: 0x80000, bytes: bytes(0x1000) },
  ]);

function logged(): MappedMemory {
  const made = memory();
  made.startDirtyLog();
  return made;
}

type Case = readonly [
  name: string,
  reason: string,
  setUp: (rig: Rig, flags: Flags) => void,
  options?: RigOptions,
];
/** Writes descriptors in the ring's format, so that most cases are the same in both. */
interface Flags {
  put(table: number, i: number, addr: number | bigint, length: number, flags: number, next?: number): void;
}

const both: readonly Case[] = [
  ['no length', 'virtio: zero sized buffers are not allowed', (_, d) => d.put(DESC, 0, BUFFER, 0, 0)],
  [
    'outside memory',
    'virtio: bogus descriptor or out of resources',
    (_, d) => d.put(DESC, 0, 0x50000, 16, 0),
  ],
  [
    'across the end of RAM, into ROM',
    'virtio: bogus descriptor or out of resources',
    (_, d) => d.put(DESC, 0, 0x3fff0, 32, WRITE),
  ],
  [
    'across the end of all',
    'virtio: bogus descriptor or out of resources',
    (_, d) => d.put(DESC, 0, 0x80ff0, 17, 0),
  ],
  [
    'the largest length',
    'virtio: bogus descriptor or out of resources',
    (_, d) => d.put(DESC, 0, BUFFER, 0xffffffff, 0),
  ],
  [
    'ROM to be written',
    'virtio: bogus descriptor or out of resources',
    (_, d) => d.put(DESC, 0, 0x40000, 1, WRITE),
  ],
  ['2^53', 'virtio: bogus descriptor or out of resources', (_, d) => d.put(DESC, 0, 2n ** 53n, 1, 0)],
  [
    '2^64 - 1',
    'virtio: bogus descriptor or out of resources',
    (_, d) => d.put(DESC, 0, 2n ** 64n - 1n, 2, 0),
  ],
  [
    '2^63 + RAM',
    'virtio: bogus descriptor or out of resources',
    (_, d) => d.put(DESC, 0, 2n ** 63n + 0x10000n, 2, 0),
  ],
  [
    'read behind write',
    'Incorrect order for descriptors',
    (_, d) => {
      d.put(DESC, 0, BUFFER, 1, WRITE | NEXT, 1);
      d.put(DESC, 1, BUFFER, 1, 0);
    },
  ],
  [
    'table without length',
    'Invalid size for indirect buffer table',
    (_, d) => d.put(DESC, 0, 0x8000, 0, INDIRECT),
  ],
  [
    'table of 17 bytes',
    'Invalid size for indirect buffer table',
    (_, d) => d.put(DESC, 0, 0x8000, 17, INDIRECT),
  ],
  [
    'table across the end of RAM',
    'Cannot map indirect buffer',
    (_, d) => d.put(DESC, 0, 0x3fff0, 32, INDIRECT),
  ],
  ['table of 4 GiB', 'Cannot map indirect buffer', (_, d) => d.put(DESC, 0, 0x8000, 0xfffffff0, INDIRECT)],
  [
    'table in a hole: it reads as zeros',
    'virtio: zero sized buffers are not allowed',
    (_, d) => d.put(DESC, 0, 0x60000, 32, INDIRECT),
  ],
  [
    'table in a table: the flag is not looked at there',
    'virtio: bogus descriptor or out of resources',
    (_, d) => {
      d.put(DESC, 0, 0x8000, 16, INDIRECT);
      d.put(0x8000, 0, 0x60000, 16, INDIRECT);
    },
  ],
  [
    'more than 1024 pieces',
    'virtio: too many write descriptors in indirect table',
    (_, d) => {
      d.put(DESC, 0, 0x8000, 16 * 1025, INDIRECT);
      for (let i = 0; i < 1025; i++) d.put(0x8000, i, BUFFER, 1, NEXT, i + 1);
    },
  ],
  [
    'as many in flight as there are entries, and one more',
    'Virtqueue size exceeded',
    (_, d) => d.put(DESC, 0, BUFFER, 1, 0),
    { indices: { inuse: 8 } },
  ],
];

const split: readonly Case[] = [
  ['a loop of one', 'Looped descriptor', (_, d) => d.put(DESC, 0, BUFFER, 1, NEXT, 0)],
  [
    'a loop of two',
    'Looped descriptor',
    (_, d) => {
      d.put(DESC, 0, BUFFER, 1, NEXT, 1);
      d.put(DESC, 1, BUFFER, 1, NEXT, 0);
    },
  ],
  [
    'a loop in a table',
    'Looped descriptor',
    (_, d) => {
      d.put(DESC, 0, 0x8000, 32, INDIRECT);
      d.put(0x8000, 0, BUFFER, 1, NEXT, 1);
      d.put(0x8000, 1, BUFFER, 1, NEXT, 0);
    },
  ],
  [
    'a loop in a ring of 1024: the pieces run out first',
    'virtio: too many write descriptors in indirect table',
    (_, d) => d.put(DESC, 0, BUFFER, 1, NEXT, 0),
    { size: 1024, avail: 0x5000, used: 0x6000 },
  ],
  ['next outside the ring', 'Desc next is 8', (_, d) => d.put(DESC, 0, BUFFER, 1, NEXT, 8)],
  [
    'next outside the table',
    'Desc next is 1',
    (_, d) => {
      d.put(DESC, 0, 0x8000, 16, INDIRECT);
      d.put(0x8000, 0, BUFFER, 1, NEXT, 1);
    },
  ],
  [
    'head outside the ring',
    'Guest says index 4095 is available',
    (rig) => rig.put16(rig.setup.avail + 4, 4095),
  ],
];

const packed: readonly Case[] = [
  [
    'all descriptors chained',
    'Looped descriptor',
    (_, d) => {
      for (let i = 0; i < 8; i++) d.put(DESC, i, BUFFER, 1, NEXT);
    },
  ],
];

function expectFault(
  format: 'split' | 'packed',
  [, reason, setUp, options]: Case,
  littleEndian: boolean,
): void {
  const rig = new Rig({ memory: memory(), littleEndian, ...options });
  setUp(rig, {
    put: (table, i, addr, length, flags, next = 0) => {
      if (format === 'split') rig.desc(table, i, addr, length, flags, next);
      else rig.desc(table, i, addr, length, 0, flags | (table === DESC ? AVAIL_BIT : 0));
    },
  });
  if (format === 'split') rig.offer(rig.get16(rig.setup.avail + 4));
  const queue = rig[format]();
  expect(queue.pop()).toBeUndefined();
  expect(rig.owner.faults.map((fault) => fault.reason)).toEqual([reason]);
  expect(queue.pop()).toBeUndefined();
  expect(queue.isEmpty()).toBe(true);
  expect(rig.owner.faults).toHaveLength(1);
}

for (const [order, littleEndian] of [
  ['little-endian', true],
  ['big-endian', false],
] as const) {
  describe(`one fault, ${order}`, () => {
    test.each([...both, ...split])('split: %s', (...it) =>
      expectFault('split', it as unknown as Case, littleEndian),
    );
    test.each([...both, ...packed])('packed: %s', (...it) =>
      expectFault('packed', it as unknown as Case, littleEndian),
    );
  });
}

describe('rings in strange places', () => {
  test('an avail ring in ROM is read; a used ring in ROM takes no writes', () => {
    const rom = new Uint8Array(0x1000);
    // idx 1, ring[0] = 0
    rom[2] = 1;
    const rig = new Rig({
      avail: 0x40000,
      memory: new MappedMemory([
        { gpa: 0, bytes: new Uint8Array(0x40000) },
        { gpa: 0x40000, bytes: rom, readonly: true },
      ]),
    });
    rig.desc(DESC, 0, BUFFER, 1, 0, 0);
    const queue = rig.split();
    const chain = queue.pop();
    if (chain === undefined) throw new Error('no chain');
    queue.push(chain, 0);
    expect(rig.get16(0x3002)).toBe(1);
    const other = new Rig({ used: 0x40800, memory: rig.memory });
    other.put16(0x2002, 1);
    const second = other.split();
    const again = second.pop();
    if (again === undefined) throw new Error('no chain');
    second.push(again, 0);
    second.setNotification(false);
    expect(rom.subarray(0x800).every((byte) => byte === 0)).toBe(true);
    expect(other.owner.faults).toEqual([]);
  });

  test('no memory behind any part: nothing is available, nothing happens', () => {
    for (const format of ['split', 'packed'] as const) {
      const rig = new Rig({ desc: 0x100000, avail: 0x200000, used: 0x300000, eventIdx: true });
      const queue = rig[format]();
      expect([queue.pop(), queue.isEmpty(), queue.availBytes(1, 0)]).toEqual([undefined, true, false]);
      queue.setNotification(false);
      queue.setNotification(true);
      expect(rig.owner.faults).toEqual([]);
    }
  });

  test('an avail index that jumps: at most a lap is taken before the ring is found too small', () => {
    const rig = new Rig();
    for (let i = 0; i < 8; i++) rig.desc(DESC, i, BUFFER, 1, 0, 0);
    rig.put16(0x2002, 0x8000);
    const queue = rig.split();
    let taken = 0;
    while (queue.pop() !== undefined) taken++;
    expect(taken).toBe(8);
    expect(rig.owner.faults.map(({ reason }) => reason)).toEqual(['Virtqueue size exceeded']);
  });
});

/** All that a device writes into its ring. */
function written(rig: Rig, format: 'split' | 'packed'): number[] {
  const { desc, used, size } = rig.setup;
  if (format === 'split') {
    const words = Array.from({ length: 2 * size }, (_, i) => rig.get32(used + 4 + 4 * i));
    return [rig.get16(used), rig.get16(used + 2), ...words, rig.get16(used + 4 + 8 * size)];
  }
  const slots = Array.from({ length: size }, (_, i) => desc + 16 * i);
  return [
    rig.get16(used),
    rig.get16(used + 2),
    ...slots.flatMap((at) => [rig.get32(at + 8), rig.get16(at + 12), rig.get16(at + 14)]),
  ];
}

describe('a million strange things', () => {
  const OPS = 250_000;
  test.each([
    ['split', true],
    ['split', false],
    ['packed', true],
    ['packed', false],
  ] as const)(
    '%s, little-endian %s: one fault a life, no exception, bounded time',
    (format, littleEndian) => {
      const start = performance.now();
      const next = random(format === 'split' ? 11 : 22);
      let lives = 0;
      for (let ops = 0; ops < OPS; lives++) {
        const rig = new Rig({
          memory: memory(),
          littleEndian,
          eventIdx: next(2) === 0,
          inOrder: next(4) === 0,
        });
        const { faults } = rig.owner;
        ops += chaos(rig, format, next, 2000).length;
        expect(faults.length).toBeLessThanOrEqual(1);
      }
      expect(lives).toBeGreaterThan(10);
      expect(performance.now() - start).toBeLessThan(60_000);
    },
  );

  const ways: readonly (readonly [string, () => RigOptions])[] = [
    ['big-endian', () => ({ memory: memory(), littleEndian: false })],
    ['shared memory', () => ({ memory: memory((length) => new Uint8Array(new SharedArrayBuffer(length))) })],
    [
      'an odd host address',
      () => ({ memory: memory((length) => new Uint8Array(new ArrayBuffer(length + 1), 1)) }),
    ],
    ['a dirty log', () => ({ memory: logged() })],
  ];
  describe.each(['split', 'packed'] as const)('%s: every way through a ring sees the same', (format) => {
    test.each(ways)('%s', (_, way) => {
      for (let seed = 1; seed <= 100; seed++) {
        const options = { eventIdx: seed % 2 === 0, inOrder: seed % 5 === 0, notifyOnEmpty: seed % 3 === 0 };
        const usual = new Rig({ memory: memory(), ...options });
        const other = new Rig({ ...way(), ...options });
        expect(chaos(other, format, random(seed), 600)).toEqual(chaos(usual, format, random(seed), 600));
        expect(written(other, format)).toEqual(written(usual, format));
      }
    });
  });
});

// Where a ring may lie so that it is read and written through views, and that both ways do the same.
import { describe, expect, test } from 'vitest';
import { MappedMemory } from '../../src/live/memory.ts';
import { DESC_AVAIL, DESC_USED, NOT_AVAIL, PackedRing } from '../../src/live/packed-ring.ts';
import { SplitRing } from '../../src/live/split-ring.ts';
import { Rig, type RigOptions } from './rig.ts';

// RAM does not begin at 0: what is an address and what an offset shows
const RAM = 0x10000;
const [DESC, AVAIL, USED] = [RAM + 0x1000, RAM + 0x2000, RAM + 0x3000];
const PLAIN: RigOptions = { desc: DESC, avail: AVAIL, used: USED };

interface Where extends RigOptions {
  /** Each part in a region of its own, of so many bytes. */
  readonly parts?: readonly [number, number, number];
  readonly shared?: 'desc' | 'avail' | 'used' | 'all';
  readonly readonly?: 'desc' | 'avail' | 'used';
  /** Bytes by which regions lie off the begin of their buffers. */
  readonly skew?: number;
  readonly onWrite?: (gpa: number, length: number) => void;
}

const NAMES = ['desc', 'avail', 'used'] as const;

function memoryOf(where: Where): MappedMemory {
  const { parts = [0x1000, 0x1000, 0x1000], shared, readonly, skew = 0, onWrite } = where;
  return new MappedMemory(
    NAMES.map((name, i) => {
      const length = parts[i] ?? 0;
      const buffer =
        shared === 'all' || shared === name
          ? new SharedArrayBuffer(length + skew)
          : new ArrayBuffer(length + skew);
      return {
        gpa: [DESC, AVAIL, USED][i] ?? 0,
        bytes: new Uint8Array(buffer, skew, length),
        readonly: readonly === name,
      };
    }),
    onWrite === undefined ? {} : { onWrite },
  );
}

const rigOf = (where: Where): Rig => new Rig({ ...PLAIN, ...where, memory: memoryOf(where) });
const splitRing = ({ setup, memory }: Rig): SplitRing => new SplitRing(setup, memory);
const packedRing = ({ setup, memory }: Rig): PackedRing => new PackedRing(setup, memory);

describe('a split ring has views', () => {
  test.each<[string, boolean, Where]>([
    ['aligned, in RAM, in the byte order of the host', true, {}],
    ['one entry', true, { size: 1 }],
    ['so many that the descriptors just fit', true, { size: 256 }],
    ['a number that is no power of two', false, { size: 6 }],
    ['the other byte order', false, { littleEndian: false }],
    ['descriptors at half a word', false, { desc: DESC + 2 }],
    ['descriptors at a word', true, { desc: DESC + 4 }],
    ["the driver's part at an odd address", false, { avail: AVAIL + 1 }],
    ["the driver's part at half a word", true, { avail: AVAIL + 2 }],
    ["the device's part at half a word", false, { used: USED + 2 }],
    ["the device's part at a word", true, { used: USED + 4 }],
    ['no descriptors there', false, { desc: RAM }],
    ["no driver's part there", false, { avail: RAM }],
    ["no device's part there", false, { used: RAM }],
    ['descriptors that just fit', true, { parts: [8 * 16, 0x1000, 0x1000] }],
    ['descriptors that are cut', false, { parts: [8 * 16 - 1, 0x1000, 0x1000] }],
    ["a driver's part that just fits", true, { parts: [0x1000, 6 + 16, 0x1000] }],
    ["a driver's part without its event index", true, { parts: [0x1000, 4 + 16, 0x1000] }],
    ["a driver's part that is cut", false, { parts: [0x1000, 4 + 15, 0x1000] }],
    ["a device's part that just fits", true, { parts: [0x1000, 0x1000, 6 + 64] }],
    ["a device's part without its event index", true, { parts: [0x1000, 0x1000, 4 + 64] }],
    ["a device's part that is cut", false, { parts: [0x1000, 0x1000, 4 + 63] }],
    ['descriptors in ROM', true, { readonly: 'desc' }],
    ["the driver's part in ROM", true, { readonly: 'avail' }],
    ["the device's part in ROM", false, { readonly: 'used' }],
    ['regions that lie unaligned in their buffers', false, { skew: 1 }],
    ['shared memory', true, { shared: 'all' }],
  ])('%s: %s', (_, fast, where) => {
    expect(splitRing(rigOf(where)).fast).toBe(fast);
  });

  test.each(NAMES)('only %s lies unaligned in its buffer: none', (name) => {
    const memory = new MappedMemory(
      NAMES.map((part, i) => ({
        gpa: [DESC, AVAIL, USED][i] ?? 0,
        bytes: new Uint8Array(new ArrayBuffer(0x1001), part === name ? 1 : 0, 0x1000),
      })),
    );
    expect(splitRing(new Rig({ ...PLAIN, memory })).fast).toBe(false);
  });
});

describe('regions that begin at odd addresses', () => {
  const odd = (skews: readonly number[]): Rig => {
    const bytes = () => new Uint8Array(0x1000);
    const [desc = 0, avail = 0, used = 0] = [0x1001, 0x3001, 0x5001].map((gpa, i) => gpa + (skews[i] ?? 0));
    const memory = new MappedMemory([0x1001, 0x3001, 0x5001].map((gpa) => ({ gpa, bytes: bytes() })));
    return new Rig({ memory, desc, avail, used });
  };

  test('it is the place in the region that counts', () => {
    expect([splitRing(odd([0, 0, 0])).fast, packedRing(odd([0, 0, 0])).fast]).toEqual([true, true]);
    expect([splitRing(odd([4, 2, 4])).fast, packedRing(odd([4, 4, 2])).fast]).toEqual([true, true]);
    expect([splitRing(odd([3, 0, 0])).fast, packedRing(odd([3, 0, 0])).fast]).toEqual([false, false]);
    expect([splitRing(odd([0, 1, 0])).fast, splitRing(odd([0, 0, 2])).fast]).toEqual([false, false]);
  });

  test('events are read and written where they are', () => {
    for (const skew of [0, 1, 2, 3, 4]) {
      const rig = odd([0, skew, skew]);
      const ring = packedRing(rig);
      rig.put32(rig.setup.avail, 0x12345678);
      ring.setEventOffset(0x4321);
      expect([ring.event(), rig.get16(rig.setup.used)]).toEqual([0x12345678, 0x4321]);
    }
  });
});

describe('a packed ring has views', () => {
  test.each<[string, boolean, Where]>([
    ['aligned, in RAM, in the byte order of the host', true, {}],
    ['a number that is no power of two', true, { size: 6 }],
    ['the other byte order', false, { littleEndian: false }],
    ['at half a word', false, { desc: DESC + 2 }],
    ['at a word', true, { desc: DESC + 4 }],
    ['nothing there', false, { desc: RAM }],
    ['one that just fits', true, { parts: [8 * 16, 0x1000, 0x1000] }],
    ['one that is cut', false, { parts: [8 * 16 - 1, 0x1000, 0x1000] }],
    ['ROM', false, { readonly: 'desc' }],
    ['a region that lies unaligned in its buffer', false, { skew: 1 }],
    ['shared memory', true, { shared: 'all' }],
  ])('%s: %s', (_, fast, where) => {
    expect(packedRing(rigOf(where)).fast).toBe(fast);
  });
});

describe.each(['split', 'packed'] as const)(
  '%s: views that may be used without further question',
  (format) => {
    const ringOf = (rig: Rig): SplitRing | PackedRing =>
      format === 'split' ? splitRing(rig) : packedRing(rig);

    test.each<[string, boolean, Where]>([
      ['its own memory', true, {}],
      ['no views', false, { littleEndian: false }],
      ['shared descriptors', false, { shared: 'desc' }],
      ["a shared driver's part", false, { shared: 'avail' }],
      ["a shared device's part", false, { shared: 'used' }],
      ['somebody who hears of writes', false, { onWrite: () => {} }],
    ])('%s: %s', (_, plain, where) => {
      expect(ringOf(rigOf(where)).plain).toBe(plain);
    });

    test('a dirty log that begins, and ends', () => {
      const rig = rigOf({});
      const ring = ringOf(rig);
      rig.memory.startDirtyLog();
      ring.refresh();
      expect(ring.plain).toBe(false);
      rig.memory.stopDirtyLog();
      expect(ring.plain).toBe(true);
    });

    test('memory that has moved before the ring was made', () => {
      let bytes = new Uint8Array(0x4000);
      const memory = new MappedMemory([{ gpa: RAM, bytes: () => bytes }]);
      bytes = new Uint8Array(0x4000);
      memory.sync();
      expect(memory.epoch).toBe(1);
      expect(ringOf(new Rig({ ...PLAIN, memory })).fast).toBe(true);
    });

    test('memory that moves: views of where it is now, and none if it does not fit there', () => {
      let bytes = new Uint8Array(0x4000);
      const memory = new MappedMemory([{ gpa: RAM, bytes: () => bytes }]);
      const rig = new Rig({ ...PLAIN, memory });
      const ring = ringOf(rig);
      expect(ring.fast).toBe(true);
      const before = ring.words;
      ring.refresh();
      expect(ring.words).toBe(before);
      bytes = new Uint8Array(0x4000);
      memory.sync();
      ring.refresh();
      expect([ring.fast, ring.words.buffer === bytes.buffer]).toEqual([true, true]);
      bytes = new Uint8Array(0x1010);
      memory.sync();
      ring.refresh();
      expect(ring.fast).toBe(false);
    });
  },
);

/** Every way to a ring's bytes: with views or without, alone or beside another thread, with a log. */
const WAYS: [string, Where][] = [
  ['through views', {}],
  ['number by number', { size: 8, skew: 1 }],
  ['through views of shared memory', { shared: 'all' }],
  ['number by number in shared memory', { shared: 'all', skew: 1 }],
  ['in the other byte order', { littleEndian: false }],
  ['a size that is no power of two', { size: 6 }],
  ['one entry', { size: 1 }],
];

describe.each(WAYS)('split, %s', (_, where) => {
  const size = where.size ?? 8;

  test('reads what the driver wrote', () => {
    const rig = rigOf(where);
    const ring = splitRing(rig);
    rig.put16(AVAIL, 0x1122);
    rig.put16(AVAIL + 2, 0x3344);
    for (let i = 0; i < size; i++) rig.put16(AVAIL + 4 + 2 * i, 0x5000 + i);
    rig.put16(AVAIL + 4 + 2 * size, 0x6677);
    expect([ring.availFlags(), ring.availIdx(), ring.usedEvent()]).toEqual([0x1122, 0x3344, 0x6677]);
    for (let i = 0; i < 3 * size; i++) expect(ring.availEntry(i)).toBe(0x5000 + (i % size));
    expect(ring.availEntry(0xffff)).toBe(0x5000 + (0xffff % size));
  });

  test('writes what the driver reads, each number in its place, and nothing else; the log hears of each', () => {
    const heard: [number, number][] = [];
    const rig = rigOf(where);
    const logged = rigOf({ ...where, onWrite: (gpa, length) => heard.push([gpa, length]) });
    for (const one of [rig, logged]) {
      const ring = splitRing(one);
      const untouched = new Uint8Array(4 + 8 * size + 8).fill(0xee);
      one.memory.write(one.setup.used, untouched);
      heard.length = 0;
      ring.setUsed(size + 1, 0x01020304, 0x05060708);
      const slot = (size + 1) % size;
      expect(cover(heard, USED + 4 + 8 * slot, 8)).toBe(one === logged);
      heard.length = 0;
      ring.setUsedIdx(0x1234);
      expect(cover(heard, USED + 2, 2)).toBe(one === logged);
      heard.length = 0;
      ring.setAvailEvent(0x4321);
      expect(cover(heard, USED + 4 + 8 * size, 2)).toBe(one === logged);
      heard.length = 0;
      ring.setNoNotify(true);
      expect(cover(heard, USED, 2)).toBe(one === logged);
      expect([one.get32(USED + 4 + 8 * slot), one.get32(USED + 8 + 8 * slot)]).toEqual([
        0x01020304, 0x05060708,
      ]);
      expect([one.get16(USED + 2), one.get16(USED + 4 + 8 * size)]).toEqual([0x1234, 0x4321]);
      expect(one.get16(USED)).toBe(0xeeef);
      ring.setNoNotify(false);
      expect(one.get16(USED)).toBe(0xeeee);
      expect(one.bytes(USED + 6 + 8 * size, 6)).toEqual(new Array(6).fill(0xee));
      const others = Array.from({ length: size }, (_, i) => i).filter((i) => i !== slot);
      for (const i of others) expect(one.get32(USED + 4 + 8 * i)).toBe(0xeeeeeeee);
    }
  });
});

describe.each([...WAYS.slice(0, 5), ['the events unaligned', { avail: AVAIL + 2, used: USED + 1 }]] as [
  string,
  Where,
][])('packed, %s', (_, where) => {
  test('reads what the driver wrote', () => {
    const rig = rigOf(where);
    const ring = packedRing(rig);
    const { avail } = rig.setup;
    for (const [i, flags] of [0, DESC_AVAIL, DESC_USED, DESC_AVAIL | DESC_USED].entries())
      rig.desc(DESC, i, 0, 0, 0x7000 + i, flags | 5);
    const tail = (i: number, flags: number): number => ((flags | 5) << 16) | (0x7000 + i);
    const found = [0, 1, 2, 3].map((i) => [ring.availTail(i, true), ring.availTail(i, false)]);
    expect(found).toEqual([
      [NOT_AVAIL, NOT_AVAIL],
      [tail(1, DESC_AVAIL), NOT_AVAIL],
      [NOT_AVAIL, tail(2, DESC_USED)],
      [NOT_AVAIL, NOT_AVAIL],
    ]);
    rig.put16(avail, 0x8123);
    rig.put16(avail + 2, 2);
    expect(ring.event()).toBe(0x28123);
  });

  test('writes what the driver reads, each number in its place, and nothing else; the log hears of each', () => {
    const heard: [number, number][] = [];
    const rig = rigOf(where);
    const logged = rigOf({ ...where, onWrite: (gpa, length) => heard.push([gpa, length]) });
    for (const one of [rig, logged]) {
      const ring = packedRing(one);
      const { used } = one.setup;
      one.memory.write(one.setup.desc, new Uint8Array(16 * 8).fill(0xee));
      one.memory.write(used, new Uint8Array(8).fill(0xee));
      for (const [slot, wrap] of [
        [0, true],
        [5, false],
      ] as const) {
        heard.length = 0;
        ring.setUsed(slot, 0x0a0b, 0x05060708, wrap);
        expect(cover(heard, DESC + 16 * slot + 8, 8)).toBe(one === logged);
        expect(one.get32(DESC + 16 * slot + 8)).toBe(0x05060708);
        expect(one.get16(DESC + 16 * slot + 12)).toBe(0x0a0b);
        expect(one.get16(DESC + 16 * slot + 14)).toBe(wrap ? DESC_AVAIL | DESC_USED : 0);
        expect(one.bytes(DESC + 16 * slot, 8)).toEqual(new Array(8).fill(0xee));
        expect(one.bytes(DESC + 16 * slot + 16, 16)).toEqual(new Array(16).fill(0xee));
      }
      heard.length = 0;
      ring.setEventOffset(0x8003);
      expect(cover(heard, used, 2)).toBe(one === logged);
      expect([one.get16(used), one.get16(used + 2), one.get16(used + 4)]).toEqual([0x8003, 0xeeee, 0xeeee]);
      heard.length = 0;
      ring.setEventFlags(2);
      expect(cover(heard, used + 2, 2)).toBe(one === logged);
      expect([one.get16(used), ring.eventFlags(), one.get16(used + 4)]).toEqual([0x8003, 2, 0xeeee]);
    }
  });
});

/** Did the log hear of exactly these bytes? */
function cover(heard: readonly [number, number][], gpa: number, length: number): boolean {
  const bytes = new Set(heard.flatMap(([at, size]) => Array.from({ length: size }, (_, i) => at + i)));
  return bytes.size === length && [...bytes].every((at) => at >= gpa && at < gpa + length);
}

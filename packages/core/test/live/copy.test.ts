// Copies between guest memory and arrays of a device: every length, place and alignment, by whatever way they go.
import { describe, expect, test } from 'vitest';
import { copyIn, copyOut } from '../../src/live/copy.ts';
import { Mapping } from '../../src/live/mapping.ts';

/** Lengths around each place where copies begin to go another way, and everything below. */
const LENGTHS = [...Array.from({ length: 74 }, (_, i) => i), 127, 128, 129, 200];
const SIZE = 256;

/** Bytes that tell their places apart, at an offset of their buffer. */
function pattern(offset: number, factor: number): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(SIZE + 8), offset, SIZE);
  for (let i = 0; i < SIZE; i++) bytes[i] = (i * factor + 1) & 0xff;
  return bytes;
}

describe.each([
  ['words', 0],
  ['no words, since they lie unaligned', 1],
])('a region with %s', (_, regionOffset) => {
  test.each([0, 2, 4])('an array at offset %i of its buffer', (arrayOffset) => {
    const guest = pattern(regionOffset, 3);
    const region = new Mapping({ gpa: 0x1000, bytes: guest });
    const own = pattern(arrayOffset, 5);
    const guestWas = guest.slice();
    const ownWas = own.slice();
    const wrong: string[] = [];
    for (const length of LENGTHS) {
      for (const from of [0, 1, 2, 4, 20]) {
        for (const at of [0, 3, 8, 12]) {
          const title = `${length} bytes, ${from} in guest memory, ${at} in the array`;
          copyOut(region, from, own, at, length);
          const out = ownWas.slice();
          out.set(guestWas.subarray(from, from + length), at);
          if (!same(own, out)) wrong.push(`out: ${title}`);
          own.set(ownWas);
          copyIn(region, from, own, at, length);
          const into = guestWas.slice();
          into.set(ownWas.subarray(at, at + length), from);
          if (!same(guest, into)) wrong.push(`in: ${title}`);
          guest.set(guestWas);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

test('a whole array, and a part of one that begins where it does', () => {
  const region = new Mapping({ gpa: 0, bytes: new Uint8Array(SIZE) });
  const own = pattern(0, 7);
  copyIn(region, 0, own, 0, 100);
  expect([...region.bytes]).toEqual([...own.subarray(0, 100), ...new Uint8Array(SIZE - 100)]);
  copyIn(region, 0, own, 0, SIZE);
  expect([...region.bytes]).toEqual([...own]);
});

test('arrays that take turns are not taken for each other', () => {
  const region = new Mapping({ gpa: 0, bytes: pattern(0, 3) });
  const arrays = Array.from({ length: 7 }, (_, i) => pattern(0, 11 + 2 * i));
  const was = arrays.map((array) => array.slice());
  for (let round = 0; round < 40; round++) {
    const i = round < 14 ? round % 7 : (round * round) % 7;
    const own = arrays[i] as Uint8Array;
    const expected = was[i] as Uint8Array;
    // as words, and as a view of a part
    for (const [at, length] of [
      [4, 48],
      [60, 120],
    ] as const) {
      copyIn(region, 8, own, at, length);
      expect(same(region.bytes.subarray(8, 8 + length), expected.subarray(at, at + length))).toBe(true);
      copyOut(region, 0, own, at, length);
      expected.set(region.bytes.subarray(0, length), at);
      expect(arrays.findIndex((array, k) => !same(array, was[k] as Uint8Array))).toBe(-1);
    }
  }
});

test('long parts of arrays in turn, with no short copy that makes the array known before', () => {
  const region = new Mapping({ gpa: 0, bytes: new Uint8Array(SIZE) });
  const arrays = Array.from({ length: 6 }, (_, i) => pattern(0, 31 + 2 * i));
  // each twice, so that its view is kept, and then another one, at the same place
  for (const i of [0, 0, 1, 1, 0, 2, 2, 1, 3, 4, 4, 5, 0, 0, 5, 3]) {
    const own = arrays[i] as Uint8Array;
    copyIn(region, 0, own, 7, 200);
    expect(same(region.bytes.subarray(0, 200), own.subarray(7, 207))).toBe(true);
  }
});

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

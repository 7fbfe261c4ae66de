// Buffers that a device lends to a back end, the host's own in the same form, and the pieces that they lie in.
import { MappedMemory, type Spans } from '@virtkit/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { eachPiece } from '../src/live/pieces.ts';
import { LentSpans } from '../src/live/spans.ts';
import { Cut } from './cut.ts';

/** Counts how often it is asked whether it has grown. */
class Watched extends MappedMemory {
  syncs = 0;
  override sync(): void {
    this.syncs++;
    super.sync();
  }
}

/** Everything that can be asked of a buffer or done to it, as a list of answers. */
function everything(spans: Spans): unknown[] {
  const target = new Uint8Array(6).fill(0x77);
  const part = new Uint8Array(6).fill(0x77);
  return [
    [spans.count, spans.total],
    [[...spans.bytes(1)], spans.offset(1), spans.length(1)],
    [spans.copyTo(2, target), [...target]],
    [spans.copyTo(2, part, 1, 3), [...part]],
    spans.copyFrom(1, Uint8Array.of(50, 51, 52)),
    spans.copyFrom(4, Uint8Array.of(60, 61, 62, 63), 1, 2),
    spans.fill(7, 2, 70),
    [spans.u8(1), spans.u16(1, true), spans.u16(1, false), spans.u32(1, true), spans.u32(1, false)],
    [spans.u8(99), spans.u16(99, true), spans.u32(99, true)],
  ];
}

const NOTHING = [
  [0, 0],
  [[], 0, 0],
  [0, Array(6).fill(0x77)],
  [0, Array(6).fill(0x77)],
  0,
  0,
  0,
  [-1, -1, -1, -1, -1],
  [-1, -1, -1],
];

describe('buffers lent to a back end', () => {
  const LENGTHS = [3, 4, 5];

  test('are the buffers, as long as they are lent', () => {
    const lent = new LentSpans();
    expect(everything(lent)).toEqual(NOTHING);
    const [buffers, same] = [new Cut(LENGTHS), new Cut(LENGTHS)];
    lent.lend(buffers);
    expect(everything(lent)).toEqual(everything(same));
    expect(buffers.content).toEqual(same.content);
    expect([lent.missed, lent.isHeld]).toEqual([false, false]);
  });

  test('are gone when they were taken back, and nothing arrives in them', () => {
    const lent = new LentSpans();
    const buffers = new Cut(LENGTHS);
    const before = buffers.content;
    lent.lend(buffers);
    lent.takeBack();
    expect(everything(lent)).toEqual(NOTHING);
    expect(buffers.content).toEqual(before);
    // whoever has them no more has missed nothing
    expect(lent.missed).toBe(false);
  });

  test('take nothing while the machine is stopped, and know that something was missed', () => {
    const lent = new LentSpans();
    const buffers = new Cut(LENGTHS);
    const before = buffers.content;
    lent.lend(buffers);
    lent.hold(true);
    expect([lent.isHeld, lent.missed]).toEqual([true, false]);
    expect(everything(lent)).toEqual(NOTHING);
    expect([buffers.content, lent.missed]).toEqual([before, true]);
    lent.hold(false);
    expect([lent.isHeld, lent.missed, lent.total]).toEqual([false, true, 12]);
    // the next read has missed nothing, and is not held
    lent.hold(true);
    lent.lend(buffers);
    expect([lent.isHeld, lent.missed, lent.total]).toEqual([false, false, 12]);
  });

  test('look whether memory has grown, at each use by a back end that goes on later, and at no other', () => {
    const memory = new Watched([{ gpa: 0, bytes: new Uint8Array(4096) }]);
    const lent = new LentSpans();
    lent.lend(new Cut(LENGTHS));
    everything(lent);
    const { syncs } = memory;
    lent.outlive(memory);
    everything(lent);
    expect(memory.syncs - syncs).toBe(18);
    lent.lend(new Cut(LENGTHS));
    everything(lent);
    expect(memory.syncs - syncs).toBe(18);
  });
});

test("an array of the host's own is a buffer of one piece", () => {
  const bytes = Uint8Array.from({ length: 20 }, (_, i) => i);
  const spans = new ArraySpans(bytes, 4, 10);
  expect([spans.count, spans.total, spans.bytes(), spans.offset(), spans.length()]).toEqual([
    1,
    10,
    bytes,
    4,
    10,
  ]);
  const reference = (): number[] => [...bytes.subarray(4, 14)];
  fc.assert(
    fc.property(fc.nat(12), fc.nat(12), fc.nat(5), fc.nat(255), (from, length, at, value) => {
      const expected = reference();
      const there = Math.max(0, Math.min(length, 10 - from));
      const target = new Uint8Array(20).fill(0x99);
      expect(spans.copyTo(from, target, at, length)).toBe(there);
      expect([...target.subarray(at, at + there)]).toEqual(expected.slice(from, from + there));
      expect(target.filter((byte) => byte === 0x99).length).toBeGreaterThanOrEqual(20 - there);
      const source = Uint8Array.from({ length: 20 }, (_, i) => (value + i) & 0xff);
      expect(spans.copyFrom(from, source, at, length)).toBe(there);
      for (let i = 0; i < there; i++) expected[from + i] = source[at + i] ?? 0;
      expect(reference()).toEqual(expected);
      expect(spans.fill(from, length, value)).toBe(there);
      for (let i = 0; i < there; i++) expected[from + i] = value;
      expect(reference()).toEqual(expected);
      const same = new Cut([10]);
      same.copyFrom(0, Uint8Array.from(expected));
      expect([spans.u8(from), spans.u16(from, true), spans.u16(from, false)]).toEqual([
        same.u8(from),
        same.u16(from, true),
        same.u16(from, false),
      ]);
      expect([spans.u32(from, true), spans.u32(from, false)]).toEqual([
        same.u32(from, true),
        same.u32(from, false),
      ]);
    }),
  );
  // without a length: all that fits
  const whole = new ArraySpans(Uint8Array.of(1, 2, 3));
  expect([whole.total, whole.offset(), whole.u8(-1), whole.u8(3)]).toEqual([3, 0, -1, -1]);
  const target = new Uint8Array(5);
  expect([whole.copyTo(1, target, 2), [...target]]).toEqual([2, [0, 0, 2, 3, 0]]);
  expect([whole.copyFrom(1, Uint8Array.of(9, 8, 7), 1), [...whole.bytes()]]).toEqual([2, [1, 8, 7]]);
});

test('pieces of a buffer, in their order, each once', () => {
  const lengths = fc.array(fc.nat(5), { maxLength: 6 });
  fc.assert(
    fc.property(lengths, fc.nat(30), fc.nat(30), (sizes, from, wanted) => {
      const buffer = new Cut(sizes);
      const length = Math.min(wanted, Math.max(0, buffer.total - from));
      const bytes: number[] = [];
      let position = 1000;
      eachPiece(buffer, from, length, 1000, {
        piece: (array, offset, count, at) => {
          expect(buffer.arrays).toContain(array);
          expect([at, count > 0]).toEqual([position, true]);
          bytes.push(...array.subarray(offset, offset + count));
          position += count;
        },
      });
      expect(bytes).toEqual(buffer.content.slice(from, from + length));
    }),
  );
  // none is asked for behind the last byte
  const buffer = new Cut([2, 2, 2]);
  const asked: number[] = [];
  const { length } = buffer;
  buffer.length = (i) => {
    asked.push(i);
    return length(i);
  };
  eachPiece(buffer, 0, 3, 0, { piece: () => {} });
  expect(asked).toEqual([0, 1]);
});

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HostError } from '../../src/live/errors.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { NEXT, popped, Rig, WRITE } from './rig.ts';

/** A chain to write, of these lengths, with gaps between and one region's end in the middle. */
function chainOf(lengths: readonly number[]) {
  const memory = new MappedMemory([
    { gpa: 0, bytes: new Uint8Array(0x12000) },
    { gpa: 0x12000, bytes: new Uint8Array(0x2e000) },
  ]);
  const rig = new Rig({ memory, size: 16 });
  let addr = 0x11f80;
  lengths.forEach((length, i) => {
    const more = i + 1 < lengths.length;
    rig.desc(0x1000, i, addr, length, WRITE | (more ? NEXT : 0), i + 1);
    addr += length + 3;
  });
  const queue = rig.split();
  rig.offer(0);
  return popped(queue).in;
}

const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 12 });

describe('spans are one array of bytes', () => {
  test('copies, fills and numbers at any place', () => {
    fc.assert(
      fc.property(
        lengths,
        fc.array(
          fc.record({
            op: fc.constantFrom('copyTo', 'copyFrom', 'fill', 'u8', 'u16', 'u32'),
            from: fc.nat(3700),
            length: fc.nat(700),
            at: fc.nat(20),
            value: fc.nat(255),
          }),
          { maxLength: 12 },
        ),
        (sizes, ops) => {
          const spans = chainOf(sizes);
          const total = sizes.reduce((sum, size) => sum + size, 0);
          expect(spans.total).toBe(total);
          const model = new Uint8Array(total);
          for (const { op, from, length, at, value } of ops) {
            const fit = Math.max(0, Math.min(length, total - from));
            if (op === 'copyTo') {
              const target = new Uint8Array(at + length).fill(1);
              const expected = target.slice();
              expected.set(model.subarray(from, from + fit), at);
              expect(spans.copyTo(from, target, at)).toBe(fit);
              expect(target).toEqual(expected);
            } else if (op === 'copyFrom') {
              const source = Uint8Array.from({ length: at + length + 5 }, (_, i) => i * 7 + value);
              expect(spans.copyFrom(from, source, at, length)).toBe(fit);
              if (fit > 0) model.set(source.subarray(at, at + fit), from);
            } else if (op === 'fill') {
              expect(spans.fill(from, length, value)).toBe(fit);
              model.fill(value, from, from + fit);
            } else {
              const size = op === 'u8' ? 1 : op === 'u16' ? 2 : 4;
              const view = new DataView(model.buffer);
              const whole = from + size <= total;
              const read = (little: boolean): number =>
                size === 1
                  ? view.getUint8(from)
                  : size === 2
                    ? view.getUint16(from, little)
                    : view.getUint32(from, little);
              for (const little of [true, false]) {
                const found = op === 'u8' ? spans.u8(from) : spans[op](from, little);
                expect(found).toBe(whole ? read(little) : -1);
              }
            }
          }
          const all = new Uint8Array(total);
          spans.copyTo(0, all);
          expect(all).toEqual(model);
        },
      ),
    );
  });
});

test('what the driver wrote is not for the device to write', () => {
  const rig = new Rig();
  rig.desc(0x1000, 0, 0x10000, 16, 0, 0);
  const queue = rig.split();
  rig.offer(0);
  const chain = popped(queue);
  expect(() => chain.out.copyFrom(0, new Uint8Array(1))).toThrow(HostError);
  expect(() => chain.out.fill(0, 1, 0)).toThrow(HostError);
});

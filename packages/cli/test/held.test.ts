import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Held } from '../src/live/held.ts';

test('what is held comes back in order, whatever the pieces are, and once', () => {
  const lengths = fc.array(fc.oneof(fc.nat(10), fc.nat(200_000)), { maxLength: 8 });
  fc.assert(
    fc.property(lengths, lengths, (first, second) => {
      const held = new Held();
      for (const round of [first, second]) {
        const pieces = round.map((length, n) => new Uint8Array(length).fill(n + 1));
        for (const piece of pieces) held.append(piece);
        expect(Buffer.concat(held.take()).equals(Buffer.concat(pieces))).toBe(true);
      }
      expect(held.take()).toEqual([]);
    }),
    { numRuns: 30 },
  );
});

test('a million single bytes take no more than their blocks', () => {
  const held = new Held();
  const byte = Uint8Array.of(7);
  for (let n = 0; n < 1_000_000; n++) held.append(byte);
  const blocks = held.take();
  expect(blocks).toHaveLength(Math.ceil(1_000_000 / 65_536));
  expect(blocks.reduce((sum, { length }) => sum + length, 0)).toBe(1_000_000);
});

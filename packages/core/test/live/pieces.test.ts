// Where the pieces of a chain lie: regions, ROM, the pool that chains come from, and what the dirty log hears.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PIECES_MAX, RingChain } from '../../src/live/chain.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { INDIRECT, NEXT, pieces, popped, Rig, WRITE } from './rig.ts';

const DESC = 0x1000;

/** 16 KiB for the ring, then regions of 16 bytes each, ROM in the last. */
function many(regions: number): MappedMemory {
  return new MappedMemory([
    { gpa: 0, bytes: new Uint8Array(0x4000) },
    ...Array.from({ length: regions }, (_, i) => ({
      gpa: 0x4000 + 16 * i,
      bytes: new Uint8Array(16),
      readonly: i + 1 === regions,
    })),
  ]);
}

function chainOver(memory: MappedMemory): RingChain {
  return new RingChain(new Rig({ memory }).split(), memory, 0);
}

describe('a buffer becomes a piece a region', () => {
  test('offsets, lengths and regions, of any buffers in any order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ at: fc.nat(16 * 7 - 1), length: fc.integer({ min: 1, max: 60 }) }), {
          maxLength: 12,
        }),
        (buffers) => {
          const memory = many(8);
          const chain = chainOver(memory);
          const expected: [number, number, number][] = [];
          let count = 0;
          for (const { at, length } of buffers) {
            const fit = Math.min(length, 16 * 7 - at);
            count = chain.map(count, 0x4000 + at, fit, true);
            for (let from = at; from < at + fit; ) {
              const size = Math.min(16 - (from % 16), at + fit - from);
              expected.push([1 + Math.floor(from / 16), from % 16, size]);
              from += size;
            }
          }
          chain.split(0, count);
          expect(Array.from({ length: count }, (_, i) => chain.in.mapping(i).index)).toEqual(
            expected.map(([region]) => region),
          );
          expect(pieces(chain.in)).toEqual(expected.map(([, offset, size]) => [offset, size]));
          expect(chain.in.total).toBe(expected.reduce((sum, [, , size]) => sum + size, 0));
        },
      ),
    );
  });

  test.each([
    ['no length', 0x4000, 0, true, 'virtio: zero sized buffers are not allowed'],
    ['nothing there', 0x9000, 1, false, 'virtio: bogus descriptor or out of resources'],
    ['nothing behind it', 0x4070, 17, false, 'virtio: bogus descriptor or out of resources'],
    ['ROM to be written', 0x4070, 1, true, 'virtio: bogus descriptor or out of resources'],
    ['ROM behind it', 0x4060, 17, true, 'virtio: bogus descriptor or out of resources'],
  ] as const)('%s: refused', (_, gpa, length, writable, problem) => {
    const chain = chainOver(many(8));
    expect([chain.map(0, gpa, length, writable), chain.problem]).toEqual([-1, problem]);
  });

  test('ROM can be read', () => {
    const chain = chainOver(many(8));
    expect(chain.map(0, 0x4060, 32, false)).toBe(2);
  });

  test(`${PIECES_MAX} pieces, and not one more`, () => {
    const chain = chainOver(many(1));
    let count = 0;
    for (let i = 0; i < PIECES_MAX; i++) count = chain.map(count, i, 1, true);
    expect(count).toBe(PIECES_MAX);
    expect([chain.map(count, 0, 1, true), chain.problem]).toEqual([
      -1,
      'virtio: too many write descriptors in indirect table',
    ]);
    chain.split(0, count);
    expect(pieces(chain.in).map(([offset]) => offset)).toEqual(
      Array.from({ length: PIECES_MAX }, (_, i) => i),
    );
    expect(chain.pieces).toHaveLength(2 * PIECES_MAX);
  });
});

describe('ROM in front of RAM', () => {
  // the region that is looked at first must not be the ROM
  const memory = (): MappedMemory =>
    new MappedMemory([
      { gpa: 0, bytes: new Uint8Array(0x1000).fill(7), readonly: true },
      { gpa: 0x1000, bytes: new Uint8Array(0x3f000) },
    ]);

  test.each(['split', 'packed'] as const)(
    '%s: the very first buffer may be read there, not written',
    (format) => {
      for (const flags of [0, WRITE]) {
        const rig = new Rig({ memory: memory() });
        rig.desc(DESC, 0, 0x100, 4, format === 'split' ? flags : 0, format === 'split' ? 0 : flags | 0x80);
        if (format === 'split') rig.offer(0);
        const chain = rig[format]().pop();
        const target = new Uint8Array(4);
        chain?.out.copyTo(0, target);
        expect([...target]).toEqual(flags === 0 ? [7, 7, 7, 7] : [0, 0, 0, 0]);
        expect(rig.owner.faults).toHaveLength(flags === 0 ? 0 : 1);
      }
    },
  );
});

describe('tables in strange places', () => {
  const table = (rig: Rig, at: number, format: 'split' | 'packed'): void => {
    const split = format === 'split';
    rig.desc(DESC, 0, at, 32, split ? INDIRECT : 0, split ? 0 : INDIRECT | 0x80);
    rig.desc(at, 0, 0x10000, 16, split ? NEXT : 0, split ? 1 : 0);
    rig.desc(at, 1, 0x10100, 32, split ? WRITE : 0, split ? 0 : WRITE);
    if (split) rig.offer(0);
  };

  test.each(['split', 'packed'] as const)(
    '%s: at an address that is no multiple of four, or in bytes that lie so',
    (format) => {
      const memory = (): MappedMemory =>
        new MappedMemory([
          { gpa: 0, bytes: new Uint8Array(0x20000) },
          { gpa: 0x20000, bytes: new Uint8Array(new ArrayBuffer(0x1001), 1) },
          { gpa: 0x30000, bytes: new Uint8Array(0x1000), readonly: false },
        ]);
      for (const at of [0x8000, 0x8001, 0x8002, 0x8008, 0x20000, 0x20100, 0x30010]) {
        const rig = new Rig({ memory: memory() });
        table(rig, at, format);
        const chain = popped(rig[format]());
        expect([pieces(chain.out), pieces(chain.in)]).toEqual([[[0x10000, 16]], [[0x10100, 32]]]);
      }
    },
  );

  test.each(['split', 'packed'] as const)(
    '%s: one that begins in the middle of a word is read from there',
    (format) => {
      const rig = new Rig();
      const split = format === 'split';
      rig.desc(DESC, 0, 0x8002, 16, split ? INDIRECT : 0, split ? 0 : INDIRECT | 0x80);
      // read from the word's begin, it would be a buffer of 64 KiB elsewhere
      rig.desc(0x8002, 0, 1, 1, 0, 0);
      if (split) rig.offer(0);
      expect(pieces(popped(rig[format]()).out)).toEqual([[1, 1]]);
    },
  );
});

describe('chains are used again', () => {
  const element = { index: 3, out: [{ addr: 0x100n, len: 16n }], in: [{ addr: 0x200n, len: 5n }] };

  test('what the one before had is forgotten: its total', () => {
    const rig = new Rig();
    rig.desc(DESC, 0, 0x10000, 0x30, NEXT, 1);
    rig.desc(DESC, 1, 0x10100, 0x20, WRITE, 0);
    const queue = rig.split();
    rig.offer(0);
    const before = popped(queue);
    expect([before.out.total, before.in.total]).toEqual([0x30, 0x20]);
    queue.push(before, 0);
    const chain = queue.adopt(element, 1);
    expect(chain).toBe(before);
    expect([chain?.out.total, chain?.in.total]).toEqual([16, 5]);
  });

  test('what the one before had is forgotten: its regions', () => {
    const memory = many(8);
    const rig = new Rig({ memory });
    rig.desc(DESC, 0, 0x3ff0, 0x30, NEXT, 1);
    rig.desc(DESC, 1, 0x4010, 0x20, WRITE, 0);
    const queue = rig.split();
    rig.offer(0);
    const before = popped(queue);
    expect([before.out.total, before.in.total, before.out.count, before.in.count]).toEqual([
      0x30, 0x20, 3, 2,
    ]);
    queue.push(before, 0);
    const chain = queue.adopt(element, 1);
    expect(chain).toBe(before);
    expect(chain?.element()).toEqual(element);
    expect([chain?.index, chain?.ndescs, chain?.out.total, chain?.in.total]).toEqual([3, 1, 16, 5]);
    const [first] = memory.mappings;
    expect(chain?.out.bytes(0)).toBe(first?.bytes);
    expect(chain?.in.bytes(0)).toBe(first?.bytes);
  });

  test('one that could not be adopted is free again', () => {
    const rig = new Rig();
    rig.desc(DESC, 0, 0x10000, 1, 0, 0);
    const queue = rig.split();
    rig.offer(0);
    const chain = popped(queue);
    queue.push(chain, 0);
    for (const addr of [2n ** 50n, 0n])
      expect(
        queue.adopt({ ...element, in: [{ addr, len: addr === 0n ? 2n ** 32n : 1n }] }, 1),
      ).toBeUndefined();
    expect(queue.adopt(element, 1)).toBe(chain);
  });

  test('the last one given back is the next one taken, and none is taken twice', () => {
    const rig = new Rig();
    for (let i = 0; i < 8; i++) rig.desc(DESC, i, 0x10000, 1, 0, 0);
    const queue = rig.split();
    for (let i = 0; i < 8; i++) rig.offer(i);
    const [a, b, c] = [popped(queue), popped(queue), popped(queue)];
    queue.push(a, 0);
    queue.push(c, 0);
    expect([popped(queue), popped(queue)]).toEqual([c, a]);
    expect(new Set([b, popped(queue), a, c]).size).toBe(4);
    // the one that was taken last, given back
    rig.offer(0);
    const last = popped(queue);
    queue.push(last, 0);
    expect(popped(queue)).toBe(last);
    expect(popped(queue)).not.toBe(last);
  });
});

test('a fault of a ring names its queue and the values', () => {
  const rig = new Rig({ indices: { inuse: 8 } });
  rig.offer(0);
  rig.split().pop();
  expect(rig.owner.faults).toEqual([{ reason: 'Virtqueue size exceeded', facts: { queue: 0, inuse: 8 } }]);
});

describe('the dirty log', () => {
  test('hears of the bytes that were written, piece by piece, and of no more', () => {
    const writes: [number, number][] = [];
    const memory = new MappedMemory(
      [
        { gpa: 0, bytes: new Uint8Array(0x4000) },
        { gpa: 0x4000, bytes: new Uint8Array(0x4000) },
      ],
      { onWrite: (gpa, length) => writes.push([gpa, length]) },
    );
    const rig = new Rig({ memory });
    rig.desc(DESC, 0, 0x3ff0, 0x20, WRITE | NEXT, 1);
    rig.desc(DESC, 1, 0x5000, 0x10, WRITE, 0);
    const queue = rig.split();
    const written = (bytes: number): [number, number][] => {
      rig.offer(0);
      const chain = popped(queue);
      writes.length = 0;
      queue.push(chain, bytes);
      return writes.filter(([gpa]) => gpa >= 0x3ff0);
    };
    expect(written(0)).toEqual([]);
    expect(written(0x10)).toEqual([[0x3ff0, 0x10]]);
    expect(written(0x18)).toEqual([
      [0x3ff0, 0x10],
      [0x4000, 8],
    ]);
    expect(written(0x1000)).toEqual([
      [0x3ff0, 0x10],
      [0x4000, 0x10],
      [0x5000, 0x10],
    ]);
  });
});

// Where a ring stands, by what guest memory says against what was saved. contract.test.ts has where its parts lie.
import { describe, expect, test } from 'vitest';
import { MappedMemory } from '../../src/live/memory.ts';
import { freshIndices } from '../../src/live/ring.ts';
import { checkSplitIndices, mapRing, splitIndices } from '../../src/live/ring-map.ts';
import { Rig, type RigOptions } from './rig.ts';

const AVAIL = 0x2000;
const USED = 0x3000;

function ringAt(avail: number, used: number, options: RigOptions = {}): Rig {
  const rig = new Rig(options);
  rig.put16(AVAIL + 2, avail);
  rig.put16(USED + 2, used);
  return rig;
}

describe('the saved index of a split ring of 8 against guest memory', () => {
  test.each([
    ['at rest', 5, 5, 5],
    ['all available, none taken', 13, 5, 5],
    ['all taken, none used', 13, 13, 5],
    ['across the end of 16 bits', 3, 0xffff, 0xfffb],
  ])('%s: nothing to say', (_, avail, last, used) => {
    for (const littleEndian of [true, false])
      expect(checkSplitIndices(ringAt(avail, used, { littleEndian }).setup, last)).toBeUndefined();
  });

  test('more available than the ring has entries: the device breaks, the load is accepted', () => {
    expect(checkSplitIndices(ringAt(0x1e, 0x15).setup, 0x15)).toEqual({
      fatal: false,
      reason: 'VQ 0 size 0x8 Guest index 0x1e inconsistent with Host index 0x15: delta 0x9',
      facts: { availIdx: 0x1e, lastAvailIdx: 0x15, size: 8, delta: 9 },
    });
    // behind the device's own index is far ahead of it
    expect(checkSplitIndices(ringAt(4, 5).setup, 5)).toMatchObject({ facts: { delta: 0xffff } });
  });

  test('more taken than the ring has entries: the load is refused', () => {
    expect(checkSplitIndices(ringAt(0x1e, 0x15).setup, 0x1e)).toEqual({
      fatal: true,
      reason: 'VQ 0 size 0x8 < last_avail_idx 0x1e - used_idx 0x15',
      facts: { lastAvailIdx: 0x1e, usedIdx: 0x15, size: 8, inuse: 9 },
    });
    // used before it was taken
    expect(checkSplitIndices(ringAt(4, 5).setup, 4)).toMatchObject({ fatal: true, facts: { inuse: 0xffff } });
  });

  test('a ring that begins in a region and does not end in it breaks the device, whatever its indices are', () => {
    const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(0x3010) }]);
    expect(checkSplitIndices(ringAt(0x1e, 0x15, { memory }).setup, 0x1e)).toEqual({
      fatal: false,
      reason: 'Cannot map used: not all of it is in guest memory',
      facts: { part: 'used', size: 8 },
    });
  });

  test('where there is no memory, the indices read as 0', () => {
    const { setup } = new Rig({ avail: 0x50_0000, used: 0x60_0000, desc: 0x70_0000 });
    expect(mapRing(setup, false)).toEqual({ kind: 'mapped' });
    expect(checkSplitIndices(setup, 0)).toBeUndefined();
    expect(checkSplitIndices(setup, 8)).toMatchObject({ facts: { availIdx: 0, lastAvailIdx: 8 } });
    expect(splitIndices(setup, { ...freshIndices(), lastAvailIdx: 3 })).toMatchObject({
      usedIdx: 0,
      inuse: 3,
    });
  });
});

test.each([true, false])('used_idx and inuse come out of the used ring, little-endian %s', (littleEndian) => {
  const rig = ringAt(9, 0xfffe, { littleEndian });
  const saved = { ...freshIndices(), lastAvailIdx: 3, lastAvailWrap: false };
  expect(splitIndices(rig.setup, saved)).toEqual({ ...saved, usedIdx: 0xfffe, inuse: 5 });
});

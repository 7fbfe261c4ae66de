// The list of requests in flight of a saved state against the ring that they were taken from.
import { describe, expect, test } from 'vitest';
import type { RequestInFlight } from '../../src/contract/device-model.ts';
import type { Report } from '../../src/contract/finding.ts';
import { checkInFlight, headsTaken, idsTaken } from '../../src/live/in-flight.ts';
import { PackedRing } from '../../src/live/packed-ring.ts';
import { SplitRing } from '../../src/live/split-ring.ts';
import { INDIRECT, NEXT, Rig, type RigOptions } from './rig.ts';

const DESC = 0x1000;

const requestsOf = (...heads: readonly (number | readonly [number, number])[]): RequestInFlight[] =>
  heads.map((one, i) => {
    const [index, ndescs] = typeof one === 'number' ? [one, undefined] : one;
    const path = `device.requests[${i}]`;
    return { queue: 0, path, element: { index, out: [], in: [] }, ...(ndescs !== undefined && { ndescs }) };
  });

/** A split ring whose avail ring holds these heads, all of them taken. */
function splitRig(heads: readonly number[], options: RigOptions = {}, from = 0): Rig {
  const lastAvailIdx = (from + heads.length) & 0xffff;
  const rig = new Rig({ ...options, indices: { lastAvailIdx, usedIdx: from, inuse: heads.length } });
  rig.put16(rig.setup.avail + 2, from);
  for (const head of heads) rig.offer(head);
  return rig;
}

/** A packed ring with chains of these ids and numbers of slots from a slot on, all of them taken. */
function packedRig(
  chains: readonly (readonly [id: number, slots: number])[],
  from = 0,
  inOrder = false,
): Rig {
  const inuse = chains.reduce((sum, [, slots]) => sum + slots, 0);
  const rig = new Rig({ inOrder, indices: { lastAvailIdx: (from + inuse) % 8, usedIdx: from, inuse } });
  let slot = from;
  for (const [id, slots] of chains) {
    for (let i = 0; i < slots; i++, slot++)
      // only the last descriptor of a chain has to hold its id
      rig.desc(DESC, slot % 8, 0x10000, 16, i + 1 < slots ? 0 : id, i + 1 < slots ? NEXT : 0);
  }
  return rig;
}

function findings(rig: Rig, packed: boolean, requests: readonly RequestInFlight[]): Parameters<Report>[0][] {
  const all: Parameters<Report>[0][] = [];
  checkInFlight(rig.setup, packed, requests, (finding) => all.push(finding));
  return all;
}

describe('heads and ids that a ring still has', () => {
  test.each([0, 6, 0xfffe])('split, from index %s on: oldest first', (from) => {
    const rig = splitRig([4, 2, 7], {}, from);
    const ring = new SplitRing(rig.setup, rig.memory);
    expect(headsTaken(ring, (from + 3) & 0xffff, 3)).toEqual([4, 2, 7]);
    expect(headsTaken(ring, (from + 3) & 0xffff, 1)).toEqual([7]);
    expect(headsTaken(ring, from, 0)).toEqual([]);
  });

  test.each([0, 5, 7])('packed, from slot %s on: one id a chain, the last descriptor’s', (from) => {
    const rig = packedRig(
      [
        [4, 1],
        [2, 3],
        [7, 2],
      ],
      from,
    );
    const ids = (inuse: number) => idsTaken(new PackedRing(rig.setup, rig.memory), from, inuse);
    expect(ids(6)).toEqual([4, 2, 7]);
    expect(ids(4)).toEqual([4, 2]);
    expect(ids(1)).toEqual([4]);
    expect(ids(0)).toEqual([]);
  });

  test('packed: a chain that is indirect takes one slot, whatever else its flags say', () => {
    const rig = packedRig([
      [4, 1],
      [2, 1],
    ]);
    rig.desc(DESC, 0, 0x8000, 32, 4, INDIRECT | NEXT);
    expect(idsTaken(new PackedRing(rig.setup, rig.memory), 0, 2)).toEqual([4, 2]);
  });

  test('packed: not more slots than the ring has, and no slot behind those in use', () => {
    const rig = packedRig(Array.from({ length: 8 }, (_, i) => [i, 1] as const));
    const ids = (inuse: number) => idsTaken(new PackedRing(rig.setup, rig.memory), 0, inuse);
    expect(ids(20)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    // the chain goes on behind what was taken: its id is that of the last slot that counts
    rig.desc(DESC, 1, 0x10000, 16, 9, NEXT);
    expect(ids(2)).toEqual([0, 9]);
  });
});

describe('the list of requests in flight and the ring', () => {
  test('as many as are taken: nothing to say', () => {
    expect(findings(splitRig([4, 2, 7]), false, requestsOf(7, 4, 2))).toEqual([]);
    expect(findings(splitRig([]), false, [])).toEqual([]);
    const rig = packedRig([
      [4, 1],
      [2, 3],
    ]);
    expect(findings(rig, true, requestsOf([2, 3], [4, 1]))).toEqual([]);
    // a device type that does not say how many slots means one
    expect(findings(packedRig([[4, 1]]), true, requestsOf(4))).toEqual([]);
  });

  test('split: another number of requests than of chains taken is an error with both', () => {
    expect(findings(splitRig([4, 2], {}, 0x10), false, requestsOf(4))).toEqual([
      {
        code: 'request-count',
        severity: 'error',
        path: 'queues[0]',
        reason:
          '2 chains of queue 0 are in flight (last_avail_idx 0x12, used_idx 0x10; 4, 2), and requests in flight have 1 (4)',
        facts: {
          queue: 0,
          inuse: 2,
          listed: 1,
          lastAvailIdx: 0x12,
          usedIdx: 0x10,
          size: 8,
          heads: '4',
          ring: '4, 2',
        },
      },
    ]);
    expect(findings(splitRig([]), false, requestsOf(3))[0]?.reason).toBe(
      '0 chains of queue 0 are in flight (last_avail_idx 0x0, used_idx 0x0; none), and requests in flight have 1 (3)',
    );
  });

  test('packed: slots are counted, not requests', () => {
    const rig = packedRig([
      [4, 1],
      [2, 3],
    ]);
    expect(findings(rig, true, requestsOf(4, 2))[0]).toMatchObject({
      code: 'request-count',
      reason:
        '4 slots of queue 0 are in flight (last_avail_idx 0x4, used_idx 0x0; 4, 2), and requests in flight have 2 (4, 2)',
      facts: { inuse: 4, listed: 2 },
    });
  });

  test.each([false, true])('packed %s: one head twice is an error, told first', (packed) => {
    const rig = packed
      ? packedRig([
          [4, 1],
          [2, 1],
        ])
      : splitRig([4, 2]);
    expect(findings(rig, packed, requestsOf(4, 2, 4))).toEqual([
      {
        code: 'request-twice',
        severity: 'error',
        path: 'device.requests[2]',
        reason: 'descriptor 4 of queue 0 is in flight twice',
        facts: { index: 4, queue: 0 },
      },
    ]);
  });

  test.each([false, true])(
    'packed %s, IN_ORDER: all must be among those that the ring gives back next',
    (packed) => {
      const rig = packed
        ? packedRig(
            [
              [4, 1],
              [2, 1],
            ],
            0,
            true,
          )
        : splitRig([4, 2], { inOrder: true });
      expect(findings(rig, packed, requestsOf(2, 4))).toEqual([]);
      expect(findings(rig, packed, requestsOf(4, 3))).toMatchObject([
        {
          code: 'request-order',
          severity: 'error',
          path: 'device.requests[1]',
          reason: 'descriptor 3 is not among those that queue 0 gives back in order (4, 2)',
          facts: { inuse: 2, listed: 2, heads: '4, 3', ring: '4, 2' },
        },
      ]);
    },
  );

  test('packed, IN_ORDER: as many slots, which the guest has cut into more chains since, are an error', () => {
    const rig = packedRig(
      [
        [4, 1],
        [2, 1],
      ],
      0,
      true,
    );
    expect(findings(rig, true, requestsOf([2, 2]))).toMatchObject([
      {
        code: 'request-order',
        severity: 'error',
        path: 'queues[0]',
        reason: 'queue 0 gives back in order what the ring calls 4, 2, and requests in flight are 2',
        facts: { inuse: 2, listed: 2, heads: '2', ring: '4, 2' },
      },
    ]);
  });

  test('without IN_ORDER a driver may have used the slots of the avail ring again', () => {
    expect(findings(splitRig([4, 2]), false, requestsOf(4, 3))).toEqual([]);
  });

  test.each([
    [16, '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15'],
    [17, '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, …'],
  ])('a message names sixteen heads at most: of %s', (count, text) => {
    const heads = Array.from({ length: count }, (_, i) => i);
    const [finding] = findings(splitRig([], { size: 32 }), false, requestsOf(...heads));
    expect(finding?.facts).toMatchObject({ listed: count, heads: text, ring: 'none' });
  });
});

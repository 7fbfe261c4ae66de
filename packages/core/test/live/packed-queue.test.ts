import { describe, expect, test } from 'vitest';
import type { Chain } from '../../src/contract/queue.ts';
import { HostError } from '../../src/live/errors.ts';
import type { PackedQueue } from '../../src/live/packed-queue.ts';
import { AVAIL_BIT, INDIRECT, NEXT, pieces, popped, Rig, type RigOptions, USED_BIT, WRITE } from './rig.ts';

const DESC = 0x1000;
const DRIVER = 0x2000;
const DEVICE = 0x3000;

/** Flags that make a descriptor available in a lap with this wrap counter. */
const lap = (wrap: boolean): number => (wrap ? AVAIL_BIT : USED_BIT);
/** id, flags and length of the descriptor in a slot. */
const slot = (rig: Rig, i: number): [number, number, number] => [
  rig.get16(DESC + 16 * i + 12),
  rig.get16(DESC + 16 * i + 14),
  rig.get32(DESC + 16 * i + 8),
];

/** Eight chains of one buffer each, all available; ids 10 to 17. */
function filled(options: RigOptions = {}): { rig: Rig; queue: PackedQueue } {
  const rig = new Rig(options);
  for (let i = 0; i < 8; i++)
    rig.desc(DESC, i, 0x10000 + 0x100 * i, 0x100, 10 + i, lap(true) | (i % 2 === 0 ? 0 : WRITE));
  return { rig, queue: rig.packed() };
}

describe('a chain through a packed ring', () => {
  test('three descriptors, back as one', () => {
    const rig = new Rig();
    const queue = rig.packed();
    expect([queue.pop(), queue.isEmpty()]).toEqual([undefined, true]);
    rig.desc(DESC, 0, 0x10000, 16, 5, lap(true) | NEXT);
    rig.desc(DESC, 1, 0x10100, 512, 5, lap(true) | NEXT);
    rig.desc(DESC, 2, 0x10400, 1, 5, lap(true) | WRITE);
    expect(queue.isEmpty()).toBe(false);
    const chain = popped(queue);
    expect([chain.index, chain.ndescs]).toEqual([5, 3]);
    expect(pieces(chain.out)).toEqual([
      [0x10000, 16],
      [0x10100, 512],
    ]);
    expect(pieces(chain.in)).toEqual([[0x10400, 1]]);
    expect(queue.indices()).toMatchObject({
      lastAvailIdx: 3,
      lastAvailWrap: true,
      usedIdx: 0,
      usedWrap: true,
      inuse: 3,
    });
    expect(queue.inFlight).toBe(1);
    queue.push(chain, 1);
    expect(slot(rig, 0)).toEqual([5, AVAIL_BIT | USED_BIT, 1]);
    // the address stays, and so do the other descriptors
    expect(rig.get32(DESC)).toBe(0x10000);
    expect(slot(rig, 1)).toEqual([5, AVAIL_BIT | NEXT, 512]);
    expect(queue.indices()).toMatchObject({ usedIdx: 3, inuse: 0 });
    expect(queue.inFlight).toBe(0);
  });

  test('indirect: the length of the table ends it, NEXT says nothing; one slot', () => {
    const rig = new Rig();
    rig.desc(DESC, 0, 0x8000, 48, 9, lap(true) | INDIRECT);
    rig.desc(0x8000, 0, 0x10000, 16, 1, 0);
    rig.desc(0x8000, 1, 0x10100, 32, 2, NEXT);
    rig.desc(0x8000, 2, 0x10200, 64, 3, WRITE | NEXT);
    const chain = popped(rig.packed());
    expect([chain.index, chain.ndescs]).toEqual([9, 1]);
    expect([chain.out.total, chain.in.total]).toEqual([48, 64]);
  });

  test('a chain across the end of the ring; laps change', () => {
    const { rig, queue } = filled();
    for (let i = 0; i < 7; i++) queue.push(popped(queue), 0);
    rig.desc(DESC, 7, 0x10000, 1, 3, lap(true) | NEXT);
    rig.desc(DESC, 0, 0x10001, 1, 3, lap(false));
    const chain = popped(queue);
    expect([chain.index, chain.ndescs, chain.out.count]).toEqual([3, 2, 2]);
    expect(queue.indices()).toMatchObject({ lastAvailIdx: 1, lastAvailWrap: false });
    queue.push(chain, 0);
    expect(slot(rig, 7)).toEqual([3, AVAIL_BIT | USED_BIT, 0]);
    expect(queue.indices()).toMatchObject({ usedIdx: 1, usedWrap: false });
    // what was available in the old lap is not in the new one
    expect(queue.pop()).toBeUndefined();
    rig.desc(DESC, 1, 0x10000, 1, 4, lap(false));
    queue.push(popped(queue), 0);
    expect(slot(rig, 1)).toEqual([4, 0, 0]);
  });
});

describe('what goes back', () => {
  test('in the order of completion, from the used index on', () => {
    const { rig, queue } = filled();
    const chains = [popped(queue), popped(queue), popped(queue)] as const;
    queue.push(chains[2], 0);
    queue.push(chains[0], 0);
    expect([slot(rig, 0)[0], slot(rig, 1)[0]]).toEqual([12, 10]);
    expect(slot(rig, 2)[1]).toBe(AVAIL_BIT);
    expect(queue.indices()).toMatchObject({ usedIdx: 2, inuse: 1 });
  });

  test('fill shows nothing; flush writes the first one last, each behind the slots of those before', () => {
    const rig = new Rig();
    const flags = lap(true);
    rig.desc(DESC, 0, 0x10000, 1, 1, flags | NEXT);
    rig.desc(DESC, 1, 0x10000, 1, 1, flags);
    rig.desc(DESC, 2, 0x10000, 1, 2, flags);
    rig.desc(DESC, 3, 0x10000, 1, 3, flags);
    const queue = rig.packed();
    for (let i = 0; i < 3; i++) queue.fill(popped(queue), 100 + i, i);
    expect(slot(rig, 0)).toEqual([1, flags | NEXT, 1]);
    queue.flush(3);
    const used = AVAIL_BIT | USED_BIT;
    expect([0, 2, 3].map((i) => slot(rig, i))).toEqual([
      [1, used, 100],
      [2, used, 101],
      [3, used, 102],
    ]);
    expect(slot(rig, 1)).toEqual([1, flags, 1]);
    expect(queue.indices()).toMatchObject({ usedIdx: 4, inuse: 0 });
  });

  test('unpop and detach', () => {
    const { rig, queue } = filled();
    rig.desc(DESC, 0, 0x10000, 1, 1, lap(true) | NEXT);
    const first = popped(queue);
    expect(first.ndescs).toBe(2);
    queue.unpop(first);
    expect(queue.indices()).toMatchObject({ lastAvailIdx: 0, lastAvailWrap: true, inuse: 0 });
    queue.detach(popped(queue));
    expect(queue.indices()).toMatchObject({ lastAvailIdx: 2, usedIdx: 0, inuse: 0 });
    expect(queue.inFlight).toBe(0);
    const last = popped(queue);
    queue.push(last, 0);
    expect(() => queue.push(last, 0)).toThrow(HostError);
    expect(() => queue.flush(1)).toThrow(HostError);
  });

  test('unpop across the end of the ring', () => {
    const { rig, queue } = filled();
    for (let i = 0; i < 7; i++) queue.push(popped(queue), 0);
    rig.desc(DESC, 7, 0x10000, 1, 3, lap(true) | NEXT);
    rig.desc(DESC, 0, 0x10001, 1, 3, lap(false));
    queue.unpop(popped(queue));
    expect(queue.indices()).toMatchObject({ lastAvailIdx: 7, lastAvailWrap: true });
    expect(popped(queue).ndescs).toBe(2);
  });
});

describe('event suppression', () => {
  test('the device: on, off, and to a descriptor with EVENT_IDX', () => {
    const plain = filled();
    plain.queue.setNotification(false);
    expect(plain.rig.bytes(DEVICE, 4)).toEqual([0, 0, 1, 0]);
    plain.queue.setNotification(true);
    expect(plain.rig.bytes(DEVICE, 4)).toEqual([0, 0, 0, 0]);
    const { rig, queue } = filled({ eventIdx: true });
    popped(queue);
    popped(queue);
    queue.setNotification(true);
    expect(rig.bytes(DEVICE, 4)).toEqual([2, 0x80, 2, 0]);
    queue.setNotification(false);
    expect(rig.bytes(DEVICE, 4)).toEqual([2, 0x80, 1, 0]);
  });

  test('availBytes leaves behind where it has looked to', () => {
    const { rig, queue } = filled({ eventIdx: true });
    rig.desc(DESC, 5, 0x10000, 1, 1, 0);
    expect(queue.availBytes(0x10000, 0)).toBe(false);
    queue.setNotification(true);
    expect(rig.bytes(DEVICE, 4)).toEqual([5, 0x80, 2, 0]);
    // the next chain taken is where the device stands again
    popped(queue);
    expect(rig.bytes(DEVICE, 4)).toEqual([1, 0x80, 2, 0]);
  });

  test('kicks that are wanted stay wanted, in a queue that goes on after a save as well', () => {
    const { rig, queue } = filled({ eventIdx: true });
    queue.setNotification(true);
    for (const at of [1, 2, 3]) {
      queue.push(popped(queue), 0);
      expect(rig.bytes(DEVICE, 4)).toEqual([at, 0x80, 2, 0]);
    }
    const restored = new Rig({ eventIdx: true, memory: rig.memory, indices: queue.indices() }).packed();
    popped(restored);
    expect(rig.bytes(DEVICE, 4)).toEqual([4, 0x80, 2, 0]);
    restored.setNotification(false);
    popped(restored);
    expect(rig.bytes(DEVICE, 4)).toEqual([4, 0x80, 1, 0]);
  });

  /** After which of these completions was there an interrupt? */
  function interrupts(rig: Rig, queue: PackedQueue, count: number): number[] {
    const after: number[] = [];
    for (let i = 0; i < count; i++) {
      const before = rig.owner.interrupts;
      queue.push(popped(queue), 0);
      queue.notify();
      if (rig.owner.interrupts > before) after.push(i);
    }
    return after;
  }

  test('the driver: 0 always, 1 never, 2 at its descriptor, the first after a load in any case', () => {
    for (const [offWrap, flags, expected] of [
      [0, 0, [0, 1, 2, 3, 4]],
      [0, 1, []],
      [3 | 0x8000, 2, [0, 3]],
      [4, 2, [0]],
      [3 | 0x8000, 3, [0, 3]],
    ] as const) {
      const { rig, queue } = filled();
      rig.put16(DRIVER, offWrap);
      rig.put16(DRIVER + 2, flags);
      expect(interrupts(rig, queue, 5)).toEqual(expected);
    }
  });

  test('an event in the next lap; where a lap begins there is an interrupt in any case', () => {
    const { rig, queue } = filled();
    interrupts(rig, queue, 6);
    rig.put16(DRIVER, 1);
    rig.put16(DRIVER + 2, 2);
    for (let i = 0; i < 4; i++) rig.desc(DESC, i, 0x10000, 1, i, lap(false));
    expect(interrupts(rig, queue, 6)).toEqual([1, 3]);
  });
});

describe('IN_ORDER', () => {
  test('what is finished early waits; all that is ready becomes visible with the oldest', () => {
    const { rig, queue } = filled({ inOrder: true });
    rig.desc(DESC, 0, 0x10000, 1, 10, lap(true) | NEXT);
    const chains = [popped(queue), popped(queue), popped(queue)] as const;
    expect(chains.map(({ ndescs }) => ndescs)).toEqual([2, 1, 1]);
    queue.push(chains[1], 1);
    queue.push(chains[2], 2);
    expect([0, 2, 3].map((i) => slot(rig, i)[1] & USED_BIT)).toEqual([0, 0, 0]);
    expect(queue.held()).toEqual([chains[1], chains[2]]);
    queue.push(chains[0], 0);
    expect([0, 2, 3].map((i) => slot(rig, i))).toEqual([
      [11, AVAIL_BIT | USED_BIT, 0],
      [12, AVAIL_BIT | USED_BIT, 1],
      [13, AVAIL_BIT | USED_BIT, 2],
    ]);
    expect(queue.indices()).toMatchObject({ usedIdx: 4, inuse: 0 });
  });

  test('after a load, chains are put in their old places', () => {
    const { rig, queue: old } = filled({ inOrder: true });
    rig.desc(DESC, 0, 0x10000, 1, 10, lap(true) | NEXT);
    const chains = [popped(old), popped(old), popped(old)];
    const saved = chains.map((chain) => ({ element: chain.element(), ndescs: chain.ndescs }));
    const queue = new Rig({ inOrder: true, memory: rig.memory, indices: old.indices() }).packed();
    const [first, second, third] = saved.map(({ element, ndescs }) => queue.adopt(element, ndescs));
    if (first === undefined || second === undefined || third === undefined) throw new Error('not adopted');
    queue.push(third, 3);
    queue.push(second, 2);
    expect(queue.indices()).toMatchObject({ usedIdx: 0, inuse: 4 });
    queue.push(first, 1);
    expect([0, 2, 3].map((i) => slot(rig, i)[0])).toEqual([11, 12, 13]);
    expect(queue.indices()).toMatchObject({ usedIdx: 4, inuse: 0 });
  });
});

describe('a driver that offers slots again which it did not get back', () => {
  /** A ring of 4: a chain of 3 slots, and one of 4 that takes three of them once more; none given back. */
  function overcommitted(options: RigOptions): { rig: Rig; queue: PackedQueue; chains: Chain[] } {
    const rig = new Rig({ size: 4, ...options });
    const put = (at: number, id: number, more: boolean, wrap: boolean): void =>
      rig.desc(DESC, at, 0x10000 + 0x100 * at, 1, id, lap(wrap) | (more ? NEXT : 0));
    const queue = rig.packed();
    put(0, 1, true, true);
    put(1, 1, true, true);
    put(2, 1, false, true);
    const chains: Chain[] = [popped(queue)];
    put(3, 2, true, true);
    put(0, 2, true, false);
    put(1, 2, true, false);
    put(2, 2, false, false);
    chains.push(popped(queue));
    return { rig, queue, chains };
  }

  test.each([
    ['in a batch', {}],
    ['IN_ORDER, the last one first', { inOrder: true }],
    ['number by number', { littleEndian: false }],
  ] as const)('%s: what goes back stays in the ring', (_, options) => {
    const { rig, queue, chains } = overcommitted(options);
    expect(queue.indices()).toMatchObject({ inuse: 7, lastAvailIdx: 3, lastAvailWrap: false });
    expect(queue.pop()).toBeUndefined();
    const [first, second] = chains as [Chain, Chain];
    const before = rig.bytes(DESC + 64, 256);
    if ('inOrder' in options) {
      queue.push(second, 20);
      queue.push(first, 10);
    } else {
      queue.fill(second, 20, 1);
      queue.fill(first, 10, 0);
      queue.flush(2);
    }
    expect(queue.indices()).toMatchObject({ inuse: 0, usedIdx: 3, usedWrap: false });
    expect([slot(rig, 0), slot(rig, 3)]).toEqual([
      [1, AVAIL_BIT | USED_BIT, 10],
      [2, AVAIL_BIT | USED_BIT, 20],
    ]);
    expect(rig.bytes(DESC + 64, 256)).toEqual(before);
  });

  test('three laps at most: restored with as many slots in flight as a state may say', () => {
    const rig = new Rig({ size: 4, indices: { inuse: 7, usedIdx: 3, lastAvailIdx: 2, lastAvailWrap: true } });
    const queue = rig.packed();
    const before = rig.bytes(DESC + 64, 256);
    const adopted = [4, 3].map((ndescs, index) =>
      queue.adopt({ index, out: [], in: [{ addr: 0x10000n, len: 1n }] }, ndescs),
    );
    adopted.forEach((chain, i) => {
      if (chain === undefined) throw new Error('not adopted');
      queue.fill(chain, 0, i);
    });
    queue.flush(2);
    expect(queue.indices()).toMatchObject({ inuse: 0, usedIdx: 2, usedWrap: true });
    // the second one is seven slots on from the last, which is the one before: a lap and three more
    expect([slot(rig, 3)[0], slot(rig, 3)[1] & USED_BIT]).toEqual([0, USED_BIT]);
    expect(rig.bytes(DESC + 64, 256)).toEqual(before);
  });
});

test('adopt: in flight again', () => {
  const { rig, queue: old } = filled();
  const saved = popped(old).element();
  const queue = new Rig({ memory: rig.memory, indices: old.indices() }).packed();
  const chain = queue.adopt(saved, 1);
  if (chain === undefined) throw new Error('not adopted');
  expect([queue.inFlight, chain.element()]).toEqual([1, saved]);
  queue.push(chain, 0);
  expect(slot(rig, 0)).toEqual([10, AVAIL_BIT | USED_BIT, 0]);
  expect([queue.inFlight, queue.indices().inuse]).toEqual([0, 0]);
});

test('broken or disabled, what is pushed is forgotten', () => {
  for (const why of ['broken', 'disabled'] as const) {
    const { rig, queue } = filled();
    const chain = popped(queue);
    rig.owner[why] = true;
    queue.push(chain, 1);
    expect(slot(rig, 0)[1]).toBe(AVAIL_BIT);
    expect(queue.indices()).toMatchObject({ usedIdx: 0, inuse: 0 });
    expect(queue.pop()).toBeUndefined();
  }
});

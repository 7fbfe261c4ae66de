import { describe, expect, test } from 'vitest';
import type { Chain } from '../../src/contract/queue.ts';
import { HostError } from '../../src/live/errors.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import type { SplitQueue } from '../../src/live/split-queue.ts';
import { INDIRECT, NEXT, pieces, popped, Rig, type RigOptions, WRITE } from './rig.ts';

const DESC = 0x1000;
const AVAIL = 0x2000;
const USED = 0x3000;

/** Eight chains of one buffer each: even heads to read, odd ones to write. All are offered. */
function filled(options: RigOptions = {}, offered = 8): { rig: Rig; queue: SplitQueue } {
  const rig = new Rig(options);
  for (let i = 0; i < 8; i++) rig.desc(DESC, i, 0x10000 + 0x100 * i, 0x100, i % 2 === 0 ? 0 : WRITE, 0);
  const queue = rig.split();
  for (let i = 0; i < offered; i++) rig.offer(i);
  return { rig, queue };
}

describe('a chain through a split ring', () => {
  test('direct: two to read, one to write', () => {
    const rig = new Rig();
    rig.desc(DESC, 3, 0x10000, 16, NEXT, 5);
    rig.desc(DESC, 5, 0x10100, 512, NEXT, 1);
    rig.desc(DESC, 1, 0x10400, 1, WRITE, 0);
    const queue = rig.split();
    expect(queue.pop()).toBeUndefined();
    expect(queue.isEmpty()).toBe(true);
    rig.offer(3);
    expect(queue.isEmpty()).toBe(false);
    const chain = popped(queue);
    expect([chain.index, chain.ndescs]).toEqual([3, 1]);
    expect(pieces(chain.out)).toEqual([
      [0x10000, 16],
      [0x10100, 512],
    ]);
    expect(pieces(chain.in)).toEqual([[0x10400, 1]]);
    expect([chain.out.total, chain.in.total]).toEqual([528, 1]);
    expect(queue.inFlight).toBe(1);
    queue.push(chain, 1);
    expect(queue.inFlight).toBe(0);
    expect(rig.bytes(USED, 12)).toEqual([0, 0, 1, 0, 3, 0, 0, 0, 1, 0, 0, 0]);
    queue.notify();
    expect(rig.owner.interrupts).toBe(1);
    expect(rig.owner.faults).toEqual([]);
  });

  test('indirect, and what a head says beside INDIRECT counts for nothing', () => {
    const rig = new Rig();
    rig.desc(DESC, 0, 0x8000, 32, INDIRECT | NEXT | WRITE, 7);
    rig.desc(0x8000, 0, 0x10000, 16, NEXT, 1);
    rig.desc(0x8000, 1, 0x10100, 64, WRITE | INDIRECT, 0);
    const queue = rig.split();
    rig.offer(0);
    const chain = popped(queue);
    expect(chain.element()).toEqual({
      index: 0,
      out: [{ addr: 0x10000n, len: 16n }],
      in: [{ addr: 0x10100n, len: 64n }],
    });
  });

  test('more pieces than a chain begins with room for; 1024 at most', () => {
    for (const count of [9, 64, 1024]) {
      const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(0x40000) }]);
      const rig = new Rig({ memory });
      for (let i = 0; i < count; i++) rig.desc(0x8000, i, 0x20000 + i, 1, i + 1 < count ? NEXT : 0, i + 1);
      rig.desc(DESC, 0, 0x8000, 16 * count, INDIRECT, 0);
      const queue = rig.split();
      rig.offer(0);
      expect(popped(queue).out.count).toBe(count);
    }
  });

  test('a buffer that crosses regions gives two pieces, and goes back in one', () => {
    const memory = new MappedMemory([
      { gpa: 0, bytes: new Uint8Array(0x18000) },
      { gpa: 0x18000, bytes: new Uint8Array(0x8000) },
    ]);
    const rig = new Rig({ memory });
    rig.desc(DESC, 0, 0x17ff0, 0x20, WRITE, 0);
    const queue = rig.split();
    rig.offer(0);
    const chain = popped(queue);
    expect(pieces(chain.in)).toEqual([
      [0x17ff0, 0x10],
      [0, 0x10],
    ]);
    const bytes = Uint8Array.from({ length: 0x20 }, (_, i) => i + 1);
    expect(chain.in.copyFrom(0, bytes)).toBe(0x20);
    expect(rig.bytes(0x17ff0, 0x20)).toEqual([...bytes]);
    expect(chain.element().in).toEqual([
      { addr: 0x17ff0n, len: 16n },
      { addr: 0x18000n, len: 16n },
    ]);
  });

  test('addresses above 4 GiB', () => {
    const memory = new MappedMemory([
      { gpa: 0, bytes: new Uint8Array(0x8000) },
      { gpa: 0xffff_f000, bytes: new Uint8Array(0x2000) },
      { gpa: 2 ** 40, bytes: new Uint8Array(0x10000) },
    ]);
    const rig = new Rig({ memory });
    rig.desc(DESC, 0, 2 ** 40 + 0x8000, 16, NEXT, 1);
    rig.desc(DESC, 1, 0xffff_fff0, 0x20, NEXT, 2);
    rig.desc(DESC, 2, 2 ** 32, 1, WRITE, 0);
    const queue = rig.split();
    rig.offer(0);
    expect(popped(queue).element()).toEqual({
      index: 0,
      out: [
        { addr: 2n ** 40n + 0x8000n, len: 16n },
        { addr: 0xffff_fff0n, len: 32n },
      ],
      in: [{ addr: 2n ** 32n, len: 1n }],
    });
  });
});

describe('what goes back', () => {
  test('used elements are written in the order of completion', () => {
    const { rig, queue } = filled();
    const chains = [popped(queue), popped(queue), popped(queue)] as const;
    queue.push(chains[2], 0);
    queue.push(chains[0], 0);
    queue.push(chains[1], 0x100);
    expect([2, 0, 1].map((_, i) => rig.get32(USED + 4 + 8 * i))).toEqual([2, 0, 1]);
    expect(rig.get32(USED + 4 + 8 * 2 + 4)).toBe(0x100);
    expect(rig.get16(USED + 2)).toBe(3);
  });

  test('fill shows nothing, flush all at once', () => {
    const { rig, queue } = filled();
    queue.fill(popped(queue), 0, 0);
    queue.fill(popped(queue), 7, 1);
    expect(rig.get16(USED + 2)).toBe(0);
    expect(queue.inFlight).toBe(2);
    queue.flush(2);
    expect(rig.get16(USED + 2)).toBe(2);
    expect(rig.bytes(USED + 4, 16)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]);
    expect(queue.inFlight).toBe(0);
  });

  test('nothing is written to the descriptor table, whatever is done with a chain', () => {
    for (const options of [{}, { eventIdx: true }, { inOrder: true }, { littleEndian: false }]) {
      const { rig, queue } = filled(options);
      rig.desc(DESC, 1, 0x8000, 32, INDIRECT, 0);
      rig.desc(0x8000, 0, 0x10000, 16, NEXT, 1);
      rig.desc(0x8000, 1, 0x10100, 64, WRITE, 0);
      const tables = () => [rig.bytes(DESC, 128), rig.bytes(0x8000, 32)];
      const before = tables();
      queue.setNotification(false);
      queue.availBytes(0x100, 0x100);
      queue.unpop(popped(queue));
      queue.push(popped(queue), 0);
      queue.push(popped(queue), 64);
      queue.detach(popped(queue));
      queue.fill(popped(queue), 0, 0);
      queue.flush(1);
      queue.setNotification(true);
      queue.notify();
      expect(tables()).toEqual(before);
    }
  });

  test('indices run free and wrap', () => {
    const indices = { lastAvailIdx: 0xfffe, usedIdx: 0xfffe };
    const rig = new Rig({ indices });
    rig.desc(DESC, 4, 0x10000, 4, 0, 0);
    rig.put16(AVAIL + 2, 0xfffe);
    rig.put16(USED + 2, 0xfffe);
    const queue = rig.split();
    for (let i = 0; i < 4; i++) {
      rig.offer(4);
      queue.push(popped(queue), 0);
    }
    expect(rig.get16(USED + 2)).toBe(2);
    expect(queue.indices()).toMatchObject({ lastAvailIdx: 2, usedIdx: 2, inuse: 0 });
    expect([6, 7, 0, 1].map((slot) => rig.get32(USED + 4 + 8 * slot))).toEqual([4, 4, 4, 4]);
  });

  test('a ring whose size is no power of two goes by the remainder', () => {
    const rig = new Rig({ size: 6 });
    for (let i = 0; i < 6; i++) rig.desc(DESC, i, 0x10000, 4, 0, 0);
    const queue = rig.split();
    for (let i = 0; i < 15; i++) {
      rig.offer(i % 6);
      const chain = popped(queue);
      expect(chain.index).toBe(i % 6);
      queue.push(chain, i);
      expect(rig.get32(USED + 4 + 8 * (i % 6) + 4)).toBe(i);
    }
  });

  test('unpop: the same chain comes again', () => {
    const { queue } = filled();
    queue.push(popped(queue), 0);
    const second = popped(queue);
    queue.unpop(second);
    expect(queue.indices()).toMatchObject({ lastAvailIdx: 1, inuse: 0 });
    expect(popped(queue).index).toBe(1);
  });

  test('detach: forgotten, and not returned', () => {
    const { rig, queue } = filled();
    queue.detach(popped(queue));
    expect(queue.indices()).toMatchObject({ lastAvailIdx: 1, usedIdx: 0, inuse: 0 });
    expect(rig.get16(USED + 2)).toBe(0);
  });

  test('a chain that was given back is not the device’s any more', () => {
    const { queue } = filled();
    const chain = popped(queue);
    queue.push(chain, 0);
    for (const again of ['push', 'unpop', 'detach'] as const) {
      expect(() => queue[again](chain, 0)).toThrow(HostError);
    }
    expect(() => filled().queue.push(popped(queue), 0)).toThrow('not of this queue');
    expect(() => queue.flush(1)).toThrow(HostError);
  });

  test('objects are used again: as many chains as were ever in flight', () => {
    const { rig, queue } = filled({}, 0);
    const seen = new Set<Chain>();
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 3; i++) rig.offer(i);
      const chains = [popped(queue), popped(queue), popped(queue)];
      for (const chain of chains) {
        seen.add(chain);
        queue.push(chain, 0);
      }
    }
    expect(seen.size).toBe(3);
  });
});

describe('a device that stands still', () => {
  test('paused, broken, disabled: nothing is taken', () => {
    for (const why of ['paused', 'broken', 'disabled'] as const) {
      const { rig, queue } = filled();
      rig.owner[why] = true;
      expect(queue.pop()).toBeUndefined();
      expect(queue.isEmpty()).toBe(true);
      rig.owner[why] = false;
      expect(popped(queue).index).toBe(0);
    }
  });

  test('broken or disabled, what is pushed is forgotten; paused, it is written', () => {
    for (const [why, usedIdx] of [
      ['broken', 0],
      ['disabled', 0],
      ['paused', 1],
    ] as const) {
      const { rig, queue } = filled();
      const chain = popped(queue);
      rig.owner[why] = true;
      queue.push(chain, 1);
      expect(rig.get16(USED + 2)).toBe(usedIdx);
      expect(queue.inFlight).toBe(0);
    }
  });
});

describe('kicks', () => {
  test('without EVENT_IDX: NO_NOTIFY comes and goes, other flags stay', () => {
    const { rig, queue } = filled();
    rig.put16(USED, 0x8002);
    queue.setNotification(false);
    expect(rig.get16(USED)).toBe(0x8003);
    queue.setNotification(true);
    expect(rig.get16(USED)).toBe(0x8002);
  });

  test('with EVENT_IDX: avail_event is what was taken, or what is available; off writes nothing', () => {
    const { rig, queue } = filled({ eventIdx: true });
    const availEvent = USED + 4 + 8 * 8;
    popped(queue);
    expect(rig.get16(availEvent)).toBe(1);
    queue.setNotification(true);
    expect(rig.get16(availEvent)).toBe(8);
    queue.setNotification(false);
    popped(queue);
    expect(rig.get16(availEvent)).toBe(8);
    expect(rig.get16(USED)).toBe(0);
    queue.setNotification(true);
    popped(queue);
    expect(rig.get16(availEvent)).toBe(3);
  });
});

describe('interrupts', () => {
  /** Pushes so many chains one by one, and notes after which there was an interrupt. */
  function interrupts(rig: Rig, queue: SplitQueue, count: number): number[] {
    const after: number[] = [];
    for (let i = 0; i < count; i++) {
      const before = rig.owner.interrupts;
      queue.push(popped(queue), 0);
      queue.notify();
      if (rig.owner.interrupts > before) after.push(i);
    }
    return after;
  }

  test('without EVENT_IDX the flag decides', () => {
    const { rig, queue } = filled();
    expect(interrupts(rig, queue, 2)).toEqual([0, 1]);
    rig.put16(AVAIL, 1);
    expect(interrupts(rig, queue, 2)).toEqual([]);
  });

  test('without EVENT_IDX what stands in the place of used_event says nothing', () => {
    for (const [flag, expected] of [
      [0, [0, 1, 2, 3]],
      [1, []],
    ] as const) {
      for (const place of [0, 1, 2, 0x8000, 0xffff]) {
        const { rig, queue } = filled();
        rig.put16(AVAIL, flag);
        rig.put16(AVAIL + 4 + 2 * 8, place);
        expect(interrupts(rig, queue, 4)).toEqual(expected);
      }
    }
  });

  test('EVENT_IDX: the first always, then when used_event is passed; the flag is ignored', () => {
    const { rig, queue } = filled({ eventIdx: true });
    rig.put16(AVAIL, 1);
    rig.put16(AVAIL + 4 + 2 * 8, 4);
    expect(interrupts(rig, queue, 8)).toEqual([0, 4]);
  });

  test('EVENT_IDX: after a load the first one again', () => {
    const { rig, queue } = filled({ eventIdx: true });
    rig.put16(AVAIL + 4 + 2 * 8, 100);
    expect(interrupts(rig, queue, 3)).toEqual([0]);
    queue.forgetSignalled();
    expect(interrupts(rig, queue, 3)).toEqual([0]);
  });

  test('EVENT_IDX: one decision for many completions looks at all of them', () => {
    const { rig, queue } = filled({ eventIdx: true });
    queue.push(popped(queue), 0);
    queue.notify();
    rig.put16(AVAIL + 4 + 2 * 8, 3);
    for (let i = 0; i < 3; i++) queue.push(popped(queue), 0);
    queue.notify();
    expect(rig.owner.interrupts).toBe(2);
    queue.push(popped(queue), 0);
    queue.notify();
    expect(rig.owner.interrupts).toBe(2);
  });

  test('NOTIFY_ON_EMPTY: also against the flag, when the last chain went back', () => {
    const { rig, queue } = filled({ notifyOnEmpty: true });
    rig.put16(AVAIL, 1);
    expect(interrupts(rig, queue, 8)).toEqual([7]);
  });
});

describe('availBytes', () => {
  test('counts both directions over all available chains, and takes nothing', () => {
    const { queue } = filled();
    expect(queue.availBytes(0x400, 0x400)).toBe(true);
    expect(queue.availBytes(0x401, 0)).toBe(false);
    expect(queue.availBytes(0, 0x401)).toBe(false);
    expect(queue.availBytes(0, 0)).toBe(true);
    expect(popped(queue).index).toBe(0);
  });

  test('an avail index beyond the ring breaks the device', () => {
    const { rig, queue } = filled();
    rig.put16(AVAIL + 2, 100);
    expect(queue.availBytes(1, 1)).toBe(false);
    expect(rig.owner.faults.map(({ reason }) => reason)).toEqual(['Guest moved used index from 0 to 100']);
  });
});

describe('IN_ORDER', () => {
  test('what is finished early waits, and goes back in the order it was taken', () => {
    const { rig, queue } = filled({ inOrder: true });
    const chains = [popped(queue), popped(queue), popped(queue)] as const;
    queue.push(chains[2], 2);
    queue.push(chains[1], 1);
    expect(rig.get16(USED + 2)).toBe(0);
    expect(queue.held()).toEqual([chains[1], chains[2]]);
    expect(queue.inFlight).toBe(3);
    queue.push(chains[0], 0);
    expect(rig.get16(USED + 2)).toBe(3);
    expect([0, 1, 2].map((i) => rig.get32(USED + 4 + 8 * i))).toEqual([0, 1, 2]);
    expect([0, 1, 2].map((i) => rig.get32(USED + 8 + 8 * i))).toEqual([0, 1, 2]);
    expect([queue.held(), queue.inFlight]).toEqual([[], 0]);
  });

  test('a chain that is forgotten holds up nobody, nor one that is put back', () => {
    const { rig, queue } = filled({ inOrder: true });
    const chains = [popped(queue), popped(queue), popped(queue), popped(queue)] as const;
    expect(() => queue.unpop(chains[0])).toThrow('taken last');
    queue.unpop(chains[3]);
    queue.push(chains[2], 0);
    queue.detach(chains[0]);
    queue.push(chains[1], 0);
    expect([0, 1].map((i) => rig.get32(USED + 4 + 8 * i))).toEqual([1, 2]);
    expect([rig.get16(USED + 2), queue.inFlight]).toEqual([2, 0]);
    expect(popped(queue).index).toBe(3);
  });

  test('after a load, chains are put in their old places', () => {
    const { rig } = filled({ inOrder: true });
    const old = rig.split();
    const elements = [popped(old), popped(old), popped(old)].map((chain) => chain.element());
    const restored = new Rig({
      inOrder: true,
      memory: rig.memory,
      indices: { lastAvailIdx: 3, usedIdx: 0, inuse: 3 },
    });
    const queue = restored.split();
    const [first, second, third] = elements.map((element) => queue.adopt(element, 1));
    if (first === undefined || second === undefined || third === undefined) throw new Error('not adopted');
    queue.push(third, 0);
    queue.push(first, 0);
    expect(rig.get16(USED + 2)).toBe(1);
    queue.push(second, 0);
    expect([0, 1, 2].map((i) => rig.get32(USED + 4 + 8 * i))).toEqual([0, 1, 2]);
    const [element] = elements;
    expect(element && queue.adopt(element, 1)).toBeUndefined();
  });
});

describe('adopt', () => {
  test('a request of a saved state is in flight again; its place was counted already', () => {
    const { rig } = filled();
    const queue = new Rig({ memory: rig.memory, indices: { lastAvailIdx: 1, inuse: 1 } }).split();
    const element = { index: 5, out: [{ addr: 0x10000n, len: 16n }], in: [{ addr: 0x10100n, len: 1n }] };
    const chain = queue.adopt(element, 1);
    if (chain === undefined) throw new Error('not adopted');
    expect(chain.element()).toEqual(element);
    expect(queue.inFlight).toBe(1);
    queue.push(chain, 1);
    expect(rig.get32(USED + 4)).toBe(5);
    expect(queue.indices()).toMatchObject({ lastAvailIdx: 1, usedIdx: 1, inuse: 0 });
  });

  test('not what is outside memory, nor a head that the ring has not', () => {
    const { queue } = filled();
    const at = (addr: bigint, len: bigint, index = 0) =>
      queue.adopt({ index, out: [{ addr, len }], in: [] }, 1);
    expect(at(0x10000n, 1n, 8)).toBeUndefined();
    expect(at(0x3fff0n, 0x11n)).toBeUndefined();
    expect(at(2n ** 60n, 1n)).toBeUndefined();
    expect(at(0x10000n, 2n ** 32n)).toBeUndefined();
    expect(at(0x10000n, 1n)).toBeDefined();
  });
});

// The edges of the two queues: indices that run around, faults and their facts, what a batch must not let through, event
// indices at their limits, and what is asked of a device that stands still. A test for each, so that what breaks has a name.
import { describe, expect, test } from 'vitest';
import { HostError } from '../../src/live/errors.ts';
import type { Mapping } from '../../src/live/mapping.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { AVAIL_BIT, INDIRECT, NEXT, popped, Rig, type RigOptions, USED_BIT, WRITE } from './rig.ts';

const [DESC, AVAIL, USED, TABLE, BUFFER] = [0x1000, 0x2000, 0x3000, 0x8000, 0x10000];
const FORMATS = ['split', 'packed'] as const;
type Format = (typeof FORMATS)[number];

/** Chains of one buffer of 0x100 bytes to write each, in all entries of the ring; of a split one so many are offered. */
function full(format: Format, options: RigOptions = {}, offered = options.size ?? 8) {
  const rig = new Rig(options);
  const size = options.size ?? 8;
  for (let i = 0; i < size; i++) put(rig, format, i, BUFFER + 0x100 * i, 0x100, WRITE);
  const queue = rig[format]();
  if (format === 'split') for (let i = 0; i < offered; i++) rig.offer(i);
  return { rig, queue };
}

/** A descriptor of the ring; a packed one is available in a lap with wrap counter 1. */
function put(
  rig: Rig,
  format: Format,
  i: number,
  addr: number,
  length: number,
  kind: number,
  next = 0,
): void {
  if (format === 'split') rig.desc(DESC, i, addr, length, kind, next);
  else rig.desc(DESC, i, addr, length, 10 + i, kind | AVAIL_BIT);
}

/** Makes packed descriptors available in a lap with this wrap counter. */
const lap = (rig: Rig, i: number, wrap: boolean, kind = WRITE): void =>
  rig.put16(DESC + 16 * i + 14, kind | (wrap ? AVAIL_BIT : USED_BIT));

const reasons = ({ owner }: Rig): string[] => owner.faults.map(({ reason }) => reason);

/** Memory that counts how often somebody asks where an address lies. */
class CountingMemory extends MappedMemory {
  asked = 0;

  constructor() {
    super([{ gpa: 0, bytes: new Uint8Array(0x40000) }]);
  }

  override at(gpa: number): Mapping | undefined {
    this.asked++;
    return super.at(gpa);
  }
}

/** Memory that has moved once, so that its epoch is not the first one. */
function moved(): MappedMemory {
  let bytes = new Uint8Array(0x40000);
  const memory = new MappedMemory([{ gpa: 0, bytes: () => bytes }]);
  bytes = new Uint8Array(0x40000);
  memory.sync();
  expect(memory.epoch).toBe(1);
  return memory;
}

describe.each(FORMATS)('%s', (format) => {
  test('memory without RAM: nothing is there', () => {
    const memory = new MappedMemory([]);
    const queue = new Rig({ memory })[format]();
    expect([queue.pop(), queue.isEmpty(), queue.held()]).toEqual([undefined, true, []]);
  });

  test('more in flight than the ring has entries', () => {
    const { rig, queue } = full(format);
    for (let i = 0; i < 8; i++) popped(queue);
    if (format === 'split') rig.offer(0);
    else lap(rig, 0, false);
    expect(queue.pop()).toBeUndefined();
    expect(rig.owner.faults).toEqual([{ reason: 'Virtqueue size exceeded', facts: { queue: 0, inuse: 8 } }]);
  });

  test('what a chain that makes no sense has, stands in the facts', () => {
    const bad = (addr: number, length: number, kind: number) => {
      const rig = new Rig();
      put(rig, format, 0, addr, length, kind);
      if (format === 'split') rig.offer(0);
      expect(rig[format]().pop()).toBeUndefined();
      return rig.owner.faults;
    };
    expect(bad(0x90000, 5, WRITE)).toEqual([
      {
        reason: 'virtio: bogus descriptor or out of resources',
        facts: { queue: 0, addr: 0x90000, length: 5 },
      },
    ]);
    expect(bad(TABLE, 17, INDIRECT)).toEqual([
      { reason: 'Invalid size for indirect buffer table', facts: { queue: 0, addr: TABLE, bytes: 17 } },
    ]);
  });

  test.each([
    ['a size that is no multiple of 16', TABLE, 24, 'Invalid size for indirect buffer table'],
    ['an address that is none of a word', TABLE + 2, 16, undefined],
    ['a region that lies unaligned', 0x50000, 16, undefined],
  ])('a table with %s is not taken for one at the begin of memory', (_, addr, length, reason) => {
    // what would be read from the first words of RAM is a chain as good as any: from the second word on, or from the one in front
    for (const decoy of [
      [0, BUFFER + 0x1000, 0, 32, 0],
      [0, 32, 0, 0, 0],
    ]) {
      const memory = new MappedMemory([
        { gpa: 0, bytes: new Uint8Array(0x40000) },
        { gpa: 0x50000, bytes: new Uint8Array(new ArrayBuffer(0x1001), 1) },
      ]);
      const rig = new Rig({ memory });
      decoy.forEach((word, i) => {
        rig.put32(4 * i, word);
      });
      rig.desc(addr, 0, BUFFER, 16, 0, 0);
      put(rig, format, 0, addr, length, INDIRECT);
      if (format === 'split') rig.offer(0);
      const chain = rig[format]().pop();
      expect(chain?.element().out).toEqual(
        reason === undefined ? [{ addr: BigInt(BUFFER), len: 16n }] : undefined,
      );
      expect(reasons(rig)).toEqual(reason === undefined ? [] : [reason]);
    }
  });

  test('a total of 4 GiB and more is counted right', () => {
    const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(64 << 20) }]);
    const rig = new Rig({ memory });
    const pieces = 80;
    for (let i = 0; i < pieces; i++)
      rig.desc(TABLE, i, 0, 64 << 20, i + 1 < pieces ? NEXT : 0, format === 'split' ? i + 1 : 0);
    if (format === 'packed')
      for (let i = 0; i < pieces; i++) rig.desc(TABLE, i, 0, 64 << 20, 0, i + 1 < pieces ? NEXT : 0);
    for (let i = 0; i < 2; i++) put(rig, format, i, TABLE, 16 * pieces, INDIRECT);
    const queue = rig[format]();
    for (let i = 0; i < 2; i++) {
      if (format === 'split') rig.offer(i);
      const chain = popped(queue);
      expect([chain.out.count, chain.out.total]).toEqual([pieces, pieces * 2 ** 26]);
      // the next one has room for as many from the begin
      queue.push(chain, 0);
    }
  });

  test('a chain of another queue, and one that is not in flight, are not taken back', () => {
    const one = full(format);
    const other = full(format);
    const chain = popped(one.queue);
    popped(other.queue);
    for (const act of ['push', 'unpop', 'detach'] as const)
      expect(() => (act === 'push' ? other.queue.push(chain, 0) : other.queue[act](chain))).toThrow(
        'queue 0: this chain is not of this queue',
      );
    expect([one.queue.inFlight, other.queue.inFlight]).toEqual([1, 1]);
    one.queue.push(chain, 0);
    expect(() => one.queue.push(chain, 0)).toThrow('queue 0: this chain is not in flight');
  });

  test.each([false, true])(
    'nothing overtakes what is filled and not shown. In memory that moved: %s',
    (late) => {
      const { rig, queue } = full(format, late ? { memory: moved() } : {});
      const [a, b] = [popped(queue), popped(queue)];
      queue.fill(a, 1, 0);
      expect(() => queue.push(b, 2)).toThrow(HostError);
      // taking another one does not open the way
      popped(queue);
      expect(() => queue.push(b, 2)).toThrow('queue 0: filled twice, 0 ahead');
      expect(format === 'split' ? rig.get16(USED + 2) : rig.get16(DESC + 14) & USED_BIT).toBe(0);
      queue.flush(1);
      queue.push(b, 2);
      expect(queue.inFlight).toBe(1);
    },
  );

  test.each(['broken', 'disabled'] as const)(
    'a device that is %s writes nothing of what it gives back',
    (what) => {
      for (const inOrder of [false, true]) {
        const { rig, queue } = full(format, { inOrder });
        const [a, b, c] = [popped(queue), popped(queue), popped(queue)];
        rig.owner[what] = true;
        const used = rig.bytes(USED, 100);
        const desc = rig.bytes(DESC, 16 * 8);
        queue.push(a, 1);
        queue.fill(b, 2, 0);
        queue.fill(c, 3, 1);
        queue.flush(2);
        expect([rig.bytes(USED, 100), rig.bytes(DESC, 16 * 8)]).toEqual([used, desc]);
        expect([queue.inFlight, queue.indices().usedIdx]).toEqual([0, 0]);
      }
    },
  );

  test('a flush that shows nothing writes nothing', () => {
    const writes: number[] = [];
    const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(0x40000) }], {
      onWrite: (gpa) => writes.push(gpa),
    });
    const { queue } = full(format, { memory, inOrder: true });
    popped(queue);
    const second = popped(queue);
    writes.length = 0;
    // with IN_ORDER it waits for the first one
    queue.push(second, 0);
    expect(writes).toEqual([]);
  });

  test('with IN_ORDER each chain has its own buffer', () => {
    const { queue } = full(format, { inOrder: true });
    for (let i = 0; i < 4; i++) {
      const chain = popped(queue);
      expect(chain.element().in).toEqual([{ addr: BigInt(BUFFER + 0x100 * i), len: 0x100n }]);
      queue.push(chain, 0);
    }
  });

  test('with IN_ORDER, what stands in front of the ring is no part of it', () => {
    const rig = new Rig({ inOrder: true, desc: 0x1010 });
    // where a look in the wrong direction would find one
    rig.desc(
      0x1000,
      0,
      BUFFER + 0x8000,
      32,
      format === 'split' ? WRITE : 11,
      format === 'split' ? 0 : WRITE | AVAIL_BIT,
    );
    for (let i = 0; i < 2; i++)
      rig.desc(
        0x1010,
        i,
        BUFFER,
        16,
        format === 'split' ? WRITE : 10 + i,
        format === 'split' ? 0 : WRITE | AVAIL_BIT,
      );
    const queue = rig[format]();
    if (format === 'split') for (const head of [0, 1]) rig.offer(head);
    for (let i = 0; i < 2; i++)
      expect(popped(queue).element().in).toEqual([{ addr: BigInt(BUFFER), len: 16n }]);
  });

  test('interrupts are decided by what stands in memory now, not where it was', () => {
    let bytes = new Uint8Array(0x40000);
    const memory = new MappedMemory([{ gpa: 0, bytes: () => bytes }]);
    const rig = new Rig({ memory, eventIdx: true, indices: { signalled: 0 } });
    for (let i = 0; i < 8; i++) put(rig, format, i, BUFFER, 1, WRITE);
    const queue = rig[format]();
    if (format === 'split') rig.offer(0);
    // far away: no interrupt
    const event = (idx: number) => {
      if (format === 'split') rig.put16(AVAIL + 4 + 2 * 8, idx);
      else rig.put32(AVAIL, 0x20000 | 0x8000 | idx);
    };
    event(7);
    const chain = popped(queue);
    queue.push(chain, 0);
    bytes = bytes.slice();
    memory.sync();
    // in the memory of now it is what was just written
    event(0);
    queue.notify();
    expect(rig.owner.interrupts).toBe(1);
  });

  test('what one chain leaves behind in its place is not part of the next', () => {
    const heard: number[] = [];
    for (const logged of [false, true]) {
      const memory = new MappedMemory(
        [{ gpa: 0, bytes: new Uint8Array(0x40000) }],
        logged
          ? {
              onWrite: (gpa, length) => {
                for (let i = 0; i < length; i++) heard.push(gpa + i);
              },
            }
          : {},
      );
      const rig = new Rig({ memory });
      const kinds = [NEXT, NEXT | WRITE, NEXT | WRITE, WRITE];
      kinds.forEach((kind, i) => {
        put(rig, format, i, BUFFER + 0x100 * i, 8, kind, i + 1);
      });
      put(rig, format, 4, BUFFER + 0x400, 4, NEXT, 5);
      put(rig, format, 5, BUFFER + 0x500, 4, WRITE);
      const queue = rig[format]();
      if (format === 'split') rig.offer(0);
      queue.push(popped(queue), 0);
      if (format === 'split') rig.offer(4);
      const chain = popped(queue);
      memory.write(0x10500 as never, Uint8Array.of(1, 2, 3, 4));
      const target = new Uint8Array(16);
      expect([chain.out.copyTo(0, target), chain.in.copyTo(0, target)]).toEqual([4, 4]);
      expect([chain.out.u8(4), chain.in.u8(4), chain.in.u8(3)]).toEqual([-1, -1, 4]);
      expect(chain.in.copyFrom(0, new Uint8Array(16).fill(9))).toBe(4);
      expect(chain.in.fill(0, 16, 7)).toBe(4);
      expect(rig.bytes(BUFFER + 0x200, 8)).toEqual(new Array(8).fill(0));
      expect(rig.bytes(BUFFER + 0x300, 8)).toEqual(new Array(8).fill(0));
      heard.length = 0;
      queue.push(chain, 1000);
      const inBuffers = heard.filter((at) => at >= BUFFER);
      expect(inBuffers).toEqual(logged ? [0, 1, 2, 3].map((i) => BUFFER + 0x500 + i) : []);
    }
  });

  test('numbers that the end of a chain cuts are not there, at each place', () => {
    const rig = new Rig();
    put(rig, format, 0, BUFFER, 3, NEXT, 1);
    put(rig, format, 1, BUFFER + 0x20, 5, 0);
    if (format === 'split') rig.offer(0);
    rig.memory.write(BUFFER as never, Uint8Array.of(1, 2, 3, 99, 99, 99));
    rig.memory.write((BUFFER + 0x20) as never, Uint8Array.of(4, 5, 6, 7, 8, 99, 99, 99));
    const { out } = popped(rig[format]());
    const all = (read: (at: number) => number) => Array.from({ length: 10 }, (_, at) => read(at));
    const bytes = [1, 2, 3, 4, 5, 6, 7, 8];
    const view = new DataView(Uint8Array.from(bytes).buffer);
    expect(all((at) => out.u8(at))).toEqual([...bytes, -1, -1]);
    for (const little of [true, false]) {
      expect(all((at) => out.u16(at, little))).toEqual(
        all((at) => (at < 7 ? view.getUint16(at, little) : -1)),
      );
      expect(all((at) => out.u32(at, little))).toEqual(
        all((at) => (at < 5 ? view.getUint32(at, little) : -1)),
      );
    }
  });

  test('a copy from a place of an array goes to its end, and no further', () => {
    const { queue } = full(format);
    const chain = popped(queue);
    expect(chain.in.copyFrom(0, new Uint8Array(20), 5)).toBe(15);
    expect(chain.in.copyTo(0, new Uint8Array(20), 5)).toBe(15);
    expect(() => chain.out.copyFrom(0, new Uint8Array(1))).toThrow(
      'what the driver wrote is not for the device to write',
    );
  });

  test.each([
    ['to write', WRITE],
    ['to read', 0],
  ])('availBytes looks no further than it is asked, for what is %s', (_, kind) => {
    const rig = new Rig();
    const split = format === 'split';
    // 10 bytes, then a chain of 5, and behind them what nobody may look at
    put(rig, format, 0, BUFFER, 10, kind);
    put(rig, format, 1, TABLE, 32, INDIRECT);
    rig.desc(TABLE, 0, BUFFER, 5, split ? NEXT | kind : 0, split ? 99 : NEXT | kind);
    rig.desc(TABLE, 1, BUFFER, 3, split ? kind : 0, split ? 0 : kind);
    put(rig, format, 2, TABLE, 7, INDIRECT);
    const queue = rig[format]();
    const ask = (bytes: number): boolean => queue.availBytes(kind === 0 ? 0 : bytes, kind === 0 ? bytes : 0);
    if (split) for (let i = 0; i < 3; i++) rig.offer(i);
    expect([ask(10), ask(15)]).toEqual([true, true]);
    if (!split) expect(ask(18)).toBe(true);
    expect(reasons(rig)).toEqual([]);
    expect(ask(19)).toBe(false);
    expect(reasons(rig)).toEqual([split ? 'Desc next is 99' : 'Invalid size for indirect buffer table']);
  });

  test('availBytes: a chain that was counted is enough, whatever comes behind it', () => {
    const rig = new Rig();
    put(rig, format, 0, BUFFER, 10, WRITE);
    const queue = rig[format]();
    if (format === 'split') rig.offer(0);
    expect(queue.availBytes(11, 0)).toBe(false);
    put(rig, format, 1, TABLE, 7, INDIRECT);
    if (format === 'split') rig.offer(1);
    expect([queue.availBytes(10, 0), reasons(rig)]).toEqual([true, []]);
  });

  test('availBytes: enough of one direction is not enough', () => {
    const rig = new Rig();
    // a driver that has the two in the wrong order: counting asks for none
    put(rig, format, 0, BUFFER, 10, NEXT | WRITE, 1);
    put(rig, format, 1, BUFFER, 5, 0);
    put(rig, format, 2, BUFFER, 10, NEXT, 3);
    put(rig, format, 3, BUFFER, 5, NEXT, 4);
    put(rig, format, 4, BUFFER, 7, WRITE);
    const queue = rig[format]();
    if (format === 'split') for (const head of [0, 2]) rig.offer(head);
    const answers = [
      [10, 5],
      [10, 6],
      [17, 20],
      [17, 21],
      [18, 20],
      [0, 0],
    ].map(([into, out]) => queue.availBytes(into as number, out as number));
    expect(answers).toEqual([true, true, true, false, false, true]);
    expect(new Rig()[format]().availBytes(0, 1)).toBe(false);
  });

  test('availBytes: a chain of 1024 buffers is counted, one of more would break the device', () => {
    const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(0x40000) }]);
    const rig = new Rig({ memory });
    const split = format === 'split';
    for (let i = 0; i < 1025; i++)
      rig.desc(TABLE, i, BUFFER, 1, split ? WRITE | (i + 1 < 1025 ? NEXT : 0) : 0, split ? i + 1 : WRITE);
    rig.desc(TABLE, 1023, BUFFER, 1, split ? WRITE : 0, split ? 0 : WRITE);
    put(rig, format, 0, TABLE, 16 * 1024, INDIRECT);
    const queue = rig[format]();
    if (split) rig.offer(0);
    expect([queue.availBytes(1024, 0), queue.availBytes(1025, 0)]).toEqual([true, false]);
  });

  test('adopt: one direction, none, and what cannot be had', () => {
    const memory = new MappedMemory([
      { gpa: 0, bytes: new Uint8Array(0x40000) },
      { gpa: 0x80000, bytes: new Uint8Array(0x1000), readonly: true },
    ]);
    const at = (addr: number, len = 4) => [{ addr: BigInt(addr), len: BigInt(len) }];
    const queue = new Rig({ memory })[format]();
    const adopt = (out: { addr: bigint; len: bigint }[], into: { addr: bigint; len: bigint }[]) =>
      queue.adopt({ index: 1, out, in: into }, 1)?.element();
    const nothing = 0x70000;
    expect(adopt([], at(BUFFER))).toEqual({ index: 1, out: [], in: at(BUFFER) });
    expect(adopt(at(BUFFER), [])).toEqual({ index: 1, out: at(BUFFER), in: [] });
    expect(adopt([], [])).toEqual({ index: 1, out: [], in: [] });
    // ROM can be read, not written
    expect(adopt(at(0x80000), [])).toEqual({ index: 1, out: at(0x80000), in: [] });
    expect(adopt([], at(0x80000))).toBeUndefined();
    expect(adopt(at(nothing), at(BUFFER))).toBeUndefined();
    expect(adopt([...at(nothing), ...at(BUFFER)], [])).toBeUndefined();
    expect(adopt([], [...at(nothing), ...at(BUFFER)])).toBeUndefined();
  });

  test('a queue over memory that has moved before goes through views as any other', () => {
    const { queue } = full(format, { memory: moved() });
    expect(popped(queue).in.total).toBe(0x100);
  });
});

describe('split', () => {
  test('the bound of what is in flight holds where indices have run around', () => {
    for (const indices of [
      { lastAvailIdx: 4, usedIdx: 65532, inuse: 8 },
      { lastAvailIdx: 4, usedIdx: 0, inuse: 8 },
    ]) {
      const rig = new Rig({ indices });
      rig.put16(AVAIL + 2, 5);
      rig.desc(DESC, 0, BUFFER, 1, 0, 0);
      expect(rig.split().pop()).toBeUndefined();
      expect(reasons(rig)).toEqual(['Virtqueue size exceeded']);
    }
  });

  test.each([false, true])(
    'a head beyond the table: a fault that names it, and nothing is in flight. IN_ORDER: %s',
    (inOrder) => {
      const rig = new Rig({ inOrder });
      const queue = rig.split();
      rig.offer(8);
      // behind the table there is what could be a chain
      rig.desc(DESC, 8, BUFFER, 1, 0, 0);
      expect(queue.pop()).toBeUndefined();
      expect(rig.owner.faults).toEqual([
        { reason: 'Guest says index 8 is available', facts: { queue: 0, head: 8 } },
      ]);
      expect(queue.inFlight).toBe(0);
    },
  );

  test.each([false, true])(
    'a batch is taken as it was seen, whatever the index says later. IN_ORDER: %s',
    (inOrder) => {
      const { rig, queue } = full('split', { inOrder }, 3);
      popped(queue);
      // QEMU keeps `shadow_avail_idx`, too
      rig.put16(AVAIL + 2, 1);
      expect(queue.isEmpty()).toBe(false);
      popped(queue);
      popped(queue);
      expect([queue.pop(), reasons(rig)].length).toBe(2);
    },
  );

  test('indices of a queue, all of them', () => {
    const { queue } = full('split', { indices: { signalled: 7 } }, 3);
    popped(queue);
    expect(queue.indices()).toEqual({
      lastAvailIdx: 1,
      lastAvailWrap: true,
      usedIdx: 0,
      usedWrap: true,
      inuse: 1,
      signalled: 7,
    });
  });

  test.each(['push', 'batch'] as const)(
    'used_event says nothing once it is half a lap of indices behind: %s',
    (how) => {
      const decide = (signalled: number, usedEvent: number): number => {
        const indices = { lastAvailIdx: 40_000, usedIdx: 40_000, signalled };
        const rig = new Rig({ eventIdx: true, indices });
        rig.desc(DESC, 0, BUFFER, 1, 0, 0);
        rig.put16(AVAIL + 2, 40_001);
        rig.put16(AVAIL + 4 + 2 * 8, usedEvent);
        const queue = rig.split();
        const chain = popped(queue);
        if (how === 'push') queue.push(chain, 0);
        else {
          queue.fill(chain, 0, 0);
          queue.flush(1);
        }
        queue.notify();
        return rig.owner.interrupts;
      };
      // 32768 were shown since the last decision
      expect(decide(40_001 - 32_768, 45_000)).toBe(1);
      expect(decide(40_001 - 32_767, 45_000)).toBe(0);
      // where the sum of the two is large, and the distance small
      expect(decide(40_000, 45_000)).toBe(0);
      expect(decide(39_000, 45_000)).toBe(0);
      expect(decide(40_000, 40_000)).toBe(1);
    },
  );

  test('NOTIFY_ON_EMPTY: not while chains are in flight, nor while more are available', () => {
    const rig = new Rig({ notifyOnEmpty: true });
    for (let i = 0; i < 8; i++) rig.desc(DESC, i, BUFFER, 1, 0, 0);
    const queue = rig.split();
    rig.put16(AVAIL, 1);
    for (let i = 0; i < 3; i++) rig.offer(i);
    const [a, b] = [popped(queue), popped(queue)];
    queue.push(a, 0);
    queue.notify();
    queue.push(b, 0);
    queue.notify();
    const c = popped(queue);
    expect(queue.isEmpty()).toBe(true);
    queue.notify();
    expect(rig.owner.interrupts).toBe(0);
    queue.push(c, 0);
    queue.notify();
    expect(rig.owner.interrupts).toBe(1);
  });

  test('with EVENT_IDX, kicks that are not wanted leave avail_event as it is', () => {
    const { rig, queue } = full('split', { eventIdx: true }, 3);
    rig.put16(USED + 4 + 8 * 8, 0x7777);
    queue.setNotification(false);
    expect(rig.get16(USED + 4 + 8 * 8)).toBe(0x7777);
    popped(queue);
    expect(rig.get16(USED + 4 + 8 * 8)).toBe(0x7777);
    queue.setNotification(true);
    expect(rig.get16(USED + 4 + 8 * 8)).toBe(3);
  });

  test('a chain that is put back where the indices begin anew was walked already', () => {
    const memory = new CountingMemory();
    const rig = new Rig({ memory, indices: { lastAvailIdx: 65535, usedIdx: 65535 } });
    rig.desc(DESC, 0, BUFFER, 1, WRITE, 0);
    rig.put16(AVAIL + 2, 0);
    const queue = rig.split();
    expect(queue.availBytes(5, 0)).toBe(false);
    for (let i = 0; i < 3; i++) {
      queue.unpop(popped(queue));
      memory.asked = 0;
      expect([queue.availBytes(5, 0), memory.asked]).toEqual([false, 0]);
    }
    // and one that stands where they begin anew, once it was walked
    popped(queue);
    rig.offer(0);
    expect(queue.availBytes(5, 0)).toBe(false);
    memory.asked = 0;
    expect([queue.availBytes(5, 0), memory.asked]).toEqual([false, 0]);
  });
});

describe('packed', () => {
  test('unpop goes back to the lap before, from either kind of lap', () => {
    for (const wrap of [true, false]) {
      const memory = new CountingMemory();
      const rig = new Rig({
        memory,
        indices: { lastAvailIdx: 7, lastAvailWrap: wrap, usedIdx: 7, usedWrap: wrap },
      });
      rig.desc(DESC, 7, BUFFER, 1, 3, WRITE | (wrap ? AVAIL_BIT : USED_BIT));
      const queue = rig.packed();
      expect(queue.availBytes(9, 0)).toBe(false);
      const chain = popped(queue);
      expect(queue.indices()).toMatchObject({ lastAvailIdx: 0, lastAvailWrap: !wrap });
      queue.unpop(chain);
      expect(queue.indices()).toMatchObject({ lastAvailIdx: 7, lastAvailWrap: wrap, inuse: 0 });
      // it was walked already
      memory.asked = 0;
      expect([queue.availBytes(9, 0), memory.asked]).toEqual([false, 0]);
      expect([queue.isEmpty(), queue.availBytes(1, 0), popped(queue).index]).toEqual([false, true, 3]);
    }
  });

  test('availBytes and isEmpty in a lap with wrap counter 0, and across its end', () => {
    const rig = new Rig({
      size: 4,
      indices: { lastAvailIdx: 2, lastAvailWrap: false, usedIdx: 2, usedWrap: false },
    });
    for (let i = 0; i < 4; i++) rig.desc(DESC, i, BUFFER, 1, i, 0);
    const queue = rig.packed();
    expect([queue.isEmpty(), queue.availBytes(1, 0)]).toEqual([true, false]);
    lap(rig, 2, false);
    lap(rig, 3, false);
    lap(rig, 0, true);
    lap(rig, 1, true);
    expect(queue.isEmpty()).toBe(false);
    expect([queue.availBytes(4, 0), queue.availBytes(5, 0)]).toEqual([true, false]);
  });

  test('kicks are asked for behind what was counted, also where that is the first slot of a lap', () => {
    const { rig, queue } = full('packed', { eventIdx: true });
    expect(queue.availBytes(0x801, 0)).toBe(false);
    queue.setNotification(true);
    expect([rig.get16(USED), rig.get16(USED + 2)]).toEqual([0, 2]);
    // what is taken asks anew
    popped(queue);
    queue.setNotification(true);
    expect(rig.get16(USED)).toBe(1 | 0x8000);
  });

  test('kicks after a count that found enough are for the next chain', () => {
    const { rig, queue } = full('packed', { eventIdx: true });
    popped(queue);
    popped(queue);
    popped(queue);
    expect(queue.availBytes(1, 0)).toBe(true);
    queue.setNotification(true);
    expect(rig.get16(USED)).toBe(3 | 0x8000);
    popped(queue);
    queue.setNotification(true);
    expect(rig.get16(USED)).toBe(4 | 0x8000);
  });

  test('a count, a chain taken, and kicks: the place counted up to is forgotten', () => {
    const { rig, queue } = full('packed', { eventIdx: true });
    expect(queue.availBytes(0x801, 0)).toBe(false);
    for (let i = 0; i < 5; i++) popped(queue);
    queue.setNotification(true);
    expect(rig.get16(USED)).toBe(5 | 0x8000);
  });

  test('the end of a lap interrupts, whatever the event offset says', () => {
    const { rig, queue } = full('packed', { eventIdx: true, indices: { signalled: 0 } });
    // the first slot of the lap that begins: not passed
    rig.put32(AVAIL, 0x20000);
    const chains = Array.from({ length: 8 }, () => popped(queue));
    for (const [i, chain] of chains.entries()) {
      queue.push(chain, 0);
      queue.notify();
      expect(rig.owner.interrupts).toBe(i === 7 ? 1 : 0);
    }
  });

  test('an event offset of the lap before is passed, one of this lap ahead is not', () => {
    const decide = (event: number): number => {
      const indices = { lastAvailIdx: 3, lastAvailWrap: false, usedIdx: 3, usedWrap: false, signalled: 3 };
      const rig = new Rig({ eventIdx: true, indices });
      rig.desc(DESC, 3, BUFFER, 1, 0, WRITE | USED_BIT);
      rig.put32(AVAIL, 0x20000 | event);
      const queue = rig.packed();
      queue.push(popped(queue), 0);
      queue.notify();
      return rig.owner.interrupts;
    };
    expect([decide(3), decide(4), decide(2)]).toEqual([1, 0, 0]);
    expect([decide(0x8000 | 3), decide(0x8000 | 4), decide(0x8000 | 7)]).toEqual([0, 0, 0]);
    // what no ring of eight has, taken as QEMU takes it: of the lap before, a lap further on
    expect([decide(0x8000 | 10), decide(0x8000 | 11), decide(0x8000 | 12)]).toEqual([0, 1, 0]);
  });

  test('two laps at once end where a lap begins', () => {
    const rig = new Rig({ size: 4, indices: { lastAvailIdx: 1, usedIdx: 1 } });
    for (const i of [1, 2, 3]) rig.desc(DESC, i, BUFFER, 1, i, WRITE | AVAIL_BIT);
    const queue = rig.packed();
    const chains = [popped(queue), popped(queue), popped(queue)];
    // a driver that offers slots which it did not get back
    for (const i of [0, 1, 2, 3]) rig.desc(DESC, i, BUFFER, 1, 9, WRITE | USED_BIT | (i < 3 ? NEXT : 0));
    chains.push(popped(queue));
    for (const [i, chain] of chains.entries()) queue.fill(chain, 0, i);
    queue.flush(4);
    expect(queue.indices()).toMatchObject({ usedIdx: 0, usedWrap: true, inuse: 0 });
  });

  test('adopt: as many slots as the ring has, and not fewer than one', () => {
    const queue = new Rig().packed();
    const element = { index: 1, out: [], in: [{ addr: BigInt(BUFFER), len: 4n }] };
    expect([0, 9, -1].map((ndescs) => queue.adopt(element, ndescs))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(queue.inFlight).toBe(0);
    const bogus = { ...element, in: [{ addr: 0x90000n, len: 4n }] };
    expect([queue.adopt(bogus, 1), queue.inFlight]).toEqual([undefined, 0]);
    expect([queue.adopt(element, 1)?.ndescs, queue.adopt(element, 8)?.ndescs]).toEqual([1, 8]);
    expect(queue.inFlight).toBe(2);
  });
});

test.each(FORMATS)('%s: a chain that grows has room for twice as many pieces, and no more', (format) => {
  const rig = new Rig({ size: 16 });
  for (let i = 0; i < 9; i++) put(rig, format, i, BUFFER + i, 1, i < 8 ? NEXT : 0, i + 1);
  if (format === 'split') rig.offer(0);
  const chain = popped(rig[format]());
  expect(chain).toMatchObject({ room: 32, out: { count: 9, total: 9 } });
  expect([chain.out.offset(8), chain.out.length(8)]).toEqual([BUFFER + 8, 1]);
});

// The short way of the rings: what a device does with each request asks guest memory for no region, as long as the ring and the
// buffers lie where they lay before. Measured by counting what is asked, which a slow machine does not change; and that the long
// way, number by number, comes to the same.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Chain, Virtqueue } from '../../src/contract/queue.ts';
import type { Mapping, Region } from '../../src/live/mapping.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { AVAIL_BIT, INDIRECT, NEXT, popped, Rig, type RigOptions, USED_BIT, WRITE } from './rig.ts';

/** Counts how often somebody asks where an address lies. */
class CountingMemory extends MappedMemory {
  asked = 0;

  override at(gpa: number): Mapping | undefined {
    this.asked++;
    return super.at(gpa);
  }
}

const RAM = 0x40000;
const RAM_SIZE = 0x40000;
const FAR = 0x1_0000_4000;
const TABLE = RAM + 0x8000;
const PLACES: RigOptions = { desc: RAM + 0x1000, avail: RAM + 0x2000, used: RAM + 0x3000, size: 16 };

/** ROM, RAM, another piece of RAM behind it, and one above 4 GiB. */
const regions = (): Region[] => [
  { gpa: 0x1000, bytes: new Uint8Array(0x1000), readonly: true },
  { gpa: RAM, bytes: new Uint8Array(RAM_SIZE) },
  { gpa: RAM + RAM_SIZE, bytes: new Uint8Array(0x1000) },
  { gpa: FAR, bytes: new Uint8Array(0x1000) },
];

interface Piece {
  readonly addr: number;
  readonly length: number;
  readonly write: boolean;
}

/** A driver's hand: puts chains into a ring, from its first descriptor on, in a ring that was never used before. */
class Hand {
  readonly memory: CountingMemory;
  readonly rig: Rig;
  readonly queue: Virtqueue;
  readonly format: 'split' | 'packed';
  #slot = 0;

  constructor(format: 'split' | 'packed', options: RigOptions = {}, memory = new CountingMemory(regions())) {
    this.format = format;
    this.memory = memory;
    this.rig = new Rig({ ...PLACES, ...options, memory });
    this.queue = this.rig[format]();
  }

  /** Puts a chain in; descriptors in a table of their own if `table` says where. */
  put(pieces: readonly Piece[], table?: number): void {
    const { rig, format } = this;
    const { desc } = rig.setup;
    const first = this.#slot;
    this.#slot += table === undefined ? pieces.length : 1;
    const at = table ?? desc;
    const start = table === undefined ? first : 0;
    if (table !== undefined) this.#descriptor(desc, first, table, 16 * pieces.length, INDIRECT, first);
    pieces.forEach(({ addr, length, write }, i) => {
      const kind = (write ? WRITE : 0) | (i + 1 < pieces.length ? NEXT : 0);
      this.#descriptor(at, start + i, addr, length, kind, format === 'split' ? start + i + 1 : first);
    });
    if (format === 'split') rig.offer(first);
  }

  #descriptor(table: number, i: number, addr: number, length: number, kind: number, number: number): void {
    const { rig, format } = this;
    if (format === 'split') rig.desc(table, i, addr, length, kind, (kind & NEXT) === 0 ? 0 : number);
    else rig.desc(table, i, addr, length, number, kind | (table === rig.setup.desc ? AVAIL_BIT : 0));
  }

  /** What the next chain looks like, and how often memory was asked for it. */
  take(): { asked: number; chain: Chain } {
    this.memory.asked = 0;
    const chain = popped(this.queue);
    return { asked: this.memory.asked, chain };
  }

  asked(action: () => void): number {
    this.memory.asked = 0;
    action();
    return this.memory.asked;
  }
}

const describeChain = (chain: Chain) => ({ ...chain.element(), out2: chain.out.total, in2: chain.in.total });
const read = (addr: number, length: number): Piece => ({ addr, length, write: false });
const write = (addr: number, length: number): Piece => ({ addr, length, write: true });
const segment = ({ addr, length }: Piece) => ({ addr: BigInt(addr), len: BigInt(length) });
const END = RAM + RAM_SIZE;

describe.each(['split', 'packed'] as const)('%s: memory is asked for nothing', (format) => {
  test.each<[string, Piece[]]>([
    ['to read', [read(RAM + 0x100, 16)]],
    ['to write', [write(RAM + 0x100, 16)]],
    ['to write, in two pieces', [write(RAM + 0x100, 16), write(RAM + 0x80, 7)]],
    ['both', [read(RAM + 0x100, 16), read(RAM + 0x200, 4096), write(RAM + 0x300, 1)]],
    ['the first byte of RAM, and the last', [read(RAM, 1), write(END - 1, 1)]],
    ['all of RAM', [write(RAM, RAM_SIZE)]],
    ['so many as there is room for from the begin', Array.from({ length: 8 }, (_, i) => read(RAM + i, 1))],
  ])('by chains %s, in the ring and in tables', (_, pieces) => {
    const hand = new Hand(format);
    hand.put(pieces);
    hand.put(pieces, TABLE);
    const total = (write: boolean): number =>
      pieces.filter((one) => one.write === write).reduce((sum, { length }) => sum + length, 0);
    for (let i = 0; i < 2; i++) {
      const { asked, chain } = hand.take();
      expect([asked, chain.out.total, chain.in.total]).toEqual([0, total(false), total(true)]);
      expect(chain.element()).toMatchObject({
        out: pieces.filter(({ write }) => !write).map(segment),
        in: pieces.filter(({ write }) => write).map(segment),
      });
    }
  });

  test('by an empty ring', () => {
    const hand = new Hand(format, { eventIdx: true });
    expect(hand.asked(() => expect(hand.queue.pop()).toBeUndefined())).toBe(0);
  });

  test.each([false, true])('by what goes back, and by interrupts. EVENT_IDX: %s', (eventIdx) => {
    const hand = new Hand(format, { eventIdx });
    hand.put([write(RAM, 1)]);
    hand.put([write(RAM, 1)]);
    for (let i = 0; i < 2; i++) {
      const { chain } = hand.take();
      expect(hand.asked(() => hand.queue.push(chain, 1))).toBe(0);
      expect(hand.asked(() => hand.queue.notify())).toBe(0);
    }
  });

  test('once a batch was published', () => {
    const hand = new Hand(format);
    for (let i = 0; i < 4; i++) hand.put([write(RAM, 1)]);
    const [a, b] = [hand.take().chain, hand.take().chain];
    hand.queue.fill(a, 1, 0);
    hand.queue.fill(b, 1, 1);
    hand.queue.flush(2);
    const { asked, chain } = hand.take();
    expect(asked).toBe(0);
    expect(hand.asked(() => hand.queue.push(chain, 1))).toBe(0);
  });

  test('by what is filled and shown, by the question whether there is more, by kicks that are wanted', () => {
    const hand = new Hand(format, { eventIdx: true, notifyOnEmpty: true });
    for (let i = 0; i < 2; i++) hand.put([write(RAM, 1)]);
    const { chain } = hand.take();
    expect(hand.asked(() => hand.queue.fill(chain, 1, 0))).toBe(0);
    expect(hand.asked(() => hand.queue.flush(1))).toBe(0);
    expect(hand.asked(() => hand.queue.notify())).toBe(0);
    expect(hand.asked(() => expect(hand.queue.isEmpty()).toBe(false))).toBe(0);
    if (format === 'split') expect(hand.asked(() => hand.queue.setNotification(true))).toBe(0);
    expect(hand.take().asked).toBe(0);
    expect(hand.asked(() => expect(hand.queue.isEmpty()).toBe(true))).toBe(0);
  });

  test.each(['desc', 'avail', 'used'] as const)(
    'where the region begins with %s, or with a table',
    (part) => {
      const begin = { desc: RAM + 0x1000, avail: RAM + 0x2000, used: RAM + 0x3000, [part]: RAM };
      const hand = new Hand(format, { ...begin, eventIdx: true });
      hand.put([write(RAM + 0x5000, 1)]);
      const { asked, chain } = hand.take();
      hand.queue.push(chain, 1);
      expect([asked, hand.asked(() => hand.queue.notify())]).toEqual([0, 0]);
      const tables = new Hand(format);
      tables.put([write(RAM + 0x5000, 1)], RAM);
      expect(tables.take().asked).toBe(0);
    },
  );

  test('once for another region, and not again while buffers lie there', () => {
    const hand = new Hand(format);
    const far = [read(FAR, 16), write(FAR + 0x800, 0x800)];
    for (let i = 0; i < 3; i++) hand.put(far);
    for (const asked of [1, 0, 0]) {
      const taken = hand.take();
      expect([taken.asked, taken.chain.element().out, taken.chain.element().in]).toEqual([
        asked,
        [{ addr: BigInt(FAR), len: 16n }],
        [{ addr: BigInt(FAR + 0x800), len: 0x800n }],
      ]);
    }
    expect(hand.asked(() => hand.put([read(RAM, 1)]))).toBeGreaterThan(0);
    expect(hand.take().asked).toBe(1);
  });

  test('tables of another region: once, too', () => {
    const hand = new Hand(format);
    hand.put([read(FAR, 16), write(FAR + 0x100, 1)], FAR + 0x800);
    hand.put([read(FAR, 16), write(FAR + 0x100, 1)], FAR + 0x800);
    expect([hand.take().asked, hand.take().asked]).toEqual([1, 0]);
  });
});

describe.each(['split', 'packed'] as const)('%s: short way and long way', (format) => {
  const place = fc.oneof(
    fc.constantFrom(RAM, END - 64, END - 1, END, FAR, FAR + 0xfff, 0x1000, 0x1ff0, 0x3000),
    fc.integer({ min: RAM + 0x10000, max: END + 0x800 }),
  );
  const piece = fc.record({
    addr: place,
    length: fc.oneof(fc.integer({ min: 1, max: 128 }), fc.constantFrom(0, 0x1000, 0x80000000, 0xffffffff)),
    write: fc.boolean(),
  });
  const usual = fc.record({
    addr: fc.integer({ min: RAM + 0x10000, max: END - 128 }),
    length: fc.integer({ min: 1, max: 128 }),
    write: fc.constant(true),
  });
  const chain = fc.record({
    pieces: fc.array(fc.oneof({ weight: 6, arbitrary: usual }, piece), { minLength: 1, maxLength: 14 }),
    out: fc.nat(14),
    table: fc.option(fc.constantFrom(TABLE, TABLE + 2, TABLE + 4, END - 32, END - 48, FAR, FAR + 8), {
      nil: undefined,
    }),
  });

  test('come to the same chains, totals and faults', () => {
    fc.assert(
      fc.property(fc.array(chain, { minLength: 1, maxLength: 4 }), (chains) => {
        const results = [false, true].map((long) => {
          const memory = new CountingMemory(regions());
          const hand = new Hand(format, { size: 64 }, memory);
          for (const { pieces, out, table } of chains)
            hand.put(
              pieces.map((one, i) => ({ ...one, write: i >= out })),
              table,
            );
          // with a dirty log, all goes the long way
          if (long) memory.startDirtyLog();
          const taken: unknown[] = [];
          for (let one = hand.queue.pop(); one !== undefined; one = hand.queue.pop())
            taken.push(describeChain(one));
          return { taken, faults: hand.rig.owner.faults, indices: hand.queue.inFlight };
        });
        expect(results[0]).toEqual(results[1]);
      }),
    );
  });
});

describe('a driver that changes a chain while it is taken', () => {
  test('a split chain that has more descriptors than the table is no chain', () => {
    const hand = new Hand('split', { size: 2 });
    hand.rig.desc(RAM + 0x1000, 0, RAM, 1, NEXT, 1);
    hand.rig.desc(RAM + 0x1000, 1, RAM, 1, NEXT, 0);
    hand.rig.offer(0);
    expect(hand.queue.pop()).toBeUndefined();
    expect(hand.rig.owner.faults.map(({ reason }) => reason)).toEqual(['Looped descriptor']);
  });

  test('a packed chain that goes around the ring is no chain', () => {
    const hand = new Hand('packed', { size: 2 });
    hand.rig.desc(RAM + 0x1000, 0, RAM, 1, 0, NEXT | AVAIL_BIT);
    hand.rig.desc(RAM + 0x1000, 1, RAM, 1, 0, NEXT | USED_BIT);
    expect(hand.queue.pop()).toBeUndefined();
    expect(hand.rig.owner.faults.map(({ reason }) => reason)).toEqual(['Looped descriptor']);
  });
});

test('packed: a chain goes on at the begin of the ring, without asking memory', () => {
  const hand = new Hand('packed', { size: 4, indices: { lastAvailIdx: 3, usedIdx: 3 } });
  const { rig } = hand;
  rig.desc(RAM + 0x1000, 3, RAM, 16, 9, NEXT | AVAIL_BIT);
  rig.desc(RAM + 0x1000, 0, RAM + 0x100, 32, 9, NEXT | USED_BIT);
  rig.desc(RAM + 0x1000, 1, RAM + 0x200, 64, 9, WRITE | USED_BIT);
  const { asked, chain } = hand.take();
  expect([asked, chain.index, chain.ndescs, chain.out.total, chain.in.total]).toEqual([0, 9, 3, 48, 64]);
  expect(hand.asked(() => hand.queue.push(chain, 5))).toBe(0);
  expect(rig.get16(RAM + 0x1000 + 16 * 3 + 14)).toBe(AVAIL_BIT | USED_BIT);
});

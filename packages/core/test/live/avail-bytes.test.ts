// How many bytes do the available chains have? Asked at each frame, so each chain is walked once, however often it is asked.
import { describe, expect, test } from 'vitest';
import type { Virtqueue } from '../../src/contract/queue.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { AVAIL_BIT, INDIRECT, NEXT, popped, Rig, type RigOptions, USED_BIT, WRITE } from './rig.ts';

const BYTES = 0x200_0000;
const TABLES = 0x10_0000;

/** Counts what is looked up in guest memory: a descriptor that is read number by number takes several. */
class CountingMemory extends MappedMemory {
  lookedUp = 0;

  override at(gpa: number): ReturnType<MappedMemory['at']> {
    this.lookedUp++;
    return super.at(gpa);
  }
}

type Format = 'split' | 'packed';

/** A driver that makes chains available, one after the other; chains of more than one buffer lie in tables. */
class Offers {
  readonly memory = new CountingMemory([{ gpa: 0, bytes: new Uint8Array(BYTES) }]);
  readonly rig: Rig;
  readonly queue: Virtqueue;
  readonly #format: Format;
  #count = 0;

  constructor(format: Format, options: RigOptions = {}) {
    this.#format = format;
    this.rig = new Rig({ avail: 0x4_0000, used: 0x6_0000, desc: 0x8_0000, memory: this.memory, ...options });
    this.queue = this.rig[format]();
  }

  /** One chain: so many bytes to write in each buffer. */
  add(lengths: readonly number[]): void {
    const { rig } = this;
    const { desc, size } = rig.setup;
    const slot = this.#count % size;
    const lap = Math.floor(this.#count / size) % 2 === 0 ? AVAIL_BIT : USED_BIT;
    const [only] = lengths;
    const table = TABLES + slot * 0x4000;
    const [addr, length, flags] =
      lengths.length === 1 && only !== undefined
        ? [0x1000, only, WRITE]
        : [table, 16 * lengths.length, INDIRECT];
    if (this.#format === 'split') rig.desc(desc, slot, addr, length, flags, 0);
    else rig.desc(desc, slot, addr, length, slot, flags | lap);
    if (flags === INDIRECT)
      lengths.forEach((bytes, i) => {
        const more = i + 1 < lengths.length ? NEXT : 0;
        if (this.#format === 'split') rig.desc(table, i, 0x1000, bytes, WRITE | more, i + 1);
        else rig.desc(table, i, 0x1000, bytes, 0, WRITE);
      });
    if (this.#format === 'split') rig.offer(slot);
    this.#count++;
  }

  /** What it takes to answer. */
  work(ask: () => boolean): number {
    const before = this.memory.lookedUp;
    ask();
    return this.memory.lookedUp - before;
  }
}

describe.each(['split', 'packed'] as const)('%s', (format) => {
  const tiny = Array.from({ length: 1024 }, () => 1);

  test('a chain is walked once, however often it is asked while there is not enough', () => {
    const offers = new Offers(format, { size: 64 });
    const { queue } = offers;
    for (let i = 0; i < 32; i++) offers.add(tiny);
    const ask = (): boolean => queue.availBytes(100_000, 0);
    const first = offers.work(ask);
    expect(first).toBeGreaterThan(32 * 1024);
    for (let frame = 0; frame < 3; frame++) expect(offers.work(ask)).toBeLessThan(first / 100);
    // a new chain costs its own walk, and no other's
    offers.add(tiny);
    const one = offers.work(ask);
    expect(one).toBeGreaterThan(1024);
    expect(one).toBeLessThan(first / 20);
    expect(ask()).toBe(false);
    expect(queue.availBytes(33 * 1024, 0)).toBe(true);
    expect(queue.availBytes(33 * 1024 + 1, 0)).toBe(false);
  });

  test('frames that are taken between others that find too little do not make the walk begin anew', () => {
    const offers = new Offers(format, { size: 64 });
    const { queue } = offers;
    for (let i = 0; i < 60; i++) offers.add(tiny);
    const ask = (): boolean => queue.availBytes(100_000, 0);
    const first = offers.work(ask);
    for (let frame = 0; frame < 200; frame++) {
      queue.push(popped(queue), 1);
      offers.add([1]);
      expect(offers.work(ask)).toBeLessThan(first / 50);
    }
  });

  test('kicks are asked for behind what was counted, also of what came without a kick since they were asked for', () => {
    const offers = new Offers(format, { size: 8, eventIdx: true });
    const { queue, rig } = offers;
    const { used, size } = rig.setup;
    /** Where the driver kicks next: of a packed ring the slot, with the wrap counter as bit 15. */
    const event = (): number => rig.get16(format === 'split' ? used + 4 + 8 * size : used);
    const place = (chains: number): number =>
      format === 'split' ? chains : (chains % size) | (chains < size ? 0x8000 : 0);
    expect(queue.availBytes(1000, 0)).toBe(false);
    queue.setNotification(true);
    for (let chains = 1; chains <= size; chains++) {
      // the driver has not seen yet that kicks are asked for
      offers.add([100]);
      expect(queue.availBytes(1000, 0)).toBe(false);
      expect(event()).toBe(place(chains));
    }
    queue.setNotification(false);
    const before = event();
    for (let i = 0; i < 4; i++) queue.push(popped(queue), 0);
    for (let i = 0; i < 4; i++) offers.add([100]);
    expect(queue.availBytes(1000, 0)).toBe(false);
    expect(event()).toBe(before);
  });

  test('what is taken does not count any more, and what is put back does', () => {
    const offers = new Offers(format);
    const { queue } = offers;
    for (const bytes of [1, 10, 100]) offers.add([bytes]);
    const exactly = (bytes: number): boolean[] => [
      queue.availBytes(bytes, 0),
      queue.availBytes(bytes + 1, 0),
    ];
    expect(exactly(111)).toEqual([true, false]);
    const chain = popped(queue);
    expect(exactly(110)).toEqual([true, false]);
    queue.unpop(chain);
    expect(exactly(111)).toEqual([true, false]);
    queue.push(popped(queue), 0);
    queue.push(popped(queue), 0);
    expect(exactly(100)).toEqual([true, false]);
  });

  test('a place in the ring that comes again is another chain, after any number of laps', () => {
    const offers = new Offers(format);
    const { queue } = offers;
    const bytesNow = (): number => [1, 2, 3].filter((bytes) => queue.availBytes(bytes, 0)).length;
    offers.add([1]);
    expect(bytesNow()).toBe(1);
    // as many chains as a 16-bit index counts, which the device takes without asking, end where it began
    for (let i = 0; i < 0x10000; i++) {
      queue.push(popped(queue), 0);
      offers.add([2]);
    }
    expect(bytesNow()).toBe(2);
    for (let i = 0; i < 16; i++) {
      queue.push(popped(queue), 0);
      offers.add([3]);
    }
    expect(bytesNow()).toBe(3);
  });

  test('a ring of more than 1024 entries: chains are as long as they are, not all of them together', () => {
    const offers = new Offers(format, { size: 4096 });
    for (let i = 0; i < 2000; i++) offers.add([1]);
    expect(offers.queue.availBytes(2000, 0)).toBe(true);
    expect(offers.queue.availBytes(2001, 0)).toBe(false);
    expect(offers.rig.owner.faults).toEqual([]);
  });

  test('a chain that is longer than any that is taken answers yes: taking it breaks the device', () => {
    const offers = new Offers(format);
    offers.add(Array.from({ length: 1025 }, () => 1));
    expect(offers.queue.availBytes(100_000, 0)).toBe(true);
    expect(offers.queue.pop()).toBeUndefined();
    expect(offers.rig.owner.faults.map(({ reason }) => reason)).toEqual([
      'virtio: too many write descriptors in indirect table',
    ]);
  });
});

// Guest memory that is no class of core's: pages of an emulator, a memory of another copy of the package, and what is none.
import { describe, expect, test } from 'vitest';
import type { DeviceModel } from '../../src/contract/device-model.ts';
import type { Gpa, MemoryMap } from '../../src/contract/memory.ts';
import type { Virtqueue } from '../../src/contract/queue.ts';
import { createDevice } from '../../src/live/create.ts';
import { isHostError } from '../../src/live/errors.ts';
import { guestMemory, mappedMemory } from '../../src/live/guest-memory.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { FEATURE } from '../../src/spec.ts';
import { echoLayer, wire } from './echo.ts';
import { PAGE, PagedMemory } from './paged-memory.ts';

const RAM = 1 << 20;
/** So large that a table of descriptors, and either ring, crosses pages. */
const SIZE = 1024;
const DESC = 0x10000;
const AVAIL = 0x20000;
const USED = 0x30ff0;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** Gives each buffer back with the bytes that it was given, each one more. */
class Successor implements DeviceModel<null> {
  readonly layer = echoLayer;
  readonly features = 0n;
  readonly queueSizes = [SIZE];
  attach(): void {}
  handleQueue(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const bytes = new Uint8Array(chain.out.total);
      chain.out.copyTo(0, bytes);
      const written = chain.in.copyFrom(
        0,
        bytes.map((byte) => byte + 1),
      );
      queue.push(chain, written);
      queue.notify();
    }
  }
  capture(): null {
    return null;
  }
}

/** A driver of one queue over any memory map. */
class Machine {
  readonly memory;
  readonly live;
  readonly driver;
  readonly faults: string[] = [];
  #added = 0;

  constructor(map: MemoryMap, { packed = false }: { readonly packed?: boolean } = {}) {
    this.memory = guestMemory(map);
    const { device, host } = createDevice(new Successor(), wire({}), {
      memory: map,
      rings: { packed },
      onEvent: ({ reason = '' }) => this.faults.push(reason),
    });
    this.live = device;
    this.driver = host;
    host.setStatus(3);
    const features = [FEATURE.VERSION_1, ...(packed ? [FEATURE.RING_PACKED] : [])];
    host.setDriverFeatures(features.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n));
    host.setStatus(11);
    host.queue(0)?.setAddresses(BigInt(DESC), BigInt(AVAIL), BigInt(USED));
    host.setStatus(15);
  }

  put16(at: number, value: number): void {
    this.memory.writeU16(at as Gpa, value, true);
  }

  describe(at: number, addr: number, length: number, flags: number, next: number): void {
    this.memory.writeU32(at as Gpa, addr, true);
    this.memory.writeU32((at + 4) as Gpa, 0, true);
    this.memory.writeU32((at + 8) as Gpa, length, true);
    this.put16(at + 12, flags);
    this.put16(at + 14, next);
  }

  /** Split: a request of these bytes, answered at another place. */
  request(from: number, to: number, length: number, table?: number): void {
    this.memory.sync();
    const head = (2 * this.#added) % SIZE;
    const first = table ?? DESC + 16 * head;
    const number = table === undefined ? head : 0;
    this.describe(first, from, length, NEXT, number + 1);
    this.describe(first + 16, to, length, WRITE, 0);
    if (table !== undefined) this.describe(DESC + 16 * head, table, 32, INDIRECT, 0);
    this.put16(AVAIL + 4 + 2 * (this.#added % SIZE), head);
    this.#added++;
    this.put16(AVAIL + 2, this.#added & 0xffff);
    this.driver.kick(0);
  }

  get used(): number {
    return this.memory.readU16((USED + 2) as Gpa, true);
  }
}

function bytesOf(map: MemoryMap, at: number, length: number): number[] {
  const bytes = new Uint8Array(length);
  guestMemory(map).read(at as Gpa, bytes);
  return [...bytes];
}

describe('pages that are made when they are touched', () => {
  test('a ring, its buffers and its tables cross them', () => {
    const map = new PagedMemory(RAM);
    const machine = new Machine(map);
    const data = Uint8Array.from({ length: 3 * PAGE }, (_, i) => i);
    machine.memory.write(0x40f00 as Gpa, data);
    // as many as the ring has, so that each part of it is used in each of its pages; some with a table that crosses pages
    for (let i = 0; i < SIZE; i++)
      machine.request(0x40f00 + i, 0x50f80, 200 + i, i % 3 === 0 ? 0x61ff0 : undefined);
    expect(machine.faults).toEqual([]);
    expect(machine.used).toBe(SIZE);
    const last = 200 + SIZE - 1;
    expect(bytesOf(map, 0x50f80, last)).toEqual(
      [...data.subarray(SIZE - 1, SIZE - 1 + last)].map((byte) => (byte + 1) & 0xff),
    );
    // what nobody touched was never made
    expect(map.pages.size).toBeLessThan(40);
    expect(map.written).toEqual([]);
  });

  test('all of them move while requests are in the ring, and again between kicks', () => {
    const map = new PagedMemory(RAM);
    const machine = new Machine(map);
    for (let i = 0; i < 20; i++) {
      machine.memory.write(
        0x40f00 as Gpa,
        Uint8Array.from({ length: 300 }, (_, at) => at + i),
      );
      map.relocate();
      machine.request(0x40f00, 0x50f80, 300);
      expect(bytesOf(map, 0x50f80, 300)).toEqual(Array.from({ length: 300 }, (_, at) => (at + i + 1) & 0xff));
    }
    expect([machine.used, machine.faults]).toEqual([20, []]);
  });

  test('writes are told while somebody wants to know, to the byte', () => {
    const map = new PagedMemory(RAM);
    const machine = new Machine(map);
    map.track(true);
    machine.request(0x40000, 0x50f80, 200);
    const told = (gpa: number): boolean => map.written.some(([at, length]) => gpa >= at && gpa < at + length);
    expect([0x50f7f, 0x50f80, 0x51047, 0x51048].map(told)).toEqual([false, true, true, false]);
    // the used element and the index
    expect([USED + 2, USED + 4, USED + 11].map(told)).toEqual([true, true, true]);
    map.track(false);
    machine.request(0x40000, 0x50f80, 200);
    const before = map.written.length;
    machine.request(0x40000, 0x50f80, 200);
    expect(map.written.length).toBe(before);
  });

  test('a state is taken over a paged memory as over a flat one', () => {
    const map = new PagedMemory(RAM);
    const machine = new Machine(map);
    for (let i = 0; i < 5; i++) machine.request(0x40000, 0x50f80, 200);
    const state = machine.live.capture();
    const flat = new Uint8Array(RAM);
    guestMemory(map).read(0 as Gpa, flat);
    for (const memory of [map, new MappedMemory([{ gpa: 0, bytes: flat }])]) {
      const { device } = createDevice(new Successor(), wire({}), { memory });
      expect(device.check(state)).toEqual([]);
      device.restore(state);
      expect(device.capture()).toEqual(state);
    }
  });

  test('an address behind the last page is none: the device breaks, as over any memory', () => {
    const machine = new Machine(new PagedMemory(RAM));
    machine.request(RAM - 8, 0x50f80, 16);
    expect(machine.faults).toEqual(['virtio: bogus descriptor or out of resources']);
  });

  test('as many regions are kept as the map has, however often they are touched, move and go', () => {
    const map = new PagedMemory(RAM);
    const memory = guestMemory(map);
    const known = (): number => mappedMemory(map).mappings.length;
    const touch = (page: number): number => memory.readU8((page * PAGE + 7) as Gpa);
    expect(known()).toBe(0);
    touch(3);
    touch(3);
    touch(200);
    // what is not there leaves nothing behind
    touch(RAM / PAGE + 5);
    expect(known()).toBe(2);
    for (let round = 0; round < 10; round++) {
      for (let page = 0; page < RAM / PAGE; page++) touch((page * 7) % (RAM / PAGE));
      expect([known(), map.pages.size]).toEqual([RAM / PAGE, RAM / PAGE]);
      map.relocate();
      memory.sync();
    }
  });

  test('the same pages are one memory, however many devices work on it', () => {
    const map = new PagedMemory(RAM);
    expect(guestMemory(map)).toBe(guestMemory(map));
  });
});

describe('what is no guest memory', () => {
  test.each<[string, unknown, string]>([
    ['nothing', undefined, 'guest memory: no contract, 1 expected'],
    ['an array', new Uint8Array(8), 'guest memory: no contract, 1 expected'],
    ['of another contract', { contract: 2 }, 'guest memory: contract 2, 1 expected'],
    ['half of one', { contract: 1, sync() {} }, 'guest memory: it has no regionAt()'],
  ])('%s', (_name, memory, message) => {
    try {
      createDevice(new Successor(), wire({}), { memory: memory as MemoryMap });
      expect.unreachable();
    } catch (error) {
      expect(isHostError(error) && error.message).toContain(message);
    }
  });

  test('a region that does not hold the address that was asked for', () => {
    const map = new PagedMemory(RAM);
    map.regionAt = () => ({ gpa: 0, bytes: new Uint8Array(PAGE) });
    expect(() => guestMemory(map).readU8(0x5000 as Gpa)).toThrow(
      'guest memory: regionAt(0x5000) gave a region of 4096 bytes at 0x0',
    );
  });
});

// A guest's requests may name the same memory again and again, and so be larger than it by far: what the back end is asked for at a
// time is bounded all the same.
import type { Spans } from '@virtkit/core';
import { BLK_S, BLK_T, type BlkBackend, BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { blobDisk } from '@virtkit/device-blk/blob';
import { overlayDisk } from '@virtkit/device-blk/overlay';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { Gate } from '../src/disk/gate.ts';
import { Machine, pattern } from './machine.ts';
import { SlowDisk, settle } from './slow-disk.ts';

const MIB = 1 << 20;

/** A request of so many bytes, in segments that all name the same MiB. Answers where its status is. */
function submitLarge(m: Machine, type: number, mib: number): number {
  const header = m.header(type, 0);
  const status = m.alloc(1);
  m.ram[status] = 0xee;
  const data = Array.from({ length: mib }, () => ({
    addr: 0x200000,
    len: MIB,
    write: type === BLK_T.IN,
  }));
  m.add(0, [{ addr: header, len: 16 }, ...data, { addr: status, len: 1, write: true }]);
  return status;
}

/** Nothing but numbers: what it was asked for, and how much at a time. */
class CountingDisk implements BlkBackend {
  readonly size = 2 ** 31;
  readonly firstSector = new Uint8Array(512);
  largest = 0;
  most = 0;
  #now = 0;
  total = 0;

  read(_position: number, _target: Spans, _from: number, length: number): Promise<void> {
    return this.#do(length);
  }

  write(_position: number, _source: Spans, _from: number, length: number): Promise<void> {
    return this.#do(length);
  }

  async #do(length: number): Promise<void> {
    this.largest = Math.max(this.largest, length);
    this.#now += length;
    this.total += length;
    this.most = Math.max(this.most, this.#now);
    await new Promise((resolve) => setImmediate(resolve));
    this.#now -= length;
  }
}

describe('requests of 200 MiB each, of a guest with 4 MiB', () => {
  test.each([
    ['writes', BLK_T.OUT],
    ['reads', BLK_T.IN],
  ])('%s: in pieces, and not all at a time', async (_name, type) => {
    const backend = new CountingDisk();
    const m = new Machine(new BlkDevice({ backend, queueSize: 256 }), { indirect: true });
    const statuses = Array.from({ length: 16 }, () => submitLarge(m, type, 200));
    m.kick();
    expect(m.disk.inFlight).toBe(16);
    await m.disk.idle();
    expect(statuses.map((at) => m.ram[at])).toEqual(Array.from({ length: 16 }, () => BLK_S.OK));
    expect(backend.total).toBe(16 * 200 * MIB);
    expect(backend.largest).toBe(4 * MIB);
    expect(backend.most).toBe(32 * MIB);
  });

  test('over a disk that is done at once: other parts of the program have their turn', async () => {
    let done = 0;
    const work = (_position: number, _spans: Spans, _from: number, length: number): undefined => {
      done += length;
    };
    const backend: BlkBackend = { size: 2 ** 31, firstSector: new Uint8Array(512), read: work, write: work };
    const deferred: (() => void)[] = [];
    const m = new Machine(
      new BlkDevice({ backend, queueSize: 256, defer: (proceed) => deferred.push(proceed) }),
      { indirect: true },
    );
    const statuses = Array.from({ length: 16 }, () => submitLarge(m, BLK_T.OUT, 200));
    m.kick();
    const turns = [done];
    for (let proceed = deferred.shift(); proceed !== undefined; proceed = deferred.shift()) {
      const before = done;
      proceed();
      turns.push(done - before);
    }
    expect(turns).toEqual(Array.from({ length: 16 }, () => 200 * MIB));
    expect(statuses.every((at) => m.ram[at] === BLK_S.OK)).toBe(true);
  });

  test('what waits for its turn when the machine stops goes on when it does', async () => {
    const deferred: (() => void)[] = [];
    const disk = memoryDisk(pattern(MIB, 1));
    const m = new Machine(
      new BlkDevice({ backend: disk, maxBytesInFlight: 1024, defer: (proceed) => deferred.push(proceed) }),
    );
    const reads = [0, 2, 4, 6].map((sector) => m.submit(BLK_T.IN, sector, 1024));
    m.kick();
    expect(reads.map(({ status }) => status)).toEqual([0, 0xee, 0xee, 0xee]);
    m.live.pause();
    for (const proceed of deferred.splice(0)) proceed();
    expect(reads.map(({ status }) => status)).toEqual([0, 0xee, 0xee, 0xee]);
    expect(m.disk.inFlight).toBe(3);
    m.live.resume();
    for (let proceed = deferred.shift(); proceed !== undefined; proceed = deferred.shift()) proceed();
    expect(reads.map(({ status }) => status)).toEqual([0, 0, 0, 0]);
    for (const [i, read] of reads.entries())
      expect(read.data).toEqual(disk.bytes.slice(i * 1024, i * 1024 + 1024));
  });
});

describe('pieces of a request', () => {
  const SIZE = 64 * 512;

  function world(maxTransfer: number, maxBytesInFlight: number) {
    const disk = Object.assign(new SlowDisk(pattern(SIZE, 2)), {
      maxTransfer,
      firstSector: new Uint8Array(512),
    });
    const m = new Machine(
      new BlkDevice({ backend: disk, maxBytesInFlight, rerror: 'report', werror: 'report' }),
    );
    return { disk, m };
  }

  test('come one after the other, and what fails ends it', async () => {
    const { disk, m } = world(1024, 1 << 20);
    const before = disk.bytes.slice();
    const write = m.write(2, pattern(4096, 5));
    const read = m.read(16, 2048);
    expect(disk.begun).toEqual(['write 2', 'read 16']);
    disk.finish();
    await settle();
    expect(disk.begun).toEqual(['write 2', 'read 16', 'write 4']);
    disk.take(1).fail('EIO');
    await settle();
    expect(write.status).toBe(BLK_S.IOERR);
    await disk.finishAll();
    expect(read.status).toBe(BLK_S.OK);
    expect(read.data).toEqual(before.subarray(8192, 8192 + 2048));
    expect(disk.begun).toEqual(['write 2', 'read 16', 'write 4', 'read 18']);
  });

  test('after a reset none is begun any more, and the driver has its memory to itself', async () => {
    const { disk, m } = world(1024, 1 << 20);
    const read = m.read(0, 4096);
    m.write(32, pattern(4096, 6));
    m.start();
    m.ram.fill(0x77, read.dataAt, read.dataAt + 4096);
    await disk.finishAll();
    expect(disk.begun).toEqual(['read 0', 'write 32']);
    expect(read.data).toEqual(new Uint8Array(4096).fill(0x77));
    // and the device goes on
    const again = m.read(8, 512);
    await disk.finishAll();
    expect(again.status).toBe(BLK_S.OK);
  });

  test('a read that the machine was stopped in is done again, a write is ended', async () => {
    const { disk, m } = world(1024, 1 << 20);
    const read = m.read(0, 4096);
    const data = pattern(4096, 8);
    const write = m.write(32, data);
    m.live.pause();
    const idle = m.disk.idle();
    await disk.finishAll();
    await idle;
    // no piece of the read is asked for in vain
    expect(disk.begun.filter((each) => each.startsWith('read'))).toEqual(['read 0']);
    expect(disk.bytes.subarray(32 * 512, 40 * 512)).toEqual(data);
    m.live.resume();
    await disk.finishAll();
    expect([read.status, write.status]).toEqual([BLK_S.OK, BLK_S.OK]);
    expect(read.data).toEqual(disk.bytes.slice(0, 4096));
  });

  test('a request that held a read which missed its data is no short write later', async () => {
    const { disk, m } = world(1024, 1 << 20);
    m.read(0, 1024);
    m.live.pause();
    await disk.finishAll();
    m.live.resume();
    // the reads of before are done again; while they are at it, the driver resets, so that their objects are free with all they had
    m.live.pause();
    await disk.finishAll();
    m.start();
    m.live.resume();
    const data = pattern(4096, 9);
    const write = m.write(8, data);
    await disk.finishAll();
    expect(write.status).toBe(BLK_S.OK);
    expect(disk.bytes.subarray(4096, 8192)).toEqual(data);
  });

  test('any sizes and bounds: all is done, and as it was asked for', async () => {
    const request = fc.record({
      write: fc.boolean(),
      sector: fc.nat(62),
      sectors: fc.integer({ min: 1, max: 30 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 16384 }),
        fc.infiniteStream(fc.nat(1000)),
        async (requests, piece, bound, picks) => {
          const { disk, m } = world(piece * 512, bound);
          // each in its own sectors, or the order would matter
          const used = new Set<number>();
          const model = disk.bytes.slice();
          const made = requests.flatMap(({ write, sector, sectors }, i) => {
            const count = Math.min(sectors, 64 - sector);
            const mine = Array.from({ length: count }, (_, k) => sector + k);
            if (mine.some((each) => used.has(each))) return [];
            for (const each of mine) used.add(each);
            const data = pattern(count * 512, i + 10);
            const expected = write ? undefined : model.slice(sector * 512, (sector + count) * 512);
            if (write) model.set(data, sector * 512);
            return [{ expected, request: m.submit(write ? 1 : 0, sector, write ? data : count * 512) }];
          });
          m.kick();
          let most = 0;
          let largest = 0;
          await disk.finishAll((count) => {
            const bytes = disk.waiting.reduce((sum, { length }) => sum + length, 0);
            if (count > 1) most = Math.max(most, bytes);
            for (const { length } of disk.waiting) largest = Math.max(largest, length);
            return Number(picks.next().value) % count;
          });
          expect(most).toBeLessThanOrEqual(bound);
          expect(largest).toBeLessThanOrEqual(piece * 512);
          for (const { expected, request } of made) {
            expect(request.status).toBe(BLK_S.OK);
            if (expected !== undefined) expect(Buffer.compare(request.data, expected)).toBe(0);
          }
          expect(Buffer.compare(disk.bytes, model)).toBe(0);
        },
      ),
      { numRuns: process.env['VIRTKIT_SLOW'] === '1' ? 3000 : 50 },
    );
  });

  test('no more than 1024 operations are under way', async () => {
    const disk = Object.assign(new SlowDisk(new Uint8Array(1 << 20)), { firstSector: new Uint8Array(512) });
    const m = new Machine(new BlkDevice({ backend: disk, queues: 4, queueSize: 1024 }), { indirect: true });
    for (let queue = 0; queue < 4; queue++) {
      for (let i = 0; i < 500; i++) m.submit(BLK_T.IN, i, 512, queue);
      m.kick(queue);
    }
    expect(disk.waiting).toHaveLength(1024);
    await disk.finishAll();
    expect(m.disk.inFlight).toBe(0);
  });
});

test('options and limits that are none', () => {
  const backend = memoryDisk(4096);
  expect(() => new BlkDevice({ backend, maxBytesInFlight: 0 })).toThrow('maxBytesInFlight: 0');
  const odd: BlkBackend = { size: 4096, maxTransfer: 100, read: () => undefined, write: () => undefined };
  expect(() => new BlkDevice({ backend: odd })).toThrow('backend.maxTransfer: 100');
});

describe('a gate', () => {
  test('lets through what fits, oldest first, and what is larger than all alone', async () => {
    const gate = new Gate(3, 100);
    const order: string[] = [];
    const enter = (name: string, bytes: number): void => {
      const wait = gate.enter(bytes);
      if (wait === undefined) order.push(name);
      else wait.then(() => order.push(name));
    };
    enter('a', 60);
    enter('b', 60);
    // it would fit, and does not overtake
    enter('c', 10);
    enter('huge', 1000);
    enter('d', 10);
    expect(order).toEqual(['a']);
    gate.leave(60);
    await settle();
    expect(order).toEqual(['a', 'b', 'c']);
    gate.leave(60);
    gate.leave(10);
    await settle();
    expect(order).toEqual(['a', 'b', 'c', 'huge']);
    gate.leave(1000);
    await settle();
    expect(order).toEqual(['a', 'b', 'c', 'huge', 'd']);
  });
});

describe('what one read of a disk over others makes of itself', () => {
  test('an overlay with each second sector written: 64 reads of its base at a time', async () => {
    const base = new SlowDisk(pattern(1 << 18, 1));
    const disk = overlayDisk(base, { clusterSize: 4096 });
    const model = base.bytes.slice();
    for (let at = 0; at < model.length; at += 1024) {
      const sector = pattern(512, at);
      disk.write(at, new ArraySpans(sector), 0, 512);
      model.set(sector, at);
    }
    const target = new Uint8Array(model.length);
    const reading = disk.read(0, new ArraySpans(target), 0, target.length);
    expect(base.waiting).toHaveLength(64);
    let most = 0;
    await base.finishAll((count) => {
      most = Math.max(most, count);
      return count - 1;
    });
    await reading;
    expect(most).toBe(64);
    expect(Buffer.compare(target, model)).toBe(0);
  });

  test('a blob: 16 pieces of 1 MiB at a time', async () => {
    let now = 0;
    let most = 0;
    let largest = 0;
    const blob = blobDisk({
      size: 64 << 20,
      slice: (start, end) => ({
        arrayBuffer: async () => {
          now++;
          most = Math.max(most, now);
          largest = Math.max(largest, end - start);
          await new Promise((resolve) => setImmediate(resolve));
          now--;
          return new ArrayBuffer(end - start);
        },
      }),
    });
    const target = new ArraySpans(new Uint8Array(64 << 20));
    await Promise.all(Array.from({ length: 40 }, (_, i) => blob.read(i << 20, target, 0, 4 << 20)));
    expect([most, largest]).toEqual([16, 1 << 20]);
  });
});

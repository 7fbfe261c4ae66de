import { BLK_S, BLK_T, BlkDevice, type BlkOptions, memoryDisk } from '@virtkit/device-blk';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Machine, type MachineOptions, pattern } from './machine.ts';
import { SlowDisk, settle } from './slow-disk.ts';

const SECTORS = 256;
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

function machine(how: MachineOptions = {}, options: Partial<BlkOptions> = {}) {
  const disk = new SlowDisk(pattern(SECTORS * 512, 1));
  const m = new Machine(new BlkDevice({ backend: disk, ...options }), how);
  // the guess of the geometry has asked
  disk.finish();
  disk.begun.length = 0;
  return { m, disk };
}

describe('a back end that takes its time', () => {
  test.each<[string, MachineOptions]>([
    ['split', {}],
    ['packed', { rings: { packed: true } }],
    ['in order', { rings: { inOrder: true } }],
    ['packed, in order', { rings: { packed: true, inOrder: true } }],
  ])('may finish in any order: %s', async (_name, how) => {
    await fc.assert(
      fc.asyncProperty(
        fc.infiniteStream(fc.nat()),
        fc.integer({ min: 1, max: 40 }),
        async (numbers, count) => {
          const next = (): number => numbers.next().value;
          const { m, disk } = machine(how);
          const expected = disk.bytes.slice();
          const original = disk.bytes.slice();
          const requests = Array.from({ length: count }, (_, i) => {
            const sector = i * 4;
            if (next() % 2 === 0) return { request: m.submit(0, sector, 1024), sector };
            const data = pattern(1024, next());
            expected.set(data, sector * 512);
            return { request: m.submit(1, sector, data) };
          });
          m.kick();
          expect(m.disk.inFlight).toBe(count);
          expect(m.used()).toEqual([]);
          await disk.finishAll((waiting) => next() % waiting);
          expect(m.used().map(({ id }) => id)).toHaveLength(count);
          expect(m.disk.inFlight).toBe(0);
          for (const { request, sector } of requests) {
            expect(request.status).toBe(BLK_S.OK);
            if (sector === undefined) continue;
            expect(same(request.data, original.slice(sector * 512, sector * 512 + 1024))).toBe(true);
          }
          expect(same(disk.bytes, expected)).toBe(true);
        },
      ),
      { numRuns: 30 },
    );
  });

  test('is flushed after each write while the write cache is off', async () => {
    const { m, disk } = machine({ features: 1n << 32n });
    const write = m.write(3, pattern(512, 9));
    disk.finish();
    await settle();
    expect(disk.begun).toEqual(['write 3', 'flush 0']);
    expect(write.status).toBe(0xee);
    disk.finish();
    await settle();
    expect(write.status).toBe(BLK_S.OK);
  });

  test('is given zeros piece by piece if it knows no better', async () => {
    const { m, disk } = machine();
    const request = m.submit(BLK_T.WRITE_ZEROES, 0, m.range(0, 256));
    m.kick();
    for (const piece of [0, 128]) {
      expect(disk.begun.at(-1)).toBe(`write ${piece}`);
      expect(request.status).toBe(0xee);
      disk.finish();
      await settle();
    }
    expect(request.status).toBe(BLK_S.OK);
    expect(disk.bytes.every((byte) => byte === 0)).toBe(true);
  });

  test('does one segment after the other', async () => {
    const { m, disk } = machine({}, { discard: { maxSegments: 3 } });
    const ranges = [m.range(1, 1), m.range(5, 0), m.range(9, 2)].flatMap((range) => [...range]);
    const request = m.submit(BLK_T.DISCARD, 0, Uint8Array.from(ranges));
    m.kick();
    expect(disk.begun).toEqual(['discard 1']);
    disk.finish();
    await settle();
    expect(disk.begun).toEqual(['discard 1', 'discard 9']);
    disk.finish();
    await settle();
    expect(request.status).toBe(BLK_S.OK);
  });

  test('has queues that do not wait for each other', async () => {
    const { m, disk } = machine({}, { queues: 4 });
    const requests = [0, 1, 2, 3].map((queue) => m.read(queue * 8, 512, queue));
    for (const index of [2, 0, 1, 0]) {
      disk.finish(index);
      await settle();
    }
    expect(requests.map(({ status }) => status)).toEqual([0, 0, 0, 0]);
    expect([0, 1, 2, 3].map((queue) => m.used(queue).length)).toEqual([1, 1, 1, 1]);
    // each was the first of its queue, which always interrupts
    expect(m.wire.notified).toEqual([2, 0, 3, 1]);
  });

  test('finds guest memory again after it has grown', async () => {
    const disk = new SlowDisk(pattern(SECTORS * 512, 1));
    let ram = new Uint8Array(2 << 20);
    const m = new Machine(new BlkDevice({ backend: disk }), { ram: () => ram });
    disk.finish();
    const request = m.read(4, 512);
    const old = ram;
    ram = new Uint8Array(4 << 20);
    ram.set(old);
    structuredClone(old.buffer, { transfer: [old.buffer] });
    disk.finish();
    await settle();
    expect(m.memory.epoch).toBe(1);
    expect(same(ram.subarray(request.dataAt, request.dataAt + 512), disk.bytes.subarray(2048, 2560))).toBe(
      true,
    );
    expect(ram[request.statusAt]).toBe(BLK_S.OK);
  });

  test('marks what was read as dirty', async () => {
    const { m, disk } = machine();
    m.memory.startDirtyLog();
    const request = m.read(0, 512);
    m.memory.takeDirty(() => undefined);
    disk.finish();
    await settle();
    const pages: number[] = [];
    m.memory.takeDirty((gpa, length) => {
      for (let at = 0; at < length; at += 4096) pages.push(gpa + at);
    });
    expect(pages).toContain(request.dataAt & ~4095);
    expect(pages).toContain(request.statusAt & ~4095);
  });
});

describe('a reset in mid-flight', () => {
  const fresh = () =>
    new Machine(new BlkDevice({ backend: memoryDisk(SECTORS * 512) }), { idle: true }).live.capture();
  const resets: readonly (readonly [string, (m: Machine) => void])[] = [
    ['of the device', (m) => m.live.reset()],
    ['of the queue', (m) => m.driver.queue(0)?.reset()],
    ['by new ring addresses', (m) => m.driver.queue(0)?.setAddresses(0n, 0n, 0n)],
    ['by a restore', (m) => m.live.restore(fresh())],
  ];

  test.each(resets)('%s: nothing that comes late touches memory', async (_name, reset) => {
    const { m, disk } = machine();
    m.read(0, 4096);
    const write = pattern(512, 5);
    m.write(32, write);
    m.submit(BLK_T.FLUSH, 0, new Uint8Array(0));
    m.kick();
    const lent = disk.waiting.slice();
    reset(m);
    expect(m.disk.inFlight).toBe(0);
    const before = m.ram.slice();
    m.wire.notified.length = 0;
    for (const waiting of lent) waiting.finish();
    await settle();
    expect(same(m.ram, before)).toBe(true);
    expect(m.wire.notified).toEqual([]);
    expect(m.faults).toEqual([]);
    // a write that was under way is done all the same: no disk can take it back
    expect(same(disk.bytes.subarray(32 * 512, 33 * 512), write)).toBe(true);
  });

  test('keeps what comes after it behind what came before', async () => {
    const { m, disk } = machine();
    m.write(10, pattern(512, 1));
    m.start();
    const after = m.write(10, pattern(512, 2));
    expect(disk.begun).toEqual(['write 10']);
    expect(m.disk.inFlight).toBe(0);
    disk.finish();
    await settle();
    expect(disk.begun).toEqual(['write 10', 'write 10']);
    disk.finish();
    await settle();
    expect(after.status).toBe(BLK_S.OK);
    expect(same(disk.bytes.subarray(5120, 5632), pattern(512, 2))).toBe(true);
    expect(m.used()).toHaveLength(1);
  });

  test('leaves other queues alone', async () => {
    const { m, disk } = machine({}, { queues: 2 });
    m.read(0, 512, 0);
    const other = m.read(8, 512, 1);
    m.driver.queue(0)?.reset();
    disk.finish(1);
    await settle();
    expect(other.status).toBe(BLK_S.OK);
    expect(m.used(1)).toHaveLength(1);
    disk.finish();
    await settle();
    expect(m.disk.inFlight).toBe(0);
  });

  test('can come from the host in the middle of an operation', () => {
    let act: ((m: Machine) => void) | undefined;
    const bytes = pattern(SECTORS * 512, 1);
    const backend = {
      size: bytes.length,
      read: () => act?.(m),
      write: () => act?.(m),
    };
    const m = new Machine(new BlkDevice({ backend }));
    act = ({ live }) => live.reset();
    m.read(0, 512);
    expect(m.disk.inFlight).toBe(0);
    act = undefined;
    m.start();
    expect(m.read(0, 512).status).toBe(BLK_S.OK);
    act = ({ live }) => live.pause();
    const paused = m.write(0, new Uint8Array(512));
    expect(paused.status).toBe(0xee);
    expect(m.live.capture().device.requests).toHaveLength(1);
    act = undefined;
    m.live.resume();
    expect(paused.status).toBe(BLK_S.OK);
  });
});

describe('idle', () => {
  test('waits for what resets have left behind, too', async () => {
    const { m, disk } = machine();
    let idle = false;
    await m.disk.idle();
    m.read(0, 512);
    m.read(8, 512);
    void m.disk.idle().then(() => {
      idle = true;
    });
    m.live.reset();
    disk.finish();
    await settle();
    expect(idle).toBe(false);
    disk.take().fail('EIO');
    await settle();
    expect(idle).toBe(true);
  });
});

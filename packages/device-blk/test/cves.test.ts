// Known attacks on QEMU's disks, against ours. `pnpm cves` lists them all.
import { virtioDevice } from '@virtkit/core';
import { BLK_T, BlkDevice, type BlkOptions, blk, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { Machine, pattern } from './machine.ts';
import { SlowDisk, settle } from './slow-disk.ts';

const DISK = 64 * 512;
const STATUS = { IOERR: 1, UNSUPP: 2 } as const;

function machineWith(options: Partial<BlkOptions> = {}) {
  const backend = memoryDisk(DISK);
  const content = pattern(DISK, 1);
  backend.bytes.set(content);
  return { m: new Machine(new BlkDevice({ backend, queueSize: 16, ...options })), backend, content };
}

describe('requests that reach behind the disk or between its sectors', () => {
  test.each([
    ['CVE-2011-1750', 'half a sector too many', 63, 768],
    ['CVE-2011-1750', 'one byte', 0, 1],
    ['CVE-2011-1750', 'more than a sector, and none is whole', 0, 513],
    ['CVE-2011-1750', 'a sector behind the end', 64, 512],
    ['CVE-2011-1750', 'a sector whose place overflows 64 bits', 2 ** 55, 512],
    ['CVE-2011-1750', 'a sector number that is negative', 2 ** 63, 512],
  ] as const)('%s: %s: neither read nor written', (_cve, _what, sector, bytes) => {
    const { m, backend, content } = machineWith();
    const write = m.write(sector, new Uint8Array(bytes).fill(0xee));
    const read = m.read(sector, bytes);
    expect([write.status, read.status]).toEqual([STATUS.IOERR, STATUS.IOERR]);
    expect(Buffer.from(backend.bytes).equals(Buffer.from(content))).toBe(true);
    expect([...read.data].every((byte) => byte === 0xdd)).toBe(true);
    expect(m.faults).toEqual([]);
  });
});

describe('requests that a disk does not have', () => {
  test.each([
    ['CVE-2011-4127', 'a SCSI command that writes', 16, 512],
    ['CVE-2026-48914', 'a SCSI command with no place for its header', 16, 0],
    ['CVE-2026-48914', 'a SCSI command with a piece of one byte for its header', 16, 1],
    ['CVE-2026-48914', 'a SCSI command with three bytes for its header', 16, 3],
  ] as const)('%s: %s reaches nothing', (_cve, _what, commandBytes, answerBytes) => {
    const { m, backend, content } = machineWith();
    const header = m.header(BLK_T.SCSI_CMD, 0);
    // WRITE(10) of one sector
    const command = m.put(Uint8Array.of(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, ...Array(commandBytes - 9).fill(0)));
    const around = m.alloc(answerBytes + 64);
    m.ram.fill(0xdd, around, around + answerBytes + 64);
    const status = m.put(Uint8Array.of(0xee));
    const data = m.alloc(64);
    const answer = answerBytes > 0 ? [{ addr: around + 32, len: answerBytes, write: true }] : [];
    m.add(0, [
      { addr: header, len: 16 },
      { addr: command, len: commandBytes },
      // what the command reads, the header of its answer, the status
      { addr: data, len: 64, write: true },
      ...answer,
      { addr: status, len: 1, write: true },
    ]);
    m.kick();
    expect(m.faults).toEqual([]);
    expect([STATUS.IOERR, STATUS.UNSUPP]).toContain(m.ram[status]);
    expect(m.ram.subarray(around, around + 32).every((byte) => byte === 0xdd)).toBe(true);
    expect(m.ram.subarray(around + 32 + answerBytes, around + 64).every((byte) => byte === 0xdd)).toBe(true);
    expect(Buffer.from(backend.bytes).equals(Buffer.from(content))).toBe(true);
    expect(m.disk.inFlight).toBe(0);
  });

  test('CVE-2026-5761: a report of zones into all of memory makes nothing of that size', () => {
    const { m } = machineWith();
    const header = m.header(BLK_T.ZONE_REPORT, 0);
    const status = m.put(Uint8Array.of(0xee));
    const all = { addr: 0, len: m.ram.length, write: true };
    const ram = m.ram.slice(0, 0x1000);
    m.add(0, [
      { addr: header, len: 16 },
      ...Array.from({ length: 12 }, () => all),
      { addr: status, len: 1, write: true },
    ]);
    const before = process.memoryUsage().arrayBuffers;
    m.kick();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(m.ram.length);
    expect(m.ram[status]).toBe(STATUS.UNSUPP);
    expect(Buffer.from(m.ram.subarray(0, 0x1000)).equals(Buffer.from(ram))).toBe(true);
  });
});

describe('what the guest sees of the host', () => {
  test('CVE-2024-8612: a read that fails gives back the status and not a byte more', async () => {
    const disk = new SlowDisk(new Uint8Array(DISK).fill(0x77));
    const m = new Machine(new BlkDevice({ backend: disk, queueSize: 16 }));
    const read = m.read(0, 4096);
    // the device looks at the first sector for itself
    disk.take(disk.waiting.findIndex(({ length }) => length === 4096)).fail('EIO');
    await settle();
    expect(read.status).toBe(STATUS.IOERR);
    expect([...read.data].every((byte) => byte === 0xdd)).toBe(true);
    expect(m.used()).toHaveLength(1);
  });

  test('CVE-2024-8612: an identity that is shorter than its field ends with a zero, and nothing follows', () => {
    const m = new Machine(new BlkDevice({ backend: memoryDisk(DISK), queueSize: 16, serial: 'ab' }));
    const request = m.submit(BLK_T.GET_ID, 0, 20);
    m.kick();
    expect([...request.data]).toEqual([0x61, 0x62, 0, ...Array<number>(17).fill(0xdd)]);
  });
});

describe('saved disks that are not loaded', () => {
  const element = (index: number) => ({
    index,
    out: [{ addr: 0x100000n, len: 16n }],
    in: [
      { addr: 0x100200n, len: 512n },
      { addr: 0x100100n, len: 1n },
    ],
  });
  const layout = { queue: false, ndescs: 'none', byteOrder: 'little' } as const;

  test.each([
    [
      'CVE-2016-5403',
      'more requests in flight than the ring has entries',
      Array.from({ length: 17 }, (_, i) => i),
    ],
    ['no number', 'a request of a descriptor that the ring does not have', [16]],
  ] as const)('%s: %s', (_cve, _what, heads) => {
    const { m } = machineWith();
    m.live.pause();
    const state = m.live.capture();
    const codec = virtioDevice(m.wire.layer, blk);
    const requests = heads.map((index) => ({ element: element(index) }));
    const [queue] = state.queues;
    if (queue === undefined) throw new Error('no queue');
    const lastAvailIdx = (queue.lastAvailIdx + heads.length) & 0xffff;
    const body = codec.encode({
      ...state,
      queues: [{ ...queue, lastAvailIdx }],
      device: { requests, layout },
    });
    const next = new Machine(new BlkDevice({ backend: memoryDisk(DISK), queueSize: 16 }), {
      ram: m.ram,
      idle: true,
    });
    const before = next.live.capture();
    expect(() => next.live.restore(codec.decode(body))).toThrow(
      expect.objectContaining({ name: 'StateError' }),
    );
    expect(next.live.capture()).toEqual(before);
  });
});

describe('disks that are reached while they work', () => {
  test.each([
    ['CVE-2024-3446', 'kicks', true, (m: Machine) => m.driver.kick(0)],
    ['CVE-2024-3446', 'kicks, of requests that are done one by one', false, (m: Machine) => m.driver.kick(0)],
    ['CVE-2021-3750', 'resets the disk', true, (m: Machine) => m.live.reset()],
    ['CVE-2021-3750', 'resets the disk between two requests', false, (m: Machine) => m.live.reset()],
  ])('%s: an interrupt that %s', (_cve, _what, requestMerging, reach) => {
    const { m } = machineWith({ requestMerging });
    for (let i = 0; i < 5; i++) m.submit(0, i, 512);
    let [deep, deepest] = [0, 0];
    m.wire.listen = () => {
      deepest = Math.max(deepest, ++deep);
      reach(m);
      deep--;
    };
    m.kick();
    expect(deepest).toBeGreaterThan(0);
    expect(deepest).toBeLessThanOrEqual(2);
    expect(m.disk.inFlight).toBe(0);
    expect(m.faults).toEqual([]);
    m.wire.listen = undefined;
    m.start();
    expect(m.read(0, 512).status).toBe(0);
  });
});

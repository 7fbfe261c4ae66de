import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BLK_S, BLK_T, BlkDevice } from '@virtkit/device-blk';
import { type FileDiskOptions, fileDisk } from '@virtkit/device-blk/node';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Machine, pattern } from './machine.ts';

let dir = '';
beforeAll(() => {
  dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-disk-'));
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

let count = 0;
function file(bytes: Uint8Array): string {
  const path = join(dir, `${count++}.img`);
  fs.writeFileSync(path, bytes);
  return path;
}

const SECTORS = 4096;
const CONTENT = pattern(SECTORS * 512, 1);

describe.each([
  ['at once', { async: false }],
  ['in the background', { async: true }],
] as const)('a disk in a file, %s', (_name, how) => {
  function machine(path: string, options: FileDiskOptions = {}, ram?: Uint8Array) {
    const backend = fileDisk(path, { ...how, ...options });
    const m = new Machine(new BlkDevice({ backend }), ram === undefined ? {} : { ram });
    const finish = () => vi.waitFor(() => expect(m.disk.inFlight).toBe(0), { interval: 1, timeout: 5000 });
    return { m, backend, finish };
  }
  const content = (path: string, from: number, to: number): Uint8Array =>
    new Uint8Array(fs.readFileSync(path)).subarray(from, to);

  test('is read and written, in pieces', async () => {
    const path = file(CONTENT);
    const { m, backend, finish } = machine(path);
    const read = m.read(5, 65536);
    const data = pattern(12288, 2);
    const at = m.alloc(data.length);
    const header = m.header(BLK_T.OUT, 1000);
    const status = m.alloc(1);
    // the second half stands in front of the first
    m.ram.set(data.subarray(8192), at);
    m.ram.set(data.subarray(0, 8192), at + 4096);
    m.add(0, [
      { addr: header, len: 16 },
      { addr: at + 4096, len: 8192 },
      { addr: at, len: 4096 },
      { addr: status, len: 1, write: true },
    ]);
    const flush = m.submit(BLK_T.FLUSH, 0, new Uint8Array(0));
    m.kick();
    await finish();
    expect([read.status, m.ram[status], flush.status]).toEqual([0, 0, 0]);
    expect(Buffer.compare(read.data, CONTENT.subarray(2560, 2560 + 65536))).toBe(0);
    expect(Buffer.compare(content(path, 512000, 512000 + 12288), data)).toBe(0);
    backend.close();
  });

  test('lies behind shared memory as well', async () => {
    const { m, backend, finish } = machine(file(CONTENT), {}, new Uint8Array(new SharedArrayBuffer(2 << 20)));
    const read = m.read(0, 4096);
    const write = m.write(100, pattern(512, 3));
    await finish();
    expect([read.status, write.status]).toEqual([0, 0]);
    expect(Buffer.compare(read.data, CONTENT.subarray(0, 4096))).toBe(0);
    backend.close();
  });

  test('ends where it ends: the rest of the last sector is zeros', async () => {
    const path = file(CONTENT.subarray(0, 1300));
    const { m, backend, finish } = machine(path);
    expect(m.disk.capacity).toBe(3);
    const read = m.read(0, 1536);
    await finish();
    expect(
      Buffer.compare(read.data, Uint8Array.of(...CONTENT.subarray(0, 1300), ...new Uint8Array(236))),
    ).toBe(0);
    const write = m.write(2, pattern(512, 4));
    await finish();
    expect(write.status).toBe(0);
    expect(backend.refreshSize()).toBe(1536);
    fs.appendFileSync(path, new Uint8Array(512));
    backend.refreshSize();
    m.disk.resize();
    expect(m.disk.capacity).toBe(4);
    backend.close();
  });

  test('is zeroed, and discarded if it was made so', async () => {
    for (const [discard, expected] of [
      ['ignore', false],
      ['unmap', true],
    ] as const) {
      const path = file(CONTENT);
      const { m, backend, finish } = machine(path, { discard });
      const zeroes = m.submit(BLK_T.WRITE_ZEROES, 0, m.range(0, 3000));
      const discarded = m.submit(BLK_T.DISCARD, 0, m.range(3500, 10));
      m.kick();
      await finish();
      expect([zeroes.status, discarded.status]).toEqual([0, 0]);
      const zero = (from: number, to: number): boolean =>
        content(path, from * 512, to * 512).every((b) => b === 0);
      expect(zero(0, 3000)).toBe(true);
      expect(zero(3000, 3500)).toBe(false);
      expect(zero(3500, 3510)).toBe(expected);
      backend.close();
    }
  });

  test('can be read-only, and writethrough', async () => {
    const path = file(CONTENT);
    const readOnly = machine(path, { readOnly: true });
    const write = readOnly.m.write(0, new Uint8Array(512));
    const read = readOnly.m.read(0, 512);
    await readOnly.finish();
    expect([write.status, read.status]).toEqual([BLK_S.IOERR, BLK_S.OK]);
    readOnly.backend.close();
    expect(machine(path, { cache: 'writethrough' }).m.disk.writeCache).toBe(false);
    const unsafe = machine(path, { cache: 'unsafe' });
    expect(unsafe.backend.flush).toBeUndefined();
    const flush = unsafe.m.submit(BLK_T.FLUSH, 0, new Uint8Array(0));
    unsafe.m.kick();
    expect(flush.status).toBe(BLK_S.OK);
    expect(Buffer.compare(content(path, 0, CONTENT.length), CONTENT)).toBe(0);
  });

  test('fails as the system says', async () => {
    const { m, backend, finish } = machine(file(CONTENT));
    backend.close();
    const requests = [m.read(0, 512), m.write(0, new Uint8Array(512))];
    requests.push(
      m.submit(BLK_T.FLUSH, 0, new Uint8Array(0)),
      m.submit(BLK_T.WRITE_ZEROES, 0, m.range(0, 1)),
    );
    m.kick();
    await finish();
    expect(requests.map(({ status }) => status)).toEqual([1, 1, 1, 1]);
    expect(m.events.map(({ facts }) => facts?.['code'])).toEqual(['EBADF', 'EBADF', 'EBADF', 'EBADF']);
  });

  test('can be full', async () => {
    if (!fs.existsSync('/dev/full')) return;
    expect(() => fileDisk('/dev/full', how)).toThrow('neither a file nor a block device');
    expect(() => fileDisk(join(dir, 'not there'), how)).toThrow('ENOENT');
  });
});

// Disks that really fail: a block device whose medium is full and whose fsync therefore fails once, a file system without room, a limit
// on the size of files. They need root, as CI has it.
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BLK_S, BLK_T, BlkDevice, type BlkStop } from '@virtkit/device-blk';
import { type FileDisk, fileDisk } from '@virtkit/device-blk/node';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Machine, pattern } from './machine.ts';

const MIB = 1 << 20;
const run = (program: string, ...args: string[]): string => String(execFileSync(program, args)).trim();

const cleanUp: (() => void)[] = [];
afterEach(() => {
  for (const each of cleanUp.splice(0).reverse()) each();
});

/** A new file system of 1 MiB, until the test ends. Undefined where none can be mounted. */
function small(): string | undefined {
  const dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-full-'));
  cleanUp.push(() => fs.rmdirSync(dir));
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir]).status !== 0) return undefined;
  cleanUp.push(() => void run('umount', dir));
  return dir;
}

/** A sparse file. */
function sparse(path: string, size: number): string {
  fs.writeFileSync(path, '');
  fs.truncateSync(path, size);
  return path;
}

/** A block device of 8 MiB with 1 MiB behind it: what is written comes into the page cache, and cannot be written out. */
function loopDevice(): string | undefined {
  const dir = small();
  if (dir === undefined) return undefined;
  const { status, stdout } = spawnSync('losetup', ['-f', '--show', sparse(join(dir, 'medium'), 8 * MIB)]);
  if (status !== 0) return undefined;
  const device = String(stdout).trim();
  cleanUp.push(() => void run('losetup', '-d', device));
  return device;
}

function isPossible(what: string, attempt: () => string | undefined): boolean {
  const isThere = process.platform === 'linux' && attempt() !== undefined;
  for (const each of cleanUp.splice(0).reverse()) each();
  if (!isThere) console.warn(`${what}: skipped, it cannot be made here (root?)`);
  return isThere;
}
const canMount = isPossible('disks that are really full', small);
const canLoop = isPossible('fsync that really fails', loopDevice);
const hasPrlimit = spawnSync('prlimit', ['--version']).status === 0;

const settled = (m: Machine): Promise<void> =>
  vi.waitFor(() => expect(m.disk.inFlight).toBe(0), { interval: 5, timeout: 30_000 });
const stopped = (stops: readonly BlkStop[]): Promise<void> =>
  vi.waitFor(() => expect(stops.length).toBeGreaterThan(0), { interval: 5, timeout: 30_000 });

describe.each([
  ['at once', false],
  ['in the background', true],
])('a disk %s', (_name, isAsync) => {
  test.skipIf(!canLoop)('whose fsync fails, which the system tells once', { timeout: 60_000 }, async () => {
    const device = loopDevice() ?? '';
    const disk = fileDisk(device, { async: isAsync });
    expect(disk.size).toBe(8 * MIB);
    const m = new Machine(new BlkDevice({ backend: disk }));
    const flush = async (): Promise<number> => {
      const request = m.submit(BLK_T.FLUSH, 0, new Uint8Array(0));
      m.kick();
      await settled(m);
      return request.status;
    };
    // more than the medium takes
    const writes = Array.from({ length: 4 }, (_, i) => m.write(i * 2048, pattern(MIB / 2, i)));
    await settled(m);
    expect(writes.map(({ status }) => status)).toEqual([0, 0, 0, 0]);
    expect([await flush(), await flush(), await flush()]).toEqual([BLK_S.IOERR, BLK_S.IOERR, BLK_S.IOERR]);
    await disk.close();
    const again = fileDisk(device, { async: isAsync });
    await again.flush?.();
    await again.close();
  });

  test.skipIf(!canMount)('without room: the machine stops, and goes on when there is some', async () => {
    const dir = small() ?? '';
    const path = sparse(join(dir, 'disk.img'), 8 * MIB);
    const disk = fileDisk(path, { async: isAsync });
    const stops: BlkStop[] = [];
    const m: Machine = new Machine(
      new BlkDevice({
        backend: disk,
        onStop: (stop) => {
          stops.push(stop);
          m.live.pause();
        },
      }),
    );
    const data = [0, 1].map((i) => pattern(MIB, 7 + i));
    const writes = data.map((bytes, i) => m.submit(BLK_T.OUT, 4096 * i, bytes));
    m.kick();
    await stopped(stops);
    expect(stops[0]?.code).toBe('ENOSPC');
    expect(writes.every(({ status }) => status !== BLK_S.IOERR)).toBe(true);
    await m.disk.idle();
    run('mount', '-o', 'remount,size=6m', dir);
    m.live.resume();
    await settled(m);
    expect(writes.map(({ status }) => status)).toEqual([BLK_S.OK, BLK_S.OK]);
    await disk.flush?.();
    await disk.close();
    const file = fs.readFileSync(path);
    for (const [i, bytes] of data.entries())
      expect(Buffer.compare(file.subarray(i * 4096 * 512, i * 4096 * 512 + MIB), bytes)).toBe(0);
  });

  test.skipIf(!canMount || !hasPrlimit)('with a limit on files: a write is short, then fails', async () => {
    const path = join(small() ?? '', 'limited.img');
    fs.writeFileSync(path, pattern(65536, 1));
    // the signal would end the program; the error is what is wanted
    const ignore = (): void => {};
    process.on('SIGXFSZ', ignore);
    const limit = (soft: string): string => run('prlimit', '--pid', String(process.pid), `--fsize=${soft}:`);
    let disk: FileDisk | undefined;
    try {
      limit('98304');
      disk = fileDisk(path, { async: isAsync });
      fs.truncateSync(path, 98304);
      disk.refreshSize();
      const limited: FileDisk = disk;
      // a disk that is larger than the file may be
      const backend = { ...limited, size: 131072, firstSector: new Uint8Array(512) };
      const m = new Machine(new BlkDevice({ backend, werror: 'report' }));
      const [inside, across] = [m.write(100, pattern(512, 2)), m.write(160, pattern(32768, 3))];
      await settled(m);
      expect([inside.status, across.status]).toEqual([BLK_S.OK, BLK_S.IOERR]);
      expect(m.events.find(({ name }) => name === 'io-error')?.facts).toMatchObject({ code: 'EFBIG' });
      expect(fs.statSync(path).size).toBe(98304);
    } finally {
      limit('unlimited');
      process.off('SIGXFSZ', ignore);
      await disk?.close();
    }
  });
});

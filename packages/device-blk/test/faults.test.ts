// Disks that fail, and what the driver may believe afterwards: nothing is lost that was reported as stable.
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BLK_S, BLK_T, type BlkBackend, BlkDevice } from '@virtkit/device-blk';
import { fileDisk } from '@virtkit/device-blk/node';
import { opfsDisk } from '@virtkit/device-blk/opfs';
import { overlayDisk } from '@virtkit/device-blk/overlay';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { type Fault, FaultyFile, injectFaults } from './faulty-fs.ts';
import { fileHandle } from './file-handle.ts';
import { Machine, pattern } from './machine.ts';

const SECTORS = 32;
const CONTENT = pattern(SECTORS * 512, 4);

let dir = '';
let count = 0;
let end = (): void => {};
beforeAll(() => {
  dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-faults-'));
});
afterEach(() => end());
afterAll(() => fs.rmSync(dir, { recursive: true }));

function faulty(): FaultyFile {
  const file = new FaultyFile(join(dir, `${count++}.img`), CONTENT);
  end = injectFaults(file);
  return file;
}

type Disk = BlkBackend & { close(): unknown };
const DISKS: Readonly<Record<string, (path: string) => Disk>> = {
  'a file': (path) => fileDisk(path),
  'a file, in the background': (path) => fileDisk(path, { async: true }),
  'an access handle': (path) => opfsDisk(fileHandle(path)),
};

const settled = (m: Machine): Promise<void> =>
  vi.waitFor(() => expect(m.disk.inFlight).toBe(0), { interval: 1, timeout: 5000 });

describe.each(Object.entries(DISKS))('%s that cannot be flushed', (_name, open) => {
  test('once: then no flush works until it is opened again', async () => {
    const file = faulty();
    const disk = open(file.path);
    const m = new Machine(new BlkDevice({ backend: disk }));
    const write = m.write(3, new Uint8Array(512).fill(7));
    await settled(m);
    let fails = 1;
    file.plan = (operation) => (operation === 'flush' && fails-- > 0 ? 'EIO' : undefined);
    const flush = (): ReturnType<Machine['submit']> => {
      const request = m.submit(BLK_T.FLUSH, 0, new Uint8Array(0));
      m.kick();
      return request;
    };
    const first = flush();
    await settled(m);
    const after = [flush(), flush()];
    await settled(m);
    expect(write.status).toBe(BLK_S.OK);
    expect([first, ...after].map(({ status }) => status)).toEqual([BLK_S.IOERR, BLK_S.IOERR, BLK_S.IOERR]);
    const reasons = m.events.filter(({ name }) => name === 'io-error').map(({ facts }) => facts);
    expect(reasons[2]).toMatchObject({ code: 'EIO', reason: expect.stringContaining('open the disk again') });
    // the system was not asked again: it would have said that all is well
    expect(file.flushes).toBe(1);
    try {
      await disk.close();
    } catch {
      // an access handle is flushed first
    }
    const again = open(file.path);
    await again.flush?.();
    await again.close();
  });

  test('with the cache off: no write works any more', async () => {
    const file = faulty();
    const disk = open(file.path);
    const m = new Machine(new BlkDevice({ backend: disk, writeCache: false }));
    let fails = 1;
    file.plan = (operation) => (operation === 'flush' && fails-- > 0 ? 'EIO' : undefined);
    const writes = [0, 1, 2].map((sector) => m.write(sector, new Uint8Array(512)));
    await settled(m);
    expect(writes.map(({ status }) => status)).toEqual([BLK_S.IOERR, BLK_S.IOERR, BLK_S.IOERR]);
  });
});

test('two flushes at a time: the one whose error the system gave to the other is no yes', async () => {
  const file = faulty();
  const disk = fileDisk(file.path, { async: true });
  await disk.write(0, new ArraySpans(new Uint8Array(512)), 0, 512);
  let fails = 1;
  file.plan = (operation) => (operation === 'flush' && fails-- > 0 ? 'EIO' : undefined);
  const all = await Promise.allSettled([disk.flush?.(), disk.flush?.(), disk.flush?.()]);
  expect(all.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  await disk.close();
});

test('flushes that come while one is under way are one', async () => {
  const file = faulty();
  const disk = fileDisk(file.path, { async: true });
  await Promise.all(Array.from({ length: 50 }, () => disk.flush?.()));
  expect(file.flushes).toBe(2);
  await disk.flush?.();
  expect(file.flushes).toBe(3);
  await disk.close();
});

test('an overlay whose base cannot be flushed keeps all, and is committed to the base that was opened again', async () => {
  const file = faulty();
  const base = fileDisk(file.path);
  const changed = pattern(1024, 9);
  const disk = overlayDisk(base, { clusterSize: 4096 });
  disk.write(512, new ArraySpans(changed), 0, 1024);
  let fails = 1;
  file.plan = (operation) => (operation === 'flush' && fails-- > 0 ? 'EIO' : undefined);
  await expect(disk.commit()).rejects.toThrow('EIO');
  await expect(disk.commit()).rejects.toThrow('an earlier flush failed');
  expect(disk.bytes).toBe(4096);
  const saved: Uint8Array[] = [];
  for await (const chunk of disk.export()) saved.push(chunk);
  base.close();
  const again = fileDisk(file.path);
  const restored = overlayDisk(again, { clusterSize: 4096 });
  await restored.load(saved);
  await restored.commit();
  expect(file.stable.subarray(512, 1536)).toEqual(changed);
  again.close();
});

// A driver that writes, flushes and reads, over a disk that fails anywhere. What the disk holds after a power failure is, in each
// sector, what the driver last knew to be stable, or something that it wrote since.
interface Step {
  readonly kind: 'write' | 'flush' | 'zero' | 'read' | 'reopen';
  readonly sector: number;
  readonly sectors: number;
  readonly fault: Fault;
  /** Which of the step's operations the fault meets. */
  readonly nth: number;
}

const step: fc.Arbitrary<Step> = fc
  .record({
    kind: fc.constantFrom<Step['kind']>(
      'write',
      'write',
      'write',
      'flush',
      'flush',
      'zero',
      'read',
      'reopen',
    ),
    sector: fc.nat(SECTORS - 1),
    sectors: fc.integer({ min: 1, max: 8 }),
    fault: fc.constantFrom<Fault>(undefined, undefined, undefined, 'EIO', 'ENOSPC', 'short'),
    nth: fc.nat(2),
  })
  .map((each) => ({ ...each, sectors: Math.min(each.sectors, SECTORS - each.sector) }));

describe.each(Object.entries(DISKS))('%s that fails anywhere', (_name, open) => {
  test('nothing is lost that was reported as stable, nothing read that was not written', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 40 }), async (steps) => {
        const file = faulty();
        let disk = open(file.path);
        let m = new Machine(new BlkDevice({ backend: disk, werror: 'report' }));
        // of each sector: what it may be in the cache, what it is for a driver that knows of no loss, and after a power failure
        const sectorOf = (bytes: Uint8Array, i: number): string =>
          Buffer.from(bytes.subarray(i * 512, i * 512 + 512)).toString('latin1');
        const cached = Array.from({ length: SECTORS }, (_, i) => new Set([sectorOf(CONTENT, i)]));
        const written = cached.map((set) => new Set(set));
        const stable = cached.map((set) => new Set(set));
        const check = (): void => {
          const now = file.stable;
          for (const [i, may] of stable.entries()) expect(may.has(sectorOf(now, i))).toBe(true);
        };
        for (const [number, { kind, sector, sectors, fault, nth }] of steps.entries()) {
          let left = nth;
          file.plan = () => (left-- === 0 ? fault : undefined);
          if (kind === 'reopen') {
            file.plan = () => undefined;
            try {
              await disk.close();
            } catch {
              // what was not stable is in doubt, and is so already
            }
            disk = open(file.path);
            m = new Machine(new BlkDevice({ backend: disk, werror: 'report' }));
            for (const [i, may] of cached.entries()) written[i] = new Set(may);
            continue;
          }
          const data = kind === 'write' ? pattern(sectors * 512, number + 1) : new Uint8Array(sectors * 512);
          const request =
            kind === 'flush'
              ? m.submit(BLK_T.FLUSH, 0, new Uint8Array(0))
              : kind === 'read'
                ? m.submit(BLK_T.IN, sector, sectors * 512)
                : kind === 'write'
                  ? m.submit(BLK_T.OUT, sector, data)
                  : m.submit(BLK_T.WRITE_ZEROES, 0, m.range(sector, sectors));
          m.kick();
          await settled(m);
          const isDone = request.status === BLK_S.OK;
          expect([BLK_S.OK, BLK_S.IOERR]).toContain(request.status);
          for (let i = 0; i < sectors; i++) {
            const at = sector + i;
            if (kind === 'read' && isDone) expect(cached[at]?.has(sectorOf(request.data, i))).toBe(true);
            if (kind !== 'write' && kind !== 'zero') continue;
            const news = sectorOf(data, i);
            for (const may of [cached[at], written[at]]) {
              // of a write that failed, a sector may be half there
              const halves = [...(may ?? [])].map((old) => news.slice(0, 256) + old.slice(256));
              if (isDone) may?.clear();
              else for (const half of halves) may?.add(half);
              may?.add(news);
              for (const each of may ?? []) stable[at]?.add(each);
            }
          }
          // a driver that hears that all is well believes that all is stable
          if (kind === 'flush' && isDone) for (const [i, may] of written.entries()) stable[i] = new Set(may);
          // what was not stable is gone: reads tell what is there
          if (kind === 'flush' && !isDone)
            for (const [i, may] of stable.entries()) for (const each of may) cached[i]?.add(each);
          check();
        }
        try {
          await disk.close();
        } catch {
          // as above
        }
        check();
        end();
      }),
      { numRuns: process.env['VIRTKIT_SLOW'] === '1' ? 2000 : 60 },
    );
  }, 600_000);
});

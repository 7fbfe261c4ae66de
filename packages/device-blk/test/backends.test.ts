// Every back end against a plain array: the same operations, at and across the edges of sectors, clusters and blocks, many at a
// time where the back end is asynchronous.
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import type { Spans } from '@virtkit/core';
import { BLK_S, BLK_T, type BlkBackend, BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { blobDisk } from '@virtkit/device-blk/blob';
import { httpDisk } from '@virtkit/device-blk/http';
import { nbdDisk } from '@virtkit/device-blk/nbd';
import { fileDisk } from '@virtkit/device-blk/node';
import { connectOpfsDisk, opfsDisk, serveOpfsDisks, type WorkerPort } from '@virtkit/device-blk/opfs';
import { overlayDisk } from '@virtkit/device-blk/overlay';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { fileHandle } from './file-handle.ts';
import { Machine, pattern, type Submitted } from './machine.ts';
import { missing, NbdServer, qemuNbd } from './nbd-servers.ts';

const SIZE = 96 * 512;
const CONTENT = pattern(SIZE, 7);
const SECTORS = SIZE / 512;

let dir = '';
let server: http.Server;
let count = 0;
beforeAll(async () => {
  dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-backends-'));
  server = http.createServer((request, response) => {
    const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const end = Math.min(Number(to), SIZE - 1);
    response.writeHead(206, { 'content-range': `bytes ${from}-${end}/${SIZE}`, etag: '"1"' });
    response.end(CONTENT.subarray(Number(from), end + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  await nbdServer?.kill();
  fs.rmSync(dir, { recursive: true });
  server.close();
  server.closeAllConnections();
});

function file(): string {
  const path = join(dir, `${count++}.img`);
  fs.writeFileSync(path, CONTENT);
  return path;
}

/** A disk that is as fast as it likes to be, and mixes up what it finishes. */
function slow(inner: BlkBackend): BlkBackend {
  let turn = 0;
  const later = (): Promise<void> => {
    turn = (turn * 5 + 3) % 7;
    return new Promise((resolve) => setTimeout(resolve, turn % 3));
  };
  return {
    size: inner.size,
    read: async (position, target, from, length) => {
      await later();
      await inner.read(position, target, from, length);
    },
    write: async (position, source, from, length) => {
      const bytes = new Uint8Array(length);
      source.copyTo(from, bytes, 0, length);
      await later();
      await inner.write(position, new ArraySpans(bytes), 0, length);
    },
  };
}

interface Made {
  readonly disk: BlkBackend;
  close?(): unknown;
}

const missingServer = missing('qemu-nbd');
if (missingServer !== undefined) console.warn(`SKIPPED: a disk on an NBD server: ${missingServer}`);
let nbdServer: NbdServer | undefined;
async function startedServer(): Promise<NbdServer> {
  const nbd = new NbdServer(qemuNbd(dir, file()));
  await nbd.start();
  return nbd;
}

const BACKENDS: Readonly<Record<string, () => Made | Promise<Made>>> = {
  memory: () => ({ disk: memoryDisk(CONTENT.slice()) }),
  file: () => {
    const disk = fileDisk(file());
    return { disk, close: () => disk.close() };
  },
  'file, in the background': () => {
    const disk = fileDisk(file(), { async: true });
    return { disk, close: () => disk.close() };
  },
  'overlay over memory': () => ({ disk: overlayDisk(memoryDisk(CONTENT.slice()), { clusterSize: 4096 }) }),
  'overlay over a slow disk': () => ({
    disk: overlayDisk(slow(memoryDisk(CONTENT.slice())), { clusterSize: 2048 }),
  }),
  'overlay over a blob': () => ({ disk: overlayDisk(blobDisk(new Blob([CONTENT])), { clusterSize: 8192 }) }),
  'overlay over a web server': async () => {
    const { port } = server.address() as AddressInfo;
    const base = await httpDisk(`http://127.0.0.1:${port}/`, {
      cacheBlock: 4096,
      cacheBytes: 8192,
      readAhead: 4096,
    });
    return { disk: overlayDisk(base, { clusterSize: 512 }), close: () => base.close() };
  },
  ...(missingServer === undefined && {
    'an NBD server': async () => {
      nbdServer ??= await startedServer();
      const disk = await nbdDisk(nbdServer.uri());
      await disk.write(0, new ArraySpans(CONTENT), 0, SIZE);
      return { disk, close: () => disk.close() };
    },
  }),
  'an access handle': () => {
    const disk = opfsDisk(fileHandle(file()));
    return { disk, close: () => disk.close() };
  },
  'an access handle of another thread': async () => {
    const { port1, port2 } = new MessageChannel();
    const root = {
      getFileHandle: async (name: string) => ({ createSyncAccessHandle: async () => fileHandle(name) }),
    };
    Object.defineProperty(globalThis, 'navigator', {
      value: { storage: { getDirectory: async () => root } },
      configurable: true,
    });
    serveOpfsDisks(port2 as unknown as WorkerPort);
    const disk = await connectOpfsDisk(port1 as unknown as WorkerPort, file());
    return {
      disk,
      close: async () => {
        await disk.close();
        port1.close();
      },
    };
  },
};

type Operation =
  | {
      readonly kind: 'read' | 'zero';
      readonly sector: number;
      readonly sectors: number;
      readonly seed?: never;
    }
  | { readonly kind: 'write'; readonly sector: number; readonly sectors: number; readonly seed: number };

const place = { sector: fc.nat(SECTORS - 1), sectors: fc.integer({ min: 1, max: 40 }) };
const operation: fc.Arbitrary<Operation> = fc
  .oneof(
    fc.record({ kind: fc.constant<'read'>('read'), ...place }),
    fc.record({ kind: fc.constant<'zero'>('zero'), ...place }),
    fc.record({ kind: fc.constant<'write'>('write'), ...place, seed: fc.nat(1000) }),
  )
  .map((each): Operation => ({ ...each, sectors: Math.min(each.sectors, SECTORS - each.sector) }));

/** A buffer in three pieces, of odd lengths, somewhere in an array. */
function pieces(bytes: Uint8Array): Spans {
  const cuts = [0, Math.floor(bytes.length / 3) | 1, Math.floor(bytes.length / 2) | 1, bytes.length];
  const whole = new ArraySpans(bytes);
  return {
    count: 3,
    total: bytes.length,
    bytes: () => bytes,
    offset: (i) => cuts[i] ?? 0,
    length: (i) => (cuts[i + 1] ?? 0) - (cuts[i] ?? 0),
    copyTo: (from, target, at, length) => whole.copyTo(from, target, at, length),
    copyFrom: (from, source, at, length) => whole.copyFrom(from, source, at, length),
    fill: (from, length, value) => whole.fill(from, length, value),
    u8: (at) => whole.u8(at),
    u16: (at, little) => whole.u16(at, little),
    u32: (at, little) => whole.u32(at, little),
  };
}

/** Reads behind a margin of its buffer, which must stay as it is. */
async function read(disk: BlkBackend, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length + 32).fill(0xa5);
  await disk.read(position, pieces(bytes), 16, length);
  expect(bytes.subarray(0, 16)).toEqual(new Uint8Array(16).fill(0xa5));
  expect(bytes.subarray(length + 16)).toEqual(new Uint8Array(16).fill(0xa5));
  return bytes.subarray(16, length + 16);
}

describe.each(Object.entries(BACKENDS))('%s', (_name, make) => {
  test('is what an array is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 25 }), async (operations) => {
        const { disk, close } = await make();
        const model = CONTENT.slice();
        expect(disk.size).toBe(SIZE);
        for (const each of operations) {
          const [position, length] = [each.sector * 512, each.sectors * 512];
          if (each.kind === 'read') {
            expect(
              Buffer.compare(await read(disk, position, length), model.subarray(position, position + length)),
            ).toBe(0);
          } else if (each.kind === 'zero') {
            await disk.writeZeroes?.(position, length, false);
            if (disk.writeZeroes !== undefined) model.fill(0, position, position + length);
          } else {
            const bytes = pattern(length + 8, each.seed ?? 0);
            await disk.write(position, pieces(bytes), 8, length);
            model.set(bytes.subarray(8), position);
          }
        }
        await disk.flush?.();
        expect(Buffer.compare(await read(disk, 0, SIZE), model)).toBe(0);
        await close?.();
      }),
      { numRuns: 25 },
    );
  });

  test('does many things at a time, each in its own sectors', async () => {
    const { disk, close } = await make();
    const model = CONTENT.slice();
    const work: unknown[] = [];
    for (let sector = 0; sector < SECTORS; sector += 3) {
      const bytes = pattern(1024, sector);
      const at = sector * 512;
      work.push(disk.write(at, new ArraySpans(bytes), 0, 1024));
      model.set(bytes, at);
      work.push(
        read(disk, at + 1024, 512).then((got) => expect(got).toEqual(CONTENT.subarray(at + 1024, at + 1536))),
      );
    }
    await Promise.all(work);
    expect(Buffer.compare(await read(disk, 0, SIZE), model)).toBe(0);
    await close?.();
  });

  test('writes that overlap: each sector is what one of them wrote', async () => {
    const places = fc.array(fc.record(place), { minLength: 2, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(places, async (list) => {
        const { disk, close } = await make();
        const writers = Array.from({ length: SECTORS }, (): number[] => []);
        const work = list.map(({ sector, sectors }, i) => {
          const count = Math.min(sectors, SECTORS - sector);
          for (let each = sector; each < sector + count; each++) writers[each]?.push(i + 1);
          return disk.write(
            sector * 512,
            new ArraySpans(new Uint8Array(count * 512).fill(i + 1)),
            0,
            count * 512,
          );
        });
        await Promise.all(work);
        const all = await read(disk, 0, SIZE);
        for (const [sector, ids] of writers.entries()) {
          const got = all.subarray(sector * 512, sector * 512 + 512);
          const same = (wanted: Uint8Array): boolean => Buffer.compare(got, wanted) === 0;
          if (ids.length === 0) expect(same(CONTENT.subarray(sector * 512, sector * 512 + 512))).toBe(true);
          else expect(ids.some((id) => same(new Uint8Array(512).fill(id)))).toBe(true);
        }
        await close?.();
      }),
      { numRuns: 10 },
    );
  });

  test('under a device that moves with requests in flight', async () => {
    const { disk, close } = await make();
    const model = CONTENT.slice();
    let m = new Machine(new BlkDevice({ backend: disk }));
    for (let round = 0; round < 4; round++) {
      const requests: Submitted[] = [];
      const reads: { request: Submitted; wanted: Uint8Array }[] = [];
      for (let sector = round; sector + 4 <= SECTORS; sector += 12) {
        const data = pattern(1024, round * 100 + sector);
        requests.push(m.submit(BLK_T.OUT, sector, data));
        model.set(data, sector * 512);
        const at = (sector + 2) * 512;
        const request = m.submit(BLK_T.IN, sector + 2, 1024);
        requests.push(request);
        reads.push({ request, wanted: model.slice(at, at + 1024) });
      }
      m.kick();
      m = await moved(m, disk);
      await m.disk.idle();
      for (const { status } of requests.map(({ statusAt }) => ({ status: m.ram[statusAt] })))
        expect(status).toBe(BLK_S.OK);
      for (const { request, wanted } of reads)
        expect(m.ram.slice(request.dataAt, request.dataAt + 1024)).toEqual(wanted);
      expect(m.used()).toHaveLength(requests.length);
    }
    expect(m.events.filter(({ name }) => name === 'fault' || name === 'io-error')).toEqual([]);
    expect(Buffer.compare(await read(disk, 0, SIZE), model)).toBe(0);
    await close?.();
  });
});

/** Stopped at once, and gone on with by a new device over the same disk. */
async function moved(m: Machine, backend: BlkBackend): Promise<Machine> {
  m.live.pause();
  await m.disk.idle();
  const state = m.live.capture();
  const next = new Machine(new BlkDevice({ backend }), { ...m.options, ram: m.ram.slice(), idle: true });
  next.rings.push(
    ...m.rings.map((ring) => ({ ...ring, chains: new Map(ring.chains), free: [...ring.free] })),
  );
  next.little = m.little;
  next.heap = m.heap;
  next.live.restore(state);
  next.live.resume();
  return next;
}

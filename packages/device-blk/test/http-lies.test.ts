// Web servers that lie, in every header and in the body: what is read is right or an error, and a disk is given up only when the
// server has said that the file is another one.
import http, { type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import zlib from 'node:zlib';
import { BLK_S, BLK_T, BlkDevice } from '@virtkit/device-blk';
import { type Fetch, type HttpDisk, type HttpDiskOptions, httpDisk } from '@virtkit/device-blk/http';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { Machine, pattern } from './machine.ts';

const IS_LONG = process.env['VIRTKIT_SLOW'] === '1';
const SIZE = 20 * 4096;
const CONTENT = pattern(SIZE, 21);
const OPTIONS: HttpDiskOptions = {
  cacheBlock: 4096,
  cacheBytes: 8192,
  readAhead: 0,
  retries: 0,
  timeoutMs: 10_000,
};

interface Asked {
  readonly method: string;
  readonly encoding: string;
  /** First and last byte of the range. */
  readonly from: number;
  readonly to: number;
  readonly response: ServerResponse;
  /** How many requests there were before. */
  readonly number: number;
}

let server: http.Server;
let url = '';
let answer: (asked: Asked) => void = honest;
let number = 0;

beforeAll(async () => {
  server = http.createServer((request, response) => {
    const [, from = '0', to = '0'] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    answer({
      method: request.method ?? '',
      encoding: String(request.headers['accept-encoding'] ?? ''),
      from: Number(from),
      to: Math.min(Number(to), SIZE - 1),
      response,
      number: number++,
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.img`;
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
});

function honest({ from, to, response }: Asked): void {
  response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${SIZE}`, etag: '"a"' });
  response.end(CONTENT.subarray(from, to + 1));
}

async function open(how: (asked: Asked) => void, options: HttpDiskOptions = {}): Promise<HttpDisk> {
  number = 0;
  answer = how;
  return httpDisk(url, { ...OPTIONS, ...options });
}

async function read(disk: HttpDisk, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await disk.read(position, new ArraySpans(bytes), 0, length);
  return bytes;
}

const slice = (from: number, length: number): Uint8Array => CONTENT.slice(from, from + length);

describe('the whole file instead of a range', () => {
  test('with the same ETag: asked again, and the disk is not lost', async () => {
    const once = (asked: Asked): void => {
      if (asked.number !== 1) honest(asked);
      else asked.response.writeHead(200, { etag: '"a"', 'content-length': SIZE }).end(CONTENT);
    };
    const again = await open(once, { retries: 1 });
    expect(await read(again, 8192, 512)).toEqual(slice(8192, 512));
    const disk = await open(once);
    await expect(read(disk, 8192, 512)).rejects.toThrow('gave the whole file and not a range');
    expect(await read(disk, 8192, 512)).toEqual(slice(8192, 512));
  });

  test('of somebody who does not say which file it is: an error of this read', async () => {
    const disk = await open((asked) => {
      if (asked.number !== 1) return honest(asked);
      asked.response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Log in</h1>');
    });
    await expect(read(disk, 8192, 512)).rejects.toThrow('status 200');
    expect(await read(disk, 8192, 512)).toEqual(slice(8192, 512));
  });
});

describe('compressed', () => {
  const squeezed = zlib.gzipSync(CONTENT);
  const hidden = ({ from, to, response }: Asked): void => {
    response.writeHead(206).end(CONTENT.subarray(from, to + 1));
  };

  test('a server that compresses what may be compressed is asked not to', async () => {
    const disk = await open((asked) => {
      if (asked.method !== 'HEAD') return hidden(asked);
      const isAllowed = /gzip|\*/.test(asked.encoding);
      asked.response.writeHead(
        200,
        isAllowed
          ? { 'content-encoding': 'gzip', 'content-length': squeezed.length }
          : { 'content-length': SIZE },
      );
      asked.response.end();
    });
    expect(disk.size).toBe(SIZE);
  });

  test('one that compresses all the same: no disk of another size', async () => {
    const opening = open((asked) => {
      if (asked.method !== 'HEAD') return hidden(asked);
      asked.response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': squeezed.length }).end();
    });
    await expect(opening).rejects.toThrow('comes as gzip');
  });

  test('a range of it: an error', async () => {
    const disk = await open((asked) => {
      if (asked.number !== 1) return honest(asked);
      const { from, to, response } = asked;
      const range = { 'content-range': `bytes ${from}-${to}/${SIZE}`, etag: '"a"' };
      response.writeHead(206, { ...range, 'content-encoding': 'gzip' });
      response.end(zlib.gzipSync(CONTENT.subarray(from, to + 1)));
    });
    await expect(read(disk, 8192, 512)).rejects.toThrow('comes as gzip');
    expect(await read(disk, 8192, 512)).toEqual(slice(8192, 512));
  });
});

test.each([503, 429, 408, 500])('HEAD that fails with %d for a while is asked again', async (status) => {
  let heads = 0;
  const disk = await open(
    ({ method, from, to, response }) => {
      if (method !== 'HEAD') response.writeHead(206).end(CONTENT.subarray(from, to + 1));
      else if (heads++ === 0) response.writeHead(status).end();
      else response.writeHead(200, { 'content-length': SIZE }).end();
    },
    { retries: 1 },
  );
  expect([disk.size, heads]).toEqual([SIZE, 2]);
});

test('HEAD that says less than came, or more: no disk', async () => {
  for (const said of [100, SIZE * 2, 1]) {
    const opening = open(({ method, response }) => {
      if (method === 'HEAD') response.writeHead(200, { 'content-length': said }).end();
      else response.writeHead(206).end(CONTENT.subarray(0, said > SIZE ? 1000 : 4096));
    });
    await expect(opening).rejects.toThrow(/bytes came/);
  }
});

test.each([
  ['of the same size: asked again', `bytes */${SIZE}`, false],
  ['of another size: another file', 'bytes */4096', true],
])('a range that the server says it does not have, %s', async (_name, range, isLost) => {
  const disk = await open((asked) => {
    if (asked.number !== 1) return honest(asked);
    asked.response.writeHead(416, { 'content-range': range }).end();
  });
  await expect(read(disk, 8192, 512)).rejects.toThrow(isLost ? 'another file' : 'status 416');
  if (isLost) await expect(read(disk, 0, 512)).rejects.toThrow('another file');
  else expect(await read(disk, 8192, 512)).toEqual(slice(8192, 512));
});

interface Lie {
  readonly status: number;
  readonly range: 'right' | 'absent' | 'shifted' | 'shorter' | 'other size' | 'star' | 'garbage';
  readonly etag: '"a"' | '"b"' | undefined;
  readonly encoding: 'gzip' | 'identity' | undefined;
  readonly type: 'multipart/byteranges; boundary=x' | undefined;
  readonly body: 'right' | 'short' | 'long' | 'none' | 'broken off';
}

const lie: fc.Arbitrary<Lie> = fc.record({
  status: fc.constantFrom(206, 206, 206, 206, 200, 200, 204, 304, 403, 404, 408, 412, 416, 429, 500, 503),
  range: fc.constantFrom<Lie['range']>(
    ...(['right', 'right', 'absent', 'shifted', 'shorter', 'other size', 'star', 'garbage'] as const),
  ),
  etag: fc.constantFrom<Lie['etag']>('"a"', '"a"', '"b"', undefined),
  encoding: fc.constantFrom<Lie['encoding']>(undefined, undefined, 'gzip', 'identity'),
  type: fc.constantFrom<Lie['type']>(undefined, undefined, 'multipart/byteranges; boundary=x'),
  body: fc.constantFrom<Lie['body']>('right', 'right', 'short', 'long', 'none', 'broken off'),
});

function tell({ from, to, response }: Asked, { status, range, etag, encoding, type, body }: Lie): void {
  const ranges: Readonly<Record<Lie['range'], string | undefined>> = {
    right: `bytes ${from}-${to}/${SIZE}`,
    absent: undefined,
    shifted: `bytes ${from + 512}-${to + 512}/${SIZE}`,
    shorter: `bytes ${from}-${to - 512}/${SIZE}`,
    'other size': `bytes ${from}-${to}/${SIZE + 512}`,
    star: `bytes ${from}-${to}/*`,
    garbage: 'bytes of some kind',
  };
  const said = ranges[range];
  response.writeHead(status, {
    ...(said !== undefined && { 'content-range': said }),
    ...(etag !== undefined && { etag }),
    ...(encoding !== undefined && { 'content-encoding': encoding }),
    ...(type !== undefined && { 'content-type': type }),
  });
  const bytes = {
    right: CONTENT.subarray(from, to + 1),
    short: CONTENT.subarray(from, to + 1 - 100),
    long: CONTENT.subarray(from, to + 1 + 100),
    none: new Uint8Array(0),
    'broken off': CONTENT.subarray(from, from + 100),
  }[body];
  if (status === 204 || status === 304) response.end();
  else if (body === 'broken off') response.write(bytes, () => response.destroy());
  else response.end(bytes);
}

/** Has the server said that the file is another one? */
function isOther({ status, range, etag }: Lie): boolean {
  if ((status === 206 || status === 200) && etag === '"b"') return true;
  return (status === 206 || status === 416) && range === 'other size';
}

test('any lies, through a device: right bytes or an error, and honest answers afterwards are taken', async () => {
  await fc.assert(
    fc.asyncProperty(lie, async (told) => {
      const disk = await open((asked) => (asked.number === 1 ? tell(asked, told) : honest(asked)));
      const m = new Machine(new BlkDevice({ backend: disk }));
      const first = m.read(16, 4096);
      await m.disk.idle();
      expect([BLK_S.OK, BLK_S.IOERR]).toContain(first.status);
      if (first.status === BLK_S.OK) expect(Buffer.compare(first.data, slice(8192, 4096))).toBe(0);
      const then = m.submit(BLK_T.IN, 16, 4096);
      m.kick();
      await m.disk.idle();
      expect(then.status).toBe(isOther(told) ? BLK_S.IOERR : BLK_S.OK);
      if (then.status === BLK_S.OK) expect(Buffer.compare(then.data, slice(8192, 4096))).toBe(0);
      disk.close();
    }),
    { numRuns: IS_LONG ? 5000 : 200 },
  );
}, 600_000);

/** A server in this program, which can be slow, and broken now and then. */
function faultyFetch(content: Uint8Array, next: () => number, faulty: boolean) {
  const load = { now: 0, most: 0, largest: 0 };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const fetch: Fetch = async (_url, { headers }) => {
    load.most = Math.max(load.most, ++load.now);
    await turn();
    const [, a = '0', b = '0'] = /^bytes=(\d+)-(\d+)$/.exec(headers['range'] ?? '') ?? [];
    const [from, to] = [Number(a), Math.min(Number(b), content.length - 1)];
    load.largest = Math.max(load.largest, to + 1 - from);
    const fault = faulty && next() % 10 === 0 ? next() % 4 : -1;
    if (fault === 0 || fault === 1) load.now--;
    if (fault === 0) throw new TypeError('fetch failed');
    if (fault === 1) return { status: 503, headers: { get: () => null }, body: null };
    const all = content.subarray(from, fault === 2 ? from + ((to + 1 - from) >> 1) : to + 1);
    let at = 0;
    const fields: Readonly<Record<string, string>> = {
      etag: '"a"',
      'content-range': `bytes ${from}-${to}/${content.length}`,
    };
    const end = <T>(value: T): T => {
      load.now--;
      return value;
    };
    return {
      status: 206,
      headers: { get: (name) => fields[name] ?? null },
      body: {
        getReader: () => ({
          read: async () => {
            if (next() % 3 === 0) await turn();
            if (fault === 3 && at > 0) throw end(new Error('reset'));
            if (at >= all.length) return end({ done: true });
            const value = all.slice(at, at + 1 + (next() % 50_000));
            at += value.length;
            return { done: false, value };
          },
          cancel: async () => end(undefined),
        }),
      },
    };
  };
  return { fetch, load };
}

test('any sizes of images, blocks and caches, reads at the same time, and a server that fails now and then', async () => {
  const places = fc.array(fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 200 })), { maxLength: 6 }), {
    minLength: 1,
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        size: fc.integer({ min: 1, max: 400_000 }),
        block: fc.nat(3),
        cacheBytes: fc.oneof(fc.constant(0), fc.nat(200_000)),
        readAhead: fc.oneof(fc.constant(0), fc.nat(100_000)),
        isFaulty: fc.boolean(),
      }),
      places,
      fc.infiniteStream(fc.nat(1 << 20)),
      async ({ size, block, cacheBytes, readAhead, isFaulty }, rounds, stream) => {
        const content = pattern(size, 3);
        const { fetch, load } = faultyFetch(content, () => Number(stream.next().value), isFaulty);
        const options = { fetch, cacheBlock: 4096 << block, cacheBytes, readAhead, retries: 0 };
        const disk = await httpDisk('http://127.0.0.1/', options).catch(() => undefined);
        expect(isFaulty || disk !== undefined).toBe(true);
        if (disk === undefined) return;
        const padded = new Uint8Array(Math.ceil(size / 512) * 512);
        padded.set(content);
        for (const round of rounds) {
          const work = round.map(async ([start, sectors]) => {
            const position = (start * 512) % padded.length;
            const length = Math.min(sectors * 512, padded.length - position);
            const bytes = await read(disk, position, length).catch((error: unknown) => error);
            if (isFaulty && bytes instanceof Error) return true;
            expect(bytes).toBeInstanceOf(Uint8Array);
            return Buffer.compare(bytes as Uint8Array, padded.subarray(position, position + length)) === 0;
          });
          expect(await Promise.all(work)).toEqual(round.map(() => true));
        }
        expect(load.most).toBeLessThanOrEqual(6);
        disk.close();
      },
    ),
    { numRuns: IS_LONG ? 2000 : 60 },
  );
}, 600_000);

test('a long read, and many: 6 requests of at most 4 MiB at a time', async () => {
  const content = new Uint8Array(64 << 20);
  const { fetch, load } = faultyFetch(content, () => 49_999, false);
  const disk = await httpDisk('http://127.0.0.1/', { fetch, cacheBytes: 1 << 20, readAhead: 0 });
  const target = new ArraySpans(new Uint8Array(content.length));
  const work = Array.from({ length: 40 }, (_, i) => disk.read(i * 1_048_576, target, 0, 4096));
  await Promise.all([...work, disk.read(0, target, 0, content.length)]);
  expect(load.most).toBeLessThanOrEqual(6);
  expect(load.largest).toBeLessThanOrEqual(4 << 20);
});

test('closing ends those who wait for their turn', async () => {
  const content = new Uint8Array(1 << 20);
  const { fetch } = faultyFetch(content, () => 49_999, false);
  let isOpen = false;
  const hanging: Fetch = (address, init) =>
    isOpen
      ? new Promise((_resolve, reject) => {
          const { signal } = init;
          const timer = setInterval(() => {
            if (!signal.aborted) return;
            clearInterval(timer);
            reject(new Error('aborted'));
          }, 1);
        })
      : fetch(address, init);
  const disk = await httpDisk('http://127.0.0.1/', {
    fetch: hanging,
    cacheBlock: 4096,
    cacheBytes: 4096,
    readAhead: 0,
  });
  isOpen = true;
  const reads = Array.from({ length: 50 }, (_, i) =>
    read(disk, 4096 + i * 8192, 512).catch((error: unknown) => error),
  );
  disk.close();
  disk.close();
  for (const error of await Promise.all(reads)) expect(String(error)).toContain('closed');
});

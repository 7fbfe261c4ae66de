// A real web server, which is not always what it should be.
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { HostError } from '@virtkit/core';
import { type HttpDisk, type HttpDiskOptions, httpDisk } from '@virtkit/device-blk/http';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { pattern } from './machine.ts';

const SIZE = 20 * 4096 + 300;
const CONTENT = pattern(SIZE, 11);

interface Asked {
  readonly range: readonly [number, number] | undefined;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** How many requests there were before. */
  readonly number: number;
}

const servers: http.Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

async function serve(answer: (asked: Asked) => void): Promise<string> {
  let number = 0;
  const server = http.createServer((request, response) => {
    const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    const range = match === null ? undefined : ([Number(match[1]), Number(match[2])] as const);
    answer({ range, request, response, number: number++ });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.img`;
}

/** As it should be. */
function honest({ range: [from, to] = [0, 0], response }: Asked, etag = '"a"', content = CONTENT): void {
  const end = Math.min(to, content.length - 1);
  response.writeHead(206, { 'content-range': `bytes ${from}-${end}/${content.length}`, etag });
  response.end(content.subarray(from, end + 1));
}

const options: HttpDiskOptions = { cacheBlock: 4096, cacheBytes: 16384, readAhead: 0, retries: 0 };

async function read(disk: HttpDisk, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await disk.read(position, new ArraySpans(bytes), 0, length);
  return bytes;
}

describe('an image on a web server', () => {
  test('what is in the cache is read at once; the cache is bounded; requests for one block are one', async () => {
    const ranges: string[] = [];
    const url = await serve((asked) => {
      ranges.push(asked.request.headers.range ?? '');
      honest(asked);
    });
    const disk = await httpDisk(url, options);
    expect(disk.size).toBe(SIZE);
    const bytes = new Uint8Array(512);
    expect(disk.read(1024, new ArraySpans(bytes), 0, 512)).toBeUndefined();
    expect(bytes).toEqual(CONTENT.subarray(1024, 1536));
    const many = await Promise.all([read(disk, 8192, 512), read(disk, 8704, 512), read(disk, 8192, 4096)]);
    expect(many[2]).toEqual(CONTENT.subarray(8192, 12288));
    expect(ranges).toEqual(['bytes=0-4095', 'bytes=8192-12287']);
    expect(await read(disk, 4096, 4 * 4096)).toEqual(CONTENT.subarray(4096, 5 * 4096));
    expect(ranges.slice(2)).toEqual(['bytes=4096-8191', 'bytes=12288-20479']);
    await read(disk, 0, 512);
    expect(ranges.slice(4)).toEqual(['bytes=0-4095']);
    // the last sector is filled up
    const tail = new Uint8Array(512);
    tail.set(CONTENT.subarray(20 * 4096));
    expect(await read(disk, 20 * 4096, 512)).toEqual(tail);
    expect(disk.traffic.requests).toBe(6);
    disk.close();
    await expect(read(disk, 40960, 512)).rejects.toThrow('closed');
  });

  test('who reads on and on is read ahead for', async () => {
    const url = await serve((asked) => honest(asked));
    const disk = await httpDisk(url, { ...options, cacheBytes: SIZE, readAhead: 3 * 4096 });
    await read(disk, 4096, 4096);
    await read(disk, 8192, 4096);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const bytes = new Uint8Array(4096);
    expect(disk.read(12288, new ArraySpans(bytes), 0, 4096)).toBeUndefined();
    expect(bytes).toEqual(CONTENT.subarray(12288, 16384));
    disk.close();
  });

  test('a file that is another one now: an error, never a mixture', async () => {
    const later = pattern(SIZE, 12);
    let now = '"a"';
    const url = await serve((asked) => {
      const wanted = asked.request.headers['if-range'];
      if (wanted !== undefined && wanted !== now) asked.response.writeHead(200, { etag: now }).end(later);
      else honest(asked, now);
    });
    const disk = await httpDisk(url, { ...options, retries: 3 });
    now = '"b"';
    await expect(read(disk, 8192, 512)).rejects.toThrow('another file than when it was opened');
    // also what would have been right
    now = '"a"';
    await expect(read(disk, 16384, 512)).rejects.toThrow('another file');
    // and what is in the cache
    await expect(read(disk, 0, 512)).rejects.toThrow('another file');
  });

  test('a weak ETag is compared, though it may not be sent', async () => {
    let now = 'W/"a"';
    const sent: unknown[] = [];
    const url = await serve((asked) => {
      sent.push(asked.request.headers['if-range']);
      honest(asked, now);
    });
    const disk = await httpDisk(url, options);
    await read(disk, 8192, 512);
    now = 'W/"b"';
    await expect(read(disk, 16384, 512)).rejects.toThrow('another file');
    expect(sent).toEqual([undefined, undefined, undefined]);
  });

  test.each<[string, string, (asked: Asked) => void]>([
    ['no ranges', 'does not give ranges', ({ response }) => response.writeHead(200).end(CONTENT)],
    ['no such file', 'status 404', ({ response }) => response.writeHead(404).end()],
    ['an empty file', 'is empty', ({ response }) => response.writeHead(416).end()],
    [
      'a body that is too short',
      '100 bytes came, 4096 were asked for',
      ({ response }) =>
        response.writeHead(206, { 'content-range': `bytes 0-4095/${SIZE}` }).end(CONTENT.subarray(0, 100)),
    ],
    [
      'a body without end',
      'more than the 4096 bytes',
      ({ response }) => {
        response.writeHead(206, { 'content-range': `bytes 0-4095/${SIZE}` });
        const more = (): void => {
          while (!response.destroyed && response.write(CONTENT));
        };
        response.on('drain', more);
        more();
      },
    ],
    [
      'a size that is none',
      'a size of 1e+21 bytes is none',
      ({ response }) =>
        response
          .writeHead(206, { 'content-range': `bytes 0-4095/1${'0'.repeat(21)}` })
          .end(CONTENT.subarray(0, 4096)),
    ],
    ['a broken connection', 'fetch failed', ({ response }) => response.destroy()],
    [
      'no length',
      'does not say how long it is',
      ({ request, response }) =>
        response
          .writeHead(request.method === 'HEAD' ? 404 : 206)
          .end(request.method === 'HEAD' ? '' : CONTENT.subarray(0, 4096)),
    ],
  ])('%s: refused when it is opened', async (_name, message, answer) => {
    await expect(httpDisk(await serve(answer), options)).rejects.toThrow(message);
  });

  test('another range than was asked for', async () => {
    const url = await serve((asked) => {
      if (asked.number === 0) honest(asked);
      else honest({ ...asked, range: [0, 4095] });
    });
    const disk = await httpDisk(url, options);
    await expect(read(disk, 8192, 512)).rejects.toThrow(`bytes 0-4095/${SIZE}, not bytes 8192-12287/${SIZE}`);
  });

  test('errors that pass: asked again, so often and no more', async () => {
    let wrong = 0;
    const url = await serve((asked) => {
      if (asked.number % 3 === 2) honest(asked);
      else {
        wrong++;
        asked.response.writeHead(wrong % 2 === 0 ? 503 : 429).end();
      }
    });
    const disk = await httpDisk(url, { ...options, retries: 2 });
    expect(await read(disk, 8192, 512)).toEqual(CONTENT.subarray(8192, 8704));
    const never = await serve(({ response }) => response.writeHead(500).end());
    await expect(httpDisk(never, { ...options, retries: 1 })).rejects.toThrow('status 500');
  });

  test('pauses between tries become longer, up to 5 s', async () => {
    const real = globalThis.setTimeout;
    const pauses: number[] = [];
    const hasty = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((
      run: (...args: unknown[]) => void,
      ms = 0,
      ...args: unknown[]
    ) => {
      if (ms < 60_000) pauses.push(ms);
      return real(run, ms < 60_000 ? 0 : ms, ...args);
    }) as typeof setTimeout);
    try {
      const never = await serve(({ response }) => response.writeHead(503).end());
      const disk = httpDisk(never, { ...options, retries: 10, timeoutMs: 60_000 });
      await expect(disk).rejects.toThrow('status 503');
    } finally {
      hasty.mockRestore();
    }
    // others are the platform's own
    const expected = [200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000, 5000];
    expect(pauses.filter((ms) => expected.includes(ms))).toEqual(expected);
    expect(Math.max(...pauses)).toBe(5000);
  });

  test('no answer: an error after the time that was given; close ends what waits', async () => {
    const url = await serve((asked) => {
      if (asked.number === 0) honest(asked);
    });
    const slow = await httpDisk(url, { ...options, timeoutMs: 200 });
    await expect(read(slow, 8192, 512)).rejects.toThrow('no answer within 200 ms');
    const closed = await httpDisk(
      await serve((asked) => (asked.number === 0 ? honest(asked) : undefined)),
      options,
    );
    const waiting = read(closed, 8192, 512);
    closed.close();
    await expect(waiting).rejects.toThrow('closed');
  });

  test('closing ends the pause before another try, too', async () => {
    let asked = (): void => {};
    const again = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const url = await serve((each) => {
      if (each.number === 0) return honest(each);
      each.response.on('close', asked);
      each.response.writeHead(503, { connection: 'close' }).end();
    });
    const disk = await httpDisk(url, { ...options, retries: 1_000_000 });
    const waiting = read(disk, 8192, 512);
    await again;
    disk.close();
    await expect(waiting).rejects.toThrow('closed');
  });

  test('redirects are followed, for each range', async () => {
    const target = await serve((asked) => honest(asked));
    let redirects = 0;
    const url = await serve(({ response }) => {
      redirects++;
      response.writeHead(302, { location: target }).end();
    });
    const disk = await httpDisk(url, options);
    expect(await read(disk, 8192, 512)).toEqual(CONTENT.subarray(8192, 8704));
    expect(redirects).toBe(2);
    const loop = await serve(({ response }) => response.writeHead(302, { location: '/' }).end());
    await expect(httpDisk(loop, options)).rejects.toThrow('fetch failed');
  });

  test('reading ahead never pushes out of a small cache what it has just fetched', async () => {
    const url = await serve((asked) => honest(asked));
    const disk = await httpDisk(url, { ...options, cacheBytes: 16384, readAhead: 1 << 20 });
    for (let at = 4096; at + 1024 <= SIZE; at += 1024)
      expect(await read(disk, at, 1024)).toEqual(CONTENT.subarray(at, at + 1024));
    await read(disk, 20 * 4096, 512);
    // each block once
    expect(disk.traffic.bytes).toBe(SIZE);
    disk.close();
  });

  test('options that are none', async () => {
    await expect(httpDisk('http://127.0.0.1:1/', { cacheBlock: 1000 })).rejects.toThrow(HostError);
    await expect(httpDisk('http://127.0.0.1:1/', { readAhead: -1 })).rejects.toThrow('readAhead -1');
  });
});

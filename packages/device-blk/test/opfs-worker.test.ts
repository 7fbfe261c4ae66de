// What a page and its disk worker say to each other, where one of them does not do as it should.
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectOpfsDisk, serveOpfsDisks, type WorkerPort } from '@virtkit/device-blk/opfs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { fileHandle } from './file-handle.ts';

type Listener = (event: { readonly data: unknown }) => void;

/** One end of a channel between page and worker, with the loss of messages to order. */
class End implements WorkerPort {
  peer: End | undefined;
  readonly sent: unknown[] = [];
  /** What becomes of a message that is sent from here. */
  filter: (message: unknown) => unknown[] = (message) => [message];
  /** What listeners have thrown. */
  readonly thrown: unknown[] = [];
  readonly #listeners: Listener[] = [];
  readonly #errorListeners: ((event: object) => void)[] = [];

  postMessage(message: unknown): void {
    this.sent.push(message);
    for (const each of this.filter(message)) setImmediate(() => this.peer?.deliver(each));
  }

  deliver(data: unknown): void {
    for (const listener of this.#listeners) {
      try {
        listener({ data });
      } catch (error) {
        this.thrown.push(error);
      }
    }
  }

  fail(event: object): void {
    for (const listener of this.#errorListeners) listener(event);
  }

  addEventListener(type: 'message' | 'error', listener: Listener | ((event: object) => void)): void {
    if (type === 'message') this.#listeners.push(listener as Listener);
    else this.#errorListeners.push(listener as (event: object) => void);
  }
}

let dir = '';
let page = new End();
let worker = new End();
let openFiles = 0;

beforeAll(() => {
  dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-opfs-'));
  const root = {
    getFileHandle: async (name: string) => ({
      createSyncAccessHandle: async () => {
        const path = join(dir, name);
        fs.closeSync(fs.openSync(path, 'a'));
        const handle = fileHandle(path);
        openFiles++;
        return {
          ...handle,
          close: () => {
            openFiles--;
            handle.close();
          },
        };
      },
    }),
  };
  Object.defineProperty(globalThis, 'navigator', {
    value: { storage: { getDirectory: async () => root } },
    configurable: true,
  });
});
afterAll(() => fs.rmSync(dir, { recursive: true }));
beforeEach(() => {
  openFiles = 0;
  [page, worker] = [new End(), new End()];
  page.peer = worker;
  worker.peer = page;
  serveOpfsDisks(worker);
});

const bytes = (byte: number, size = 512): ArraySpans => new ArraySpans(new Uint8Array(size).fill(byte));
const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe('a worker that says nothing any more', () => {
  test('everything that waits fails after the time, and what comes later at once', async () => {
    const disk = await connectOpfsDisk(page, 'a.img', { size: 65536, timeoutMs: 200 });
    page.filter = () => [];
    const waiting = [
      disk.read(0, bytes(0), 0, 512),
      disk.write(0, bytes(1), 0, 512),
      disk.flush?.(),
      disk.writeZeroes?.(0, 512, false),
      disk.resize(8192),
    ].map((pending) => Promise.resolve(pending).catch((error: unknown) => error));
    for (const error of await Promise.all(waiting)) {
      expect(error).toMatchObject({
        code: 'EIO',
        message: "a.img: the disk's worker: no answer within 200 ms",
      });
    }
    const { length } = page.sent;
    await expect(disk.read(0, bytes(0), 0, 512)).rejects.toThrow('no answer within 200 ms');
    expect(page.sent).toHaveLength(length);
    // also the worker that comes back too late
    page.filter = (message) => [message];
    await expect(disk.write(0, bytes(0), 0, 512)).rejects.toThrow('no answer within 200 ms');
  });

  test('it has died with an error: said with its words, whatever the time', async () => {
    const disk = await connectOpfsDisk(page, 'a.img', { size: 65536, timeoutMs: 3_600_000 });
    page.filter = () => [];
    const waiting = disk.read(0, bytes(0), 0, 512);
    page.fail({ message: 'out of memory' });
    await expect(waiting).rejects.toThrow("a.img: the disk's worker: out of memory");
  });

  test('it has died while nothing was asked: the next one is told', async () => {
    const disk = await connectOpfsDisk(page, 'a.img', { size: 65536, timeoutMs: 3_600_000 });
    page.fail({ message: 'out of memory' });
    page.filter = () => [];
    await expect(disk.flush?.()).rejects.toThrow('out of memory');
  });

  test('an error of another part of its program is none of the disk', async () => {
    const disk = await connectOpfsDisk(page, 'a.img', { size: 65536, timeoutMs: 3_600_000 });
    const waiting = disk.write(0, bytes(3), 0, 512);
    page.fail({ message: 'not the disk' });
    await waiting;
    const read = new Uint8Array(512);
    await disk.read(0, new ArraySpans(read), 0, 512);
    expect(read).toEqual(new Uint8Array(512).fill(3));
    await disk.close();
  });

  test('it answers each thing late, and is not given up', async () => {
    const disk = await connectOpfsDisk(page, 'a.img', { size: 65536, timeoutMs: 2000 });
    const held: unknown[] = [];
    worker.filter = (message) => {
      held.push(message);
      return [];
    };
    let done = 0;
    const work = Array.from({ length: 6 }, () =>
      Promise.resolve(disk.read(0, bytes(0), 0, 512)).then(() => {
        done++;
      }),
    );
    // longer than the time altogether, and each answer sooner
    for (let i = 0; i < 6; i++) {
      await new Promise((resolve) => setTimeout(resolve, 400));
      page.deliver(held.shift());
    }
    await Promise.all(work);
    expect(done).toBe(6);
  });

  test('it never was: an error when it is opened', async () => {
    page.filter = () => [];
    const opening = connectOpfsDisk(page, 'c.img', { size: 512 });
    page.fail({ message: 'boom' });
    await expect(opening).rejects.toThrow("c.img: the disk's worker: boom");
    await expect(connectOpfsDisk(page, 'c.img', { size: 512, timeoutMs: 100 })).rejects.toThrow(
      'no answer within 100 ms',
    );
    await expect(connectOpfsDisk(page, 'c.img', { timeoutMs: 0 })).rejects.toThrow('timeoutMs 0');
  });
});

describe('a worker that is told anything', () => {
  test('throws nothing, and answers what has a number', async () => {
    const disk = await connectOpfsDisk(page, 'a.img', { size: 65536 });
    const { length } = worker.sent;
    const name = 'q';
    const silent = [
      ...[null, 5, 'x', undefined, [], {}, { virtkitDisk: name }],
      ...[
        { virtkitDisk: name, request: null },
        { virtkitDisk: name, id: 'x', request: { op: 'flush' } },
      ],
      { virtkitDisk: 7, id: 1, request: { op: 'flush' } },
    ];
    const requests = [
      ...[null, undefined, 5, 'read', [], {}, { op: 'nonsense' }, { op: 'open' }],
      ...[
        { op: 'open', name: 5, options: {} },
        { op: 'open', name: 'a.img', options: null },
      ],
      ...[
        { op: 'read' },
        { op: 'read', position: -1, length: 512 },
        { op: 'read', position: 0, length: 2 ** 40 },
        { op: 'read', position: 0, length: 2 ** 26 + 1 },
      ],
      ...[
        { op: 'write', position: 0 },
        { op: 'write', position: 0, bytes: [1] },
      ],
      ...[{ op: 'writeZeroes', position: 0, length: 1.5 }, { op: 'resize' }, { op: 'resize', size: '5' }],
      ...[{ op: 'flush' }, { op: 'close' }, { op: 'read', position: 0, length: 512 }],
    ];
    for (const data of silent) worker.deliver(data);
    for (const [id, request] of requests.entries()) worker.deliver({ virtkitDisk: name, id, request });
    await turns(4);
    expect(worker.thrown).toEqual([]);
    const answers = worker.sent.slice(length) as { id: number; error?: { message: string } }[];
    expect(answers.map(({ id }) => id).sort((a, b) => a - b)).toEqual([...requests.keys()]);
    for (const { error } of answers)
      expect(error?.message).toMatch(/no request to a disk|the disk is closed/);
    await disk.close();
  });

  test('answers that nobody asked for, twice or by none, change nothing', async () => {
    const disk = await connectOpfsDisk(page, 'a.img', { size: 65536 });
    worker.filter = (message) => [message, { ...(message as object), id: 9999 }, message, null, 'x', {}];
    await disk.write(0, bytes(9), 0, 512);
    const read = new Uint8Array(512);
    await disk.read(0, new ArraySpans(read), 0, 512);
    expect(read).toEqual(new Uint8Array(512).fill(9));
    expect(page.thrown).toEqual([]);
    await disk.close();
  });
});

test('closed is closed, twice too; the file is given back, also by one that could not be opened', async () => {
  const disk = await connectOpfsDisk(page, 'a.img', { size: 65536 });
  const before = disk.write(512, bytes(4), 0, 512);
  const [first, second] = [disk.close(), disk.close()];
  await Promise.all([before, first, second]);
  for (const operation of [
    () => disk.read(0, bytes(0), 0, 512),
    () => disk.write(0, bytes(0), 0, 512),
    () => disk.flush?.(),
    () => disk.writeZeroes?.(0, 512, false),
    () => disk.resize(512),
  ])
    await expect(Promise.resolve(operation())).rejects.toMatchObject({
      code: 'EBADF',
      message: 'a.img: the disk is closed',
    });
  expect(fs.readFileSync(join(dir, 'a.img')).subarray(512, 1024)).toEqual(Buffer.alloc(512, 4));
  await expect(connectOpfsDisk(page, 'empty.img')).rejects.toThrow('a size is needed');
  expect(openFiles).toBe(0);
});

test('a disk whose first sector cannot be read is closed', async () => {
  worker.filter = (message) => {
    const { bytes: sector } = message as { bytes?: unknown };
    return sector === undefined
      ? [message]
      : [{ ...(message as object), error: { message: 'no', code: 'EIO' } }];
  };
  await expect(connectOpfsDisk(page, 'a.img', { size: 65536 })).rejects.toThrow('no');
  await turns(4);
  expect(openFiles).toBe(0);
});

test('a long read is asked for in pieces of 1 MiB, many of them no more than 16 MiB at a time', async () => {
  const size = 24 << 20;
  const disk = await connectOpfsDisk(page, 'large.img', { size });
  let most = 0;
  let now = 0;
  page.filter = (message) => {
    const { request } = message as { request: { op: string; length: number } };
    if (request.op === 'read') {
      expect(request.length).toBeLessThanOrEqual(1 << 20);
      now += request.length;
      most = Math.max(most, now);
    }
    return [message];
  };
  worker.filter = (message) => {
    now -= (message as { bytes?: Uint8Array }).bytes?.length ?? 0;
    return [message];
  };
  const target = new Uint8Array(1 << 20);
  const reads = Array.from({ length: 64 }, (_, i) =>
    disk.read((i % 24) << 20, new ArraySpans(target), 0, 1 << 20),
  );
  const one = new Uint8Array(size).fill(1);
  await Promise.all([...reads, disk.read(0, new ArraySpans(one), 0, size)]);
  expect(one.every((byte) => byte === 0)).toBe(true);
  expect(most).toBe(16 << 20);
  await disk.close();
});

test('zeros are asked for in pieces of 16 MiB', async () => {
  const size = 40 << 20;
  const disk = await connectOpfsDisk(page, 'zeros.img', { size });
  const asked: (readonly [number, number])[] = [];
  page.filter = (message) => {
    const { request } = message as { request: { op: string; position: number; length: number } };
    if (request.op === 'writeZeroes') asked.push([request.position, request.length]);
    return [message];
  };
  await disk.writeZeroes?.(512, 39 << 20, true);
  const most = 16 << 20;
  expect(asked).toEqual([
    [512, most],
    [512 + most, most],
    [512 + 2 * most, 7 << 20],
  ]);
  await disk.close();
});

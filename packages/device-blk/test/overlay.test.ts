import { HostError } from '@virtkit/core';
import { BLK_S, type BlkBackend, BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { type OverlayDisk, overlayDisk } from '@virtkit/device-blk/overlay';
import { isStateError } from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { Machine, pattern } from './machine.ts';

const SIZE = 64 * 512;
const CONTENT = pattern(SIZE, 3);

function write(disk: BlkBackend, position: number, bytes: Uint8Array): void {
  expect(disk.write(position, new ArraySpans(bytes), 0, bytes.length)).toBeUndefined();
}

function content(disk: OverlayDisk): Uint8Array {
  const bytes = new Uint8Array(disk.size);
  expect(disk.read(0, new ArraySpans(bytes), 0, bytes.length)).toBeUndefined();
  return bytes;
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return new Uint8Array(Buffer.concat(all));
}

function* cut(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe('an overlay', () => {
  test('leaves its base as it is, and forgets all when told to', () => {
    const base = memoryDisk(CONTENT.slice());
    const disk = overlayDisk(base, { clusterSize: 4096 });
    write(disk, 512, pattern(1024, 9));
    disk.writeZeroes(8192, 8192);
    expect(base.bytes).toEqual(CONTENT);
    expect(content(disk).subarray(512, 1536)).toEqual(pattern(1024, 9));
    expect(content(disk).subarray(8192, 16384)).toEqual(new Uint8Array(8192));
    // of what is all zeros, nothing is kept
    expect(disk.bytes).toBe(4096);
    disk.revert();
    expect(content(disk)).toEqual(CONTENT);
  });

  test('never waits for its base to write, and loses nothing to a read that is late', async () => {
    let release = (): void => {};
    const wait = new Promise<void>((resolve) => {
      release = resolve;
    });
    const base: BlkBackend = {
      size: SIZE,
      readOnly: true,
      read: async (position, target, from, length) => {
        await wait;
        target.copyFrom(from, CONTENT, position, length);
      },
      write: () => {
        throw new Error('never');
      },
    };
    const disk = overlayDisk(base, { clusterSize: 4096 });
    write(disk, 512, pattern(512, 1));
    const bytes = new Uint8Array(2048);
    const late = disk.read(0, new ArraySpans(bytes), 0, 2048);
    write(disk, 1024, pattern(512, 2));
    release();
    await late;
    // the read was begun before the second write: that part may be old, the first write must be there
    expect(bytes.subarray(512, 1024)).toEqual(pattern(512, 1));
    const again = new Uint8Array(2048);
    await disk.read(0, new ArraySpans(again), 0, 2048);
    expect(again.subarray(1024, 1536)).toEqual(pattern(512, 2));
    expect(again.subarray(0, 512)).toEqual(CONTENT.subarray(0, 512));
  });

  test.each(['later', 'at once'])(
    'a read is done when all its parts are, also if one fails %s',
    async (how) => {
      let release = (): void => {};
      const wait = new Promise<void>((resolve) => {
        release = resolve;
      });
      const slow: BlkBackend = {
        size: SIZE,
        read: async (position, target, from, length) => {
          await wait;
          target.copyFrom(from, CONTENT, position, length);
        },
        write: () => undefined,
      };
      const fail = (): never => {
        throw new Error('broken');
      };
      const disk = overlayDisk({
        ...slow,
        read: (position, target, from, length) => {
          if (position !== 1024) return slow.read(position, target, from, length);
          return how === 'later' ? Promise.resolve().then(fail) : fail();
        },
      });
      write(disk, 512, pattern(512, 1));
      write(disk, 1536, pattern(512, 1));
      const bytes = new Uint8Array(2560);
      let isDone = false;
      const read = Promise.resolve(disk.read(0, new ArraySpans(bytes), 0, bytes.length)).finally(() => {
        isDone = true;
      });
      const outcome = expect(read).rejects.toThrow('broken');
      await new Promise((resolve) => setTimeout(resolve, 5));
      // the first part is still to be written into the target
      expect(isDone).toBe(false);
      release();
      await outcome;
      expect(bytes.subarray(0, 512)).toEqual(CONTENT.subarray(0, 512));
      expect(bytes.subarray(2048)).toEqual(CONTENT.subarray(2048, 2560));
    },
  );

  test('is committed by one at a time', async () => {
    const disk = overlayDisk(memoryDisk(CONTENT.slice()));
    write(disk, 512, pattern(512, 1));
    const first = disk.commit();
    await expect(disk.commit()).rejects.toThrow('a commit is under way');
    await first;
    await disk.commit();
    expect(disk.bytes).toBe(0);
  });

  test('is exported as of the moment of the call, and loaded, in chunks of any size', async () => {
    const disk = overlayDisk(memoryDisk(CONTENT.slice()), { clusterSize: 2048 });
    write(disk, 512, pattern(512, 1));
    write(disk, 4096, pattern(4096, 2));
    disk.writeZeroes(16384, 2048);
    const then = content(disk);
    const chunks = disk.export();
    const first = await chunks.next();
    write(disk, 4096, pattern(4096, 5));
    write(disk, 20480, pattern(512, 6));
    const file = new Uint8Array(Buffer.concat([first.value ?? new Uint8Array(0), await collect(chunks)]));
    expect(content(disk)).not.toEqual(then);
    for (const size of [1, 7, 4096, file.length]) {
      const other = overlayDisk(memoryDisk(CONTENT.slice()), { clusterSize: 2048 });
      await other.load(cut(file, size));
      expect(content(other)).toEqual(then);
    }
    expect(await collect(disk.flatten())).toEqual(content(disk));
  });

  test('a damaged file, or one of another disk: an error that says why, and nothing has changed', async () => {
    const disk = overlayDisk(memoryDisk(CONTENT.slice()), { clusterSize: 2048 });
    write(disk, 512, pattern(512, 1));
    write(disk, 4096, pattern(2048, 2));
    const file = await collect(disk.export());
    const target = overlayDisk(memoryDisk(CONTENT.slice()), { clusterSize: 2048 });
    write(target, 0, pattern(512, 8));
    const before = content(target);
    const refused = async (bytes: Uint8Array, over: OverlayDisk = target): Promise<string> => {
      const error: unknown = await over.load(bytes).catch((error: unknown) => error);
      expect(isStateError(error) && error.code).toBe('overlay');
      return (error as Error).message;
    };
    for (let length = 0; length < file.length; length += 97)
      expect(await refused(file.slice(0, length))).toMatch(/ends after \d+ bytes/);
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const bytes = file.slice();
        bytes[at] = (bytes[at] ?? 0) ^ change;
        await refused(bytes);
      }),
    );
    expect(await refused(Uint8Array.of(...file, 0))).toMatch('more bytes behind the end');
    expect(await refused(file, overlayDisk(memoryDisk(SIZE * 2), { clusterSize: 2048 }))).toMatch(
      `of a disk of ${SIZE} bytes, this one has ${SIZE * 2}`,
    );
    expect(await refused(file, overlayDisk(memoryDisk(SIZE), { clusterSize: 4096 }))).toMatch(
      'clusters of 2048 bytes, this disk has 4096',
    );
    expect(content(target)).toEqual(before);
    await target.load(file);
    expect(content(target)).toEqual(content(disk));
  });

  test('is committed to its base; what is written meanwhile stays', async () => {
    const base = memoryDisk(CONTENT.slice());
    const disk = overlayDisk(base, { clusterSize: 2048 });
    write(disk, 512, pattern(512, 1));
    disk.writeZeroes(4096, 2048);
    const then = content(disk);
    const committed = disk.commit();
    write(disk, 4096, pattern(512, 6));
    await committed;
    expect(base.bytes).toEqual(then);
    expect(disk.bytes).toBe(2048);
    expect(content(disk).subarray(4096, 4608)).toEqual(pattern(512, 6));
    const readOnly = overlayDisk(memoryDisk(SIZE, { readOnly: true }));
    await expect(readOnly.commit()).rejects.toThrow(HostError);
    expect(() => overlayDisk(base, { clusterSize: 1000 })).toThrow('clusterSize 1000');
    const huge: BlkBackend = { size: 2 ** 42, read: () => undefined, write: () => undefined };
    expect(() => overlayDisk(huge, { clusterSize: 512 })).toThrow('clusterSize 512 is too small');
  });

  test('under a device: a guest writes to a disk that is read-only underneath', () => {
    const base = memoryDisk(CONTENT.slice(), { readOnly: true });
    const m = new Machine(new BlkDevice({ backend: overlayDisk(base) }));
    const data = pattern(1024, 4);
    const written = m.write(2, data);
    m.kick();
    const read = m.read(2, 1024);
    m.kick();
    expect([written.status, read.status]).toEqual([BLK_S.OK, BLK_S.OK]);
    expect(read.data).toEqual(data);
    expect(base.bytes).toEqual(CONTENT);
  });
});

test('an overlay has 4294967296 clusters at most', () => {
  const base = (size: number): BlkBackend => ({ size, read: () => {}, write: () => {} });
  const overlay = overlayDisk(base(2 ** 41), { clusterSize: 512 });
  expect(overlay.size).toBe(2 ** 41);
  expect(() => overlayDisk(base(2 ** 41 + 512), { clusterSize: 512 })).toThrow(HostError);
  expect(() => overlayDisk(base(2 ** 41 + 512), { clusterSize: 512 })).toThrow(
    'clusterSize 512 is too small',
  );
});

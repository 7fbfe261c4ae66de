// The suite for back ends: over ours, and over some that are wrong.
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spans } from '@virtkit/core';
import { memoryDisk } from '@virtkit/device-blk';
import { blobDisk } from '@virtkit/device-blk/blob';
import { type FileDisk, fileDisk } from '@virtkit/device-blk/node';
import { overlayDisk } from '@virtkit/device-blk/overlay';
import { type BackendBench, backendCases, type DiskBackend, register } from '@virtkit/testing/suite';
import { afterEach, describe, expect, test, vi } from 'vitest';

const dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-backend-suite-'));
process.on('exit', () => fs.rmSync(dir, { recursive: true }));

function file(isAsync: boolean): BackendBench {
  const open = new Map<DiskBackend, FileDisk>();
  return {
    make: (content) => {
      const path = join(dir, 'disk.img');
      fs.writeFileSync(path, content);
      const disk = fileDisk(path, { async: isAsync });
      open.set(disk, disk);
      return disk;
    },
    close: (disk) => open.get(disk)?.close(),
    staysClosed: true,
    failFlush: () => failFlushOnce(isAsync),
  };
}

/** The next `fdatasync` of this program fails, and tells so once. */
function failFlushOnce(isAsync: boolean): void {
  const error = Object.assign(new Error('EIO: injected'), { code: 'EIO' });
  if (isAsync) vi.spyOn(fs, 'fdatasync').mockImplementationOnce((_fd, done) => done(error));
  else
    vi.spyOn(fs, 'fdatasyncSync').mockImplementationOnce(() => {
      throw error;
    });
}
afterEach(() => {
  vi.restoreAllMocks();
});

const benches: Readonly<Record<string, BackendBench>> = {
  memory: { make: (content) => memoryDisk(content) },
  'memory, read-only': { make: (content) => memoryDisk(content, { readOnly: true }) },
  'a blob': { make: (content) => blobDisk(new Blob([content.slice()])) },
  'an overlay over memory': {
    make: (content) => overlayDisk(memoryDisk(content), { clusterSize: 4096, discard: 'unmap' }),
  },
  'an overlay over a blob': {
    make: (content) => overlayDisk(blobDisk(new Blob([content.slice()])), { clusterSize: 2048 }),
  },
  'a file': file(false),
  'a file, in the background': file(true),
};
for (const [name, bench] of Object.entries(benches)) register({ describe, test }, name, backendCases(bench));

describe('a back end that is wrong', () => {
  const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));
  const right = (content: Uint8Array): DiskBackend => memoryDisk(content);

  test.each<[string, RegExp, (content: Uint8Array) => DiskBackend]>([
    [
      'takes the bytes of a write too late',
      /used the buffer of a write after its call/,
      (content) => ({
        ...call(right(content)),
        write: async (position, source, from, length) => {
          await later();
          source.copyTo(from, content, position, length);
        },
      }),
    ],
    [
      'writes beside the target',
      /bytes beside the target/,
      (content) => ({
        ...call(right(content)),
        read: (position, target, from, length) => {
          target.copyFrom(from, content, position, length);
          target.fill(from + length, 1, 0);
        },
      }),
    ],
    [
      'forgets a sector',
      /byte \d+: 0x|none of \d+ writes/,
      (content) => ({
        ...call(right(content)),
        write: (position, source, from, length) =>
          void source.copyTo(from, content, position, Math.max(length - 512, 512)),
      }),
    ],
    [
      'copies the rest of a block from before, when others have written to it',
      /none of \d+ writes|byte \d+: 0x/,
      (content) => ({
        ...call(right(content)),
        write: (position, source, from, length) => rewriteBlocks(content, position, source, from, length),
      }),
    ],
    ['has another size', /size 512, the disk was made with/, () => memoryDisk(512)],
  ])('%s', async (_name, message, make) => {
    const outcomes = await Promise.allSettled(
      backendCases({ make }).map(async ({ run }) => {
        await run();
      }),
    );
    const reasons = outcomes.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []));
    expect(reasons.join()).toMatch(message);
  });

  test.each<[string, RegExp, Partial<BackendBench>]>([
    [
      'works when it is closed',
      /a read of a closed disk did not fail/,
      { staysClosed: true, close: () => {} },
    ],
    [
      'cannot be closed twice',
      /a second close failed/,
      {
        make: (content) => {
          closes = 0;
          const disk = memoryDisk(content);
          const checked = (): typeof disk => {
            if (closes > 0) throw new Error('closed');
            return disk;
          };
          return {
            size: disk.size,
            read: (...all) => checked().read(...all),
            write: (...all) => checked().write(...all),
          };
        },
        staysClosed: true,
        close: () => {
          if (++closes === 2) throw new Error('closed');
        },
      },
    ],
    [
      'forgets that a flush failed',
      /the first flush after one that failed said that all is stable/,
      {
        make: (content) => {
          const disk = memoryDisk(content);
          return {
            ...call(disk),
            flush: () => {
              if (isBroken) {
                isBroken = false;
                throw new Error('EIO');
              }
            },
          };
        },
        failFlush: () => {
          isBroken = true;
        },
      },
    ],
  ])('%s', async (_name, message, bench) => {
    isBroken = false;
    const cases = backendCases({ make: (content) => memoryDisk(content), ...bench });
    const outcomes = await Promise.allSettled(cases.slice(2).map(async ({ run }) => run()));
    const reasons = outcomes.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []));
    expect(reasons.join()).toMatch(message);
  });
  let isBroken = false;
  let closes = 0;

  function call(disk: DiskBackend): DiskBackend {
    return {
      size: disk.size,
      read: (position, target, from, length) => disk.read(position, target, from, length),
      write: (position, source, from, length) => disk.write(position, source, from, length),
    };
  }

  /** Reads whole blocks of 4 KiB, changes them, and writes them back later. */
  async function rewriteBlocks(
    content: Uint8Array,
    position: number,
    source: Spans,
    from: number,
    length: number,
  ): Promise<void> {
    const start = position & ~4095;
    const blocks = content.slice(start, Math.min(content.length, (position + length + 4095) & ~4095));
    source.copyTo(from, blocks, position - start, length);
    await later();
    content.set(blocks, start);
  }
});

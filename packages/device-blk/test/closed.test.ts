// Closed is closed: a file's number is another file's afterwards.
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FileDisk, fileDisk } from '@virtkit/device-blk/node';
import { opfsDisk } from '@virtkit/device-blk/opfs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { fileHandle } from './file-handle.ts';

let dir = '';
let count = 0;
beforeAll(() => {
  dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-closed-'));
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

function image(byte: number, size = 4096): string {
  const path = join(dir, `${count++}.img`);
  fs.writeFileSync(path, new Uint8Array(size).fill(byte));
  return path;
}

const array = (byte: number, size = 512): ArraySpans => new ArraySpans(new Uint8Array(size).fill(byte));

/** The code that an operation fails with. */
async function codeOf(operation: () => unknown): Promise<string> {
  try {
    await operation();
    return 'done';
  } catch (error) {
    return String((error as { code?: unknown }).code);
  }
}

describe.each([
  ['at once', false],
  ['in the background', true],
])('a file %s', (_name, isAsync) => {
  const open = (path: string): FileDisk => fileDisk(path, { async: isAsync, discard: 'unmap' });

  test('does nothing any more, and not to the file that has its number now', async () => {
    const path = image(0x61);
    const closed = open(path);
    closed.close();
    const other = image(0x62);
    const now = open(other);
    const operations = [
      () => closed.write(0, array(0x41), 0, 512),
      () => closed.read(0, array(0), 0, 512),
      () => closed.writeZeroes?.(0, 512, false),
      () => closed.discard?.(0, 512),
      () => closed.flush?.(),
      () => closed.refreshSize(),
    ];
    expect(await Promise.all(operations.map(codeOf))).toEqual(operations.map(() => 'EBADF'));
    await expect(Promise.resolve().then(() => closed.read(0, array(0), 0, 512))).rejects.toThrow(
      `${path}: the disk is closed`,
    );
    closed.close();
    await closed.close();
    // the number was not closed a second time
    const read = new Uint8Array(512);
    await now.read(0, new ArraySpans(read), 0, 512);
    expect(read).toEqual(new Uint8Array(512).fill(0x62));
    now.close();
    expect(new Uint8Array(fs.readFileSync(other))).toEqual(new Uint8Array(4096).fill(0x62));
  });
});

test('with operations under way: none is begun any more, and the number is kept until they have ended', async () => {
  const size = 8 << 20;
  for (let round = 0; round < 5; round++) {
    const path = image(0, size);
    const disk = fileDisk(path, { async: true });
    const work = [
      disk.write(0, array(0x41, size), 0, size),
      disk.read(0, array(0, size), 0, size),
      disk.writeZeroes?.(0, size, false),
      disk.flush?.(),
    ].map((pending) => codeOf(() => pending));
    const closing = disk.close();
    expect(closing).toBeInstanceOf(Promise);
    // the second call waits for the same
    expect(disk.close()).toBe(closing);
    const others = Array.from({ length: 4 }, (_, i) => ({ byte: 0x62 + i, path: image(0x62 + i, 65536) }));
    const opened = others.map((other) => fileDisk(other.path, { async: true }));
    expect(await codeOf(() => disk.write(0, array(1), 0, 512))).toBe('EBADF');
    for (const code of await Promise.all(work)) expect(['done', 'EBADF']).toContain(code);
    await closing;
    for (const each of opened) each.close();
    for (const { byte, path } of others)
      expect(fs.readFileSync(path).every((each) => each === byte)).toBe(true);
  }
});

test('a close that fails is told, and is a close', () => {
  const disk = fileDisk(image(1));
  const close = fs.closeSync.bind(fs);
  const spy = vi.spyOn(fs, 'closeSync').mockImplementation((fd) => {
    close(fd);
    throw Object.assign(new Error('EIO: injected'), { code: 'EIO' });
  });
  try {
    expect(() => disk.close()).toThrow('EIO');
    disk.close();
    expect(spy).toHaveBeenCalledTimes(1);
  } finally {
    spy.mockRestore();
  }
});

test.skipIf(process.platform !== 'linux')('what is no disk is not left open', () => {
  const before = fs.readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 10; i++)
    expect(() => fileDisk('/dev/null')).toThrow('neither a file nor a block device');
  expect(fs.readdirSync('/proc/self/fd').length).toBe(before);
});

test('an access handle', async () => {
  const disk = opfsDisk(fileHandle(image(0x61)), { discard: 'unmap' });
  disk.close();
  const other = image(0x62);
  const now = opfsDisk(fileHandle(other));
  const operations = [
    () => disk.write(0, array(0x41), 0, 512),
    () => disk.read(0, array(0), 0, 512),
    () => disk.writeZeroes?.(0, 512, false),
    () => disk.discard?.(0, 512),
    () => disk.flush?.(),
    () => disk.resize(8192),
  ];
  expect(await Promise.all(operations.map(codeOf))).toEqual(operations.map(() => 'EBADF'));
  disk.close();
  now.close();
  expect(new Uint8Array(fs.readFileSync(other))).toEqual(new Uint8Array(4096).fill(0x62));
});

// Sockets, files and eventfds of this machine, both ends in this process.
import fs, {
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  checkEventfd,
  clear,
  closeDescriptor,
  connectTo,
  createEventfd,
  DESCRIPTORS_MAX,
  type FileRegion,
  hangUp,
  Listener,
  linux,
  listenAt,
  mapShared,
  PeerError,
  receive,
  SharedMemory,
  SystemCallError,
  send,
  sharedFile,
  signal,
} from '../src/index.ts';

let folder: string;
const descriptors: number[] = [];
const kept = (fd: number): number => {
  descriptors.push(fd);
  return fd;
};
const path = (): string => join(folder, 's');

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtkit-linux-'));
});

afterEach(() => {
  for (const fd of descriptors.splice(0)) closeDescriptor(fd);
  rmSync(folder, { recursive: true, force: true });
});

/** Both ends of a connection. */
async function connection(): Promise<{ readonly near: number; readonly far: number }> {
  const listener = new Listener(path());
  const taken = new Promise<number>((resolve) => listener.accept(resolve));
  const far = kept(connectTo(path()));
  const near = kept(await taken);
  listener.close();
  return { near, far };
}

test('descriptors come with the bytes, and are the same files', async () => {
  const { near, far } = await connection();
  const [file, bell] = [kept(sharedFile('test', 8192)), kept(createEventfd())];
  expect(send(far, Uint8Array.of(1, 2, 3), [file, bell])).toBe(true);
  const bytes = new Uint8Array(8);
  const { count, descriptors: came } = receive(near, bytes);
  for (const fd of came) kept(fd);
  expect({ count, bytes: [...bytes], came: came.length }).toEqual({
    count: 3,
    bytes: [1, 2, 3, 0, 0, 0, 0, 0],
    came: 2,
  });
  const [other = -1, otherBell = -1] = came;
  expect(linux.identity(other)).toBe(linux.identity(file));
  const [mine, theirs] = [mapShared(file, 4096, 4096), mapShared(other, 4096, 4096)];
  mine.window(0, 16)[5] = 42;
  expect(theirs.window(0, 16)[5]).toBe(42);
  signal(bell);
  expect([clear(otherBell), clear(otherBell)]).toEqual([true, false]);
  expect(receive(near, bytes).count).toBe(-1);
  mine.close();
  theirs.close();
});

test('more descriptors than asked for are refused, and closed', async () => {
  const { near, far } = await connection();
  const bell = kept(createEventfd());
  send(
    far,
    Uint8Array.of(1),
    Array.from({ length: 5 }, () => bell),
  );
  expect(() => receive(near, new Uint8Array(1), 4)).toThrow(PeerError);
  send(
    far,
    Uint8Array.of(1),
    Array.from({ length: DESCRIPTORS_MAX }, () => bell),
  );
  const { descriptors: came } = receive(near, new Uint8Array(1));
  for (const fd of came) kept(fd);
  expect(came).toHaveLength(DESCRIPTORS_MAX);
});

test('a connection that is hung up has an end, also with bytes that nobody has read', async () => {
  const listener = new Listener(path());
  const ending = async (end: (fd: number) => void): Promise<string> => {
    const taken = new Promise<number>((resolve) => listener.accept(resolve));
    const socket = connect(path());
    const how = new Promise<string>((resolve) => {
      socket.once('error', ({ message }) => resolve(message)).once('end', () => resolve('end'));
    });
    const fd = await taken;
    await new Promise((resolve) => socket.write(new Uint8Array(100_000), resolve));
    end(fd);
    socket.resume();
    const text = await how;
    socket.destroy();
    return text;
  };
  expect(await ending(closeDescriptor)).toMatch(/ECONNRESET/);
  expect(await ending(hangUp)).toBe('end');
  listener.close();
});

test('a socket that a killed server has left is replaced; one where somebody listens is not, and no file is', () => {
  kept(listenAt(path()));
  expect(() => new Listener(path())).toThrow(SystemCallError);
  closeDescriptor(descriptors.pop() ?? -1);
  new Listener(path()).close();
  writeFileSync(path(), 'a file');
  expect(() => new Listener(path())).toThrow(/EADDRINUSE/);
});

test('what stands under the name of a socket later is not removed with it', () => {
  const listener = new Listener(path());
  renameSync(path(), join(folder, 'moved'));
  writeFileSync(path(), 'a file');
  listener.close();
  expect(readFileSync(path(), 'utf8')).toBe('a file');
  rmSync(path());
  const [first, second] = [new Listener(path()), join(folder, 'other')];
  renameSync(path(), second);
  const third = new Listener(path());
  first.close();
  kept(connectTo(path()));
  third.close();
  expect(existsSync(path())).toBe(false);
});

test('a file is no eventfd, whatever it is called', () => {
  for (const name of ['[eventfd]', 'anon_inode:[eventfd]']) {
    writeFileSync(join(folder, name), '');
    expect(() => checkEventfd(kept(openSync(join(folder, name), 'r+')))).toThrow(/is no eventfd/);
  }
});

test('a file that becomes shorter while it is looked at is not mapped', () => {
  const file = kept(sharedFile('test', 8192, false));
  const { fstatSync } = fs;
  const shorter = (fd: number): fs.Stats => {
    const stat = fstatSync(fd);
    try {
      // the other side, at the worst moment
      ftruncateSync(fd, 4096);
    } catch {
      // it was too late
    }
    return stat;
  };
  Object.assign(fs, { fstatSync: shorter });
  syncBuiltinESMExports();
  try {
    const mapping = mapShared(file, 0, 8192);
    expect(mapping.shrinkable).toBe(false);
    mapping.close();
  } finally {
    Object.assign(fs, { fstatSync });
    syncBuiltinESMExports();
  }
  expect(fstatSync(file).size).toBe(8192);
});

test('what is no eventfd is none, and memory that has gone is zeros', () => {
  const file = kept(sharedFile('test', 4096));
  expect(() => checkEventfd(file)).toThrow(/is no eventfd/);
  checkEventfd(kept(createEventfd()));
  expect(() => mapShared(file, 0, 8192)).toThrow(/of a file of 4096/);
  const mapping = mapShared(file, 0, 4096);
  expect(mapping.shrinkable).toBe(false);
  const bytes = mapping.window(0, 4096);
  bytes.fill(7);
  mapping.close();
  expect(bytes.every((byte) => byte === 0)).toBe(true);
});

test('guest memory of files: found by address, read-only where it is, refused where it overlaps', () => {
  const file = kept(sharedFile('test', 16384));
  const memory = new SharedMemory(linux, { regionsMax: 3, adding: 'ADD' });
  const region = (guestAddress: bigint, size: bigint, more: Partial<FileRegion> = {}): FileRegion => ({
    guestAddress,
    size,
    fileOffset: 0n,
    ...more,
  });
  memory.add(region(0n, 4096n), file);
  memory.add(region(0x1000n, 4096n, { fileOffset: 4096n, readonly: true }), file);
  expect(memory.regionAt(0xfff)).toMatchObject({ gpa: 0, readonly: false });
  expect(memory.regionAt(0x1000)).toMatchObject({ gpa: 0x1000, readonly: true });
  expect(memory.regionAt(0x2000)).toBeUndefined();
  expect(() => memory.add(region(0x1fffn, 1n), file)).toThrow(/regions overlap/);
  expect(() => memory.add(region(0x3000n, 32768n), file)).toThrow(/of a file of/);
  memory.add(region(0x3000n, 1n), file);
  expect(() => memory.add(region(0x4000n, 1n), file)).toThrow(/ADD: more than 3 regions/);
  const { epoch } = memory;
  expect(memory.remove(({ guestAddress }) => guestAddress === 0x1000n)).toBe(true);
  expect(memory.remove(({ guestAddress }) => guestAddress === 0x1000n)).toBe(false);
  expect(memory.epoch).toBe(epoch + 1);
  expect(memory.count).toBe(2);
  memory.clear();
  expect(memory.size).toBe(0);
});

// Who has the image: the locks of real QEMUs, and our own against them.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FileDisk, type FileLocker, fileDisk, ImageInUseError } from '@virtkit/device-blk/node';
import { findQemu } from '@virtkit/lab/qemu.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { locksOf, parseLocks } from '../src/node/proc-locks.ts';

const hasQemuIo = spawnSync('qemu-io', ['--version']).status === 0;
const isLinux = process.platform === 'linux' && fs.existsSync('/proc/locks');
// native code, made for most systems and not for all
const locker = nativeLocker();
if (locker === undefined)
  console.warn('image locks of our own: skipped, fs-native-extensions does not run here');

function nativeLocker(): FileLocker | undefined {
  try {
    return createRequire(import.meta.url)('fs-native-extensions') as FileLocker;
  } catch {
    return undefined;
  }
}

let dir = '';
let image = '';
const children: ChildProcess[] = [];
beforeEach(() => {
  dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-locks-'));
  image = join(dir, 'disk.img');
  fs.writeFileSync(image, new Uint8Array(65536));
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  fs.rmSync(dir, { recursive: true });
});

/** A QEMU tool that has the image open, until the test ends. */
async function hold(...options: string[]): Promise<number> {
  const child = spawn('qemu-io', ['-f', 'raw', ...options, image], { stdio: 'pipe' });
  children.push(child);
  // it answers, so it has opened the image
  child.stdin?.write('length\n');
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (text) => {
      if (String(text).includes('KiB')) resolve();
    });
    child.once('exit', (code) => reject(new Error(`qemu-io ended with ${code}`)));
  });
  return child.pid ?? -1;
}

function refusal(open: () => unknown): ImageInUseError {
  try {
    open();
  } catch (error) {
    if (error instanceof ImageInUseError) return error;
    throw error;
  }
  throw new Error('it was opened');
}

/** File descriptors of this process that lead to the image. */
function openHere(): number {
  return fs.readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`) === image;
    } catch {
      return false;
    }
  }).length;
}

describe.skipIf(!hasQemuIo || !isLinux)('an image that a QEMU has', { timeout: 30_000 }, () => {
  test('open for writing: refused, with the process that has it; nothing stays open', async () => {
    const pid = await hold();
    for (const readOnly of [false, true]) {
      const error = refusal(() => fileDisk(image, { readOnly }));
      expect(error.code).toBe('EBUSY');
      expect(error.path).toBe(image);
      expect(error.holders).toEqual([{ pid, program: 'qemu-io' }]);
      expect(error.message).toContain(`Failed to get "write" lock: process ${pid} (qemu-io)`);
    }
    expect(openHere()).toBe(0);
    const forced = fileDisk(image, { locking: 'off' });
    expect(forced.size).toBe(65536);
    forced.close();
  });

  test('opened with force-share, which takes no locks: given', async () => {
    await hold('-U', '-r');
    fileDisk(image).close();
  });

  test('by another name, and given back: given', async () => {
    await hold();
    const link = join(dir, 'link');
    fs.symlinkSync(image, link);
    fs.linkSync(image, join(dir, 'second-name'));
    refusal(() => fileDisk(link));
    refusal(() => fileDisk(join(dir, 'second-name')));
    const [child] = children.splice(0);
    const ended = new Promise((resolve) => child?.once('exit', resolve));
    child?.kill('SIGKILL');
    await ended;
    fileDisk(image).close();
  });
});

const qemu = findQemu('x86_64');
describe.skipIf(qemu === undefined || !isLinux)('a machine of a real QEMU', { timeout: 60_000 }, () => {
  /** Until it has opened its disk; it has no other way to say so. */
  async function machine(node: string): Promise<number> {
    const [program = '', ...first] = qemu?.command ?? [];
    const options = `-machine q35 -S -nodefaults -display none -blockdev ${node} -device virtio-blk-pci,drive=f`;
    const env = { ...process.env, ...qemu?.env };
    const child = spawn(program, [...first, ...options.split(' ')], { stdio: 'ignore', env });
    children.push(child);
    const fd = fs.openSync(image, 'r');
    try {
      while (child.exitCode === null && !locksOf(fd)?.some(({ first }) => first === 201))
        await new Promise((resolve) => setTimeout(resolve, 10));
    } finally {
      fs.closeSync(fd);
    }
    expect(child.exitCode).toBeNull();
    return child.pid ?? -1;
  }

  test('that writes: refused, with its process', async () => {
    const pid = await machine(`driver=file,node-name=f,filename=${image}`);
    for (const readOnly of [false, true])
      expect(refusal(() => fileDisk(image, { readOnly })).holders.map((holder) => holder.pid)).toEqual([pid]);
  });

  test('that reads: refused to those who write, given to those who read', async () => {
    const pid = await machine(`driver=file,node-name=f,filename=${image},read-only=on`);
    expect(refusal(() => fileDisk(image)).message).toMatch(
      new RegExp(`process ${pid} \\(.*\\) does not share write with others`),
    );
    fileDisk(image, { readOnly: true }).close();
  });
});

describe.skipIf(locker === undefined || !isLinux)('with locks of our own', () => {
  const locking = locker as FileLocker;

  test('of two writers the second is refused, and a reader is; when it is closed the image is free', () => {
    const first = fileDisk(image, { locking });
    expect(refusal(() => fileDisk(image, { locking })).holders.map(({ pid }) => pid)).toEqual([process.pid]);
    refusal(() => fileDisk(image, { readOnly: true, locking }));
    // also those who only look
    refusal(() => fileDisk(image));
    first.close();
    const readers = [1, 2].map(() => fileDisk(image, { readOnly: true, locking }));
    refusal(() => fileDisk(image, { locking }));
    for (const reader of readers) reader.close();
    fileDisk(image, { locking }).close();
  });

  test('the locks alone refuse, where the list of locks says nothing', () => {
    let other: FileDisk | undefined;
    // the second one comes between the look and the lock of the first
    const raced: FileLocker = {
      tryLock: (fd, offset, length, options) => {
        other ??= fileDisk(image, { locking });
        return locking.tryLock(fd, offset, length, options);
      },
      unlock: (fd, offset, length) => locking.unlock(fd, offset, length),
    };
    expect(refusal(() => fileDisk(image, { locking: raced })).path).toBe(image);
    expect(openHere()).toBe(1);
    other?.close();
  });

  test.skipIf(!hasQemuIo)('a QEMU is refused while we have it, unless we both read', () => {
    const io = (...options: string[]) =>
      spawnSync('qemu-io', ['-f', 'raw', ...options, '-c', 'length', image]);
    const writer = fileDisk(image, { locking });
    expect(String(io().stderr)).toContain('Failed to get "write" lock');
    writer.close();
    const reader = fileDisk(image, { readOnly: true, locking });
    expect(String(io().stderr)).toContain('Failed to get "write" lock');
    expect(io('-r').status).toBe(0);
    reader.close();
    expect(io().status).toBe(0);
  });
});

describe('the list of locks', () => {
  const text = [
    '1: OFDLCK ADVISORY  READ -1 fe:00:2147076 201 201',
    '2: POSIX  ADVISORY  WRITE 812 fe:00:2147076 0 EOF',
    '2: -> POSIX  ADVISORY  WRITE 813 fe:00:2147076 0 EOF',
    '3: FLOCK  ADVISORY  WRITE 814 fe:00:2147076 0 EOF',
    '4: OFDLCK ADVISORY  READ -1 fe:01:2147076 100 101',
    '5: OFDLCK ADVISORY  READ -1 fe:00:2147077 100 101',
    '6: LEASE  ACTIVE    READ 1 fe:00:2147076 0 EOF',
    'lock:\t7: OFDLCK ADVISORY  READ -1 fe:00:2147076 100 101',
    'anything else',
    '',
  ].join('\n');

  test('those of the file, and not what waits or locks it otherwise', () => {
    expect(parseLocks(text, '254:0:2147076')).toEqual([
      { kind: 'read', first: 201, last: 201, pid: undefined },
      { kind: 'write', first: 0, last: Number.POSITIVE_INFINITY, pid: 812 },
      { kind: 'read', first: 100, last: 101, pid: undefined },
    ]);
  });
});

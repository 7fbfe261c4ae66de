// No guest at all: QEMU's block layer drives our disk by libblkio, whose driver nobody here wrote.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DeviceEvent } from '@virtkit/core';
import { BlkDevice } from '@virtkit/device-blk';
import { fileDisk } from '@virtkit/device-blk/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serveVhostUser, type VhostUserServer } from '../src/index.ts';

const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
/** Folders of Debian releases whose QEMU has libblkio (package `qemu-block-extra`, trixie and later). */
const roots = (process.env['VIRTKIT_QEMU_ROOTS'] ?? '')
  .split(':')
  .filter((root) => root !== '' && existsSync(join(root, LIBRARIES, 'qemu/block-blkio.so')));
if (roots.length === 0)
  console.warn('SKIPPED: libblkio: no folder of VIRTKIT_QEMU_ROOTS has qemu-block-extra');

const SIZE = 16 << 20;
let folder: string;
let image: string;
let server: VhostUserServer;
let events: DeviceEvent[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vu-'));
  image = join(folder, 'disk.img');
  writeFileSync(image, new Uint8Array(SIZE));
  events = [];
  const backend = fileDisk(image, { discard: 'unmap' });
  server = serveVhostUser(new BlkDevice({ backend }), {
    path: join(folder, 's'),
    onEvent: (event) => events.push(event),
  });
});

afterEach(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

describe.each(roots)('libblkio of %s', (root) => {
  const run = async (program: string, ...args: readonly string[]): Promise<string> => {
    const [loader, library] = [join(root, 'lib64/ld-linux-x86-64.so.2'), join(root, LIBRARIES)];
    const words = ['--library-path', library, join(root, 'usr/bin', program), ...args];
    const env = { ...process.env, QEMU_MODULE_DIR: join(library, 'qemu') };
    return (await promisify(execFile)(loader, words, { env, timeout: 100_000 })).stdout;
  };
  const disk = (): string => `driver=virtio-blk-vhost-user,path=${join(folder, 's')},cache.direct=on`;

  test('writes, reads, zeroes, discards and flushes', async () => {
    const commands = [
      'write -P 9 0 1M',
      'read -P 9 0 1M',
      'write -z 512k 256k',
      'read -P 0 512k 256k',
      'read -P 9 768k 256k',
      'aio_write -P 5 4M 1M',
      'aio_write -P 6 5M 1M',
      'aio_flush',
      'read -P 5 4M 1M',
      'read -P 6 5M 1M',
      'discard 0 64k',
      'flush',
    ];
    const said = await run(
      'qemu-io',
      '-t',
      'none',
      '--image-opts',
      disk(),
      ...commands.flatMap((text) => ['-c', text]),
    );
    expect(said).not.toMatch(/fail|error|verification/i);
    expect(events.map(({ name }) => name)).toEqual(['front-end', 'front-end-left']);
  });

  test('copies an image there and compares it', async () => {
    const source = join(folder, 'source.img');
    const bytes = new Uint8Array(SIZE);
    for (let at = 0; at < SIZE; at += 65_536)
      globalThis.crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    writeFileSync(source, bytes);
    await run('qemu-img', 'convert', '-n', '-f', 'raw', '--target-image-opts', source, disk());
    expect(readFileSync(image).equals(bytes)).toBe(true);
    await run('qemu-img', 'compare', '--image-opts', `driver=file,filename=${source}`, disk());
    expect(events.every(({ name }) => name.startsWith('front-end') && name !== 'front-end-fault')).toBe(true);
  });
});

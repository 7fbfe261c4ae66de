// A real QEMU whose PCI functions are ours: Linux works on them, by a driver and a client that nobody here wrote.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DeviceEvent } from '@virtkit/core';
import { BlkDevice } from '@virtkit/device-blk';
import { fileDisk } from '@virtkit/device-blk/node';
import {
  buildInitramfs,
  compareVersions,
  findGuestKit,
  findQemus,
  kernelCommandLine,
  Qemu,
} from '@virtkit/lab';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serveVfioUser } from '../src/index.ts';

const binaries = [...findQemus('x86_64').values()].filter(
  ({ version }) => compareVersions(version, '10.1.0') >= 0,
);
const kit = findGuestKit('x86_64');
const hasTools = spawnSync('mke2fs', ['-V']).error === undefined;
if (binaries.length === 0)
  console.warn('SKIPPED: vfio-user in QEMU: no folder of VIRTKIT_QEMU_ROOTS has a QEMU of 10.1 or newer');
if (!kit.ok) console.warn(`SKIPPED: vfio-user under Linux: ${kit.reason}`);
if (!hasTools) console.warn('SKIPPED: vfio-user under Linux: there is no mke2fs');

let folder: string;
const toClose: { close(): unknown }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vfio-'));
});

afterEach(async () => {
  for (const each of toClose.splice(0).reverse()) await each.close();
  rmSync(folder, { recursive: true, force: true });
});

const deviceWords = (path: string, more: Readonly<Record<string, unknown>> = {}): string[] => [
  '-device',
  JSON.stringify({ driver: 'vfio-user-pci', socket: { type: 'unix', path }, ...more }),
];

/** A disk with an empty file system. */
function formatted(name: string): string {
  const image = join(folder, name);
  const made = spawnSync('mke2fs', ['-q', '-F', '-t', 'ext4', image, '32M']);
  expect(made.status, String(made.stderr)).toBe(0);
  return image;
}

describe.each(binaries)('QEMU $version', (binary) => {
  const start = async (args: readonly string[], files: Record<string, Uint8Array> = {}): Promise<Qemu> => {
    const vm = await Qemu.start({
      arch: 'x86_64',
      binary,
      machine: 'q35,memory-backend=mem0',
      sharedMemory: false,
      memoryMiB: 256,
      args: ['-object', 'memory-backend-memfd,id=mem0,size=256M,share=on', ...args],
      files,
    });
    toClose.push(vm);
    return vm;
  };
  const linux = (commands: readonly string[], modules: readonly string[]) => {
    if (!kit.ok) throw new Error(kit.reason);
    return {
      words: ['-kernel', kit.kit.kernelPath, '-initrd', 'initrd', '-append', kernelCommandLine('x86_64')],
      files: {
        initrd: buildInitramfs(kit.kit, {
          modules: ['virtio_pci', ...modules],
          disk: false,
          network: false,
          commands,
        }),
      },
    };
  };

  test.skipIf(!kit.ok || !hasTools)(
    'Linux mounts our disk, writes a file, and the file system is whole',
    async () => {
      const image = formatted('disk.img');
      const path = join(folder, 's');
      const events: DeviceEvent[] = [];
      const disk = new BlkDevice({ backend: fileDisk(image) });
      const server = serveVfioUser(disk, { path, onEvent: (event) => events.push(event) });
      toClose.push(server);
      const { words, files } = linux(
        [
          'n=0; while [ ! -b /dev/vda ] && [ $n -lt 600 ]; do usleep 100000; n=$((n + 1)); done',
          'mkdir -p /mnt; mount -t ext4 /dev/vda /mnt && echo LAB:MOUNTED',
          'dd if=/dev/urandom of=/mnt/file bs=64k count=64 2>/dev/null; sync',
          'echo LAB:SUM $(sha256sum < /mnt/file)',
          'grep virtio /proc/interrupts | while read line; do echo LAB:IRQ $line; done',
          'umount /mnt && echo LAB:DONE',
        ],
        ['virtio_blk', 'ext4'],
      );
      const vm = await start([...deviceWords(path), ...words], files);
      await vm.waitForConsole(/LAB:DONE/, 300_000);
      const [, sum] = await vm.waitForConsole(/LAB:SUM ([0-9a-f]{64})/, 1000);
      expect(vm.console).toMatch(/LAB:IRQ .*virtio0-req/);
      expect(server.client?.unreachableBytes).toBe(0);
      await vm.close();
      server.close();
      const check = spawnSync('e2fsck', ['-fn', image]);
      expect(check.status, String(check.stdout)).toBe(0);
      const { stdout } = spawnSync('debugfs', ['-R', 'cat file', image], { maxBuffer: 8 << 20 });
      expect(createHash('sha256').update(stdout).digest('hex')).toBe(sum);
      expect(events.map(({ name }) => name)).toEqual(['client', 'client-left']);
    },
    400_000,
  );
});

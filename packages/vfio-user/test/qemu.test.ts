// A real QEMU whose PCI functions are ours: Linux works on them, by a driver and a client that nobody here wrote.
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DeviceEvent } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { fileDisk } from '@virtkit/device-blk/node';
import { ConsoleDevice } from '@virtkit/device-console';
import { NetDevice } from '@virtkit/device-net';
import { StreamBackend } from '@virtkit/device-net/node';
import { RngDevice, webCrypto } from '@virtkit/device-rng';
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

  test('the BIOS boots from our disk', async () => {
    const disk = new Uint8Array(1 << 20);
    // reads sector 7 by the BIOS, and writes it to the serial port
    disk.set(Buffer.from('31c08ed88ec0be347cb442cd13be0080baf803ac84c07403eeebf8f4ebfd', 'hex'));
    disk.set(Buffer.from('10000100008000000700000000000000', 'hex'), 0x34);
    disk.set([0x55, 0xaa], 510);
    disk.set(Buffer.from('LAB:BOOTED from TypeScript\n'), 7 * 512);
    const path = join(folder, 's');
    toClose.push(serveVfioUser(new BlkDevice({ backend: memoryDisk(disk) }), { path }));
    const vm = await start(deviceWords(path, { bootindex: 0 }));
    await vm.waitForConsole(/LAB:BOOTED from TypeScript/, 60_000);
  });

  /** A card at a socket, and at the other end of its cable a QEMU without a machine, which is a router. */
  async function card(path: string): Promise<void> {
    const wire = join(folder, 'wire');
    const backend = await StreamBackend.listen({ path: wire });
    toClose.push(backend);
    toClose.push(serveVfioUser(new NetDevice({ backend, mac: '52:54:00:12:34:56' }), { path }));
    const [program = '', ...first] = binary.command;
    const hub = (id: number, netdev: string): string[] => [
      '-netdev',
      `hubport,id=h${id},hubid=0,netdev=${netdev}`,
    ];
    const stream = `stream,id=s0,server=off,addr.type=unix,addr.path=${wire}`;
    const nowhere = ['-machine', 'none', '-nodefaults', '-display', 'none'];
    const nets = ['-netdev', 'user,id=u0', '-netdev', stream, ...hub(0, 'u0'), ...hub(1, 's0')];
    const router = spawn(program, [...first, ...nowhere, ...nets], {
      stdio: 'ignore',
      env: { ...process.env, ...binary.env },
    });
    toClose.push({ close: () => router.kill('SIGKILL') });
  }

  test.skipIf(!kit.ok)(
    'Linux has a disk of packed rings, a network, entropy and a console, again after a reboot',
    async () => {
      const path = (name: string): string => join(folder, name);
      const image = memoryDisk(8 << 20);
      const disk = serveVfioUser(new BlkDevice({ backend: image, queues: 2 }), {
        path: path('blk'),
        rings: { packed: true },
      });
      toClose.push(disk);
      await card(path('net'));
      const rng = new RngDevice({ backend: webCrypto(globalThis.crypto) });
      toClose.push(serveVfioUser(rng, { path: path('rng') }));
      let said = '';
      const screen = {
        write: (bytes: Uint8Array, from: number, to: number) => {
          said += Buffer.from(bytes.subarray(from, to)).toString('latin1');
          return to - from;
        },
      };
      const terminal = new ConsoleDevice({ ports: [{ console: true, backend: screen }] });
      toClose.push(serveVfioUser(terminal, { path: path('con') }));
      const bytes = randomBytes(2 << 20);
      const web = createServer((_request, response) => response.end(bytes));
      web.listen(0, '127.0.0.1');
      await once(web, 'listening');
      toClose.push({ close: () => web.close() });
      const address = web.address();
      const port = typeof address === 'object' ? address?.port : undefined;
      const { words, files } = linux(
        [
          'n=0; while [ ! -b /dev/vda ] && [ $n -lt 600 ]; do usleep 100000; n=$((n + 1)); done',
          'dd if=/dev/urandom of=/tmp/x bs=64k count=64 2>/dev/null; dd if=/tmp/x of=/dev/vda bs=64k oflag=direct 2>/dev/null',
          'a=$(sha256sum < /tmp/x); b=$(dd if=/dev/vda bs=64k count=64 iflag=direct 2>/dev/null | sha256sum)',
          '[ "$a" = "$b" ] && echo LAB:DISK same',
          'echo LAB:RNG $(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)',
          'echo hello from the guest > /dev/hvc0',
          'ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0',
          `echo LAB:WEB $(wget -q -O - http://10.0.2.2:${port}/ | sha256sum)`,
          'grep virtio /proc/interrupts | while read line; do echo LAB:IRQ $line; done',
          'echo LAB:ROUND; sleep 1; reboot -f',
        ],
        ['virtio_blk', 'virtio_net', 'virtio_rng', 'virtio_console'],
      );
      const all = ['blk', 'net', 'rng', 'con'].flatMap((name) => deviceWords(path(name)));
      const vm = await start(['-smp', '2', ...all, ...words], files);
      for (let round = 0, from = 0; round < 2; round++) {
        const { index } = await vm.waitForConsole(/LAB:ROUND/, 300_000, from);
        const text = vm.console.slice(from, from + index);
        expect(text).toMatch(/LAB:DISK same/);
        expect(text).toMatch(/LAB:RNG 64/);
        expect(text).toContain(`LAB:WEB ${createHash('sha256').update(bytes).digest('hex')}`);
        expect(text).toMatch(/LAB:IRQ .*-req\.1/);
        from += index + 'LAB:ROUND'.length;
      }
      expect(disk.device.queue(0)?.format).toBe('packed');
      expect(said.match(/hello from the guest/g)).toHaveLength(2);
    },
    400_000,
  );

  // with MSI-X, QEMU 11.1.2 ends itself at device_del: memory_region_del_subregion fails an assertion
  test.skipIf(!kit.ok)(
    'a disk without MSI-X is plugged in and pulled out while Linux runs, twice',
    async () => {
      const path = join(folder, 's');
      const events: DeviceEvent[] = [];
      const disk = new BlkDevice({ backend: memoryDisk(8 << 20) });
      const server = serveVfioUser(disk, { path, vectors: 0, onEvent: (event) => events.push(event) });
      toClose.push(server);
      const read = 'dd if=/dev/vda bs=1M count=4 iflag=direct 2>/dev/null | wc -c';
      const { words, files } = linux(
        [
          'echo LAB:UP',
          `for i in 1 2; do while [ ! -b /dev/vda ]; do usleep 100000; done; echo LAB:PLUGGED $i $(${read})`,
          'while [ -b /dev/vda ]; do usleep 100000; done; echo LAB:GONE $i; done',
        ],
        ['virtio_blk'],
      );
      const vm = await start(['-device', 'pcie-root-port,id=rp,slot=1', ...words], files);
      await vm.waitForConsole(/LAB:UP/, 300_000);
      for (const round of [1, 2]) {
        const socket = { type: 'unix', path };
        await vm.qmp.execute('device_add', { driver: 'vfio-user-pci', id: 'd', bus: 'rp', socket });
        await vm.waitForConsole(new RegExp(`LAB:PLUGGED ${round} 4194304`), 300_000);
        await vm.qmp.execute('device_del', { id: 'd' });
        await vm.waitForConsole(new RegExp(`LAB:GONE ${round}`), 300_000);
        await expect.poll(() => server.client, { timeout: 60_000 }).toBeUndefined();
      }
      expect(vm.alive).toBe(true);
      expect(events.map(({ name }) => name)).toEqual(['client', 'client-left', 'client', 'client-left']);
    },
    400_000,
  );
});

// A real QEMU on our devices: its BIOS boots from a disk, Linux works on it, and servers are killed under load.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DeviceEvent } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { RngDevice, webCrypto } from '@virtkit/device-rng';
import { buildInitramfs, findGuestKit, findQemu, kernelCommandLine, Qemu } from '@virtkit/lab';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serveVhostUser } from '../src/index.ts';
import { type Closing, cable, website } from './network.ts';

const binary = findQemu('x86_64');
const kit = findGuestKit('x86_64');
if (binary === undefined) console.warn('SKIPPED: vhost-user in QEMU: there is no qemu-system-x86_64');
if (!kit.ok) console.warn(`SKIPPED: vhost-user under Linux: ${kit.reason}`);

/** Kills of the server under load; more by hand. */
const KILLS = Number(process.env['VIRTKIT_KILLS'] ?? 5);
const BLOCK = 4096;

let folder: string;
const toClose: Closing[] = [];

beforeEach(() => {
  // where koffi is found from
  folder = mkdtempSync(
    join(fileURLToPath(new URL('../../linux/node_modules/', import.meta.url)), '.qemu-test-'),
  );
});

afterEach(async () => {
  for (const each of toClose.splice(0).reverse()) await each.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A socket's path is short, wherever the project lies. */
function socket(): string {
  const dir = mkdtempSync(join(tmpdir(), 'vu-'));
  toClose.push({ close: () => rmSync(dir, { recursive: true, force: true }) });
  return join(dir, 's');
}

async function start(args: readonly string[], files: Record<string, Uint8Array> = {}): Promise<Qemu> {
  const vm = await Qemu.start({ arch: 'x86_64', machine: 'q35', memoryMiB: 128, args, files });
  toClose.push(vm);
  return vm;
}

const diskWords = (path: string, more = ''): string[] => [
  '-chardev',
  `socket,id=c0,path=${path},reconnect=1`,
  '-device',
  `vhost-user-blk-pci,id=disk,chardev=c0${more}`,
];

const linuxWords = (): string[] => {
  if (!kit.ok) return [];
  return ['-kernel', kit.kit.kernelPath, '-initrd', 'initrd', '-append', kernelCommandLine('x86_64')];
};

/** So many answers to the guest's writers, one behind the other. */
const answers = (count: number): RegExp => new RegExp(`(?:LAB:W \\d \\d+\\s+){${count}}`);

describe.skipIf(binary === undefined)('a QEMU', () => {
  test('whose BIOS boots from our disk', async () => {
    const disk = new Uint8Array(1 << 20);
    // reads sector 7 by the BIOS, and writes it to the serial port
    disk.set(Buffer.from('31c08ed88ec0be347cb442cd13be0080baf803ac84c07403eeebf8f4ebfd', 'hex'));
    disk.set(Buffer.from('10000100008000000700000000000000', 'hex'), 0x34);
    disk.set([0x55, 0xaa], 510);
    disk.set(Buffer.from('LAB:BOOTED from TypeScript\n'), 7 * 512);
    const path = socket();
    const events: DeviceEvent[] = [];
    const server = serveVhostUser(new BlkDevice({ backend: memoryDisk(disk) }), {
      path,
      onEvent: (event) => events.push(event),
    });
    toClose.push(server);
    const vm = await start(diskWords(path, ',bootindex=0'));
    await vm.waitForConsole(/LAB:BOOTED from TypeScript/, 60_000);
    expect(events.map(({ name }) => name)).toEqual(['front-end']);
    // the BIOS asks for a sector at a time, and looks itself whether it has come
    expect(server.device.queue(0)?.kicks).toBeGreaterThan(1);
  });
});

describe.skipIf(binary === undefined || !kit.ok)('Linux in a QEMU', () => {
  test('has entropy and a network, goes on through deaths of its disk under load, and loses nothing that it was told of', async () => {
    if (!kit.ok || binary === undefined) return;
    const program = join(folder, 'server.js');
    await build({
      entryPoints: [fileURLToPath(new URL('./server-process.ts', import.meta.url))],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      conditions: ['@virtkit/source'],
      external: ['koffi'],
    });
    const image = join(folder, 'disk.img');
    writeFileSync(image, new Uint8Array(1 << 20));
    const path = socket();
    const serve = async (): Promise<ChildProcess> => {
      const child = spawn(process.execPath, [program, path, image], { stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout?.resume();
      toClose.push({ close: () => child.kill('SIGKILL') });
      await once(child.stdout as NodeJS.ReadableStream, 'data');
      return child;
    };
    let server = await serve();
    const rngPath = socket();
    const rng = serveVhostUser(new RngDevice({ backend: webCrypto(globalThis.crypto) }), { path: rngPath });
    toClose.push(rng);
    const web = await website(toClose);
    const network = socket();
    await cable({ path: network, wire: socket(), binary }, toClose);
    const writer = `
      w() {
        n=0
        while :; do
          n=$((n + 1)); printf %08d $n > /tmp/v$1
          dd if=/tmp/v$1 of=/dev/vda bs=4k conv=sync,notrunc oflag=direct seek=$(($1 * 8 + n % 8)) 2>/dev/null && echo LAB:W $1 $n
        done
      }`;
    const vm = await start(
      [
        ...diskWords(path),
        '-chardev',
        `socket,id=c1,path=${rngPath}`,
        '-device',
        'vhost-user-rng-pci,chardev=c1',
        '-chardev',
        `socket,id=c2,path=${network}`,
        '-netdev',
        'vhost-user,id=n0,chardev=c2',
        '-device',
        // with a control queue and MSI-X, QEMU 7.2 ends by SIGSEGV where it has no KVM (vhost_net_start); no other back end was tried
        'virtio-net-pci,netdev=n0,vectors=0',
        ...linuxWords(),
      ],
      {
        initrd: buildInitramfs(kit.kit, {
          modules: ['virtio_pci', 'virtio_blk', 'virtio_rng', 'virtio_net'],
          disk: false,
          network: false,
          commands: [
            'n=0; while [ ! -b /dev/vda ] && [ $n -lt 600 ]; do usleep 100000; n=$((n + 1)); done',
            'echo LAB:RNG $(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)',
            'ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0',
            `echo LAB:WEB $(wget -q -O - http://10.0.2.2:${web.port}/ | sha256sum)`,
            writer,
            'w 0 & w 1 & w 2 & w 3 &',
          ],
        }),
      },
    );
    const rngBytes = await vm.waitForConsole(/LAB:RNG (\d+)\r?\n/, 300_000);
    expect(rngBytes[1]).toBe('64');
    const sum = await vm.waitForConsole(/LAB:WEB ([0-9a-f]{64})/, 300_000);
    expect(sum[1]).toBe(web.sum);
    for (let kill = 0; kill < KILLS; kill++) {
      // other numbers of answers between the deaths: 1 to 8
      const from = vm.console.length;
      await vm.waitForConsole(answers(1 + ((kill * 5) % 8)), 120_000, from);
      server.kill('SIGKILL');
      await once(server, 'exit');
      server = await serve();
    }
    await vm.waitForConsole(answers(8), 120_000, vm.console.length);
    const told = new Map<number, number>();
    for (const [, who = '', what = ''] of vm.console.matchAll(/LAB:W (\d) (\d+)\r?\n/g))
      told.set(Number(who) * 8 + (Number(what) % 8), Number(what));
    const fd = openSync(image, 'r');
    const bytes = Buffer.alloc(8);
    const lost = [...told].flatMap(([block, number]) => {
      readSync(fd, bytes, 0, 8, block * BLOCK);
      const found = Number(bytes.toString('latin1'));
      return found >= number && (found - number) % 8 === 0 ? [] : [{ block, number, found }];
    });
    closeSync(fd);
    expect(lost).toEqual([]);
    expect(told.size).toBeGreaterThan(4);
    expect(vm.alive).toBe(true);
  }, 400_000);
});

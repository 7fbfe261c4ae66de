// Newer QEMUs than CI has, by hand: Linux works on all of our devices at once, whose disks come and go, and begins anew.
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DeviceEvent, DeviceModel } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { ConsoleDevice, type GuestPort } from '@virtkit/device-console';
import { RngDevice, webCrypto } from '@virtkit/device-rng';
import {
  buildInitramfs,
  compareVersions,
  delay,
  findGuestKit,
  findQemus,
  kernelCommandLine,
  Qemu,
  type QemuBinary,
  QmpError,
} from '@virtkit/lab';
import { afterEach, describe, expect, test } from 'vitest';
import { serveVhostUser, type VhostUserServer } from '../src/index.ts';
import { type Closing, cable, website } from './network.ts';

const kit = findGuestKit('x86_64');
/** CI's QEMU has a test of its own. */
const binaries = [...findQemus('x86_64')].filter(([version]) => compareVersions(version, '8.0') > 0);
if (binaries.length === 0)
  console.warn(
    'SKIPPED: vhost-user in newer QEMUs: VIRTKIT_QEMU_ROOTS names directories with QEMU 10.0 and 11.1',
  );
if (!kit.ok) console.warn(`SKIPPED: vhost-user in newer QEMUs: ${kit.reason}`);

const DISK_BYTES = 32 << 20;
const PLUGGED_BYTES = 1 << 20;
const PLUGS = 3;
/** The program that has a front end for any device: 11.0 and newer. */
const hasAnyDevice = (version: string): boolean => compareVersions(version, '11.0') >= 0;

const toClose: Closing[] = [];
let folder: string;

afterEach(async () => {
  for (const each of toClose.splice(0).reverse()) await each.close();
});

function path(name: string): string {
  return join(folder, name);
}

function serve<D>(name: string, model: DeviceModel<D>, events: DeviceEvent[]): VhostUserServer<D> {
  const server = serveVhostUser(model, { path: path(name), onEvent: (event) => events.push(event) });
  toClose.push(server);
  return server;
}

/** Terminal that says each line that it hears again, with a word in front. */
function echo(): ConsoleDevice {
  let port: GuestPort | undefined;
  let text = '';
  const backend = {
    attach: (attached: GuestPort) => {
      port = attached;
    },
    write: (bytes: Uint8Array, start: number, end: number) => {
      text += Buffer.from(bytes.subarray(start, end)).toString('latin1');
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) port?.send(Buffer.from(`heard ${line.trim()}\n`));
      return end - start;
    },
  };
  return new ConsoleDevice({ ports: [{ console: true, backend }] });
}

/** What the guest does after each of its beginnings. */
function program(port: number): readonly string[] {
  const check = (name: string): string => `echo LAB:${name} $(cd /mnt && sha256sum *.bin | sha256sum)`;
  return [
    'n=0; while [ ! -b /dev/vda ] && [ $n -lt 600 ]; do usleep 100000; n=$((n + 1)); done',
    'echo LAB:QUEUES $(ls /sys/block/vda/mq | wc -l)',
    'echo LAB:RNG $(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)',
    'ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0',
    'echo LAB:PAIRS $(ls -d /sys/class/net/eth0/queues/rx-* | wc -l)',
    `echo LAB:WEB $(wget -q -O - http://10.0.2.2:${port}/ | sha256sum)`,
    'if [ -c /dev/hvc0 ]; then stty -echo -F /dev/hvc0; exec 4<>/dev/hvc0; echo hello >&4; read -t 20 said <&4; echo LAB:HVC "$said"; exec 4>&-; fi',
    'mkdir /mnt',
    'if mount -t ext4 /dev/vda /mnt 2>/dev/null; then',
    `  ${check('AGAIN')}`,
    '  umount /mnt; echo LAB:DONE',
    'else',
    '  mke2fs /dev/vda >/dev/null 2>&1; mount -t ext4 /dev/vda /mnt',
    '  for c in 1 2 3 4; do taskset $((1 + c % 2)) sh -c "dd if=/dev/urandom of=/mnt/$c.bin bs=64k count=40 2>/dev/null; sync" & done; wait',
    `  ${check('FILES')}`,
    '  umount /mnt; mount -t ext4 /dev/vda /mnt; echo 3 > /proc/sys/vm/drop_caches',
    `  ${check('SAME')}`,
    '  umount /mnt; echo LAB:HOTPLUG',
    `  for i in $(seq ${PLUGS}); do`,
    '    while [ ! -b /dev/vdb ]; do usleep 50000; done',
    '    echo LAB:PLUGGED $i $(sha256sum < /dev/vdb)',
    '    dd if=/dev/zero of=/dev/vdb bs=4k count=1 seek=$i oflag=direct 2>/dev/null; echo LAB:WRITTEN $i',
    '    while [ -b /dev/vdb ]; do usleep 50000; done; echo LAB:UNPLUGGED $i',
    '  done',
    '  reboot -f',
    'fi',
  ];
}

async function boot(binary: QemuBinary, packed: boolean, port: number): Promise<Qemu> {
  if (!kit.ok) throw new Error(kit.reason);
  // only the disk's and the card's front ends wait for a connection that is made later
  const chardev = (name: string, more = ''): string[] => [
    '-chardev',
    `socket,id=${name},path=${path(name)}${more}`,
  ];
  const any = hasAnyDevice(binary.version)
    ? [
        ...chardev('console'),
        '-device',
        `vhost-user-test-device-pci,chardev=console,virtio-id=3,num_vqs=64,vq_size=128,config_size=12,packed=${packed ? 'on' : 'off'}`,
      ]
    : [];
  const ring = `packed=${packed ? 'on' : 'off'}`;
  const vm = await Qemu.start({
    arch: 'x86_64',
    binary,
    machine: 'q35',
    memoryMiB: 192,
    args: [
      ...['-smp', '2'],
      ...chardev('disk', ',reconnect-ms=1000'),
      ...['-device', `vhost-user-blk-pci,chardev=disk,num-queues=2,${ring}`],
      ...chardev('rng'),
      ...['-device', `vhost-user-rng-pci,chardev=rng,${ring}`],
      ...chardev('net', ',reconnect-ms=1000'),
      ...['-netdev', 'vhost-user,id=n0,chardev=net,queues=2'],
      ...['-device', `virtio-net-pci,netdev=n0,mq=on,mac=52:54:00:12:34:56,${ring}`],
      ...any,
      ...['-device', 'pcie-root-port,id=port0,slot=1'],
      ...['-kernel', kit.kit.kernelPath, '-initrd', 'initrd', '-append', kernelCommandLine('x86_64')],
    ],
    files: {
      initrd: buildInitramfs(kit.kit, {
        modules: ['virtio_pci', 'virtio_blk', 'virtio_rng', 'virtio_net', 'virtio_console'],
        disk: false,
        network: false,
        commands: program(port),
      }),
    },
  });
  toClose.push(vm);
  return vm;
}

/** Tries again while QEMU refuses; the test's own time-out ends what never comes. */
async function retry(ask: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      await delay(50);
    }
  }
}

async function plugAndUnplug(vm: Qemu, round: number, events: DeviceEvent[]): Promise<void> {
  const bytes = randomBytes(PLUGGED_BYTES);
  const sum = createHash('sha256').update(bytes).digest('hex');
  const name = `plugged${round}`;
  const server = serve(name, new BlkDevice({ backend: memoryDisk(bytes) }), events);
  await vm.qmp.execute('chardev-add', {
    id: name,
    backend: {
      type: 'socket',
      data: { addr: { type: 'unix', data: { path: path(name) } }, server: false, 'reconnect-ms': 1000 },
    },
  });
  await vm.qmp.execute('device_add', {
    driver: 'vhost-user-blk-pci',
    id: name,
    chardev: name,
    bus: 'port0',
    'num-queues': 1,
  });
  const plugged = await vm.waitForConsole(new RegExp(`LAB:PLUGGED ${round} ([0-9a-f]{64})`), 120_000);
  expect(plugged[1]).toBe(sum);
  await vm.waitForConsole(new RegExp(`LAB:WRITTEN ${round}`), 120_000);
  await vm.qmp.execute('device_del', { id: name });
  await vm.waitForConsole(new RegExp(`LAB:UNPLUGGED ${round}`), 120_000);
  // the guest lets go of its device before QEMU does
  await retry(() => vm.qmp.execute('chardev-remove', { id: name }));
  expect(bytes.subarray(4096 * round, 4096 * (round + 1)).every((byte) => byte === 0)).toBe(true);
  expect(server.device.status).toBe(0);
}

describe.skipIf(binaries.length === 0 || !kit.ok).each(binaries)('Linux in QEMU %s', (version, binary) => {
  test.each([false, true])(
    'works on disks, a card, entropy and a terminal; disks come and go, it begins anew (packed rings: %s)',
    async (packed) => {
      folder = mkdtempSync(join(tmpdir(), 'vu-'));
      toClose.push({ close: () => rmSync(folder, { recursive: true, force: true }) });
      const events: DeviceEvent[] = [];
      const content = new Uint8Array(DISK_BYTES);
      const disk = serve('disk', new BlkDevice({ backend: memoryDisk(content), queues: 2 }), events);
      const rng = serve('rng', new RngDevice({ backend: webCrypto(globalThis.crypto) }), events);
      const terminal = hasAnyDevice(version) ? serve('console', echo(), events) : undefined;
      const web = await website(toClose);
      await cable({ path: path('net'), wire: path('wire'), binary, queuePairs: 2 }, toClose);
      const vm = await boot(binary, packed, web.port);

      await vm.waitForConsole(/LAB:HOTPLUG/, 300_000);
      const said = (name: string): string[] =>
        [...vm.console.matchAll(new RegExp(`LAB:${name} ([^\\r\\n]*)\\r?\\n`, 'g'))].map(([, text = '']) =>
          text.trim(),
        );
      expect(said('QUEUES')).toEqual(['2']);
      expect(said('RNG')).toEqual(['64']);
      expect(said('PAIRS')).toEqual(['2']);
      expect(said('WEB')).toEqual([`${web.sum} -`]);
      if (terminal !== undefined) expect(said('HVC')).toEqual(['heard hello']);
      const format = packed ? 'packed' : 'split';
      expect([0, 1].map((queue) => disk.device.queue(queue)?.format)).toEqual([format, format]);
      expect([0, 1].map((queue) => (disk.device.queue(queue)?.kicks ?? 0) > 0)).toEqual([true, true]);
      // this front end's device has whatever the back end offers
      expect(rng.device.queue(0)?.format).toBe('packed');
      for (let round = 1; round <= PLUGS; round++) await plugAndUnplug(vm, round, events);

      await vm.waitForConsole(/LAB:DONE/, 300_000);
      expect(said('SAME')).toEqual(said('FILES'));
      expect(said('AGAIN')).toEqual(said('FILES'));
      expect(said('WEB')).toHaveLength(2);
      expect(said('WEB')[1]).toBe(`${web.sum} -`);
      expect(said('RNG')).toEqual(['64', '64']);
      if (terminal !== undefined) {
        // until its program says otherwise a new terminal of Linux repeats what it hears, so that more may have come before
        expect(said('HVC')).toEqual(['heard hello', expect.stringMatching(/^heard .*hello$/)]);
      }
      expect(events.filter(({ name }) => !['front-end', 'front-end-left'].includes(name))).toEqual([]);
      writeFileSync(path('image'), content);
      await promisify(execFile)('e2fsck', ['-f', '-n', path('image')], {
        env: { PATH: '/usr/sbin:/sbin:/usr/bin:/bin' },
      });
    },
    600_000,
  );
});

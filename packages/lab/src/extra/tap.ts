import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { captureRunningGuest, type RunningGuestOptions } from '../capture/running-guest.ts';
import { findGuestKit } from '../guest.ts';
import { compareVersions, type Qemu, type QemuBinary } from '../qemu.ts';
import { delay } from '../qmp.ts';
import { type Extra, prefix } from './case.ts';
import { ALL, NEW, QBOOT } from './parts.ts';

const tapName = (binary: QemuBinary): string => `vktap${binary.version.replaceAll('.', '')}`;

function hostAddress(vm: Qemu): void {
  spawnSync('ip', ['addr', 'add', '10.0.2.2/24', 'dev', tapName(vm.binary)]);
  spawnSync('ip', ['link', 'set', tapName(vm.binary), 'up']);
  if (!vm.alive) throw new Error('QEMU is gone');
}

function ethtoolFiles(): Record<string, Uint8Array> | undefined {
  const root = process.env['VIRTKIT_LAB_ETHTOOL']; // an unpacked ethtool package with the libraries it needs
  if (root === undefined) return undefined;
  const files: Record<string, Uint8Array> = {};
  for (const path of [
    'sbin/ethtool',
    'lib64/ld-linux-x86-64.so.2',
    'lib/x86_64-linux-gnu/libc.so.6',
    'lib/x86_64-linux-gnu/libm.so.6',
    'lib/x86_64-linux-gnu/libmnl.so.0',
  ]) {
    files[path] = readFileSync(join(root, path));
  }
  return files;
}

function tap(
  name: string,
  versions: readonly string[],
  special: string,
  net: string,
  commands: readonly string[],
  more: Partial<RunningGuestOptions> & { minKernel?: string } = {},
): Extra {
  return {
    name,
    special,
    arch: 'x86_64',
    versions,
    make: async (binary) => {
      const kit = findGuestKit('x86_64');
      const { minKernel = '0', ...options } = more;
      if (!kit.ok || compareVersions(kit.kit.kernelRelease.replace(/[^\d.].*/, ''), minKernel) < 0) {
        throw new Error(`needs a guest kernel ${minKernel} in VIRTKIT_LAB_CACHE`);
      }
      const files = ethtoolFiles();
      return captureRunningGuest({
        machine: 'q35',
        ...options,
        arch: 'x86_64',
        binary,
        name: prefix(binary) + name,
        special,
        args: [...QBOOT, '-smp', '4', ...(options.args ?? [])],
        netdev: `tap,id=n0,ifname=${tapName(binary)},script=no,downscript=no,vhost=off${net.includes('mq=on') ? ',queues=4' : ''}`,
        net,
        guest: {
          files,
          network: true,
          disk: false,
          commands: [
            'export PATH=/bin:/sbin',
            'ip link set eth0 up',
            ...commands.map((line) => `${line} 2>&1 | sed 's/^/LAB:SAYS /'`),
          ],
        },
        guestState: 'driver bound; pings and UDP over a tap device when the VM was stopped',
        steps: commands,
        until: async (vm) => {
          hostAddress(vm);
          await vm.waitForConsole(/LAB:READY/, 120_000);
          await vm.waitForConsole(/LAB:NET/, 20_000);
          await delay(500);
          const said = vm.console.match(/LAB:SAYS .*/g);
          if (said !== null) console.log(said.join('\n'));
        },
      });
    },
  };
}

const RSS_COMMANDS = ['ethtool -L eth0 combined 3', 'ethtool -X eth0 equal 3', 'ethtool -x eth0'];

/** Network cards over a tap device: several queues, receive-side scaling, features above 63. They need root. */
export const tapCases: readonly Extra[] = [
  tap(
    'q35-mq-rss-hash',
    ALL,
    'RSS and hash reports configured by the guest over 3 of 4 queue pairs (virtio-net-device/rss)',
    'mq=on,vectors=10,rss=on,hash=on',
    RSS_COMMANDS,
  ),
  tap(
    'q35-mq-rss',
    ALL,
    'RSS configured by the guest, no hash reports',
    'mq=on,vectors=10,rss=on',
    RSS_COMMANDS,
  ),
  tap('q35-mq-tap', NEW, 'mq=on, tap with 4 queue pairs, guest uses 2', 'mq=on,vectors=10', [
    'ethtool -L eth0 combined 2',
  ]),
  tap('q35-tap', NEW, 'tap, one pair: the offloads of a real backend in the features', '', []),
  tap(
    'q35-tap-tunnel',
    NEW,
    'tap with UDP tunnel offloads offered: features above 63 (virtio/128bit_features)',
    'host_tunnel=on,guest_tunnel=on',
    [],
  ),
  tap(
    'q35-tap-tunnel-mq-packed',
    NEW,
    'features above 63, several queues, packed rings',
    'mq=on,vectors=10,packed=on,host_tunnel=on,guest_tunnel=on',
    ['ethtool -L eth0 combined 4'],
  ),
  tap(
    'q35-tap-tunnel-negotiated',
    NEW,
    'features above 63 negotiated by a newer Linux (features128 in the PCI state)',
    'host_tunnel=on,guest_tunnel=on',
    [],
    { minKernel: '6.17' },
  ),
  tap(
    'q35-tap-tunnel-negotiated-mq',
    NEW,
    'features above 63 negotiated, several queues',
    'mq=on,vectors=10,rss=on,hash=on',
    ['ethtool -X eth0 equal 4'],
    { minKernel: '6.17' },
  ),
  tap('pc-tap-72', ['7.2'], 'tap, one pair: the offloads of a real backend in the features', '', [], {
    machine: 'pc',
  }),
];

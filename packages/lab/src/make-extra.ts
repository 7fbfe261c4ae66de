/**
 * Makes the corpus streams that are not of the first sixty: `tsx src/make-extra.ts [name filter…]`.
 *
 * The cases that fit the QEMU found (see `findQemu`; `VIRTKIT_QEMU_ROOT` chooses another) are run one after another and
 * written to `streams/<version>/`. Cases with a tap device need root. A case that fails is reported and skipped.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  type Captured,
  type CaseNotes,
  captureRunningGuest,
  captureStream,
  type RunningGuestOptions,
} from './capture.ts';
import { findGuestKit } from './guest.ts';
import { throttle, untilParked } from './parked.ts';
import {
  compareVersions,
  findQemu,
  type Qemu,
  type QemuArch,
  type QemuBinary,
  type QemuOptions,
  withQemu,
} from './qemu.ts';
import { delay, isObject } from './qmp.ts';

type Maker = (binary: QemuBinary) => Promise<Captured>;
interface Extra {
  readonly name: string;
  readonly special: string;
  readonly arch: QemuArch;
  /** Major and minor versions it is made with. */
  readonly versions: readonly string[];
  readonly make: Maker;
}

const extras: Extra[] = [];

const DISK: QemuOptions['files'] = { 'disk.img': 64 << 20 };
const BLK = ['-blockdev', 'driver=file,filename=disk.img,node-name=d0'];
const NET = ['-netdev', 'user,id=n0,restrict=on'];
const MAC = 'mac=52:54:00:12:34:56';
const PCI_PAIR = [
  ...BLK,
  '-device',
  'virtio-blk-pci,drive=d0,id=blk0',
  ...NET,
  '-device',
  `virtio-net-pci,netdev=n0,id=net0,${MAC},romfile=`,
];
const CCW_PAIR = [
  ...BLK,
  '-device',
  'virtio-blk-ccw,drive=d0,id=blk0',
  ...NET,
  '-device',
  `virtio-net-ccw,netdev=n0,id=net0,${MAC}`,
];
/** On machines with virtio-mmio slots. */
const MMIO_PAIR = [
  ...BLK,
  '-device',
  'virtio-blk-device,drive=d0,id=blk0',
  ...NET,
  '-device',
  `virtio-net-device,netdev=n0,id=net0,${MAC}`,
];
/** A small firmware, so that the ROM blocks stay small. */
const QBOOT = ['-bios', 'qboot.rom'];
const prefix = (binary: QemuBinary): string => `q${binary.version.split('.').slice(0, 2).join('')}-`;

interface BareOptions extends Omit<QemuOptions, 'arch' | 'binary'> {
  readonly state?: string;
  readonly steps?: readonly string[];
  /** Runs while the machine does; it is stopped afterwards. Without it the machine never runs. */
  readonly run?: (vm: Qemu) => Promise<void>;
  readonly migrate?: CaseNotes['migrate'];
  readonly transfer?: CaseNotes['transfer'];
  readonly live?: boolean;
}

function bare(
  name: string,
  arch: QemuArch,
  versions: readonly string[],
  special: string,
  options: BareOptions,
): void {
  const { state, steps, run, migrate, transfer, live, ...start } = options;
  extras.push({
    name,
    special,
    arch,
    versions,
    make: (binary) =>
      withQemu({ ...start, arch, binary, paused: run === undefined }, async (vm) => {
        if (run !== undefined) {
          await run(vm);
          if (live !== true) await vm.stop();
        }
        const guestState = state ?? 'reset: VM never ran (-S)';
        return captureStream(vm, {
          case: prefix(binary) + name,
          special,
          guestState,
          steps,
          migrate,
          transfer,
          live,
        });
      }),
  });
}

function guest(
  name: string,
  arch: 'x86_64' | 's390x',
  versions: readonly string[],
  special: string,
  options: Omit<RunningGuestOptions, 'arch' | 'binary'>,
): void {
  extras.push({
    name,
    special,
    arch,
    versions,
    make: (binary) => {
      const args = [
        ...(arch === 'x86_64' &&
        options.machine?.startsWith('microvm') !== true &&
        options.args?.includes('-bios') !== true
          ? QBOOT
          : []),
        ...(options.args ?? []),
      ];
      return captureRunningGuest({
        ...options,
        arch,
        binary,
        args: args.filter((arg) => arg !== ''),
        name: prefix(binary) + name,
        special,
      });
    },
  });
}

/**
 * A 64 KiB firmware of our own: fills eight pages from 0x10000 on, then increments a word in each of them for ever. RAM
 * with a few non-zero, ever changing pages, in little space.
 */
function tinyFirmware(): Uint8Array {
  const rom = new Uint8Array(64 * 1024);
  const code = [
    0xb8,
    0x00,
    0x10, // mov ax, 0x1000
    0x8e,
    0xd8, // mov ds, ax
    0x31,
    0xf6, // xor si, si
    // fill: word [si] = 0xa55a until 0x8000
    0xc7,
    0x04,
    0x5a,
    0xa5, // mov word [si], 0xa55a
    0x46,
    0x46, // inc si; inc si
    0x81,
    0xfe,
    0x00,
    0x80, // cmp si, 0x8000
    0x75,
    0xf4, // jne fill
    // again: si = 0
    0x31,
    0xf6, // xor si, si
    // touch: increment a word of each page
    0x0f,
    0x01,
    0x3c, // invlpg [si] (QEMU 7.2 does not notice later writes otherwise)
    0xff,
    0x04, // inc word [si]
    0x81,
    0xc6,
    0x00,
    0x10, // add si, 0x1000
    0x81,
    0xfe,
    0x00,
    0x80, // cmp si, 0x8000
    0x75,
    0xf1, // jne touch
    0xb9,
    0x00,
    0x40, // mov cx, 0x4000
    0xe2,
    0xfe, // loop $
    0xeb,
    0xe8, // jmp again
  ];
  rom.set(code, 0xf000);
  rom.set([0xe9, 0x0d, 0xf0], 0xfff0); // jmp 0xf000
  return rom;
}
const TINY = { ...DISK, 'tiny.rom': tinyFirmware() };
const TINY_ARGS = ['-bios', 'tiny.rom', '-cpu', 'qemu64'];
const runTiny = async (): Promise<void> => delay(700);
const TINY_STATE = 'no guest; a firmware of a few instructions changes eight pages of RAM for ever';

const seconds = (n: number) => async (): Promise<void> => delay(n * 1000);
const ALL = ['7.2', '10.0', '11.1'];
const NEW = ['11.1'];
/** 5.2 has no `x-query-virtio`: what the guest says is the truth. */
const ENDS = ['5.2', '11.1'];

// ---- reset state -------------------------------------------------------------------------------------------------
for (const machine of ['q35', 'pc']) {
  bare(`${machine}-reset`, 'x86_64', NEW, `reset state, default blk and net, ${machine}`, {
    machine,
    files: DISK,
    args: [...QBOOT, ...PCI_PAIR],
  });
}
bare('s390-reset', 's390x', NEW, 'reset state, default blk and net, ccw', {
  machine: 's390-ccw-virtio',
  files: DISK,
  args: CCW_PAIR,
});

// ---- Linux guests under load -------------------------------------------------------------------------------------
guest('q35-io', 'x86_64', ENDS, 'mid-I/O, q35', { machine: 'q35' });
guest('pc-io', 'x86_64', ENDS, 'mid-I/O, i440fx', { machine: 'pc' });
guest('pc-forcelegacy-io', 'x86_64', ENDS, 'guest virtio_pci force_legacy=1', {
  machine: 'pc',
  guest: { moduleParameters: { virtio_pci: 'force_legacy=1' } },
});
guest('s390-io', 's390x', ENDS, 'ccw mid-I/O', {});
guest('s390-packed-io', 's390x', ENDS, 'ccw, packed rings', { blk: 'packed=on', net: 'packed=on' });
guest('s390-legacy-io', 's390x', ENDS, 'ccw max_revision=0: legacy, big-endian', {
  blk: 'max_revision=0',
  net: 'max_revision=0',
});
guest('q35-packed-io', 'x86_64', ENDS, 'packed rings, 2 disk queues', {
  machine: 'q35',
  blk: 'packed=on,num-queues=2',
  net: 'packed=on',
});
guest('microvm-mmio-io', 'x86_64', ENDS, 'virtio-mmio, mid-I/O', { machine: 'microvm,pit=on,pic=on,rtc=on' });
guest('microvm-mmio-modern-io', 'x86_64', NEW, 'virtio-mmio version 2, mid-I/O', {
  machine: 'microvm,pit=on,pic=on,rtc=on',
  args: ['-global', 'virtio-mmio.force-legacy=false'],
});
guest('q35-rootport-io', 'x86_64', NEW, 'modern-only PCIe endpoints behind root ports, aer=on, ats=on', {
  machine: 'q35',
  args: [
    '-device',
    'pcie-root-port,id=rp1,chassis=1,slot=1,addr=4',
    '-device',
    'pcie-root-port,id=rp2,chassis=2,slot=2,addr=5',
  ],
  blk: 'bus=rp1,aer=on,ats=on',
  net: 'bus=rp2,aer=on,ats=on',
});
guest(
  'q35-rootport-aer-io',
  'x86_64',
  ['7.2', '10.0'],
  'PCIe endpoints behind root ports with aer=on, ats=on',
  {
    machine: 'q35',
    args: [
      '-device',
      'pcie-root-port,id=rp1,chassis=1,slot=1,addr=4',
      '-device',
      'pcie-root-port,id=rp2,chassis=2,slot=2,addr=5',
    ],
    blk: 'bus=rp1,aer=on,ats=on',
    net: 'bus=rp2,aer=on,ats=on',
  },
);
guest('pc-bridge-io', 'x86_64', ['7.2', '11.1'], 'devices behind a conventional PCI bridge', {
  machine: 'pc',
  args: ['-device', 'pci-bridge,id=br1,chassis_nr=1,addr=6'],
  blk: 'bus=br1,addr=1',
  net: 'bus=br1,addr=2',
});
guest('q35-iommuplatform-io', 'x86_64', NEW, 'iommu_platform=on, no vIOMMU', {
  machine: 'q35',
  blk: 'iommu_platform=on,disable-legacy=on',
  net: 'iommu_platform=on,disable-legacy=on',
});
guest(
  'q35-vtd-io',
  'x86_64',
  ['7.2', '11.1'],
  'iommu_platform=on behind an emulated VT-d: rings at I/O virtual addresses',
  {
    machine: 'q35,kernel-irqchip=split',
    args: ['-device', 'intel-iommu,intremap=off,device-iotlb=on'],
    blk: 'iommu_platform=on,ats=on,disable-legacy=on',
    net: 'iommu_platform=on,ats=on,disable-legacy=on',
    kernelArgs: 'intel_iommu=on',
  },
);
guest('q35-pagepervq-io', 'x86_64', NEW, 'page-per-vq=on', {
  machine: 'q35',
  blk: 'page-per-vq=on,num-queues=4',
  net: 'page-per-vq=on',
});
guest('q35-pagepervq-io', 'x86_64', ['7.2'], 'page-per-vq=on', {
  machine: 'q35',
  blk: 'page-per-vq=on',
  net: 'page-per-vq=on',
});
guest('q35-vectors-io', 'x86_64', ['7.2', '11.1'], 'MSI-X tables of 1 and 8 vectors', {
  machine: 'q35',
  blk: 'vectors=1',
  net: 'vectors=8',
});
guest('q35-modernpio-io', 'x86_64', ENDS, 'modern-pio-notify=on', {
  machine: 'q35',
  blk: 'modern-pio-notify=on',
  net: 'modern-pio-notify=on',
});
guest('q35-inorder-io', 'x86_64', NEW, 'in_order=on', {
  machine: 'q35',
  blk: 'in_order=on',
  net: 'in_order=on',
});
guest('q35-52-io', 'x86_64', NEW, 'oldest machine type of this QEMU', { machine: 'pc-q35-5.2' });
guest('q35-72-io', 'x86_64', NEW, 'machine type 7.2', { machine: 'pc-q35-7.2' });
guest('s390-52-io', 's390x', NEW, 'oldest machine type of this QEMU', { machine: 's390-ccw-virtio-5.2' });

// ---- requests parked on the device's list -------------------------------------------------------------------------
interface Parked {
  readonly blk?: string;
  readonly machine?: string;
  readonly write?: boolean;
  readonly size?: string;
}
function parked(
  name: string,
  arch: 'x86_64' | 's390x',
  versions: readonly string[],
  special: string,
  { blk = '', machine, write = true, size = '4k' }: Parked,
): void {
  const one = (n: number): string =>
    write
      ? `dd if=/dev/urandom of=/dev/vda bs=${size} count=1 seek=${n * 100} oflag=direct &`
      : `dd if=/dev/vda of=/dev/null bs=${size} count=1 skip=${n * 100} iflag=direct &`;
  // Reads fail only where the test reads, or the VM would stop when the guest looks for partitions.
  const sectors = (Number.parseInt(size, 10) * 1024) / 512;
  const rules = write
    ? [{ event: 'none', iotype: 'write', errno: 5, once: false }]
    : [1, 2, 3, 4, 5, 6].map((n) => ({
        event: 'none',
        iotype: 'read',
        errno: 5,
        once: false,
        sector: n * 100 * sectors,
      }));
  guest(name, arch, versions, special, {
    machine,
    blockdev: [
      '-blockdev',
      'driver=file,filename=disk.img,node-name=f0',
      '-blockdev',
      JSON.stringify({ driver: 'blkdebug', 'node-name': 'd0', image: 'f0', 'inject-error': rules }),
    ],
    blk: `rerror=stop,werror=stop${blk}`,
    guest: {
      disk: false,
      network: true,
      commands: ['n=0; while [ ! -b /dev/vda ] && [ $n -lt 50 ]; do usleep 100000; n=$((n + 1)); done'],
      // The first read uses up what the throttle allows, so that the others queue behind it.
      afterReady: [
        'read line',
        'dd if=/dev/vda of=/dev/null bs=16k count=1 skip=3000 iflag=direct',
        ...[1, 2, 3, 4, 5, 6].map(one),
        'echo LAB:ISSUED',
      ],
    },
    guestState:
      "driver bound; requests parked on the device's request list (I/O error with werror/rerror=stop)",
    steps: [`six ${write ? 'writes' : 'reads'} of ${size} at 4096 bytes a second, then stop`],
    until: untilParked,
  });
}
parked('q35-inflight-w', 'x86_64', NEW, 'parked writes, one queue', { machine: 'q35' });
parked('q35-inflight-mq', 'x86_64', ENDS, 'parked writes, num-queues=4 (queue index in the stream)', {
  machine: 'q35',
  blk: ',num-queues=4',
});
parked('q35-packed-inflight', 'x86_64', ENDS, 'packed ring with parked writes (ndescs in each element)', {
  machine: 'q35',
  blk: ',packed=on',
});
parked('pc-inflight-read', 'x86_64', ENDS, 'parked reads of 64k (device-writable buffers)', {
  machine: 'pc',
  write: false,
  size: '64k',
});
parked('s390-inflight', 's390x', ENDS, 'ccw with parked writes', {});

// ---- virtio-net over a tap device: several queues, RSS, features above 63 -----------------------------------------
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
): void {
  extras.push({
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
  });
}
const RSS_COMMANDS = ['ethtool -L eth0 combined 3', 'ethtool -X eth0 equal 3', 'ethtool -x eth0'];
tap(
  'q35-mq-rss-hash',
  ALL,
  'RSS and hash reports configured by the guest over 3 of 4 queue pairs (virtio-net-device/rss)',
  'mq=on,vectors=10,rss=on,hash=on',
  RSS_COMMANDS,
);
tap(
  'q35-mq-rss',
  ALL,
  'RSS configured by the guest, no hash reports',
  'mq=on,vectors=10,rss=on',
  RSS_COMMANDS,
);
tap('q35-mq-tap', NEW, 'mq=on, tap with 4 queue pairs, guest uses 2', 'mq=on,vectors=10', [
  'ethtool -L eth0 combined 2',
]);
tap('q35-tap', NEW, 'tap, one pair: the offloads of a real backend in the features', '', []);
tap(
  'q35-tap-tunnel',
  NEW,
  'tap with UDP tunnel offloads offered: features above 63 (virtio/128bit_features)',
  'host_tunnel=on,guest_tunnel=on',
  [],
);
tap(
  'q35-tap-tunnel-mq-packed',
  NEW,
  'features above 63, several queues, packed rings',
  'mq=on,vectors=10,packed=on,host_tunnel=on,guest_tunnel=on',
  ['ethtool -L eth0 combined 4'],
);
tap(
  'q35-tap-tunnel-negotiated',
  NEW,
  'features above 63 negotiated by a newer Linux (features128 in the PCI state)',
  'host_tunnel=on,guest_tunnel=on',
  [],
  { minKernel: '6.17' },
);
tap(
  'q35-tap-tunnel-negotiated-mq',
  NEW,
  'features above 63 negotiated, several queues',
  'mq=on,vectors=10,rss=on,hash=on',
  ['ethtool -X eth0 equal 4'],
  { minKernel: '6.17' },
);
tap('pc-tap-72', ['7.2'], 'tap, one pair: the offloads of a real backend in the features', '', [], {
  machine: 'pc',
});

// ---- other virtio devices -----------------------------------------------------------------------------------------
const OTHER_FILES: QemuOptions['files'] = {
  ...DISK,
  'scsi.img': 16 << 20,
  'pmem.img': 4 << 20,
  'vmem.img': 128 << 20,
};
const otherDevices = (
  kind: 'pci' | 'ccw',
  name: (device: string) => string = (device) => device,
): string[] => [
  '-object',
  'rng-random,id=rng,filename=/dev/urandom',
  '-device',
  name(`virtio-rng-${kind},id=rng0,rng=rng`),
  '-device',
  name(`virtio-balloon-${kind},id=balloon0,deflate-on-oom=on,free-page-reporting=on`),
  '-chardev',
  'null,id=vc0',
  '-chardev',
  'null,id=vc1',
  '-device',
  name(`virtio-serial-${kind},id=serial0,max_ports=4`),
  '-device',
  'virtconsole,bus=serial0.0,nr=0,chardev=vc0,id=console0',
  '-device',
  'virtserialport,bus=serial0.0,nr=2,chardev=vc1,name=org.example.port,id=port0',
  '-blockdev',
  'driver=file,filename=scsi.img,node-name=s0',
  '-device',
  name(`virtio-scsi-${kind},id=scsi0,num_queues=2`),
  '-device',
  'scsi-hd,bus=scsi0.0,drive=s0,id=scsidisk0',
  '-device',
  name(`virtio-keyboard-${kind},id=kbd0`),
  '-device',
  name(`virtio-mouse-${kind},id=mouse0`),
  '-device',
  name(`virtio-tablet-${kind},id=tablet0`),
  '-device',
  name(`virtio-gpu-${kind},id=gpu0,xres=64,yres=48`),
];
const NINEP = (kind: string): string[] => [
  '-fsdev',
  'local,id=fs0,path=.,security_model=none',
  '-device',
  `virtio-9p-${kind},id=ninep0,fsdev=fs0,mount_tag=lab`,
];
const MEMORY_DEVICES = [
  '-object',
  'memory-backend-file,id=vmem,size=128M,mem-path=vmem.img,share=on',
  '-device',
  'virtio-mem-pci,id=vmem0,memdev=vmem,requested-size=32M',
];
const PMEM = [
  '-object',
  'memory-backend-file,id=pmem,size=4M,mem-path=pmem.img,share=on',
  '-device',
  'virtio-pmem-pci,id=pmem0,memdev=pmem',
];
const HOTPLUG_ROOM = ['-m', '256M,maxmem=1G,slots=2'];

bare('q35-others-reset', 'x86_64', ALL, 'rng, balloon, serial, scsi, input, gpu, 9p, iommu at reset', {
  machine: 'q35',
  files: OTHER_FILES,
  args: [...QBOOT, ...otherDevices('pci'), ...NINEP('pci'), '-device', 'virtio-iommu-pci,id=iommu0'],
});
bare('q35-virtiomem-reset', 'x86_64', ['7.2', '11.1'], 'virtio-mem at reset', {
  machine: 'q35',
  memoryMiB: 256,
  files: OTHER_FILES,
  args: [...QBOOT, ...HOTPLUG_ROOM, ...MEMORY_DEVICES],
});
bare('q35-pmem-reset', 'x86_64', ['7.2', '11.1'], 'virtio-pmem at reset', {
  machine: 'q35',
  memoryMiB: 256,
  files: OTHER_FILES,
  args: [...QBOOT, ...HOTPLUG_ROOM, ...PMEM],
});
bare('q35-vsock-reset', 'x86_64', ['7.2', '11.1'], 'vhost-vsock at reset', {
  machine: 'q35',
  args: [...QBOOT, '-device', 'vhost-vsock-pci,id=vsock0,guest-cid=777'],
});
bare('q35-crypto-reset', 'x86_64', ['7.2', '11.1'], 'virtio-crypto at reset', {
  machine: 'q35',
  args: [
    ...QBOOT,
    '-object',
    'cryptodev-backend-builtin,id=crypto',
    '-device',
    'virtio-crypto-pci,id=crypto0,cryptodev=crypto',
  ],
});
const OTHER_MODULES = [
  'virtio_blk',
  'virtio_net',
  'virtio-rng',
  'virtio_balloon',
  'virtio_console',
  'virtio_scsi',
  'sd_mod',
  'virtio_input',
  'evdev',
];
const OTHER_COMMANDS = [
  '(while :; do dd if=/dev/hwrng of=/dev/null bs=64 count=100 2>/dev/null; done) &',
  '(while :; do echo hello > /dev/hvc0; usleep 10000; done) &',
  'for port in /dev/vport*p2; do (while :; do echo hello > $port; usleep 10000; done) & done',
  'n=0; while [ ! -b /dev/sda ] && [ $n -lt 50 ]; do usleep 100000; n=$((n + 1)); done',
  '(while :; do dd if=/dev/urandom of=/dev/sda bs=16k count=32 oflag=direct 2>/dev/null; done) &',
];
const balloonDown = async (vm: Qemu): Promise<void> => {
  await vm.waitForConsole(/LAB:READY/, 120_000);
  await vm.waitForConsole(/LAB:DISK [1-9]/, 60_000);
  await vm.qmp.execute('balloon', { value: 120 << 20 });
  await delay(2500);
};
guest(
  'q35-others-io',
  'x86_64',
  ['7.2', '11.1'],
  'Linux drives rng, balloon (inflated), console, port, scsi disk and input; gpu, 9p and iommu have no driver',
  {
    machine: 'q35',
    args: [...otherDevices('pci'), ...NINEP('pci'), '-device', 'virtio-iommu-pci,id=iommu0'],
    files: OTHER_FILES,
    guest: { modules: OTHER_MODULES, commands: OTHER_COMMANDS },
    guestState: 'drivers bound; all devices with a driver in use when the VM was stopped',
    steps: ['balloon to 120 MiB'],
    until: balloonDown,
  },
);
guest('q35-virtiomem-io', 'x86_64', ['7.2', '11.1'], 'virtio-mem plugged by Linux (32 MiB)', {
  machine: 'q35',
  memoryMiB: 256,
  args: [...HOTPLUG_ROOM, ...MEMORY_DEVICES],
  files: OTHER_FILES,
  guest: { modules: ['virtio_blk', 'virtio_net', 'virtio_mem'] },
});
bare(
  's390-others-reset',
  's390x',
  ['7.2', '11.1'],
  'rng, balloon, serial, scsi, input, gpu, 9p on ccw at reset',
  {
    machine: 's390-ccw-virtio',
    files: OTHER_FILES,
    args: [...otherDevices('ccw'), ...NINEP('ccw')],
  },
);
bare('s390-crypto-reset', 's390x', ['7.2'], 'virtio-crypto on ccw at reset', {
  machine: 's390-ccw-virtio',
  args: [
    '-object',
    'cryptodev-backend-builtin,id=crypto',
    '-device',
    'virtio-crypto-ccw,id=crypto0,cryptodev=crypto',
  ],
});
guest(
  's390-others-io',
  's390x',
  ['7.2', '11.1'],
  'Linux drives rng, balloon (inflated), console, port and scsi disk on ccw',
  {
    args: [...otherDevices('ccw'), ...NINEP('ccw')],
    files: OTHER_FILES,
    guest: {
      modules: [
        'virtio_blk',
        'virtio_net',
        'virtio-rng',
        'virtio_balloon',
        'virtio_console',
        'virtio_scsi',
        'sd_mod',
      ],
      commands: OTHER_COMMANDS,
    },
    guestState: 'drivers bound; all devices with a driver in use when the VM was stopped',
    steps: ['balloon to 120 MiB'],
    until: balloonDown,
  },
);
bare(
  'microvm-mmio-others-reset',
  'x86_64',
  ['7.2', '11.1'],
  'rng, balloon, keyboard on virtio-mmio at reset',
  {
    machine: 'microvm',
    args: [
      '-object',
      'rng-random,id=rng,filename=/dev/urandom',
      '-device',
      'virtio-rng-device,id=rng0,rng=rng',
      '-device',
      'virtio-balloon-device,id=balloon0',
      '-device',
      'virtio-keyboard-device,id=kbd0',
    ],
  },
);
guest('microvm-mmio-rng-io', 'x86_64', ['7.2'], 'rng on virtio-mmio with a Linux driver', {
  machine: 'microvm,pit=on,pic=on,rtc=on',
  args: [
    '-object',
    'rng-random,id=rng,filename=/dev/urandom',
    '-device',
    'virtio-rng-device,id=rng0,rng=rng',
  ],
  guest: {
    modules: ['virtio_blk', 'virtio_net', 'virtio-rng'],
    commands: ['(while :; do dd if=/dev/hwrng of=/dev/null bs=64 count=100 2>/dev/null; done) &'],
  },
});
guest(
  'pc-scsi-inflight',
  'x86_64',
  ['7.2', '11.1'],
  'virtio-scsi requests parked in the section of the scsi disk',
  {
    machine: 'pc',
    files: OTHER_FILES,
    args: [
      '-blockdev',
      'driver=file,filename=scsi.img,node-name=sf0',
      '-blockdev',
      '{"driver":"blkdebug","node-name":"s0","image":"sf0","inject-error":[{"event":"none","iotype":"write","errno":5,"once":false}]}',
      '-device',
      'virtio-scsi-pci,id=scsi0,num_queues=2',
      '-device',
      'scsi-hd,bus=scsi0.0,drive=s0,id=scsidisk0,rerror=stop,werror=stop',
    ],
    guest: {
      modules: ['virtio_blk', 'virtio_net', 'virtio_scsi', 'sd_mod'],
      disk: false,
      commands: ['n=0; while [ ! -b /dev/sda ] && [ $n -lt 50 ]; do usleep 100000; n=$((n + 1)); done'],
      afterReady: [
        'read line',
        'dd if=/dev/sda of=/dev/null bs=16k count=1 skip=900 iflag=direct',
        ...[1, 2, 3].map((n) => `dd if=/dev/urandom of=/dev/sda bs=4k count=1 seek=${n * 10} oflag=direct &`),
      ],
    },
    guestState: 'drivers bound; scsi writes parked after an I/O error (werror=stop)',
    until: async (vm) => {
      await vm.waitForConsole(/LAB:READY/, 120_000);
      await throttle(vm, 'scsidisk0');
      vm.writeConsole('\n');
      await delay(3000);
    },
  },
);

// a port whose reader at the host's end reads nothing: what the guest writes stays half written
for (const packed of [false, true]) {
  guest(
    `pc-port-throttled${packed ? '-packed' : ''}`,
    'x86_64',
    packed ? ['11.1'] : ['7.2', '11.1'],
    'a serial port that is throttled: a buffer of the guest is half written',
    {
      machine: 'pc',
      args: [
        '-chardev',
        'socket,id=vc1,path=port.sock,server=on,wait=off',
        '-device',
        `virtio-serial-pci,id=serial0,max_ports=40${packed ? ',packed=on' : ''}`,
        '-device',
        'virtserialport,bus=serial0.0,nr=35,chardev=vc1,name=org.example.port,id=port0',
      ],
      guest: {
        modules: ['virtio_blk', 'virtio_net', 'virtio_console'],
        afterReady: ['read line', 'for port in /dev/vport*p35; do cat /dev/zero > $port & done'],
      },
      guestState: 'drivers bound; a process writes to the port without end',
      steps: ['a client connects to the port and reads nothing'],
      until: async (vm) => {
        await vm.waitForConsole(/LAB:READY/, 120_000);
        connect(join(vm.dir, 'port.sock')).pause().unref();
        await delay(500);
        vm.writeConsole('\n');
        await delay(4000);
      },
    },
  );
}
guest(
  'q35-iommu-io',
  'x86_64',
  ['10.0', '11.1'],
  'virtio-iommu with a Linux driver: disk and card have domains with mappings (kernel of Debian 13)',
  {
    machine: 'q35',
    args: ['-device', 'virtio-iommu-pci,id=iommu0,addr=1e.0'],
    blk: 'iommu_platform=on,disable-legacy=on',
    net: 'iommu_platform=on,disable-legacy=on',
    guest: { modules: ['virtio-iommu', 'virtio_blk', 'virtio_net'] },
  },
);
guest(
  'q35-balloon-io',
  'x86_64',
  ['7.2', '11.1'],
  'a balloon whose guest takes hints of free pages and clears them (init_on_free)',
  {
    machine: 'q35',
    args: [
      '-object',
      'iothread,id=io0',
      '-device',
      'virtio-balloon-pci,id=balloon0,free-page-hint=on,free-page-reporting=on,iothread=io0',
    ],
    kernelArgs: 'init_on_free=1',
    guest: { modules: ['virtio_blk', 'virtio_net', 'virtio_balloon'] },
    steps: ['balloon to 120 MiB'],
    until: balloonDown,
  },
);
guest(
  'q35-gpu-io',
  'x86_64',
  ['7.2', '11.1'],
  'virtio-gpu with a Linux driver: a picture on its output (i386 kernel of Debian 12)',
  {
    machine: 'q35',
    args: ['-bios', 'bios-256k.bin', '-vga', 'none', '-device', 'virtio-gpu-pci,id=gpu0'],
    guest: { modules: ['virtio_blk', 'virtio_net', 'virtio-gpu'] },
  },
);

// ---- old machine types --------------------------------------------------------------------------------------------
for (const [version, what] of [
  ['2.3', 'no configuration section, no section footers, no extra_state, legacy only'],
  ['2.4', 'migrate-extra off: no virtio/extra_state'],
  ['2.6', 'disable-modern: no virtqueues subsection, empty extra_state'],
  ['4.0', 'use-started off: no virtio/started'],
  ['4.1', 'no FLR capability'],
  ['6.0', 'machine type between'],
] as const) {
  guest(`pc${version.replace('.', '')}-io`, 'x86_64', ['7.2'], `machine type ${version}: ${what}`, {
    machine: `pc-i440fx-${version}`,
  });
}
guest(
  'q3524-rootport-io',
  'x86_64',
  ['7.2'],
  'machine type q35 2.4: x-disable-pcie, devices behind a root port, legacy',
  {
    machine: 'pc-q35-2.4',
    args: ['-device', 'ioh3420,id=rp1,chassis=1,slot=1,addr=4'],
    blk: 'bus=rp1',
  },
);
guest('q3542-io', 'x86_64', ['7.2'], 'machine type q35 4.2: use-disabled-flag off', {
  machine: 'pc-q35-4.2',
});
guest(
  's39024-io',
  's390x',
  ['7.2'],
  'machine type 2.4: max_revision 0, names without a device path, no s390_css section',
  { machine: 's390-ccw-virtio-2.4', args: ['-cpu', 'max'] },
);
guest('s39029-io', 's390x', ['7.2'], 'machine type 2.9: css migration off', {
  machine: 's390-ccw-virtio-2.9',
  args: ['-cpu', 'max'],
});
guest('s39042-io', 's390x', ['7.2'], 'machine type 4.2', { machine: 's390-ccw-virtio-4.2' });

// ---- containers ---------------------------------------------------------------------------------------------------
const tinyBase = { memoryMiB: 4, files: TINY, args: [...TINY_ARGS, ...PCI_PAIR], state: TINY_STATE } as const;
bare('pc-fullram-tiny', 'x86_64', ALL, 'RAM in the stream: 4 MiB, zero pages and a few others', {
  ...tinyBase,
  machine: 'pc',
  sharedMemory: false,
  run: runTiny,
});
bare('pc-uuid', 'x86_64', ['7.2', '11.1'], 'UUID and the capability validate-uuid: configuration/uuid', {
  ...tinyBase,
  machine: 'pc',
  args: [...tinyBase.args, '-uuid', '12345678-9abc-def0-1122-334455667788'],
  state: 'reset: VM never ran (-S)',
  migrate: { capabilities: ['x-ignore-shared', 'validate-uuid'] },
});
bare('pc-novmdesc', 'x86_64', ALL, 'suppress-vmdesc=on: no description at the end', {
  ...tinyBase,
  machine: 'pc,suppress-vmdesc=on',
  state: 'reset: VM never ran (-S)',
});
bare('s390-fullram-tiny', 's390x', ['7.2', '11.1'], 'RAM and storage attributes in the stream (-m 4)', {
  machine: 's390-ccw-virtio',
  memoryMiB: 4,
  sharedMemory: false,
  files: DISK,
  args: CCW_PAIR,
});
function live(
  name: string,
  versions: readonly string[],
  special: string,
  capabilities: readonly string[],
  parameters: NonNullable<CaseNotes['migrate']>['parameters'] = {},
): void {
  extras.push({
    name,
    special,
    arch: 'x86_64',
    versions,
    make: (binary) =>
      withQemu(
        {
          arch: 'x86_64',
          binary,
          machine: 'pc',
          memoryMiB: 4,
          sharedMemory: false,
          files: TINY,
          args: [...TINY_ARGS, ...PCI_PAIR],
        },
        async (vm) => {
          await runTiny();
          let relaxed = false;
          return captureStream(vm, {
            case: prefix(binary) + name,
            special,
            guestState: TINY_STATE,
            live: true,
            steps: ['migrated while running, with little bandwidth at first'],
            migrate: {
              capabilities,
              parameters: { 'max-bandwidth': 100_000, 'downtime-limit': 1, ...parameters },
              whileActive: async (info) => {
                const ram = info['ram'];
                if (relaxed || !isObject(ram) || Number(ram['dirty-sync-count']) < 8) return;
                relaxed = true;
                await vm.qmp.execute('migrate-set-parameters', {
                  'max-bandwidth': 1 << 30,
                  'downtime-limit': 2000,
                });
              },
            },
          });
        },
      ),
  });
}
live('pc-live', ALL, 'live migration in several rounds: repeated PART sections', []);
live('pc-live-xbzrle', ALL, 'live migration with xbzrle records', ['xbzrle']);
live('pc-live-compress', ['7.2'], 'live migration with compressed pages (COMPRESS_PAGE)', ['compress'], {
  'compress-threads': 1,
});
bare(
  'pc-dirtybitmaps',
  'x86_64',
  ['7.2', '11.1'],
  'capability dirty-bitmaps: an iterable section that is neither RAM nor described',
  {
    ...tinyBase,
    machine: 'pc',
    run: async (vm) => {
      await runTiny();
      await vm.qmp.execute('block-dirty-bitmap-add', { node: 'd0', name: 'bitmap0', persistent: false });
      await vm.qmp.execute('block-dirty-bitmap-add', { node: 'd0', name: 'other', granularity: 65536 });
    },
    migrate: { capabilities: ['x-ignore-shared', 'dirty-bitmaps'] },
  },
);
for (const [name, capabilities, parameters, special] of [
  ['mappedram', ['mapped-ram'], {}, 'mapped-ram: pages at fixed places in the file'],
  [
    'mappedram-ignoreshared',
    ['mapped-ram', 'x-ignore-shared'],
    {},
    'mapped-ram with x-ignore-shared: only ROM blocks are mapped',
  ],
  [
    'mappedram-multifd',
    ['mapped-ram', 'multifd'],
    { 'multifd-channels': 2 },
    'mapped-ram written by multifd threads',
  ],
] as const) {
  bare(`pc-${name}`, 'x86_64', ['10.0', '11.1'], special, {
    ...tinyBase,
    machine: 'pc',
    sharedMemory: name === 'mappedram-ignoreshared',
    run: runTiny,
    migrate: { capabilities, parameters: { ...parameters }, method: 'file' },
  });
}
bare('s390-mappedram', 's390x', ['11.1'], 'mapped-ram of another architecture', {
  machine: 's390-ccw-virtio',
  memoryMiB: 4,
  sharedMemory: false,
  files: DISK,
  args: CCW_PAIR,
  migrate: { capabilities: ['mapped-ram'], method: 'file' },
});

/** Migrates over a socket, to a destination that only ends the return path when nothing more comes. */
function overSocket(capabilities: readonly string[]): (vm: Qemu) => Promise<Uint8Array> {
  return async (vm) => {
    const chunks: Buffer[] = [];
    const server = createServer((socket) => {
      let idle: NodeJS.Timeout | undefined;
      const shut = (): void => {
        socket.write(Buffer.from([0, 1, 0, 4, 0, 0, 0, 0])); // SHUT, 4 bytes, success
      };
      socket.on('data', (chunk) => {
        chunks.push(chunk);
        clearTimeout(idle);
        idle = setTimeout(shut, 700);
      });
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(join(vm.dir, 'dest.sock'), resolve));
    try {
      await vm.setCapabilities(capabilities);
      await vm.qmp.execute('migrate', { uri: 'unix:dest.sock' });
      for (let n = 0; ; n++) {
        const info = await vm.qmp.execute('query-migrate');
        const status = isObject(info) ? info['status'] : undefined;
        if (status === 'completed') break;
        if (status === 'failed' || n > 400)
          throw new Error(`migration ${String(status)}: ${JSON.stringify(info)} ${vm.stderr}`);
        await delay(50);
      }
    } finally {
      server.close();
    }
    return Buffer.concat(chunks);
  };
}
for (const [name, capabilities, special] of [
  ['returnpath', ['x-ignore-shared', 'return-path'], 'return path open: OPEN_RETURN_PATH and PING commands'],
  [
    'postcopyadvise',
    ['postcopy-ram'],
    'postcopy-ram allowed but not used: POSTCOPY_ADVISE, host page sizes in the block list if unusual',
  ],
] as const) {
  bare(`pc-${name}`, 'x86_64', ALL, special, {
    ...tinyBase,
    machine: 'pc',
    sharedMemory: name === 'returnpath',
    run: runTiny,
    transfer: overSocket(capabilities),
    migrate: { capabilities },
  });
}

// ---- other architectures ------------------------------------------------------------------------------------------
const MMIO_RNG = [
  '-object',
  'rng-random,id=rng,filename=/dev/urandom',
  '-device',
  'virtio-rng-device,id=rng0,rng=rng',
];
const PCI_BLK = [
  '-blockdev',
  'driver=file,filename=disk2.img,node-name=d1',
  '-device',
  'virtio-blk-pci,drive=d1,id=blk1',
];
const TWO_DISKS: QemuOptions['files'] = { ...DISK, 'disk2.img': 32 << 20 };
bare(
  'aarch64-virt-reset',
  'aarch64',
  ['7.2'],
  'aarch64: configuration/target-page-bits; virtio-mmio and virtio-pci devices',
  {
    machine: 'virt',
    files: TWO_DISKS,
    args: [
      '-cpu',
      'cortex-a57',
      ...MMIO_PAIR,
      ...PCI_BLK,
      '-netdev',
      'user,id=n1,restrict=on',
      '-device',
      'virtio-net-pci,netdev=n1,id=net1,romfile=,mac=52:54:00:12:34:57',
    ],
  },
);
bare(
  'aarch64-virt62-reset',
  'aarch64',
  ['7.2'],
  'aarch64, machine type 6.2, RAM in the stream, modern virtio-mmio',
  {
    machine: 'virt-6.2',
    memoryMiB: 8,
    sharedMemory: false,
    files: TWO_DISKS,
    args: ['-cpu', 'cortex-a57', '-global', 'virtio-mmio.force-legacy=false', ...MMIO_PAIR, ...MMIO_RNG],
  },
);
bare('riscv64-virt-reset', 'riscv64', ['7.2'], 'riscv64: virtio-mmio and virtio-pci devices', {
  machine: 'virt',
  files: TWO_DISKS,
  args: ['-bios', 'none', ...MMIO_PAIR, ...PCI_BLK],
});
bare('m68k-virt-reset', 'm68k', ['7.2'], 'm68k: a big-endian target with virtio-mmio', {
  machine: 'virt',
  files: DISK,
  args: [...MMIO_PAIR, ...MMIO_RNG],
});
bare(
  'ppc64-pseries-reset',
  'ppc64',
  ['7.2'],
  'ppc64 pseries: a big-endian target with virtio on PCI; spapr/htab is iterable',
  {
    machine: 'pseries',
    memoryMiB: 256,
    files: DISK,
    args: PCI_PAIR,
  },
);
bare(
  'ppc64-pseries-slof',
  'ppc64',
  ['7.2'],
  'ppc64 pseries: SLOF has read the disk through virtio (modern and legacy disk) and tried the net',
  {
    machine: 'pseries',
    memoryMiB: 256,
    files: TWO_DISKS,
    args: [
      ...BLK,
      '-device',
      'virtio-blk-pci,drive=d0,id=blk0,bootindex=1',
      '-blockdev',
      'driver=file,filename=disk2.img,node-name=d1',
      '-device',
      'virtio-blk-pci,drive=d1,id=blk1,disable-modern=on,bootindex=2',
      ...NET,
      '-device',
      `virtio-net-pci,netdev=n0,id=net0,${MAC},romfile=`,
    ],
    state: 'firmware only, no kernel',
    run: async (vm) => {
      await vm
        .waitForConsole(/Trying to load[\s\S]*(?:E\d{4}|No bootable|not found|Ready)/i, 90_000)
        .catch((error: unknown) => {
          console.log(String(error).slice(-1500));
        });
      await delay(3000);
    },
  },
);

// ---- firmware -----------------------------------------------------------------------------------------------------
bare('s390-fw', 's390x', ['7.2', '11.1'], 'the s390 boot firmware has read an empty disk', {
  machine: 's390-ccw-virtio',
  files: DISK,
  args: [...CCW_PAIR, '-boot', 'order=c', '-action', 'panic=pause'],
  state: 'firmware only, no kernel',
  run: seconds(4),
});
bare('microvm-fw', 'x86_64', ['11.1'], 'SeaBIOS for microvm has read the disk by virtio-mmio', {
  machine: 'microvm,pit=on,pic=on,rtc=on',
  files: DISK,
  args: MMIO_PAIR,
  state: 'firmware only, no kernel',
  run: seconds(4),
});

// ---- run ----------------------------------------------------------------------------------------------------------
function compress(stream: Uint8Array): Uint8Array {
  const plain = gzipSync(stream, { level: 9 });
  if (stream.length > 3_000_000) return plain;
  const name = join(process.env['TMPDIR'] ?? '/tmp', `virtkit-${process.pid}.mig`);
  writeFileSync(name, stream);
  const run = spawnSync('zopfli', ['--i5', '-c', name], { maxBuffer: 1 << 27 });
  rmSync(name, { force: true });
  if (run.status !== 0 || run.stdout.length >= plain.length || run.stdout.length === 0) return plain;
  return Buffer.compare(gunzipSync(run.stdout), stream) === 0 ? run.stdout : plain;
}

const filters = process.argv.slice(2).map((text) => new RegExp(text));
const binaries = new Map<QemuArch, QemuBinary | undefined>();
const root = new URL('../streams/', import.meta.url).pathname;
for (const extra of extras) {
  if (filters.length > 0 && !filters.some((filter) => filter.test(extra.name))) continue;
  if (!binaries.has(extra.arch)) binaries.set(extra.arch, findQemu(extra.arch));
  const binary = binaries.get(extra.arch);
  if (
    binary === undefined ||
    !extra.versions.some(
      (version) => compareVersions(binary.version.split('.').slice(0, 2).join('.'), version) === 0,
    )
  )
    continue;
  const started = Date.now();
  try {
    const { stream, info } = await extra.make(binary);
    const packed = compress(stream);
    const dir = join(root, binary.version);
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, `${info.case}.mig.gz`), packed);
    const json = `${JSON.stringify(info)}\n`;
    writeFileSync(join(dir, `${info.case}.json`), json);
    const queues = info.truth.virtio.reduce((sum, device) => sum + device.queues.length, 0);
    console.log(
      `${info.case}: ${stream.length} bytes, gz ${packed.length}, json ${json.length}, ${info.truth.virtio.length} devices, ${queues} queues, ${Date.now() - started} ms`,
    );
  } catch (error) {
    console.log(
      `FAILED ${prefix(binary)}${extra.name}: ${error instanceof Error ? error.message.slice(-1200) : String(error)}`,
    );
  }
}
process.exit(0);

import type { QemuOptions } from '../qemu.ts';
import { delay } from '../qmp.ts';
import { bare, type Extra } from './case.ts';
import { BLK, DISK, MAC, MMIO_PAIR, NET, PCI_PAIR } from './parts.ts';

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

/** Machines of other processors, with both byte orders. */
export const architectures: readonly Extra[] = [
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
  ),
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
  ),
  bare('riscv64-virt-reset', 'riscv64', ['7.2'], 'riscv64: virtio-mmio and virtio-pci devices', {
    machine: 'virt',
    files: TWO_DISKS,
    args: ['-bios', 'none', ...MMIO_PAIR, ...PCI_BLK],
  }),
  bare('m68k-virt-reset', 'm68k', ['7.2'], 'm68k: a big-endian target with virtio-mmio', {
    machine: 'virt',
    files: DISK,
    args: [...MMIO_PAIR, ...MMIO_RNG],
  }),
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
  ),
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
  ),
];

import { connect } from 'node:net';
import { join } from 'node:path';
import { throttle } from '../parked.ts';
import type { Qemu } from '../qemu.ts';
import { delay } from '../qmp.ts';
import { bare, type Extra, guest } from './case.ts';
import { HOTPLUG_ROOM, MEMORY_DEVICES, NINEP, OTHER_FILES, otherDevices, PMEM } from './other-devices.ts';
import { ALL, QBOOT } from './parts.ts';

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

/** Devices that are neither disks nor network cards. */
export const others: readonly Extra[] = [
  bare('q35-others-reset', 'x86_64', ALL, 'rng, balloon, serial, scsi, input, gpu, 9p, iommu at reset', {
    machine: 'q35',
    files: OTHER_FILES,
    args: [...QBOOT, ...otherDevices('pci'), ...NINEP('pci'), '-device', 'virtio-iommu-pci,id=iommu0'],
  }),
  bare('q35-virtiomem-reset', 'x86_64', ['7.2', '11.1'], 'virtio-mem at reset', {
    machine: 'q35',
    memoryMiB: 256,
    files: OTHER_FILES,
    args: [...QBOOT, ...HOTPLUG_ROOM, ...MEMORY_DEVICES],
  }),
  bare('q35-pmem-reset', 'x86_64', ['7.2', '11.1'], 'virtio-pmem at reset', {
    machine: 'q35',
    memoryMiB: 256,
    files: OTHER_FILES,
    args: [...QBOOT, ...HOTPLUG_ROOM, ...PMEM],
  }),
  bare('q35-vsock-reset', 'x86_64', ['7.2', '11.1'], 'vhost-vsock at reset', {
    machine: 'q35',
    args: [...QBOOT, '-device', 'vhost-vsock-pci,id=vsock0,guest-cid=777'],
  }),
  bare('q35-crypto-reset', 'x86_64', ['7.2', '11.1'], 'virtio-crypto at reset', {
    machine: 'q35',
    args: [
      ...QBOOT,
      '-object',
      'cryptodev-backend-builtin,id=crypto',
      '-device',
      'virtio-crypto-pci,id=crypto0,cryptodev=crypto',
    ],
  }),
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
  ),
  guest('q35-virtiomem-io', 'x86_64', ['7.2', '11.1'], 'virtio-mem plugged by Linux (32 MiB)', {
    machine: 'q35',
    memoryMiB: 256,
    args: [...HOTPLUG_ROOM, ...MEMORY_DEVICES],
    files: OTHER_FILES,
    guest: { modules: ['virtio_blk', 'virtio_net', 'virtio_mem'] },
  }),
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
  ),
  bare('s390-crypto-reset', 's390x', ['7.2'], 'virtio-crypto on ccw at reset', {
    machine: 's390-ccw-virtio',
    args: [
      '-object',
      'cryptodev-backend-builtin,id=crypto',
      '-device',
      'virtio-crypto-ccw,id=crypto0,cryptodev=crypto',
    ],
  }),
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
  ),
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
  ),
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
  }),
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
          ...[1, 2, 3].map(
            (n) => `dd if=/dev/urandom of=/dev/sda bs=4k count=1 seek=${n * 10} oflag=direct &`,
          ),
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
  ),
  // a port whose reader at the host's end reads nothing: what the guest writes stays half written
  ...[false, true].map((packed) =>
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
    ),
  ),
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
  ),
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
  ),
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
  ),
];

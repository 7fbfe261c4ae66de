/** What is recorded. */
export interface Boot {
  readonly name: string;
  /** Without a kernel, QEMU's firmware looks for a boot loader on the disk. */
  readonly firmware?: true;
  readonly what: string;
  /** QEMU's `-device` values. */
  readonly devices: readonly string[];
  /** Shell lines in the guest, after the drivers are loaded. */
  readonly commands: readonly string[];
}

/** Some I/O on both devices. */
const USE = [
  'dd if=/dev/vda of=/dev/null bs=4k count=4 2>/dev/null',
  'dd if=/dev/zero of=/dev/vda bs=4k count=4 oflag=direct 2>/dev/null',
  'ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ping -c 1 -W 2 10.0.2.2 >/dev/null',
];
/** Drivers leave the devices and come back. */
const AGAIN = [
  'ip link set eth0 down',
  'for d in 0.0.0000 0.0.0001; do echo 0 > /sys/bus/ccw/devices/$d/online; done',
  'for d in 0.0.0000 0.0.0001; do echo 1 > /sys/bus/ccw/devices/$d/online; done',
  'sleep 1',
];

export const BOOTS: readonly Boot[] = [
  {
    name: 'boot-revision-2',
    what: 'Linux boots with a disk and a network card of the newest revision, uses them, sets them offline and online again',
    devices: ['virtio-blk-ccw,drive=d0', 'virtio-net-ccw,netdev=n0,mac=52:54:00:12:34:56'],
    commands: [...USE, ...AGAIN],
  },
  {
    name: 'firmware',
    firmware: true,
    what: "QEMU's boot firmware reads from a disk that has nothing to boot",
    devices: ['virtio-blk-ccw,drive=d0,bootindex=1'],
    commands: [],
  },
  {
    name: 'boot-revisions-0-and-1',
    what: 'the same with a legacy disk (revision 0) and a network card of revision 1',
    devices: [
      'virtio-blk-ccw,drive=d0,max_revision=0',
      'virtio-net-ccw,netdev=n0,max_revision=1,mac=52:54:00:12:34:56',
    ],
    commands: [...USE, ...AGAIN],
  },
];

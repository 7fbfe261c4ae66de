import { untilParked } from '../parked.ts';
import { type Extra, guest } from './case.ts';
import { ENDS, NEW } from './parts.ts';

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
): Extra {
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
  return guest(name, arch, versions, special, {
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

/** Requests that are on the device's own list: they failed, and wait for the host to go on. */
export const parkedRequests: readonly Extra[] = [
  parked('q35-inflight-w', 'x86_64', NEW, 'parked writes, one queue', { machine: 'q35' }),
  parked('q35-inflight-mq', 'x86_64', ENDS, 'parked writes, num-queues=4 (queue index in the stream)', {
    machine: 'q35',
    blk: ',num-queues=4',
  }),
  parked('q35-packed-inflight', 'x86_64', ENDS, 'packed ring with parked writes (ndescs in each element)', {
    machine: 'q35',
    blk: ',packed=on',
  }),
  parked('pc-inflight-read', 'x86_64', ENDS, 'parked reads of 64k (device-writable buffers)', {
    machine: 'pc',
    write: false,
    size: '64k',
  }),
  parked('s390-inflight', 's390x', ENDS, 'ccw with parked writes', {}),
];

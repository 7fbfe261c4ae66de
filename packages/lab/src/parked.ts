// A guest whose writes are parked in a machine that stopped for their errors, and how it goes on elsewhere.
import { type Qemu, withQemu } from './qemu.ts';
import { delay } from './qmp.ts';

const WRITES = 10;

/** Fails every write, so that the machine stops and the requests are kept (werror=stop); on demand, a slow disk queues them. */
export const FAILING_DISK = [
  '-blockdev',
  'driver=file,filename=disk.img,node-name=f0',
  '-blockdev',
  '{"driver":"blkdebug","node-name":"d0","image":"f0","inject-error":[{"event":"none","iotype":"write","errno":5,"once":false}]}',
];

/** The guest writes blocks that it knows, waits for all of them, and reads them back. */
export const PARKED_WRITER = {
  disk: false,
  network: false,
  commands: [
    'n=0; while [ ! -b /dev/vda ] && [ $n -lt 50 ]; do usleep 100000; n=$((n + 1)); done',
    `n=0; while [ $n -lt ${WRITES} ]; do dd if=/dev/urandom of=/data$n bs=4k count=1 2>/dev/null; n=$((n + 1)); done`,
  ],
  afterReady: [
    'read line',
    'dd if=/dev/vda of=/dev/null bs=16k count=1 skip=3000 iflag=direct 2>/dev/null',
    `n=0; while [ $n -lt ${WRITES} ]; do dd if=/data$n of=/dev/vda bs=4k count=1 seek=$((n * 100)) oflag=direct 2>/dev/null & n=$((n + 1)); done`,
    'echo LAB:ISSUED',
    'wait',
    `n=0; while [ $n -lt ${WRITES} ]; do dd if=/dev/vda bs=4k count=1 skip=$((n * 100)) iflag=direct 2>/dev/null | cmp - /data$n || echo LAB:WRONG $n; n=$((n + 1)); done`,
    'echo LAB:VERIFIED',
  ],
};

/** Lets the drive of a device have 4096 bytes a second: what is asked for beyond waits in QEMU. */
export async function throttle(vm: Qemu, id: string): Promise<void> {
  const none = { bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };
  await vm.qmp.execute('block_set_io_throttle', { id, bps: 4096, ...none });
}

/** A guest of {@link PARKED_WRITER} has issued its writes, and the machine has stopped. */
export async function untilParked(vm: Qemu): Promise<void> {
  await vm.waitForConsole(/LAB:READY/, 180_000);
  await throttle(vm, '/machine/peripheral/blk0/virtio-backend');
  vm.writeConsole('\n');
  await Promise.race([vm.waitForConsole(/LAB:ISSUED/, 8000).catch(() => {}), delay(4000)]);
  await delay(700);
}

/** The destination has the disk without its fault; the guest compares what is on it with what it wrote. Throws if it is not right. */
export async function parkedGoesOn(
  vm: Qemu,
  stream: Uint8Array,
  load: Parameters<Qemu['load']>[1] = {},
): Promise<void> {
  const args = (vm.options.args ?? []).map((arg) =>
    arg.startsWith('{"driver":"blkdebug"') ? 'driver=raw,file=f0,node-name=d0' : arg,
  );
  const start = { ...vm.options, args, binary: vm.binary, incoming: true, paused: true, copyOf: vm };
  await withQemu(start, async (destination) => {
    const loaded = await destination.load(stream, load);
    if (!loaded.ok) throw new Error(`QEMU refuses the stream: ${loaded.error}`);
    await destination.cont();
    await destination.waitForConsole(/LAB:VERIFIED/, 60_000);
    const fault = /LAB:WRONG.*|.*I\/O error.*|.*hung.*|.*Call Trace.*/.exec(destination.console);
    if (fault !== null) throw new Error(`the guest: ${fault[0]}`);
  });
}

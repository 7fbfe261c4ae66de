import { join } from 'node:path';
import { fileDisk } from '@virtkit/device-blk/node';
import { captureRunningGuest, delay, findLab, type GuestArch, type Qemu, withQemu } from '@virtkit/lab';
import { acceptVirtio, RamImage, StreamCollector, StreamParser, TeeSink } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { changedPages, openStream, StreamRewriter, type Visited, visitBlocks } from '../src/index.ts';
import { registry } from './corpus.ts';

const TIMEOUT_MS = 300_000;
const WRITES = 10;

const GUESTS: readonly { readonly title: string; readonly arch: GuestArch; readonly machine: string }[] = [
  { title: 'PCI', arch: 'x86_64', machine: 'q35' },
  { title: 'channel I/O', arch: 's390x', machine: 's390-ccw-virtio' },
];

/** Fails every write, so that the machine stops and the requests are kept (werror=stop); on demand, a slow disk queues them. */
const FAILING_DISK = [
  '-blockdev',
  'driver=file,filename=disk.img,node-name=f0',
  '-blockdev',
  '{"driver":"blkdebug","node-name":"d0","image":"f0","inject-error":[{"event":"none","iotype":"write","errno":5,"once":false}]}',
];

/** The guest writes blocks that it knows, waits for all of them, and reads them back. */
const WRITER = {
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

async function untilParked(vm: Qemu): Promise<void> {
  await vm.waitForConsole(/LAB:READY/, 180_000);
  await vm.qmp.execute('block_set_io_throttle', {
    id: '/machine/peripheral/blk0/virtio-backend',
    bps: 4096,
    bps_rd: 0,
    bps_wr: 0,
    iops: 0,
    iops_rd: 0,
    iops_wr: 0,
  });
  vm.writeConsole('\n');
  await Promise.race([vm.waitForConsole(/LAB:ISSUED/, 8000).catch(() => {}), delay(4000)]);
  await delay(700);
}

describe('requests in flight of a guest that QEMU stopped are executed here, and the guest goes on in QEMU', () => {
  for (const guest of GUESTS) {
    test(guest.title, { timeout: TIMEOUT_MS }, async (context) => {
      const lab = findLab(guest.arch, process.env['VIRTKIT_QEMU_ROOT']);
      if (!lab.ok) {
        console.warn(`SKIPPED: no ${guest.arch} guest: ${lab.reason}`);
        return context.skip(lab.reason);
      }
      await captureRunningGuest({
        arch: guest.arch,
        machine: guest.machine,
        binary: lab.binary,
        sharedMemory: false,
        blockdev: FAILING_DISK,
        blk: 'rerror=stop,werror=stop',
        guest: WRITER,
        until: untilParked,
        afterCapture: async (vm, { stream }) => {
          const { visited, written } = await throughVisit(stream, join(vm.dir, 'disk.img'));
          const [disk] = visited;
          expect(disk?.found).toBeGreaterThanOrEqual(8);
          expect(disk).toMatchObject({ left: 1, executed: (disk?.found ?? 0) - 1 });
          await goesOn(vm, written);
        },
      });
    });
  }
});

async function throughVisit(
  stream: Uint8Array,
  image: string,
): Promise<{ visited: Visited[]; written: Uint8Array }> {
  const [collector, ram] = [new StreamCollector(), new RamImage()];
  const options = { accepts: acceptVirtio(registry) };
  const first = new StreamParser(new TeeSink(collector, ram), options);
  first.push(stream);
  first.end();
  const opened = openStream(collector.partial(), ram, registry, {
    disk: () => fileDisk(image),
    network: () => ({ send: () => false }),
  });
  const visited = await visitBlocks(opened);
  const bodies = new Map(visited.map(({ idstr, body }) => [idstr, body]));
  const chunks: Uint8Array[] = [];
  const rewriter = new StreamRewriter((bytes, start, end) => chunks.push(bytes.slice(start, end)), {
    body: ({ idstr }) => bodies.get(idstr),
    pages: changedPages(opened, ram.blocks),
  });
  const second = new StreamParser(rewriter, options);
  second.push(stream);
  second.end();
  return { visited, written: Buffer.concat(chunks) };
}

/** The destination has the disk without its fault; the guest compares what is on it with what it wrote. */
async function goesOn(vm: Qemu, stream: Uint8Array): Promise<void> {
  const args = (vm.options.args ?? []).map((arg) =>
    arg.startsWith('{"driver":"blkdebug"') ? 'driver=raw,file=f0,node-name=d0' : arg,
  );
  const start = { ...vm.options, args, binary: vm.binary, incoming: true, paused: true, copyOf: vm };
  await withQemu(start, async (destination) => {
    expect(await destination.load(stream)).toEqual({ ok: true });
    await destination.cont();
    await destination.waitForConsole(/LAB:VERIFIED/, 60_000);
    expect(destination.console).not.toMatch(/LAB:WRONG|I\/O error|hung|Call Trace/);
  });
}

import { memoryDisk } from '@virtkit/device-blk';
import { captureRunningGuest, delay, findLab, type GuestArch, type Qemu, withQemu } from '@virtkit/lab';
import { acceptVirtio, RamImage, StreamCollector, StreamParser, TeeSink, titleOf } from '@virtkit/migration';
import { StreamRewriter } from '@virtkit/migration/rewrite';
import { describe, expect, test } from 'vitest';
import { openStream } from '../src/index.ts';
import { connected, registry } from './corpus.ts';

const TIMEOUT_MS = 300_000;
/** So long the guest works after it came back. */
const WORK_MS = 10_000;

interface Guest {
  readonly title: string;
  readonly arch: GuestArch;
  readonly machine: string;
  readonly blk?: string;
  readonly net?: string;
}

const GUESTS: readonly Guest[] = [
  { title: 'i440fx, transitional', arch: 'x86_64', machine: 'pc', blk: 'num-queues=2' },
  { title: 'q35, packed', arch: 'x86_64', machine: 'q35', blk: 'packed=on', net: 'packed=on' },
  { title: 'channel I/O', arch: 's390x', machine: 's390-ccw-virtio' },
];

/** More of them, for a run by hand: VIRTKIT_ALL_GUESTS=1. */
const MORE: readonly Guest[] = [
  {
    title: 'i440fx, legacy only',
    arch: 'x86_64',
    machine: 'pc',
    blk: 'disable-modern=on',
    net: 'disable-modern=on',
  },
  {
    title: 'q35, modern only',
    arch: 'x86_64',
    machine: 'q35',
    blk: 'disable-legacy=on',
    net: 'disable-legacy=on',
  },
  { title: 'q35, without MSI-X', arch: 'x86_64', machine: 'q35', blk: 'vectors=0', net: 'vectors=0' },
  {
    title: 'channel I/O, packed',
    arch: 's390x',
    machine: 's390-ccw-virtio',
    blk: 'packed=on',
    net: 'packed=on',
  },
  {
    title: 'channel I/O, legacy',
    arch: 's390x',
    machine: 's390-ccw-virtio',
    blk: 'max_revision=0',
    net: 'max_revision=0',
  },
];

/**
 * QEMU loses I/O interrupts of an s390x machine older than 9.1 that are pending when it is stopped (TCG; its own streams
 * hang as well): this guest rests between two rounds, and is stopped while it does.
 */
const RESTING = {
  network: false,
  disk: false,
  commands: ['n=0; while [ ! -b /dev/vda ] && [ $n -lt 50 ]; do usleep 100000; n=$((n + 1)); done'],
  afterReady: [
    'n=0',
    'while :; do',
    '  dd if=/dev/urandom of=/dev/vda bs=16k count=8 oflag=direct 2>/dev/null',
    '  dd if=/dev/vda of=/dev/null bs=16k count=8 iflag=direct 2>/dev/null',
    '  n=$((n + 1)); echo LAB:DISK $n; sleep 2',
    'done',
  ],
};

async function untilItRests(vm: Qemu): Promise<void> {
  await vm.waitForConsole(/LAB:DISK 2/, 180_000);
  await delay(700);
}

describe('a guest stopped in QEMU becomes live devices here, is saved from them, and goes on in QEMU', () => {
  for (const guest of process.env['VIRTKIT_ALL_GUESTS'] === undefined ? GUESTS : [...GUESTS, ...MORE]) {
    test(guest.title, { timeout: TIMEOUT_MS }, async (context) => {
      // another QEMU: VIRTKIT_QEMU_ROOT names a directory with its files, such as a chroot of another Debian release
      const lab = findLab(guest.arch, process.env['VIRTKIT_QEMU_ROOT']);
      if (!lab.ok) {
        console.warn(`SKIPPED: no ${guest.arch} guest: ${lab.reason}`);
        return context.skip(lab.reason);
      }
      await captureRunningGuest({
        ...guest,
        binary: lab.binary,
        sharedMemory: false,
        ...(guest.arch === 's390x' && { guest: RESTING, until: untilItRests }),
        afterCapture: async (vm, { stream }) => {
          const { sections, written } = throughLiveDevices(stream);
          expect(sections).toEqual(['virtio-blk', 'virtio-net']);
          await goesOn(vm, written);
        },
      });
    });
  }
});

/** The stream with the virtio sections that live devices write; they must be QEMU's own. */
function throughLiveDevices(stream: Uint8Array): { sections: string[]; written: Uint8Array } {
  const collector = new StreamCollector();
  const ram = new RamImage();
  const options = { accepts: acceptVirtio(registry) };
  const first = new StreamParser(new TeeSink(collector, ram), options);
  first.push(stream);
  first.end();
  const opened = openStream(collector.partial(), ram, registry, {
    types: connected(() => memoryDisk(64 << 20)),
  });
  const bodies = new Map<string, Uint8Array>();
  for (const { device, save } of opened.devices) {
    const body = save();
    const different = body.findIndex((byte, index) => byte !== device.section.body[index]);
    expect([body.length, different], titleOf(device)).toEqual([device.section.body.length, -1]);
    bodies.set(device.section.header.idstr, body);
  }
  const chunks: Uint8Array[] = [];
  const rewriter = new StreamRewriter((bytes, start, end) => chunks.push(bytes.slice(start, end)), {
    body: ({ idstr }) => bodies.get(idstr),
  });
  const second = new StreamParser(rewriter, options);
  second.push(stream);
  second.end();
  return { sections: opened.devices.map(({ device }) => device.name).sort(), written: Buffer.concat(chunks) };
}

/** Loads the stream into a second QEMU, and watches its guest at work. */
async function goesOn(vm: Qemu, stream: Uint8Array): Promise<void> {
  const start = { ...vm.options, binary: vm.binary, incoming: true, paused: true, copyOf: vm };
  await withQemu(start, async (destination) => {
    expect(await destination.load(stream)).toEqual({ ok: true });
    await destination.cont();
    await destination.waitForConsole(/LAB:DISK \d+/, 60_000);
    await delay(WORK_MS);
    const rounds = destination.console.match(/LAB:DISK \d+/g) ?? [];
    expect(rounds.length).toBeGreaterThan(1);
    expect(destination.console).not.toMatch(/I\/O error|Call Trace|hung|timeout|Oops/);
  });
}

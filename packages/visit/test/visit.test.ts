import { join } from 'node:path';
import { fileDisk } from '@virtkit/device-blk/node';
import {
  captureRunningGuest,
  FAILING_DISK,
  findLab,
  type GuestArch,
  PARKED_WRITER,
  parkedGoesOn,
  untilParked,
} from '@virtkit/lab';
import { acceptVirtio, RamImage, StreamCollector, StreamParser, TeeSink } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { changedPages, openStream, StreamRewriter, type Visited, visitBlocks } from '../src/index.ts';
import { registry } from './corpus.ts';

const TIMEOUT_MS = 300_000;

const GUESTS: readonly { readonly title: string; readonly arch: GuestArch; readonly machine: string }[] = [
  { title: 'PCI', arch: 'x86_64', machine: 'q35' },
  { title: 'channel I/O', arch: 's390x', machine: 's390-ccw-virtio' },
];

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
        guest: PARKED_WRITER,
        until: untilParked,
        afterCapture: async (vm, { stream }) => {
          const { visited, written } = await throughVisit(stream, join(vm.dir, 'disk.img'));
          const [disk] = visited;
          expect(disk?.found).toBeGreaterThanOrEqual(8);
          expect(disk).toMatchObject({ left: 1, executed: (disk?.found ?? 0) - 1 });
          await parkedGoesOn(vm, written);
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

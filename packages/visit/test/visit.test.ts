import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { fileDisk } from '@virtkit/device-blk/node';
import { otherDevices } from '@virtkit/device-states';
import {
  captureRunningGuest,
  FAILING_DISK,
  findLab,
  findQemus,
  type GuestArch,
  PARKED_WRITER,
  parkedGoesOn,
  untilParked,
} from '@virtkit/lab';
import {
  acceptVirtio,
  parseStream,
  RamImage,
  StreamCollector,
  StreamParser,
  TeeSink,
} from '@virtkit/migration';
import { StreamRewriter } from '@virtkit/migration/rewrite';
import { describe, expect, test } from 'vitest';
import { changedPages, executeRequests, type LiveStream, openStream, type Visited } from '../src/index.ts';
import { connected, registry } from './corpus.ts';

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

describe('a mapped-ram file: each page is changed in its place', () => {
  for (const version of ['10.0', '11.1']) {
    test(`of QEMU ${version}`, { timeout: TIMEOUT_MS }, async (context) => {
      const binary = [...findQemus('x86_64')].find(([name]) => name.startsWith(version))?.[1];
      const lab = findLab('x86_64');
      if (binary === undefined || !lab.ok) {
        console.warn(`SKIPPED: no QEMU ${version}: VIRTKIT_QEMU_ROOTS names directories with others`);
        return context.skip();
      }
      const mapped = { capabilities: ['mapped-ram'], method: 'file' } as const;
      await captureRunningGuest({
        arch: 'x86_64',
        machine: 'q35',
        binary,
        sharedMemory: false,
        blockdev: FAILING_DISK,
        blk: 'rerror=stop,werror=stop',
        guest: PARKED_WRITER,
        until: untilParked,
        migrate: mapped,
        afterCapture: async (vm, { stream }) => {
          const { visited, written } = await throughVisit(stream, join(vm.dir, 'disk.img'));
          expect(visited).toMatchObject([{ left: 1, executed: (visited[0]?.found ?? 0) - 1 }]);
          expect(written.length).toBeLessThanOrEqual(stream.length);
          await parkedGoesOn(vm, written, mapped);
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
    types: connected(
      () => fileDisk(image),
      () => ({ send: () => false }),
    ),
  });
  const visited = await executeRequests(opened);
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

/** A stream of the laboratory, opened as if its RAM, which stayed in a file, were none. */
function openWithoutRam(name: string): LiveStream {
  const bytes = gunzipSync(readFileSync(new URL(`../../lab/streams/${name}.mig.gz`, import.meta.url)));
  const stream = parseStream(bytes, { accepts: acceptVirtio(registry) });
  if (stream.configuration === undefined) throw new Error(`${name}: no configuration`);
  const configuration = { ...stream.configuration, capabilities: [] };
  const withOthers = { ...registry, devices: [...registry.devices, ...otherDevices] };
  const none = (title: string): never => {
    throw new Error(`${title}: not expected`);
  };
  const ram = new RamImage();
  ram.ramBlock({ name: 'pc.ram', length: 4096 });
  const ramMap = [{ gpa: 0, block: 'pc.ram', offset: 0, length: 4096 }];
  return openStream({ ...stream, configuration }, ram, withOthers, { types: connected(none, none), ramMap });
}

test.each([
  ['10.0.13/q100-q35-iommu-io', '0000:00:1e.0/virtio-iommu'],
  ['7.2.22/q72-q35-vtd-io', 'iommu-intel'],
])('%s: addresses of an IOMMU are no places in guest memory, and refused', (name, iommu) => {
  const reason = `virtio-blk@0000:00:01.0: its addresses are those of the machine's IOMMU (${iommu})`;
  expect(() => openWithoutRam(name)).toThrow(reason);
});

test('devices that cannot be live are left alone', () => {
  expect(openWithoutRam('7.2.22/q72-q35-others-reset').devices).toEqual([]);
});

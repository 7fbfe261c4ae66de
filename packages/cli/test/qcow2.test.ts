// Streams inside of disk images: what a real QEMU's `savevm` keeps in a qcow2 file.
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findQemu, withQemu } from '@virtkit/lab';
import { isStateError } from '@virtkit/vmstate';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { snapshotStream } from '../src/qcow2.ts';
import { isUsageError } from '../src/usage.ts';
import { useCommand } from './command.ts';

const binary = findQemu('x86_64');
const runnable = binary !== undefined && spawnSync('qemu-img', ['--version']).status === 0;
if (!runnable)
  console.warn('SKIPPED: snapshots in images, for there is no qemu-system-x86_64 or no qemu-img');
const command = useCommand();
const { virtkit, home } = command;
const DISK_BYTES = 64 << 20;

/** What `qemu-img create -o` is told. */
const FORMATS = [
  'cluster_size=64k',
  'cluster_size=512',
  'cluster_size=2M',
  'cluster_size=64k,extended_l2=on',
  'compat=0.10',
];

function createImage(path: string, options: string): void {
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options, path, String(DISK_BYTES)]);
}

interface Saved {
  /** The image, with the snapshots `first`, `the second` and `later`; and one of the disk alone. */
  readonly image: Uint8Array;
  /** What the same stopped machine, as it was at `the second`, migrates. */
  readonly stream: Uint8Array;
}

/** A machine that its firmware has run on; its disk grows between snapshots. */
function save(options: string): Promise<Saved> {
  const path = join(home(), 'new.qcow2');
  createImage(path, options);
  return withQemu(
    {
      arch: 'x86_64',
      binary,
      machine: 'pc',
      memoryMiB: 16,
      sharedMemory: false,
      files: { 'disk.qcow2': readFileSync(path) },
      args: [
        ...[
          '-blockdev',
          'driver=file,filename=disk.qcow2,node-name=f0',
          '-blockdev',
          'driver=qcow2,file=f0,node-name=d0',
        ],
        ...['-device', 'virtio-blk-pci,drive=d0,id=blk0', '-device', 'virtio-net-pci,id=net0'],
      ],
    },
    async (vm) => {
      const saved = async (name: string): Promise<void> => expect(await vm.hmp(`savevm "${name}"`)).toBe('');
      await saved('first');
      await vm.stop();
      // images of version 2 cannot grow once there are snapshots
      if (options !== 'compat=0.10')
        await vm.qmp.execute('block_resize', { 'node-name': 'd0', size: 40 * DISK_BYTES });
      await saved('the second');
      await vm.qmp.execute('blockdev-snapshot-internal-sync', { device: 'd0', name: 'disk alone' });
      await saved('later');
      const file = join(vm.dir, 'disk.qcow2');
      const stream = await vm.migrate();
      return { image: readFileSync(file), stream };
    },
  );
}

describe.skipIf(!runnable)('snapshots in qcow2 images', { timeout: 120_000 }, () => {
  test.each(FORMATS)(
    '%s: the stream of each is whole, and says what the machine migrates',
    async (options) => {
      const { image, stream } = await save(options);
      const [path, migrated] = [join(home(), 'disk.qcow2'), join(home(), 'guest.mig')];
      writeFileSync(path, image);
      writeFileSync(migrated, stream);
      for (const name of ['first', 'the second', '2', 'later']) {
        const verified = virtkit(['verify', `${path}#${name}`]);
        expect(verified.stderr).toBe('');
        expect(verified.stdout).toMatch(
          /virtio-blk.*same bytes\n.*virtio-net.*same bytes\nwhole stream: \d+ bytes/,
        );
        expect(verified.status).toBe(0);
      }
      const difference = virtkit(['diff', `${path}#the second`, migrated]);
      expect(difference).toMatchObject({ status: 0, stderr: '' });
    },
  );

  describe('an image', () => {
    let path = '';
    let image = Buffer.alloc(0);
    beforeAll(async () => {
      path = join(home(), 'one.qcow2');
      image = Buffer.from((await save('cluster_size=4k')).image);
      writeFileSync(path, image);
    });

    test('of several snapshots: it has to be said which', () => {
      const { status, stderr } = virtkit(['inspect', path]);
      expect(stderr).toMatch(
        /3 snapshots hold the state of a machine; say which, as FILE#NAME: first, the second, later/,
      );
      expect(status).toBe(2);
      expect(virtkit(['inspect', `${path}#none`])).toMatchObject({ status: 2, stdout: '' });
    });

    test('is left as it is by what writes a stream of its own, which a QEMU takes', async () => {
      const out = join(home(), 'out.mig');
      const { status, stderr } = virtkit([
        'convert',
        `${path}#later`,
        out,
        '--to',
        `qemu-${binary?.version}`,
      ]);
      expect(stderr).toMatch(/out\.mig written/);
      expect(status).toBe(0);
      expect(readFileSync(path).equals(image)).toBe(true);
      await withQemu(
        {
          arch: 'x86_64',
          binary,
          machine: 'pc',
          memoryMiB: 16,
          sharedMemory: false,
          incoming: true,
          files: { 'disk.img': 40 * DISK_BYTES },
          args: [
            ...[
              '-blockdev',
              'driver=file,filename=disk.img,node-name=f0',
              '-blockdev',
              'driver=raw,file=f0,node-name=d0',
            ],
            ...['-device', 'virtio-blk-pci,drive=d0,id=blk0', '-device', 'virtio-net-pci,id=net0'],
          ],
        },
        async (vm) => expect(await vm.load(readFileSync(out))).toEqual({ ok: true }),
      );
    });

    test('without a state, from a pipe, and a name where there is no image: told so', () => {
      const empty = join(home(), 'empty.qcow2');
      createImage(empty, 'cluster_size=64k');
      expect(virtkit(['inspect', empty])).toMatchObject({
        status: 3,
        stderr: expect.stringMatching(/none of its snapshots/),
      });
      expect(virtkit(['inspect', '-'], { input: image.subarray(0, 65536) })).toMatchObject({
        status: 3,
        stderr: expect.stringMatching(/where it is a file/),
      });
      const stream = join(home(), 'stream');
      writeFileSync(stream, 'QEVM');
      expect(virtkit(['inspect', `${stream}#first`])).toMatchObject({
        status: 3,
        stderr: expect.stringMatching(/snapshot first is asked for, and the file is no qcow2 image/),
      });
      writeFileSync(`${stream}#first`, 'QEVM');
      expect(virtkit(['inspect', `${stream}#first`]).stderr).toMatch(/4 bytes wanted/);
    });

    test('damaged anywhere: an error of ours, and no more bytes than the file has', () => {
      const broken = join(home(), 'broken.qcow2');
      const snapshots = Number(image.readBigUInt64BE(64));
      const l1 = Number(image.readBigUInt64BE(snapshots));
      const places = [0, snapshots, l1].map((at) => fc.integer({ min: at, max: at + 150 }));
      const change = fc.tuple(fc.oneof(...places, fc.nat(image.length - 1)), fc.nat(255));
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.boolean(), (changes, cut) => {
          const bytes = Buffer.from(image);
          for (const [at, value] of changes) bytes[at] = value;
          writeFileSync(broken, cut ? bytes.subarray(0, changes[0]?.[0]) : bytes);
          const fd = openSync(broken, 'r');
          let got = 0;
          try {
            for (const chunk of snapshotStream(fd, 'later')) got += chunk.length;
          } catch (error) {
            if (!isStateError(error) && !isUsageError(error)) throw error;
          } finally {
            closeSync(fd);
          }
          expect(got).toBeLessThanOrEqual(bytes.length);
        }),
        { numRuns: 300 },
      );
    });
  });
});

describe('an image that says more than any has', () => {
  const CLUSTER = 512;

  /** A header, and one snapshot with a table. */
  function image(change: (view: DataView, snapshot: number) => void): string {
    const bytes = new Uint8Array(16 * CLUSTER);
    const view = new DataView(bytes.buffer);
    bytes.set(Buffer.from('QFI\xfb', 'latin1'));
    view.setUint32(4, 3);
    view.setUint32(20, 9);
    view.setUint32(60, 1);
    view.setBigUint64(64, BigInt(CLUSTER));
    view.setUint32(100, 104);
    // its table, how long that is, and how large the state
    view.setBigUint64(CLUSTER, BigInt(2 * CLUSTER));
    view.setUint32(CLUSTER + 8, 1);
    view.setUint32(CLUSTER + 32, CLUSTER);
    change(view, CLUSTER);
    const path = join(home(), 'many.qcow2');
    writeFileSync(path, bytes);
    return path;
  }

  function refusal(path: string): string {
    const file = openSync(path, 'r');
    try {
      for (const _chunk of snapshotStream(file, undefined));
      return 'read';
    } catch (error) {
      if (!isStateError(error)) throw error;
      return error.message;
    } finally {
      closeSync(file);
    }
  }

  test.each<[string, (view: DataView, snapshot: number) => void, string]>([
    ['65536 snapshots', (view) => view.setUint32(60, 65_536), 'snapshot 1'],
    ['more than 65536 snapshots', (view) => view.setUint32(60, 65_537), 'at most 65536 believed'],
    [
      '1024 extra bytes',
      (view, at) => {
        view.setUint32(at + 36, 1024);
        // the first are the size of the state
        view.setBigUint64(at + 40, 512n);
      },
      'has no clusters from 0 on',
    ],
    ['more than 1024 extra bytes', (view, at) => view.setUint32(at + 36, 1025), 'with 1025 extra bytes'],
    ['a table of 32 MiB', (view, at) => view.setUint32(at + 8, 4 << 20), 'the table of snapshot'],
    [
      'a table of more than 32 MiB',
      (view, at) => view.setUint32(at + 8, (4 << 20) + 1),
      'has 4194305 entries',
    ],
  ])('%s', (_what, change, message) => {
    expect(refusal(image(change))).toContain(message);
  });
});

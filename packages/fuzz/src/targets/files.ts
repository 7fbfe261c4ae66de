// Files that people open: qcow2 images, overlays, snapshots of v86.
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codecOf, MappedMemory, virtioDevice } from '@virtkit/core';
import { BlkDevice, blk, memoryDisk } from '@virtkit/device-blk';
import { overlayDisk } from '@virtkit/device-blk/overlay';
import { PciFunction, pci } from '@virtkit/transport-pci';
import { isStateError } from '@virtkit/vmstate';
import { snapshotStream } from '../../../cli/src/qcow2.ts';
import { UsageError } from '../../../cli/src/usage.ts';
import { match } from '../../../v86/src/snapshot.ts';
import { demand, type FuzzTarget, sameBytes, unlessRefused } from '../target.ts';

let file: number | undefined;

/** A file with these bytes: the same each time. */
function fileOf(bytes: Uint8Array): number {
  if (file === undefined) {
    const folder = mkdtempSync(join(tmpdir(), 'virtkit-fuzz-'));
    file = openSync(join(folder, 'image'), 'w+');
    process.on('exit', () => {
      if (file !== undefined) closeSync(file);
      rmSync(folder, { recursive: true, force: true });
    });
  }
  ftruncateSync(file, 0);
  writeSync(file, bytes, 0, bytes.length, 0);
  return file;
}

const CLUSTER_BITS = 9;
const CLUSTER = 2 ** CLUSTER_BITS;

/** An image with one snapshot of a machine, as small as can be. */
function image(): Uint8Array {
  const bytes = new Uint8Array(6 * CLUSTER);
  const view = new DataView(bytes.buffer);
  bytes.set(Buffer.from('QFI\xfb', 'latin1'));
  view.setUint32(4, 3);
  view.setUint32(20, CLUSTER_BITS);
  view.setUint32(60, 1);
  view.setBigUint64(64, BigInt(CLUSTER));
  view.setUint32(100, 104);
  view.setBigUint64(CLUSTER, BigInt(2 * CLUSTER));
  view.setUint32(CLUSTER + 8, 1);
  view.setUint16(CLUSTER + 12, 1);
  view.setUint16(CLUSTER + 14, 1);
  view.setUint32(CLUSTER + 36, 16);
  view.setBigUint64(CLUSTER + 40, BigInt(2 * CLUSTER));
  bytes.set(Buffer.from('1a'), CLUSTER + 56);
  view.setBigUint64(2 * CLUSTER, BigInt(3 * CLUSTER));
  view.setBigUint64(3 * CLUSTER, BigInt(4 * CLUSTER));
  view.setBigUint64(3 * CLUSTER + 8, BigInt(5 * CLUSTER));
  return bytes;
}

export const qcow2: FuzzTarget = {
  name: 'qcow2',
  about: 'snapshots inside of qcow2 images',
  lengthMax: 8 * CLUSTER,
  run: (input) => {
    try {
      let bytes = 0;
      for (const chunk of snapshotStream(fileOf(input), undefined)) bytes += chunk.length;
      demand(bytes <= input.length, `${bytes} bytes of state from a file of ${input.length}`);
    } catch (error) {
      if (!isStateError(error) && !(error instanceof UsageError)) throw error;
    }
  },
  seeds: function* seeds() {
    yield image();
  },
};

const DISK_BYTES = 16 * 512;
const OVERLAY_CLUSTER = 1024;

async function exported(disk: ReturnType<typeof overlayDisk>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of disk.export()) pieces.push(piece);
  return Buffer.concat(pieces);
}

export const overlay: FuzzTarget = {
  name: 'overlay',
  about: 'files of copy-on-write overlays; the checksum is put right, so that what it covers is reached',
  lengthMax: DISK_BYTES + 512,
  run: async (input) => {
    const bytes = input.slice();
    if (bytes.length > 4)
      new DataView(bytes.buffer).setUint32(bytes.length - 4, crc32(bytes.subarray(0, -4)), true);
    const disk = overlayDisk(memoryDisk(DISK_BYTES), { clusterSize: OVERLAY_CLUSTER });
    try {
      await disk.load(bytes);
    } catch (error) {
      if (isStateError(error)) return;
      throw error;
    }
    sameBytes(await exported(disk), bytes, 'an overlay that was loaded and exported');
  },
  seeds: () => overlaySeeds,
};

const overlaySeeds: Uint8Array[] = [];
{
  const disk = overlayDisk(memoryDisk(DISK_BYTES), { clusterSize: OVERLAY_CLUSTER });
  overlaySeeds.push(await exported(disk));
  await disk.load(overlaySeeds[0] as Uint8Array);
}

/** CRC-32 as zip files have it, bit by bit. */
function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

const machine = (): PciFunction =>
  new PciFunction<unknown>(new BlkDevice({ backend: memoryDisk(DISK_BYTES) }), {
    memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(4096) }]),
    setIntx: () => {},
    sendMsi: () => {},
  });
const codec = virtioDevice(pci, blk);
const saved = (fn: PciFunction): Uint8Array => codecOf(fn.device).encode(fn.device.capture());

/** Input: a byte that tells how the list is made, then the bytes of the device. */
export const snapshot: FuzzTarget = {
  name: 'v86-snapshot',
  about: "the entry that devices have in v86's list of saved state",
  lengthMax: 1 << 16,
  run: (input) => {
    const how = input[0] ?? 0;
    const fn = machine();
    const before = saved(fn);
    const body = input.slice(1);
    const entries: unknown[] = [
      [1, 3, 'virtio-blk', body],
      [1, 3, 'virtio-blk', body, 3, 'virtio-blk', body],
      [1, how, 'virtio-blk', body],
      [1, 3, Buffer.from(body.subarray(0, 20)).toString('latin1'), body],
      [how, 3, 'virtio-blk', body],
      [1, ...body],
    ];
    const slot = { slot: 3, name: codec.device.name, function: fn };
    const found = unlessRefused(() => match(entries[how % entries.length], [slot]));
    sameBytes(saved(fn), before, 'a snapshot that was only looked at');
    demand((found ?? []).length <= 1, 'more devices restored than there are');
    for (const { restore } of found ?? [])
      if (unlessRefused(() => [restore()]) === undefined)
        sameBytes(saved(fn), before, 'a snapshot that was refused');
  },
  seeds: function* seeds() {
    const bytes = saved(machine());
    for (let how = 0; how < 6; how++) yield Buffer.concat([Uint8Array.of(how), bytes]);
  },
};

import { Buffer } from 'node:buffer';
import { type DeviceModel, MappedMemory, type VirtioState } from '@virtkit/core';
import { BlkDevice, blk, memoryDisk } from '@virtkit/device-blk';
import { findQemu, type QemuOptions, withQemu } from '@virtkit/lab';
import { type DecodedVirtio, decodeVirtio, findVirtio, parseStream } from '@virtkit/migration';
import { PciFunction, type PciOptions, type PciParts, pci } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { firstDifference } from './bytes.ts';

const TIMEOUT_MS = 60_000;
const DISK_BYTES = 1 << 20;
const MEMORY_MIB = 16;

/** A disk: properties of virtio-blk-pci, and what they are here. */
interface Disk {
  readonly title: string;
  readonly properties?: string;
  readonly options?: Partial<PciOptions>;
  readonly queues?: number;
}

const DISKS: readonly Disk[] = [
  { title: 'transitional' },
  { title: 'legacy', properties: 'disable-modern=on', options: { mode: 'legacy' } },
  { title: 'modern', properties: 'disable-legacy=on', options: { mode: 'modern' } },
  { title: 'no vectors', properties: 'vectors=0', options: { vectors: 0 } },
  { title: 'one vector', properties: 'vectors=1', options: { vectors: 1 } },
  { title: '128 vectors', properties: 'vectors=128', options: { vectors: 128 } },
  { title: '129 vectors', properties: 'vectors=129', options: { vectors: 129 } },
  { title: '2048 vectors', properties: 'vectors=2048', options: { vectors: 2048 } },
  { title: 'four queues', properties: 'num-queues=4', queues: 4 },
  { title: 'a page for each queue', properties: 'page-per-vq=on', options: { pagePerVq: true } },
  { title: 'port I/O notification', properties: 'modern-pio-notify=on', options: { modernPioNotify: true } },
  { title: 'multifunction', properties: 'multifunction=on', options: { multifunction: true } },
  { title: 'packed', properties: 'packed=on', options: { rings: { packed: true } } },
  { title: 'express', properties: 'bus=rp0', options: { express: true } },
  {
    title: 'express, AER and ATS',
    properties: 'bus=rp1,aer=on,ats=on',
    options: { express: true, aer: true, ats: true },
  },
  {
    title: 'express port, conventional function',
    properties: 'bus=rp2,x-disable-pcie=on',
    options: { mode: 'modern' },
  },
  {
    title: 'express, transitional',
    properties: 'bus=rp3,disable-legacy=off',
    options: { express: true, mode: 'transitional' },
  },
];

/** Machine types, with every disk or with one that shows what the machine type decides. */
const MACHINES: readonly { readonly version: string; readonly disks: readonly Disk[] }[] = [
  { version: '7.2', disks: DISKS },
  ...'7.1 6.0 5.2 5.1 5.0 4.2 4.1 4.0 3.1 2.12 2.11 2.8 2.7 2.6 2.5 2.4'.split(' ').map((version) => ({
    version,
    disks: [
      { title: 'express', properties: 'bus=rp0,num-queues=1', options: { express: true } },
      { title: 'conventional', properties: 'num-queues=1' },
    ],
  })),
];

function startOptions(version: string, disks: readonly Disk[]): QemuOptions {
  return {
    arch: 'x86_64',
    machine: `pc-q35-${version}`,
    memoryMiB: MEMORY_MIB,
    sharedMemory: false,
    paused: true,
    files: Object.fromEntries(disks.map((_, i) => [`disk${i}.img`, DISK_BYTES])),
    args: [
      ...[0, 1, 2, 3].flatMap((i) => ['-device', `pcie-root-port,id=rp${i},chassis=${i},slot=${i}`]),
      ...disks.flatMap(({ properties }, i) => [
        '-blockdev',
        `driver=file,filename=disk${i}.img,node-name=disk${i}`,
        '-device',
        [`virtio-blk-pci,drive=disk${i},write-cache=on`, properties].filter(Boolean).join(','),
      ]),
    ],
  };
}

/** The disks in a stream of such a QEMU, in the order of the command line. */
function savedDisks(stream: Uint8Array): DecodedVirtio[] {
  return parseStream(stream).sections.flatMap((section) => {
    const device = findVirtio(section, { transports: [pci], devices: [blk] });
    return device === undefined ? [] : [decodeVirtio(device)];
  });
}

/** A stream with other bodies in the places of some of its own, in their order. */
function splice(stream: Uint8Array, bodies: readonly (readonly [DecodedVirtio, Uint8Array])[]): Uint8Array {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const [{ device }, body] of bodies) {
    const { offset } = device.section;
    pieces.push(stream.subarray(at, offset), body);
    at = offset + device.section.body.length;
  }
  return Buffer.concat([...pieces, stream.subarray(at)]);
}

function functionFor(version: string, { queues = 1, options }: Disk): PciFunction {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const since = (from: number): boolean => major + minor / 100 >= from;
  const model = new BlkDevice({
    backend: memoryDisk(DISK_BYTES),
    queues,
    queueSize: since(5) ? 256 : 128,
    discard: since(4),
    writeZeroes: since(4),
    flushIfConfigWce: since(5),
    ndescs: 'before',
  });
  return new PciFunction(model as DeviceModel, {
    memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(MEMORY_MIB << 20) }]),
    sendMsi: () => {},
    machine: `pc-q35-${version}`,
    ...options,
  });
}

/** What a driver leaves in every register that it can reach, with rings that are empty. */
function drive(fn: PciFunction): void {
  const { bars } = fn;
  // all that can be written, and BARs to places of their own
  for (let at = 0x40; at < fn.configSize; at++) fn.configWrite(at, 1, (at * 37) & 0xff);
  fn.configWrite(0x0c, 2, 0x4010);
  fn.configWrite(0x3c, 1, 10);
  for (const { index, kind, size } of bars) {
    if (kind === 'rom') continue;
    fn.configWrite(0x10 + 4 * index, 4, kind === 'io' ? 0xc000 + 0x100 * index : 0xe000_0000 + size * 4);
    if (kind === 'memory64') fn.configWrite(0x14 + 4 * index, 4, 0x12);
  }
  fn.configWrite(4, 2, 0x0107);
  for (const { index, size } of bars) {
    if (index !== 1) continue;
    for (let at = 0; at < Math.min(size, 16 * fn.vectors); at += 4)
      fn.barWrite(1, at, 4, (at * 0x01020305) >>> 0);
  }
  driveQueue(fn);
}

function driveQueue(fn: PciFunction): void {
  const modern = fn.bars.some(({ index }) => index === 4);
  const write = (offset: number, size: number, value: number): void => {
    if (modern) fn.barWrite(4, offset, size, value);
    else fn.barWrite(0, offset, size, value);
  };
  if (!modern) {
    for (const status of [1, 3]) write(18, 1, status);
    write(4, 4, 0x40);
    write(8, 4, 0x10);
    write(18, 1, 7);
    return;
  }
  for (const status of [1, 3]) write(20, 1, status);
  write(8, 4, 0);
  write(12, 4, 0x40);
  write(8, 4, 1);
  write(12, 4, 1);
  write(20, 1, 11);
  write(16, 2, 0);
  write(26, 2, 0);
  write(24, 2, 64);
  for (const [offset, address] of [
    [32, 0x10000],
    [40, 0x20000],
    [48, 0x30000],
  ] as const)
    write(offset, 4, address);
  write(28, 2, 1);
  write(0, 4, 0x12345678);
  write(20, 1, 15);
}

const binary = findQemu('x86_64');

describe.skipIf(binary === undefined || !binary.version.startsWith('7.2'))('the QEMU of this machine', () => {
  test.each(MACHINES)(
    'machine $version: the same functions, and it takes over ours',
    { timeout: TIMEOUT_MS },
    async ({ version, disks }) => {
      const options = startOptions(version, disks);
      const stream = await withQemu(options, (vm) => vm.migrate());
      const bodies: [DecodedVirtio, Uint8Array][] = [];
      const functions = savedDisks(stream).map((theirs, i) => {
        const disk = disks[i] as Disk;
        const fn = functionFor(version, disk);
        expect(fn.device.capture(), disk.title).toEqual(theirs.state);
        drive(fn);
        bodies.push([theirs, theirs.device.codec.encode(fn.device.capture() as never)]);
        return fn;
      });
      expect(functions).toHaveLength(disks.length);
      const back = await withQemu({ ...options, incoming: true }, async (vm) => {
        expect(await vm.load(splice(stream, bodies))).toEqual({ ok: true });
        return vm.migrate();
      });
      savedDisks(back).forEach(({ device, state }, i) => {
        const disk = disks[i] as Disk;
        const ours = functions[i]?.device.capture();
        expect(state, disk.title).toEqual(ours);
        expect(firstDifference(device.section.body, device.codec.encode(ours as never)), disk.title).toBe(-1);
        const second = functionFor(version, disk);
        second.device.restore(state as VirtioState<PciParts>);
        expect(second.device.capture(), disk.title).toEqual(ours);
      });
    },
  );
});

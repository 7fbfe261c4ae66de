import { Buffer } from 'node:buffer';
import { type DeviceModel, MappedMemory, type VirtioState } from '@virtkit/core';
import { BlkDevice, blk, memoryDisk } from '@virtkit/device-blk';
import { findQemu, type QemuOptions, withQemu } from '@virtkit/lab';
import { type DecodedVirtio, decodeVirtio, findVirtio, parseStream } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { PciFunction, type PciOptions, type PciParts, pci } from '../src/index.ts';
import { firstDifference } from './bytes.ts';

const TIMEOUT_MS = 60_000;
const DISK_BYTES = 1 << 20;
const MEMORY_MIB = 16;

interface Case {
  readonly title: string;
  readonly machine?: string;
  /** Properties of virtio-blk-pci. */
  readonly properties?: string;
  readonly args?: readonly string[];
  readonly options?: Partial<PciOptions>;
  readonly queues?: number;
}

const PORT = ['-device', 'pcie-root-port,id=rp,chassis=1,slot=1,addr=4'];

/** Command lines of QEMU 7.2, and what they are here. */
const CASES: readonly Case[] = [
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
  { title: 'express', properties: 'bus=rp', args: PORT, options: { express: true } },
  {
    title: 'express, AER and ATS',
    properties: 'bus=rp,aer=on,ats=on',
    args: PORT,
    options: { express: true, aer: true, ats: true },
  },
  {
    title: 'express port, conventional function',
    properties: 'bus=rp,x-disable-pcie=on',
    args: PORT,
    options: { mode: 'modern' },
  },
  {
    title: 'express, transitional',
    properties: 'bus=rp,disable-legacy=off',
    args: PORT,
    options: { express: true, mode: 'transitional' },
  },
  ...[
    '7.1',
    '6.0',
    '5.2',
    '5.1',
    '5.0',
    '4.2',
    '4.1',
    '4.0',
    '3.1',
    '2.12',
    '2.11',
    '2.8',
    '2.7',
    '2.6',
    '2.5',
    '2.4',
  ].map((version) => ({
    title: `machine ${version}, express`,
    machine: `pc-q35-${version}`,
    properties: 'bus=rp,num-queues=1',
    args: PORT,
    options: { machine: `pc-q35-${version}`, express: true },
  })),
];

function startOptions(one: Case): QemuOptions {
  return {
    arch: 'x86_64',
    machine: one.machine ?? 'pc-q35-7.2',
    memoryMiB: MEMORY_MIB,
    sharedMemory: false,
    paused: true,
    files: { 'disk.img': DISK_BYTES },
    args: [
      ...(one.args ?? []),
      '-blockdev',
      'driver=file,filename=disk.img,node-name=disk',
      '-device',
      ['virtio-blk-pci,drive=disk,write-cache=on', one.properties].filter(Boolean).join(','),
    ],
  };
}

/** The disk's part of a stream of such a QEMU. */
function savedDisk(stream: Uint8Array): DecodedVirtio {
  for (const section of parseStream(stream).sections) {
    const device = findVirtio(section, { transports: [pci], devices: [blk] });
    if (device !== undefined) return decodeVirtio(device);
  }
  throw new Error('no disk in the stream');
}

function functionFor(one: Case): PciFunction {
  const version = Number(/(\d+)\.(\d+)$/.exec(one.machine ?? '7.2')?.[1]);
  const minor = Number(/(\d+)\.(\d+)$/.exec(one.machine ?? '7.2')?.[2]);
  const since = (major: number, least: number): boolean =>
    version > major || (version === major && minor >= least);
  const model = new BlkDevice({
    backend: memoryDisk(DISK_BYTES),
    queues: one.queues ?? 1,
    queueSize: since(5, 0) ? 256 : 128,
    discard: since(4, 0),
    writeZeroes: since(4, 0),
    flushIfConfigWce: since(5, 0),
    ndescs: 'before',
  });
  return new PciFunction(model as DeviceModel, {
    memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(MEMORY_MIB << 20) }]),
    sendMsi: () => {},
    machine: '7.2',
    ...one.options,
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
  test.each(CASES)(
    '$title: the same function, and it takes over ours',
    { timeout: TIMEOUT_MS },
    async (one) => {
      const options = startOptions(one);
      const stream = await withQemu(options, (vm) => vm.migrate());
      const theirs = savedDisk(stream);
      const { codec, section } = theirs.device;
      const fn = functionFor(one);
      const fresh = fn.device.capture() as VirtioState<PciParts, never>;
      expect(fresh).toEqual(theirs.state);
      drive(fn);
      const driven = codec.encode(fn.device.capture() as never);
      const at = Buffer.from(stream).indexOf(section.body);
      const changed = Buffer.concat([
        stream.subarray(0, at),
        driven,
        stream.subarray(at + section.body.length),
      ]);
      const back = await withQemu({ ...options, incoming: true }, async (vm) => {
        const result = await vm.load(changed);
        expect(result).toEqual({ ok: true });
        return vm.migrate();
      });
      const again = savedDisk(back);
      expect(again.state).toEqual(fn.device.capture());
      expect(firstDifference(again.device.section.body, driven)).toBe(-1);
      // and here
      const second = functionFor(one);
      second.device.restore(again.state as never);
      expect(second.device.capture()).toEqual(fn.device.capture());
    },
  );
});

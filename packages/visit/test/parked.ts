// A stream with block requests in flight, made here: a small machine whose disk never answers, so that no QEMU is needed.
import { codecOf, type LiveDevice, MappedMemory, type TransportParts } from '@virtkit/core';
import { type BlkBackend, BlkDevice, type BlkState, memoryDisk } from '@virtkit/device-blk';
import { RAM, StreamWriter } from '@virtkit/migration';
import { PciFunction } from '@virtkit/transport-pci';

const PAGE = 4096;
/** As much as the drivers here need. */
const RAM_BYTES = 1 << 20;
const [DESC, AVAIL, USED, DATA] = [0x10000, 0x11000, 0x12000, 0x20000];
const QUEUE_SIZE = 64;
/** Virtio 1.3 §2.7.5 */
const [NEXT, WRITE] = [1, 2];
/** What a driver has for a status that no device has written yet. */
const UNWRITTEN = 0xff;

/** Requests of a driver: writes of one sector each. */
export interface ParkedWrite {
  readonly sector: number;
  /** What every byte of it becomes. */
  readonly byte: number;
}

export interface ParkedOptions {
  readonly diskBytes: number;
  readonly writes: readonly ParkedWrite[];
  /** Machines with more than one disk: each has the same writes. Default 1. */
  readonly disks?: number;
  /** More guest memory, bytes, with something in every page of it. Default none. */
  readonly moreMemory?: number;
}

/** A stopped machine of which a driver has issued these writes, one request each, and no disk has answered. */
export function parkedStream({ diskBytes, writes, disks = 1, moreMemory = 0 }: ParkedOptions): Uint8Array {
  const ram = new Uint8Array(RAM_BYTES + moreMemory);
  for (let at = RAM_BYTES; at < ram.length; at++) ram[at] = (at * 7919) >> 8;
  const memory = new MappedMemory([{ gpa: 0, bytes: ram }]);
  const bodies = Array.from({ length: disks }, (_, disk) =>
    parkedDisk(memory, ram, disk * 0x40000, diskBytes, writes),
  );
  const chunks: Uint8Array[] = [];
  const out = new StreamWriter((bytes, start, end) => chunks.push(bytes.slice(start, end)));
  out.header(3);
  out.configuration({ name: 'pc-i440fx-7.2' });
  writeRam(out, ram);
  const devices = bodies.map(({ body, version }, index) => {
    const idstr = `0000:00:0${2 + index}.0/virtio-blk`;
    const header = {
      kind: 'full',
      id: 2 + index,
      idstr,
      instanceId: 0,
      versionId: version,
      offset: 0,
    } as const;
    out.section(header);
    out.body(body);
    out.footer(header.id);
    const fields = [{ name: 'virtio', type: 'virtio', size: body.length }];
    return { name: idstr, instance_id: 0, vmsd_name: 'virtio-blk', version, fields };
  });
  out.eof();
  out.vmdesc(new TextEncoder().encode(JSON.stringify({ page_size: PAGE, devices })));
  return Buffer.concat(chunks);
}

/** Where QEMU's virtio functions have their modern registers. Virtio 1.3 §4.1.4.3 */
const MODERN_BAR = 4;
const CONFIG_AT = 0x2000;
const NOTIFY_AT = 0x3000;
const COMMON = {
  DRIVER_FEATURE_SELECT: 8,
  DRIVER_FEATURE: 12,
  STATUS: 20,
  QUEUE_SIZE: 24,
  QUEUE_ENABLE: 28,
  QUEUE_DESC: 32,
  QUEUE_DRIVER: 40,
  QUEUE_DEVICE: 48,
} as const;

function parkedDisk(
  memory: MappedMemory,
  ram: Uint8Array,
  base: number,
  diskBytes: number,
  writes: readonly ParkedWrite[],
): { readonly body: Uint8Array; readonly version: number } {
  const disk = memoryDisk(512);
  const never: BlkBackend = {
    size: diskBytes,
    read: (...args) => disk.read(...args),
    write: () => new Promise<void>(() => {}),
  };
  const model = new BlkDevice({ backend: never, queueSize: QUEUE_SIZE });
  const fn = new PciFunction(model, { memory, setIntx: () => {}, sendMsi: () => {} });
  const { device } = fn;
  // Virtio 1.3 §3.1.1: the driver's part, as short as it can be
  const write = (offset: number, size: number, value: number): void =>
    fn.barWrite(MODERN_BAR, offset, size, value);
  write(COMMON.STATUS, 1, 3);
  write(COMMON.DRIVER_FEATURE_SELECT, 4, 1);
  write(COMMON.DRIVER_FEATURE, 4, 1);
  write(COMMON.STATUS, 1, 11);
  // where the driver sees the disk's size
  for (let at = 0; at < 8; at += 4) fn.barRead(MODERN_BAR, CONFIG_AT + at, 4);
  write(COMMON.QUEUE_SIZE, 2, QUEUE_SIZE);
  write(COMMON.QUEUE_DESC, 4, base + DESC);
  write(COMMON.QUEUE_DRIVER, 4, base + AVAIL);
  write(COMMON.QUEUE_DEVICE, 4, base + USED);
  write(COMMON.QUEUE_ENABLE, 2, 1);
  write(COMMON.STATUS, 1, 15);
  const view = new DataView(ram.buffer);
  writes.forEach(({ sector, byte }, index) => {
    const [header, status, data] = [
      base + DATA + 1024 * index,
      base + DATA + 1024 * index + 16,
      base + DATA + 1024 * index + 512,
    ];
    view.setUint32(header, 1, true);
    view.setBigUint64(header + 8, BigInt(sector), true);
    view.setUint8(status, UNWRITTEN);
    ram.fill(byte, data, data + 512);
    describe(view, base, 3 * index, header, 16, NEXT);
    describe(view, base, 3 * index + 1, data, 512, NEXT);
    describe(view, base, 3 * index + 2, status, 1, WRITE);
    view.setUint16(base + AVAIL + 4 + 2 * index, 3 * index, true);
  });
  view.setUint16(base + AVAIL + 2, writes.length, true);
  write(NOTIFY_AT, 2, 0);
  const live = device as LiveDevice<TransportParts, BlkState>;
  return { body: codecOf(live).encode(live.capture()), version: model.layer.version };
}

function describe(
  view: DataView,
  base: number,
  index: number,
  address: number,
  length: number,
  flags: number,
): void {
  const at = base + DESC + 16 * index;
  view.setBigUint64(at, BigInt(address), true);
  view.setUint32(at + 8, length, true);
  view.setUint16(at + 12, flags, true);
  view.setUint16(at + 14, index + 1, true);
}

function writeRam(out: StreamWriter, ram: Uint8Array): void {
  const section = { id: 1, idstr: 'ram', instanceId: 0, versionId: 4, offset: 0 };
  out.section({ ...section, kind: 'start' });
  out.ramSize(BigInt(ram.length));
  out.ramBlock({ name: 'pc.ram', length: ram.length });
  out.ramMark(RAM.EOS, 0);
  out.footer(section.id);
  out.section({ ...section, kind: 'end' });
  for (let at = 0; at < ram.length; at += PAGE) {
    const page = ram.subarray(at, at + PAGE);
    const empty = page.every((byte) => byte === 0);
    out.ramPage((empty ? RAM.ZERO : RAM.PAGE) | (at === 0 ? 0 : RAM.CONTINUE), at, 0);
    out.ramData(page, 0, empty ? 1 : PAGE);
  }
  out.ramMark(RAM.EOS, 0);
  out.footer(section.id);
}

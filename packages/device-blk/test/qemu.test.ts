// The same requests to a real QEMU and to this device: the same memory, the same disk, the same registers afterwards.
import fs from 'node:fs';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { Machine, pattern, type Segment } from './machine.ts';
import { hasQemu, Qemu, REGISTER } from './qemu.ts';

const SECTORS = 2048;
const CONTENT = pattern(SECTORS * 512, 1);
const FEATURES = (1 << 6) | (1 << 9) | (1 << 11);
const RINGS = [0x1000, 0x4000] as const;
const BUFFERS = [0x100000, 0x104000] as const;

/** Milliseconds that a QEMU on a busy machine gets to come to the same end. */
const PATIENCE_MS = 20_000;

type Chain = (m: Machine) => Segment[];
type Case = readonly [name: string, ...Chain[]];

/** Header, then what the device reads, what it writes, and the status. */
function simple(type: number, sector: number, out: number | Uint8Array, into: number): Chain {
  return (m) => {
    const data = typeof out === 'number' ? pattern(out, out + 3) : out;
    const segments: Segment[] = [{ addr: m.header(type, sector), len: 16 }];
    if (data.length > 0) {
      const addr = m.alloc(data.length);
      m.ram.set(data, addr);
      segments.push({ addr, len: data.length });
    }
    return [...segments, ...writable(m, into === 0 ? [1] : [into, 1])];
  };
}

/** Out segments one after the other, beginning with the header; in segments each somewhere. */
function cut(type: number, sector: number, out: readonly number[], into: readonly number[]): Chain {
  return (m) => {
    const total = out.reduce((sum, len) => sum + len, 0);
    let at = m.header(type, sector, pattern(Math.max(0, total - 16), 9));
    const segments = out.map((len) => {
      at += len;
      return { addr: at - len, len };
    });
    return [...segments, ...writable(m, into)];
  };
}

function writable(m: Machine, lengths: readonly number[]): Segment[] {
  return lengths.map((len) => {
    const room = Math.max(len, 32);
    const addr = m.alloc(room);
    m.ram.fill(0xdd, addr, addr + room);
    return { addr, len, write: true };
  });
}

function range(sector: number, count: number, flags: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setBigUint64(0, BigInt(sector), true);
  view.setUint32(8, count, true);
  view.setUint32(12, flags, true);
  return new Uint8Array(view.buffer);
}

function cases(): Case[] {
  const list: Case[] = [];
  const types = [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 26, 30, 100];
  for (const type of [...types, 0x80000000, 0x80000001, 0x80000008, 0xffffffff]) {
    const out = (type & 1) !== 0;
    list.push([`type ${type}`, simple(type, 0, out ? 512 : 0, out ? 0 : 512)]);
    if (type !== 11 && type !== 13) list.push([`type ${type}, no data`, simple(type, 0, 0, 0)]);
  }
  for (const sector of [0, SECTORS - 1, SECTORS, SECTORS + 1, 2 ** 32, 2 ** 53, 2 ** 63])
    for (const bytes of [0, 511, 512, 1024]) {
      list.push([`IN ${sector} ${bytes}`, simple(0, sector, 0, bytes)]);
      list.push([`OUT ${sector} ${bytes}`, simple(1, sector, bytes, 0)]);
    }
  for (const room of [0, 1, 5, 11, 12, 19, 20, 21, 40]) list.push([`GET_ID ${room}`, simple(8, 0, 0, room)]);
  for (const type of [11, 13]) {
    for (const [sector, count, flags] of [
      [8, 16, 0],
      [8, 16, 1],
      [8, 16, 2],
      [8, 0, 0],
      [8, 0, 1],
      [SECTORS - 1, 2, 0],
      [SECTORS, 1, 2],
      [SECTORS, 0, 0],
      [SECTORS + 1, 0, 0],
      [0, 0x400000, 0],
      [0, 0x3fffff, 0],
      [2 ** 40, 1, 0],
      [8, 16, 0x80000000],
    ] as const)
      list.push([
        `type ${type}: ${sector} ${count} ${flags}`,
        simple(type, 5, range(sector, count, flags), 0),
      ]);
    for (const bytes of [17, 24, 32]) list.push([`type ${type}: ${bytes} bytes`, simple(type, 0, bytes, 0)]);
  }
  const lists = [
    [
      [16, 6],
      [96, 16, 1],
    ],
    [[16], [96, 16, 1]],
    [
      [16, 6],
      [16, 1],
    ],
    [
      [16, 6, 512],
      [512, 96, 20, 1],
    ],
    [
      [16, 6],
      [96, 4, 17],
    ],
  ];
  for (const [out = [], into = []] of lists) list.push([`SCSI ${out} | ${into}`, cut(2, 0, out, into)]);
  for (const out of [[16], [1, 15], [4, 12], [16, 512], [528], [20, 508], [15, 513]])
    for (const into of [[1], [513], [1, 512], [100, 413], [17]])
      for (const type of [0, 1, 8]) list.push([`type ${type}: ${out} | ${into}`, cut(type, 3, out, into)]);
  return list;
}

const FAULTS: readonly Case[] = [
  ['no in segment', cut(0, 0, [16], [])],
  ['no out segment', cut(0, 0, [], [64])],
  ['short header', cut(0, 0, [8, 7], [1])],
  ['short DISCARD', simple(11, 0, 15, 0)],
  ['no WRITE_ZEROES', simple(13, 0, 0, 0)],
  [
    'in a batch',
    simple(8, 0, 0, 20),
    simple(0, 4, 0, 512),
    simple(1, 9, 512, 0),
    cut(0, 0, [16], []),
    simple(0, 0, 0, 512),
  ],
  ['behind a read', simple(0, 4, 0, 512), cut(0, 0, [16], [])],
];

/** Both devices with their drivers set up, and the same memory. */
class Pair {
  readonly m: Machine;
  readonly disk: ReturnType<typeof memoryDisk>;
  readonly qemu: Qemu;

  constructor(qemu: Qemu, readOnly: boolean) {
    this.qemu = qemu;
    this.disk = memoryDisk(CONTENT.slice(), { readOnly });
    const device = new BlkDevice({ backend: this.disk, serial: 'serial-0123' });
    this.m = new Machine(device, { legacy: true, version1: false, features: BigInt(FEATURES) });
  }

  static async start(readOnly = false): Promise<Pair> {
    const qemu = await Qemu.start(CONTENT, readOnly);
    const pair = new Pair(qemu, readOnly);
    await qemu.set(REGISTER.status, 'b', 3);
    await qemu.set(REGISTER.features, 'l', FEATURES);
    await qemu.write(RINGS[0], pair.m.ram.slice(...RINGS));
    await qemu.set(REGISTER.select, 'w', 0);
    await qemu.set(REGISTER.pfn, 'l', RINGS[0] >>> 12);
    await qemu.set(REGISTER.status, 'b', 7);
    return pair;
  }

  /** Every place where they differ when QEMU, whose disk takes its time, is done, or has had long enough. */
  async compare(chains: readonly Chain[]): Promise<string[]> {
    const { m, qemu } = this;
    m.heap = BUFFERS[0];
    for (const chain of chains) m.add(0, chain(m));
    for (const area of [RINGS, BUFFERS]) await qemu.write(area[0], m.ram.slice(...area));
    m.kick();
    await qemu.set(REGISTER.notify, 'w', 0);
    const isr = { ours: m.driver.isr, theirs: 0 };
    m.driver.acknowledge(isr.ours);
    const patience = Date.now() + PATIENCE_MS;
    let found = await this.#differences(isr);
    while (found.length > 0 && Date.now() < patience) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      found = await this.#differences(isr);
    }
    m.used();
    return found;
  }

  async #differences(isr: { readonly ours: number; theirs: number }): Promise<string[]> {
    const { m, qemu } = this;
    const found: string[] = [];
    for (const [start, end] of [RINGS, BUFFERS]) {
      const theirs = await qemu.read(start, end - start);
      theirs.forEach((byte, i) => {
        if (byte !== m.ram[start + i])
          found.push(`0x${(start + i).toString(16)}: ${byte}, ours ${m.ram[start + i]}`);
      });
    }
    // reading clears it
    isr.theirs |= await qemu.get(REGISTER.isr);
    if (isr.theirs !== isr.ours) found.push(`isr: ${isr.theirs}, ours ${isr.ours}`);
    const status = await qemu.get(REGISTER.status);
    if (status !== m.live.status) found.push(`status: ${status}, ours ${m.live.status}`);
    if (Buffer.compare(fs.readFileSync(qemu.image), this.disk.bytes) !== 0) found.push('disk');
    return found;
  }
}

describe.runIf(hasQemu)('a real QEMU', () => {
  test.each([
    ['a disk', false],
    ['a read-only disk', true],
  ])('does the same with %s', { timeout: 120_000 }, async (_name, readOnly) => {
    const pair = await Pair.start(readOnly);
    const different: Record<string, string[]> = {};
    for (const [name, ...chains] of cases()) {
      const found = await pair.compare(chains);
      if (found.length > 0) different[name] = found;
    }
    pair.qemu.stop();
    expect(different).toEqual({});
    expect(pair.m.faults).toEqual([]);
  });

  test.each(FAULTS.map(([name, ...chains]) => ({ name, chains })))(
    'breaks the same way: $name',
    {
      timeout: 30_000,
    },
    async ({ chains }) => {
      const pair = await Pair.start();
      expect(await pair.compare(chains)).toEqual([]);
      expect(pair.m.faults).toHaveLength(1);
      pair.qemu.stop();
    },
  );
});

import { STATUS } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { AT, DC, type Ended, endOf, FMT1, Guest, IDA, SKIP, SLI } from './guest.ts';

const u64 = (value: number): number[] => [0, 0, 0, 0, ...u32(value)];
const u32 = (value: number): number[] => [
  value >>> 24,
  (value >> 16) & 0xff,
  (value >> 8) & 0xff,
  value & 0xff,
];
const u16 = (value: number): number[] => [value >> 8, value & 0xff];
const zeros = (count: number): number[] => new Array(count).fill(0);

/** SET_VQ of revision 0, and of 1 and later. */
const legacyQueue = (queue: number, { align = 4096, index = 0, num = 256 } = {}): number[] => [
  ...u64(queue),
  ...u32(align),
  ...u16(index),
  ...u16(num),
];
const modernQueue = (
  desc: number,
  { index = 0, num = 256, avail = 0x9000, used = 0xa000 } = {},
): number[] => [...u64(desc), ...u32(0), ...u16(index), ...u16(num), ...u64(avail), ...u64(used)];

/** A guest whose driver has chosen a revision. -1: none yet. */
function guestAt(revision: number): Guest {
  const guest = new Guest().enable();
  if (revision >= 0) expect(endOf(guest.revision(revision))).toBe('done');
  return guest;
}

interface FixedCase {
  readonly name: string;
  readonly code: number;
  readonly data: readonly number[];
  readonly revisions: readonly number[];
  /** Residual count for a command that is three bytes too long. */
  readonly residual?: number;
}

const FIXED: readonly FixedCase[] = [
  { name: 'SET_VQ', code: 0x13, data: legacyQueue(0x8000), revisions: [-1, 0], residual: 0 },
  { name: 'SET_VQ', code: 0x13, data: modernQueue(0x8000), revisions: [1, 2], residual: 0 },
  { name: 'READ_FEAT', code: 0x12, data: zeros(5), revisions: [-1, 0, 1, 2] },
  { name: 'WRITE_FEAT', code: 0x11, data: zeros(5), revisions: [-1, 0, 1, 2] },
  { name: 'WRITE_STATUS', code: 0x31, data: [1], revisions: [-1, 0, 1, 2] },
  { name: 'READ_STATUS', code: 0x72, data: [0], revisions: [-1, 0, 1, 2] },
  { name: 'SET_IND', code: 0x43, data: u64(0x5000), revisions: [-1, 0, 1, 2] },
  { name: 'SET_CONF_IND', code: 0x53, data: u64(0x5000), revisions: [-1, 0, 1, 2] },
  { name: 'SET_IND_ADAPTER', code: 0x73, data: zeros(25), revisions: [-1, 0, 1, 2] },
  { name: 'READ_VQ_CONF', code: 0x32, data: zeros(4), revisions: [-1, 0, 1, 2] },
];

describe.each(FIXED.flatMap((row) => row.revisions.map((revision) => ({ ...row, revision }))))(
  '$name in revision $revision',
  ({ code, data, revision, residual = 3 }) => {
    const { length } = data;
    const run = (count: number, flags = 0, cda: number = AT.data) => {
      const guest = guestAt(revision);
      return guest.command(code, data, { count, flags, cda });
    };

    test.each<[string, number, number, Ended]>([
      ['exact', length, 0, 'done'],
      ['exact, length not checked', length, SLI, 'done'],
      ['too short', length - 1, 0, 'check'],
      ['too short, length not checked', length - 1, SLI, 'check'],
      ['nothing', 0, SLI, 'check'],
      ['too long', length + 3, 0, 'check'],
      ['too long, length not checked', length + 3, SLI, 'done'],
      ['too long, checked by chain data', length + 3, SLI | DC, 'check'],
    ])('%s', (_, count, flags, ended) => {
      const irb = run(count, flags);
      expect(endOf(irb)).toBe(ended);
      if (ended === 'done') expect(irb.count).toBe(count === length ? 0 : residual);
    });

    test('no data address', () => {
      expect(endOf(run(length, 0, 0))).toBe('check');
    });

    test('data outside of memory', () => {
      // READ_STATUS stores whatever happens
      expect(endOf(run(length, 0, 0x7000_0000))).toBe(code === 0x72 ? 'done' : 'check');
    });
  },
);

describe('revisions', () => {
  test.each<[string, number, number[], number, number, Ended]>([
    ['0', 2, [0, 0, 0, 0], 4, 0, 'done'],
    ['1', 2, [0, 1, 0, 0], 4, 0, 'done'],
    ['2', 2, [0, 2, 0, 0], 4, 0, 'done'],
    ['3', 2, [0, 3, 0, 0], 4, 0, 'reject'],
    ['2 of a device up to 1', 1, [0, 2, 0, 0], 4, 0, 'reject'],
    ['1 of a legacy device', 0, [0, 1, 0, 0], 4, 0, 'reject'],
    ['0 of a legacy device', 0, [0, 0, 0, 0], 4, 0, 'done'],
    ['with data', 2, [0, 2, 0, 2, 9, 9], 6, 0, 'done'],
    ['with less data than it says', 2, [0, 2, 0, 3, 9, 9], 6, 0, 'check'],
    ['with more data than it says', 2, [0, 2, 0, 1, 9, 9], 6, 0, 'check'],
    ['with more data, length not checked', 2, [0, 2, 0, 1, 9, 9], 6, SLI, 'done'],
    ['too short', 2, [0, 2, 0, 0], 3, SLI, 'check'],
  ])('%s', (_, maxRevision, data, count, flags, ended) => {
    const guest = new Guest({ maxRevision }).enable();
    expect(endOf(guest.command(0x83, data, { count, flags }))).toBe(ended);
    expect(guest.ccw.revision).toBe(ended === 'done' ? data[1] : -1);
  });

  test('is chosen once', () => {
    const guest = guestAt(1);
    expect(endOf(guest.revision(2))).toBe('reject');
    expect(endOf(guest.revision(1))).toBe('reject');
    expect(guest.ccw.revision).toBe(1);
  });

  test('survives a reset, and not that the subchannel is disabled', () => {
    const guest = guestAt(2);
    expect(endOf(guest.command(0x33, []))).toBe('done');
    expect(guest.ccw.revision).toBe(2);
    guest.msch(0x1800);
    expect(guest.ccw.revision).toBe(-1);
  });

  test('is 0 for a driver that does not ask', () => {
    const guest = guestAt(-1);
    guest.command(0x72, [0]);
    expect(guest.ccw.revision).toBe(0);
    expect(endOf(guest.revision(2))).toBe('reject');
  });

  test('without a legacy interface, nothing goes before it, and it is not 0', () => {
    const guest = new Guest({ modernOnly: true }).enable();
    expect(endOf(guest.command(0x72, [0]))).toBe('reject');
    expect(endOf(guest.revision(0))).toBe('reject');
    expect(endOf(guest.revision(1))).toBe('done');
    expect(endOf(guest.command(0x72, [0]))).toBe('done');
  });

  test('not data of a command without an address', () => {
    const guest = guestAt(-1);
    expect(endOf(guest.command(0x83, [0, 1, 0, 0], { cda: 0 }))).toBe('check');
  });
});

describe('features', () => {
  const read = (guest: Guest, index: number): number => {
    expect(endOf(guest.command(0x12, [0xff, 0xff, 0xff, 0xff, index]))).toBe('done');
    return guest.view.getUint32(AT.data, true);
  };
  const write = (guest: Guest, index: number, value: number) => {
    const bytes = [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];
    expect(endOf(guest.command(0x11, [...bytes, index]))).toBe('done');
  };
  const LEGACY = (1 << 24) | (1 << 27);

  test('revision 0 sees the lower half with what is legacy, and no upper half', () => {
    const guest = guestAt(0);
    expect(read(guest, 0)).toBe(Number(guest.ccw.device.offeredFeatures & 0xffffffffn));
    expect(read(guest, 0) & LEGACY).toBe(LEGACY);
    expect(read(guest, 1)).toBe(0);
    write(guest, 1, 1);
    expect(guest.ccw.device.features).toBe(0n);
  });

  test.each([1, 2])('revision %i sees both halves without what is legacy', (revision) => {
    const guest = guestAt(revision);
    expect(read(guest, 0) & LEGACY).toBe(0);
    expect(read(guest, 0) & (1 << 7)).toBe(0); // SCSI, of legacy disks
    expect(read(guest, 1)).toBe(Number(guest.ccw.device.offeredFeatures >> 32n));
    expect(read(guest, 2)).toBe(0);
    write(guest, 0, 0x10000000);
    write(guest, 1, 1);
    write(guest, 2, 1);
    expect(guest.ccw.device.features).toBe(0x1_1000_0000n);
    write(guest, 0, 0x20000000);
    expect(guest.ccw.device.features).toBe(0x1_2000_0000n);
  });

  test('what was not offered is dropped; after FEATURES_OK nothing changes', () => {
    const guest = guestAt(2);
    write(guest, 0, 0xffffffff);
    write(guest, 1, 1);
    const { device } = guest.ccw;
    expect(device.features & ~device.offeredFeatures).toBe(0n);
    guest.command(0x31, [STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK]);
    const before = device.features;
    write(guest, 0, 0);
    expect(device.features).toBe(before);
  });
});

describe('status', () => {
  test('is written and read', () => {
    const guest = guestAt(2);
    guest.command(0x31, [3]);
    expect(guest.ccw.device.status).toBe(3);
    expect(guest.command(0x72, [0xee]).count).toBe(0);
    expect(guest.data(1)).toEqual([3]);
  });

  test('FEATURES_OK is rejected where ACCESS_PLATFORM was not taken, and the status is as before', () => {
    const guest = new Guest({ accessPlatform: true }).enable();
    guest.revision(2);
    guest.command(0x11, [0, 0, 0, 0, 0]);
    guest.command(0x11, [1, 0, 0, 0, 1]);
    guest.command(0x31, [3]);
    const irb = guest.command(0x31, [0x0b]);
    expect(endOf(irb)).toBe('reject');
    expect(irb.sense[0]).toBe(0x80);
    expect(guest.ccw.device.status).toBe(3);
  });

  test('0 is a reset', () => {
    const guest = guestAt(2);
    guest.command(0x13, modernQueue(0x8000));
    guest.command(0x53, u64(0x5000));
    guest.command(0x31, [3]);
    guest.command(0x31, [0]);
    expect(guest.ccw.device.queue(0)?.desc).toBe(0n);
    const { transport, queues } = guest.ccw.device.capture();
    expect(transport.indicators2).toEqual({ len: 0, addr: 0n });
    expect(transport.configVector).toBe(0xffff);
    expect(queues[0]?.transport.vector).toBe(0xffff);
  });

  test('READ_STATUS takes its data address as it is', () => {
    const guest = guestAt(2);
    guest.view.setUint32(AT.data, AT.list);
    guest.command(0x72, [], { count: 1, flags: IDA });
    expect(guest.ram[AT.data]).toBe(0);
    guest.ram[AT.data] = 7;
    guest.command(0x72, [], { count: 1, flags: SKIP });
    expect(guest.ram[AT.data]).toBe(0);
  });
});

describe('queues', () => {
  const vector = (guest: Guest, index = 0) => guest.ccw.device.capture().queues[index]?.transport.vector;

  test.each<[string, number, number[], Ended, number, bigint]>([
    ['a modern ring', 1, modernQueue(0x8000), 'done', 256, 0x8000n],
    ['a smaller modern ring', 2, modernQueue(0x8000, { num: 16 }), 'done', 16, 0x8000n],
    ['a larger modern ring', 2, modernQueue(0x8000, { num: 512 }), 'check', 256, 0x8000n],
    ['a modern ring of no entries', 2, modernQueue(0x8000, { num: 0 }), 'done', 256, 0x8000n],
    ['no modern ring', 2, modernQueue(0, { num: 16 }), 'done', 256, 0n],
    ['a legacy ring', 0, legacyQueue(0x8000), 'done', 256, 0x8000n],
    ['a larger legacy ring', 0, legacyQueue(0x8000, { num: 512 }), 'done', 256, 0x8000n],
    ['a smaller legacy ring', 0, legacyQueue(0x8000, { num: 128 }), 'check', 256, 0x8000n],
    ['a legacy ring of other alignment', 0, legacyQueue(0x8000, { align: 64 }), 'check', 256, 0n],
    ['no legacy ring, of other alignment', 0, legacyQueue(0, { align: 64 }), 'done', 256, 0n],
  ])('%s', (_, revision, data, ended, num, desc) => {
    const guest = guestAt(revision);
    expect(endOf(guest.command(0x13, data))).toBe(ended);
    const { device } = guest.ccw;
    expect([device.queue(0)?.size, device.queue(0)?.desc]).toEqual([num, desc]);
    expect(vector(guest)).toBe(ended === 'done' && desc !== 0n ? 0 : 0xffff);
    expect(device.capture().transport.configVector).toBe(ended === 'done' ? 0x400 : 0xffff);
  });

  test('the reserved field of a modern block says nothing', () => {
    const guest = guestAt(2);
    const block = [...modernQueue(0x8000, { num: 16 })];
    block.fill(0xff, 8, 12);
    expect(endOf(guest.command(0x13, block))).toBe('done');
    expect([guest.ccw.device.queue(0)?.size, guest.ccw.device.queue(0)?.desc]).toEqual([16, 0x8000n]);
  });

  test('the legacy ring is laid out behind its address', () => {
    const guest = guestAt(0);
    guest.command(0x13, legacyQueue(0x8000));
    expect(guest.ccw.device.queue(0)).toMatchObject({ avail: 0x9000n, used: 0xa000n });
  });

  test.each([0, 2])('revision %i: the queue number has limits', (revision) => {
    const guest = guestAt(revision);
    const block = (index: number) => (revision === 0 ? legacyQueue : modernQueue)(0x8000, { index });
    expect(endOf(guest.command(0x13, block(1023)))).toBe(revision === 0 ? 'done' : 'check');
    expect(endOf(guest.command(0x13, block(1024)))).toBe('check');
    expect(endOf(guest.command(0x32, [...u16(1023), 0, 0]))).toBe('done');
    expect(endOf(guest.command(0x32, [...u16(1024), 0, 0]))).toBe('check');
  });

  test('READ_VQ_CONF says the size that the ring has now; 0 for no queue', () => {
    const guest = guestAt(2);
    guest.command(0x32, [0, 0, 9, 9]);
    expect(guest.data(4)).toEqual([0, 0, 1, 0]);
    guest.command(0x13, modernQueue(0x8000, { num: 16 }));
    guest.command(0x32, [0, 0, 9, 9]);
    expect(guest.data(4)).toEqual([0, 0, 0, 16]);
    guest.command(0x32, [0, 7, 9, 9]);
    expect(guest.data(4)).toEqual([0, 7, 0, 0]);
  });
});

describe('configuration space', () => {
  const length = new Guest().ccw.device.readConfig().length;

  test.each<[string, number, number, Ended]>([
    ['all', length, 0, 'done'],
    ['a part', 8, 0, 'done'],
    ['nothing', 0, 0, 'done'],
    ['too much', length + 1, 0, 'check'],
    ['too much, length not checked', length + 100, SLI, 'done'],
  ])('%s', (_, count, flags, ended) => {
    for (const code of [0x22, 0x21]) {
      const guest = guestAt(2);
      guest.ram.fill(0xee, AT.data, AT.data + 256);
      const irb = guest.command(code, [], { count, flags });
      expect(endOf(irb), `command ${code}`).toBe(ended);
      // READ_CONF leaves the residual count as it was, like QEMU up to 10.2
      if (ended === 'done' && code === 0x21) expect(irb.count).toBe(Math.max(0, count - length));
      if (code === 0x22) expect(guest.ram[AT.data + Math.min(count, length)]).toBe(0xee);
    }
  });

  test('is little-endian for modern drivers, and big-endian for legacy ones', () => {
    const modern = guestAt(2);
    modern.command(0x11, [0, 0, 0, 0, 0]);
    modern.command(0x11, [1, 0, 0, 0, 1]);
    modern.command(0x22, [], { count: 8 });
    expect(modern.data(8)).toEqual([0, 8, 0, 0, 0, 0, 0, 0]); // 2048 sectors
    const legacy = guestAt(0);
    legacy.command(0x22, [], { count: 8 });
    expect(legacy.data(8)).toEqual([0, 0, 0, 0, 0, 0, 8, 0]);
  });

  test('writes reach the device, and are in the saved bytes', () => {
    const guest = guestAt(2);
    const WRITEBACK = 32;
    guest.command(0x11, [0, 8, 0, 0, 0]); // CONFIG_WCE
    guest.command(0x22, [], { count: length });
    expect(guest.ram[AT.data + WRITEBACK]).toBe(1);
    guest.ram[AT.data + WRITEBACK] = 0;
    expect(endOf(guest.command(0x21, [], { count: length }))).toBe('done');
    expect(guest.ccw.device.capture().config[WRITEBACK]).toBe(0);
    guest.command(0x22, [], { count: length });
    expect(guest.ram[AT.data + WRITEBACK]).toBe(0);
  });

  test('nothing is written where the data cannot be read', () => {
    const guest = guestAt(2);
    guest.command(0x22, [], { count: length });
    const before = guest.ccw.device.capture().config;
    expect(endOf(guest.command(0x21, [], { count: length, cda: 0xfffff }))).toBe('check');
    expect(guest.ccw.device.capture().config).toEqual(before);
  });
});

describe('indicators', () => {
  test('classic ones are refused beside those of the adapter, and the other way round', () => {
    const first = guestAt(2);
    expect(endOf(first.command(0x43, u64(0x5000)))).toBe('done');
    expect(endOf(first.adapterIndicators())).toBe('reject');
    expect(endOf(first.command(0x43, u64(0x5008)))).toBe('done');
    const second = guestAt(2);
    expect(endOf(second.adapterIndicators())).toBe('done');
    expect(endOf(second.command(0x43, u64(0x5000)))).toBe('reject');
    expect(endOf(second.adapterIndicators(5))).toBe('done');
    expect(endOf(second.command(0x33, []))).toBe('done');
    expect(endOf(second.command(0x43, u64(0x5000)))).toBe('done');
  });

  test('classic ones have 64 bits', () => {
    const many = (queues: number): Guest =>
      new Guest({}, new BlkDevice({ backend: memoryDisk(1 << 20), queues }) as never).enable();
    expect(endOf(many(64).command(0x43, u64(0x5000)))).toBe('done');
    expect(endOf(many(65).command(0x43, u64(0x5000)))).toBe('reject');
    expect(endOf(many(65).adapterIndicators())).toBe('done');
  });

  test('subclasses above 7 and bits that no memory has are rejected', () => {
    const guest = guestAt(2);
    const block = [...u64(0x5100), ...u64(0x5000), ...u64(0), 8];
    expect(endOf(guest.command(0x73, block))).toBe('reject');
    block[24] = 7;
    expect(endOf(guest.command(0x73, block))).toBe('done');
    block.fill(0xff, 16, 24);
    expect(endOf(guest.command(0x73, block))).toBe('reject');
  });

  test('are saved with their length', () => {
    const guest = guestAt(2);
    guest.command(0x53, u64(0x5040));
    guest.adapterIndicators(20);
    expect(guest.ccw.device.capture().transport).toMatchObject({
      indicators: { len: 3, addr: 0x5000n },
      indicators2: { len: 8, addr: 0x5040n },
      summaryIndicator: { len: 1, addr: 0x5100n },
      adapter: { indOffset: 20n, summaryOffset: 7 },
      thinintIsc: 2,
      sch: { thinintActive: true },
    });
  });

  test("of an address that is in use, the length is the first one's", () => {
    const guest = guestAt(2);
    guest.adapterIndicators(0);
    guest.adapterIndicators(20);
    expect(guest.ccw.device.capture().transport.indicators).toEqual({ len: 1, addr: 0x5000n });
  });
});

describe('basic commands', () => {
  test('NO-OPERATION', () => {
    expect(endOf(guestAt(-1).command(0x03, [], { cda: 0 }))).toBe('done');
  });

  test.each<[number, number, Ended, number, number]>([
    [256, 0, 'done', 0, 0xff],
    [7, SLI, 'done', 0, 0xff],
    [3, SLI, 'done', 0, 0],
    [300, SLI, 'done', 44, 0xff],
    [7, 0, 'check', 0, 0],
    [300, 0, 'check', 0, 0],
  ])('SENSE ID of %i bytes, flags %i', (count, flags, ended, residual, first) => {
    const guest = guestAt(-1);
    const irb = guest.command(0xe4, [], { count, flags });
    expect(endOf(irb)).toBe(ended);
    expect(irb.count).toBe(residual);
    if (ended !== 'done') return;
    const expected = [first, 0x38, 0x32, 2, 0, 0, 0].slice(0, count);
    expect(guest.data(7).slice(0, expected.length)).toEqual(expected);
    // it is no virtio command
    expect(guest.ccw.revision).toBe(-1);
  });

  test('BASIC SENSE tells what a command reject was for, once', () => {
    const guest = new Guest().enable(0); // without concurrent sense
    const rejected = guest.command(0x7f, [1]);
    expect(endOf(rejected)).toBe('reject');
    expect(rejected.sense[0]).toBe(0);
    expect(endOf(guest.command(0x04, [], { count: 32 }))).toBe('done');
    expect(guest.data(2)).toEqual([0x80, 0]);
    guest.command(0x04, [], { count: 32 });
    expect(guest.data(1)).toEqual([0]);
    expect(endOf(guest.command(0x04, [], { count: 31 }))).toBe('check');
    expect(guest.command(0x04, [], { count: 40, flags: SLI }).count).toBe(8);
    expect(guest.command(0x04, [], { count: 1, flags: SLI }).count).toBe(0);
  });

  test('sense that cannot be stored is kept', () => {
    const guest = new Guest().enable(0);
    guest.command(0x7f, [1]);
    expect(endOf(guest.command(0x04, [], { count: 32, cda: 0x7000_0000 }))).toBe('check');
    guest.command(0x04, [], { count: 32 });
    expect(guest.data(1)).toEqual([0x80]);
  });

  test('commands that there are not are rejected', () => {
    const known = [0x11, 0x12, 0x13, 0x21, 0x22, 0x31, 0x32, 0x33, 0x43, 0x53, 0x72, 0x73, 0x83, 3, 4, 0xe4];
    for (let code = 0; code < 256; code++) {
      if (known.includes(code)) continue;
      const guest = guestAt(2);
      const invalid = (code & 0x0f) === 0 || (code & 0x0f) === 8;
      const irb = guest.command(code, [1]);
      expect(endOf(irb), `command ${code}`).toBe(invalid ? 'check' : 'reject');
      if (invalid) continue;
      expect(irb).toMatchObject({ dstat: 2, cstat: 0, stctl: 0x17, erw: 0x01002000, cpa: AT.program + 8 });
      expect(irb.flags & 0x0402).toBe(0x0402);
      expect(irb.sense[0]).toBe(0x80);
    }
  });

  test('VDEV_RESET has no data, and does not look at any', () => {
    const guest = guestAt(2);
    expect(endOf(guest.command(0x33, [], { cda: 0, count: 0 }))).toBe('done');
    expect(endOf(guest.command(0x33, [], { cda: 0x7fff_0000, count: 77 }))).toBe('done');
  });

  test('revision 0 has READ_STATUS and two-stage indicators too', () => {
    const guest = guestAt(0);
    expect(endOf(guest.command(0x72, [0], {}))).toBe('done');
    expect(endOf(guest.run([{ code: 0x03 }], FMT1))).toBe('done');
  });
});

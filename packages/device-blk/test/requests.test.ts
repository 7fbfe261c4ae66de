import { BLK_S, BLK_T, BlkDevice, type BlkOptions, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { Machine, type MachineOptions, pattern, type Segment } from './machine.ts';

const SECTORS = 2048;
/** Whole disks: `toEqual` would look at each byte for a second. */
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const CONTENT = pattern(SECTORS * 512, 1);
const ZERO = new Uint8Array(0);

function machine(options: Partial<BlkOptions> = {}, how: MachineOptions = {}) {
  const backend = memoryDisk(CONTENT.slice());
  const m = new Machine(new BlkDevice({ backend, serial: 'serial-0123', ...options }), how);
  return { m, backend };
}

const FORMS: readonly (readonly [string, MachineOptions])[] = [
  ['split', {}],
  ['split, indirect', { indirect: true }],
  ['split, no event index', { rings: { eventIdx: false } }],
  ['packed', { rings: { packed: true } }],
  ['packed, indirect', { rings: { packed: true }, indirect: true }],
  ['in order', { rings: { inOrder: true } }],
  ['legacy', { legacy: true }],
  ['legacy, big-endian', { legacy: true, endian: 'big' }],
];

describe.each(FORMS)('requests: %s', (_name, how) => {
  test('reads and writes', () => {
    const { m, backend } = machine({}, how);
    const read = m.read(3, 4096);
    expect(read.status).toBe(BLK_S.OK);
    expect(same(read.data, CONTENT.subarray(3 * 512, 3 * 512 + 4096))).toBe(true);
    expect(m.used()).toEqual([{ id: read.id, len: 4097 }]);
    const data = pattern(8192, 2);
    const write = m.write(100, data);
    expect(write.status).toBe(BLK_S.OK);
    expect(m.used()).toEqual([{ id: write.id, len: 1 }]);
    expect(same(backend.bytes.subarray(100 * 512, 100 * 512 + 8192), data)).toBe(true);
    expect(m.driver.isr).toBe(1);
    expect(m.faults).toEqual([]);
  });

  test('goes round the ring many times', () => {
    const { m, backend } = machine({ queueSize: 8 }, how);
    for (let i = 0; i < 200; i++) {
      const data = pattern(512, i);
      const requests = [m.submit(1, i, data), m.submit(0, i + 1, 512)];
      m.kick();
      expect(requests.map(({ status }) => status)).toEqual([0, 0]);
      expect(m.used()).toHaveLength(2);
      expect(same(backend.bytes.subarray(i * 512, i * 512 + 512), data)).toBe(true);
    }
    expect(m.disk.inFlight).toBe(0);
  });

  test('does not look at what stands where it is to write', () => {
    for (const [name, type, sector, data, , options] of TABLE) {
      if (typeof data !== 'number') continue;
      const [first, second] = [0x00, 0xff].map((stands) => {
        const { m, backend } = machine(options, how);
        const request = m.submit(type, sector, data);
        m.ram.fill(stands, request.dataAt, request.dataAt + data);
        m.ram.fill(stands, request.statusAt, request.statusAt + 1);
        m.kick();
        const { status } = request;
        return { data: request.data, disk: backend.bytes, said: [status, m.used(), m.faults] };
      });
      expect(first?.said, name).toEqual(second?.said);
      if (first === undefined || second === undefined) continue;
      expect(same(first.disk, second.disk), name).toBe(true);
      // a byte is what the device wrote, or was left alone
      const odd = first.data.findIndex((byte, i) => {
        const other = second.data[i];
        return byte !== other && (byte !== 0x00 || other !== 0xff);
      });
      expect(odd, name).toBe(-1);
    }
  });

  test('tells the range of a sector with both halves of its number', () => {
    const { m } = machine({}, how);
    for (const sector of [2 ** 32, 2 ** 32 + 3, 2 ** 53, Number(2n ** 63n)]) {
      expect(m.read(sector, 512).status).toBe(BLK_S.IOERR);
      m.used();
    }
  });
});

const UNKNOWN: readonly number[] = [
  BLK_T.ZONE_APPEND,
  BLK_T.ZONE_REPORT,
  BLK_T.ZONE_OPEN,
  BLK_T.ZONE_CLOSE,
  BLK_T.ZONE_FINISH,
  BLK_T.ZONE_RESET,
  BLK_T.ZONE_RESET_ALL,
  ...[6, 7, 17, 100, 0x7fffffff],
];

/** type, sector, data (a number: bytes to be written by the device), status. */
type Row = readonly [string, number, number, Uint8Array | number, number, Partial<BlkOptions>?];
const TABLE: readonly Row[] = [
  ['IN of nothing', BLK_T.IN, 5, 0, BLK_S.OK],
  ['IN of nothing at the end', BLK_T.IN, SECTORS, 0, BLK_S.OK],
  ['IN of nothing behind the end', BLK_T.IN, SECTORS + 1, 0, BLK_S.IOERR],
  ['IN of the last sector', BLK_T.IN, SECTORS - 1, 512, BLK_S.OK],
  ['IN over the end', BLK_T.IN, SECTORS - 1, 1024, BLK_S.IOERR],
  ['IN behind the end', BLK_T.IN, SECTORS, 512, BLK_S.IOERR],
  ['IN of half a sector', BLK_T.IN, 0, 256, BLK_S.IOERR],
  ['IN of a sector and a half', BLK_T.IN, 0, 768, BLK_S.IOERR],
  ['OUT over the end', BLK_T.OUT, SECTORS - 1, new Uint8Array(1024), BLK_S.IOERR],
  ['OUT of an odd length', BLK_T.OUT, 0, new Uint8Array(511), BLK_S.IOERR],
  ['OUT of nothing', BLK_T.OUT, 0, ZERO, BLK_S.OK],
  ['OUT with BARRIER', BLK_T.OUT + BLK_T.BARRIER, 1, new Uint8Array(512), BLK_S.OK],
  ['IN with BARRIER', BLK_T.IN + BLK_T.BARRIER, 1, 512, BLK_S.OK],
  ['IN not aligned to the block', BLK_T.IN, 1, 4096, BLK_S.IOERR, { blockSize: 4096 }],
  ['IN of less than a block', BLK_T.IN, 0, 512, BLK_S.IOERR, { blockSize: 4096 }],
  ['IN of a block', BLK_T.IN, 8, 4096, BLK_S.OK, { blockSize: 4096 }],
  ['OUT to a read-only disk', BLK_T.OUT, 0, new Uint8Array(512), BLK_S.IOERR, { readOnly: true }],
  ['IN from a read-only disk', BLK_T.IN, 0, 512, BLK_S.OK, { readOnly: true }],
  ['FLUSH', BLK_T.FLUSH, 0, ZERO, BLK_S.OK],
  ['FLUSH_OUT', BLK_T.FLUSH + 1, 0, ZERO, BLK_S.OK],
  ['FLUSH anywhere', BLK_T.FLUSH, 2 ** 40, ZERO, BLK_S.OK],
  ['GET_ID', BLK_T.GET_ID, 0, 20, BLK_S.OK],
  ['GET_ID with bit 0', BLK_T.GET_ID + 1, 0, 20, BLK_S.OK],
  ['GET_ID without room', BLK_T.GET_ID, 0, 0, BLK_S.OK],
  ['SCSI_CMD in three segments', BLK_T.SCSI_CMD, 0, 96, BLK_S.IOERR],
  ['GET_LIFETIME not offered', BLK_T.GET_LIFETIME, 0, 6, BLK_S.UNSUPP],
  ['SECURE_ERASE not offered', BLK_T.SECURE_ERASE, 0, new Uint8Array(16), BLK_S.UNSUPP],
  ['DISCARD without bit 0', BLK_T.DISCARD - 1, 0, new Uint8Array(16), BLK_S.UNSUPP],
  ['WRITE_ZEROES without bit 0', BLK_T.WRITE_ZEROES - 1, 0, new Uint8Array(16), BLK_S.UNSUPP],
  ['DISCARD of two segments', BLK_T.DISCARD, 0, new Uint8Array(32), BLK_S.UNSUPP],
  ['DISCARD of 17 bytes', BLK_T.DISCARD, 0, new Uint8Array(17), BLK_S.UNSUPP],
  ...UNKNOWN.map((type): Row => [`type ${type}`, type, 0, 512, BLK_S.UNSUPP]),
];

describe('status', () => {
  test.each(TABLE.map((row) => ({ name: row[0], row })))('$name', ({ row }) => {
    const [, type, sector, data, status, options] = row;
    const { m, backend } = machine(options);
    const request = m.submit(type, sector, data);
    m.kick();
    expect(request.status).toBe(status);
    // QEMU says so for all: every byte that the device may have written
    expect(m.used()).toEqual([{ id: request.id, len: typeof data === 'number' ? data + 1 : 1 }]);
    if (status !== BLK_S.OK) expect(same(backend.bytes, CONTENT)).toBe(true);
    expect(m.faults).toEqual([]);
    expect(m.read(0, 4096).status).toBe(BLK_S.OK);
  });
});

describe('GET_ID', () => {
  const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
  test.each([
    ['abc', 20, 'abc\0\xdd'],
    ['', 20, '\0\xdd'],
    ['exactly-twenty-chars', 20, 'exactly-twenty-chars'],
    ['more than twenty characters', 20, 'more than twenty cha'],
    ['abcdef', 3, 'abc'],
    ['abc', 4, 'abc\0'],
    ['abc', 40, 'abc\0\xdd'],
  ])('%j in %i bytes', (serial, room, expected) => {
    const { m } = machine({ serial });
    const request = m.submit(BLK_T.GET_ID, 0, room);
    m.kick();
    expect(text(request.data).startsWith(expected)).toBe(true);
    expect(text(request.data).slice(expected.length)).toMatch(/^\xdd*$/);
  });
});

describe('DISCARD, WRITE_ZEROES, SECURE_ERASE', () => {
  const MAX = 0x3fffff;
  /** type, sector, count, flags, status */
  test.each([
    [BLK_T.WRITE_ZEROES, 8, 16, 0, BLK_S.OK],
    [BLK_T.WRITE_ZEROES, 8, 16, 1, BLK_S.OK],
    [BLK_T.WRITE_ZEROES, 8, 0, 0, BLK_S.OK],
    [BLK_T.WRITE_ZEROES, 8, 16, 2, BLK_S.UNSUPP],
    [BLK_T.WRITE_ZEROES, 8, 16, 0x80000001, BLK_S.UNSUPP],
    [BLK_T.WRITE_ZEROES, SECTORS - 1, 2, 0, BLK_S.IOERR],
    [BLK_T.WRITE_ZEROES, 0, MAX + 1, 0, BLK_S.IOERR],
    [BLK_T.WRITE_ZEROES, SECTORS, 1, 2, BLK_S.IOERR],
    [BLK_T.DISCARD, 8, 16, 0, BLK_S.OK],
    [BLK_T.DISCARD, 8, 16, 1, BLK_S.UNSUPP],
    [BLK_T.DISCARD, 8, 16, 2, BLK_S.UNSUPP],
    [BLK_T.DISCARD, SECTORS, 1, 0, BLK_S.IOERR],
    [BLK_T.DISCARD, 0, MAX + 1, 1, BLK_S.IOERR],
  ])('type %i at %i, %i sectors, flags %i: %i', (type, sector, count, flags, status) => {
    const backend = memoryDisk(CONTENT.slice(), { discard: 'unmap' });
    const m = new Machine(new BlkDevice({ backend }));
    const request = m.submit(type, 99, m.range(sector, count, flags));
    m.kick();
    expect(request.status).toBe(status);
    const expected = CONTENT.slice();
    if (status === BLK_S.OK) expected.fill(0, sector * 512, (sector + count) * 512);
    expect(same(backend.bytes, expected)).toBe(true);
  });

  test('ignores a discard unless told otherwise, as QEMU does', () => {
    const { m, backend } = machine({ readOnly: true });
    const discard = m.submit(BLK_T.DISCARD, 0, m.range(0, 8));
    const zeroes = m.submit(BLK_T.WRITE_ZEROES, 0, m.range(0, 8));
    const nothing = m.submit(BLK_T.WRITE_ZEROES, 0, m.range(0, 0));
    m.kick();
    expect([discard.status, zeroes.status, nothing.status]).toEqual([BLK_S.OK, BLK_S.IOERR, BLK_S.OK]);
    expect(same(backend.bytes, CONTENT)).toBe(true);
  });

  test('works where it is not offered, within the usual limits', () => {
    const { m, backend } = machine({ writeZeroes: false, discard: false });
    const request = m.submit(BLK_T.WRITE_ZEROES, 0, m.range(0, 8));
    m.kick();
    expect(request.status).toBe(BLK_S.OK);
    expect(backend.bytes.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
  });

  test('breaks the device where the segment is too short', () => {
    for (const bytes of [0, 15]) {
      const { m } = machine();
      m.submit(BLK_T.DISCARD, 0, new Uint8Array(bytes));
      m.kick();
      expect(m.faults).toEqual(['virtio-blk discard/write_zeroes header too short']);
      expect(m.used()).toEqual([]);
    }
  });

  test('does several segments if it was made for that, all or none', () => {
    const { m, backend } = machine({ writeZeroes: { maxSegments: 3 } });
    const both = (a: Uint8Array, b: Uint8Array): Uint8Array => Uint8Array.of(...a, ...b);
    const good = m.submit(BLK_T.WRITE_ZEROES, 0, both(m.range(1, 1), m.range(5, 2)));
    m.kick();
    const expected = CONTENT.slice().fill(0, 512, 1024).fill(0, 2560, 3584);
    expect(good.status).toBe(BLK_S.OK);
    expect(same(backend.bytes, expected)).toBe(true);
    const bad = m.submit(BLK_T.WRITE_ZEROES, 0, both(m.range(20, 1), m.range(SECTORS, 1)));
    const odd = m.submit(BLK_T.WRITE_ZEROES, 0, new Uint8Array(24));
    const many = m.submit(BLK_T.WRITE_ZEROES, 0, new Uint8Array(64));
    m.kick();
    expect([bad.status, odd.status, many.status]).toEqual([BLK_S.IOERR, BLK_S.UNSUPP, BLK_S.UNSUPP]);
    expect(same(backend.bytes, expected)).toBe(true);
  });

  test('erases what a back end can erase', () => {
    const erased: number[] = [];
    const backend = Object.assign(memoryDisk(CONTENT.slice()), {
      secureErase: (position: number, length: number) => void erased.push(position, length),
    });
    const m = new Machine(new BlkDevice({ backend, secureErase: true }));
    const good = m.submit(BLK_T.SECURE_ERASE, 0, m.range(4, 8));
    const unmap = m.submit(BLK_T.SECURE_ERASE, 0, m.range(4, 8, 1));
    const far = m.submit(BLK_T.SECURE_ERASE, 0, m.range(SECTORS, 8));
    m.kick();
    expect([good.status, unmap.status, far.status]).toEqual([BLK_S.OK, BLK_S.UNSUPP, BLK_S.IOERR]);
    expect(erased).toEqual([4 * 512, 8 * 512]);
  });
});

describe('GET_LIFETIME', () => {
  test('tells what the host program says, less what is reserved', () => {
    let lifetime = { preEolInfo: 2, typA: 3, typB: 11 };
    const { m } = machine({ lifetime: () => lifetime });
    const first = m.submit(BLK_T.GET_LIFETIME, 0, 6);
    m.kick();
    lifetime = { preEolInfo: 4, typA: 12, typB: 1 };
    const second = m.submit(BLK_T.GET_LIFETIME, 0, 8);
    const short = m.submit(BLK_T.GET_LIFETIME, 0, 5);
    m.kick();
    expect([first.status, second.status, short.status]).toEqual([BLK_S.OK, BLK_S.OK, BLK_S.IOERR]);
    expect([...first.data]).toEqual([2, 0, 3, 0, 11, 0]);
    expect([...second.data]).toEqual([0, 0, 0, 0, 1, 0, 0xdd, 0xdd]);
  });

  test('is not there for a driver that did not ask for it', () => {
    const lifetime = { preEolInfo: 1, typA: 1, typB: 1 };
    const { m } = machine({ lifetime }, { features: 1n << 32n });
    const request = m.submit(BLK_T.GET_LIFETIME, 0, 6);
    m.kick();
    expect(request.status).toBe(BLK_S.UNSUPP);
  });
});

describe('SCSI_CMD', () => {
  /** out segments, in segments, status, what stands in `errors` */
  test.each([
    [[16, 6], [96, 16, 1], BLK_S.UNSUPP, 255],
    [[16, 6], [512, 96, 16, 1], BLK_S.UNSUPP, 255],
    [[16], [96, 16, 1], BLK_S.IOERR, 0xdddddddd],
    [[16, 6], [16, 1], BLK_S.IOERR, 0xdddddddd],
    [[16, 6], [96, 2, 1], BLK_S.IOERR, 0xdddddddd],
  ])('%j, %j', (out, into, status, errors) => {
    const { m } = machine({}, { legacy: true });
    const segments: Segment[] = out.map((len, i) => ({ addr: i === 0 ? m.header(2, 0) : m.alloc(len), len }));
    const writable = into.map((len) => ({ addr: m.alloc(Math.max(len, 16)), len, write: true }));
    for (const { addr } of writable) m.ram.fill(0xdd, addr, addr + 16);
    m.add(0, [...segments, ...writable]);
    m.kick();
    expect(m.ram[writable.at(-1)?.addr ?? 0]).toBe(status);
    expect(m.view.getUint32(writable.at(-2)?.addr ?? 0, true)).toBe(errors);
  });
});

describe('layouts', () => {
  const cut = (at: number, total: number, cuts: readonly number[], write: boolean): Segment[] => {
    const ends = [...cuts.filter((end) => end > 0 && end < total), total];
    return ends.map((end, i) => {
      const start = ends[i - 1] ?? 0;
      return { addr: at + start, len: end - start, write };
    });
  };
  const everyCut = [
    [],
    [1],
    [8],
    [15],
    [16],
    [17],
    [4, 12],
    [16, 528],
    [16, 600, 900],
    [1, 2, 3, 5, 9, 16, 17],
  ];

  test.each(everyCut)('write, cut at %j', (...cuts) => {
    const { m, backend } = machine();
    const data = pattern(1024, 7);
    const at = m.header(BLK_T.OUT, 12, data);
    const status = m.alloc(1);
    m.add(0, [...cut(at, 16 + 1024, cuts, false), { addr: status, len: 1, write: true }]);
    m.kick();
    expect(m.ram[status]).toBe(BLK_S.OK);
    expect(backend.bytes.slice(12 * 512, 12 * 512 + 1024)).toEqual(data);
    expect(m.used()).toMatchObject([{ len: 1 }]);
  });

  test.each([[], [1], [511], [512], [513], [1024], [1023], [512, 1024], [3, 9, 700]])(
    'read, cut at %j',
    (...cuts) => {
      const { m } = machine();
      const header = m.header(BLK_T.IN, 12);
      const at = m.alloc(1025);
      m.add(0, [{ addr: header, len: 16 }, ...cut(at, 1025, cuts, true)]);
      m.kick();
      expect(m.ram.slice(at, at + 1025)).toEqual(Uint8Array.of(...CONTENT.slice(6144, 7168), 0));
      expect(m.used()).toMatchObject([{ len: 1025 }]);
    },
  );

  test('takes data from where it reads and where it writes by the type alone', () => {
    const { m, backend } = machine();
    const at = m.header(BLK_T.OUT, 1, pattern(512, 3));
    const status = m.alloc(100);
    m.ram.fill(0xdd, status, status + 100);
    m.add(0, [
      { addr: at, len: 528 },
      { addr: status, len: 100, write: true },
    ]);
    m.kick();
    expect(m.used()).toMatchObject([{ len: 100 }]);
    expect(m.ram[status + 99]).toBe(BLK_S.OK);
    expect(m.ram.slice(status, status + 99).every((byte) => byte === 0xdd)).toBe(true);
    expect(backend.bytes.slice(512, 1024)).toEqual(pattern(512, 3));
  });
});

describe('what breaks the device', () => {
  const broken = (segments: (m: Machine) => Segment[]) => {
    const { m, backend } = machine();
    const before = m.read(0, 512);
    m.add(0, segments(m));
    const behind = m.submit(0, 0, 512);
    m.kick();
    m.kick();
    expect(before.status).toBe(BLK_S.OK);
    // what came behind is not looked at, and everything can be told from a single event
    expect(behind.status).toBe(0xee);
    expect(m.faults).toHaveLength(1);
    expect(m.live.status & 0x40).toBe(0x40);
    expect(m.used()).toHaveLength(1);
    expect(same(backend.bytes, CONTENT)).toBe(true);
    expect(m.disk.inFlight).toBe(0);
    m.start();
    expect(m.read(1, 512).status).toBe(BLK_S.OK);
    return m.faults[0];
  };

  test.each([
    ['no in segment', (m: Machine) => [{ addr: m.header(0, 0), len: 16 }], 'virtio-blk missing headers'],
    [
      'no out segment',
      (m: Machine) => [{ addr: m.alloc(64), len: 64, write: true }],
      'virtio-blk missing headers',
    ],
    [
      'a short header',
      (m: Machine) => [
        { addr: m.header(1, 0), len: 15 },
        { addr: m.alloc(1), len: 1, write: true },
      ],
      'virtio-blk request outhdr too short',
    ],
    [
      'an empty segment for the status',
      (m: Machine) => [
        { addr: m.header(1, 0), len: 16 },
        { addr: m.alloc(1), len: 0, write: true },
      ],
      'virtio: zero sized buffers are not allowed',
    ],
  ])('%s', (_name, segments, reason) => {
    expect(broken(segments)).toBe(reason);
  });
});

describe('several requests at once', () => {
  test('are answered in QEMU’s order: first what needs no disk, then the rest as it came', () => {
    const { m } = machine();
    const ids = [
      m.submit(BLK_T.IN, 0, 512),
      m.submit(BLK_T.GET_ID, 0, 20),
      m.submit(BLK_T.OUT, 8, new Uint8Array(512)),
      m.submit(BLK_T.IN, SECTORS, 512),
      m.submit(BLK_T.FLUSH, 0, ZERO),
    ].map(({ id }) => id);
    m.kick();
    expect(m.used().map(({ id }) => ids.indexOf(id))).toEqual([1, 3, 0, 2, 4]);
    expect(m.wire.notified).toEqual([0]);
  });

  test('of which one breaks the device: the disk does what came before it, and the driver hears no more of it', () => {
    const { m, backend } = machine();
    const id = m.submit(BLK_T.GET_ID, 0, 20);
    const read = m.submit(BLK_T.IN, 4, 512);
    const write = m.submit(BLK_T.OUT, 9, pattern(512, 6));
    m.add(0, [{ addr: m.header(0, 0), len: 16 }]);
    m.kick();
    expect(m.faults).toHaveLength(1);
    expect([id.status, read.status, write.status]).toEqual([0, 0, 0]);
    expect(m.used().map((entry) => entry.id)).toEqual([id.id]);
    expect(read.data).toEqual(CONTENT.slice(2048, 2560));
    expect(backend.bytes.slice(4608, 5120)).toEqual(pattern(512, 6));
    expect(m.disk.inFlight).toBe(0);
  });

  test('are read whole before the disk is: a read cannot change the request behind it', () => {
    const { m } = machine();
    const header = m.header(BLK_T.IN, 7);
    const [data, status] = [m.alloc(512), m.alloc(2)];
    m.add(0, [
      { addr: m.header(BLK_T.IN, 3), len: 16 },
      { addr: header, len: 16, write: true },
      { addr: m.alloc(496), len: 496, write: true },
      { addr: status, len: 1, write: true },
    ]);
    m.add(0, [
      { addr: header, len: 16 },
      { addr: data, len: 512, write: true },
      { addr: status + 1, len: 1, write: true },
    ]);
    m.kick();
    expect([...m.ram.slice(status, status + 2)]).toEqual([0, 0]);
    expect(m.ram.slice(data, data + 512)).toEqual(CONTENT.slice(7 * 512, 8 * 512));
    expect(m.faults).toEqual([]);
  });
});

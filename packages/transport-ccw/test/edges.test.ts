// The edges of virtio commands and indicators: what each bit, length and address does at its limits, and what a reset and a move
// leave of them.
import {
  type DeviceEvent,
  FEATURE,
  type Gpa,
  type GuestMemory,
  MappedMemory,
  type MemoryRegion,
  STATUS,
} from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { CcwDevice, type CcwOptions, type IoInterrupt } from '../src/index.ts';
import { AT, disk, endOf, Guest, RAM_BYTES, SLI } from './guest.ts';

const NO_VECTOR = 0xffff;
const CONFIG_VECTOR = 1024;
const NOT_SET = { len: 0, addr: 0n };

/** A device whose host notes interrupts, without a channel subsystem. */
class Alone {
  readonly ram: Uint8Array = new Uint8Array(4096);
  readonly isc: number[] = [];
  readonly io: IoInterrupt[] = [];
  readonly events: DeviceEvent[] = [];
  readonly device: CcwDevice;

  constructor(memory?: ConstructorParameters<typeof CcwDevice>[1]['memory'], more: Partial<CcwOptions> = {}) {
    this.device = new CcwDevice(disk(), {
      memory: memory ?? new MappedMemory([{ gpa: 0, bytes: this.ram }]),
      host: {
        ioInterrupt: (interrupt) => this.io.push(interrupt),
        adapterInterrupt: (isc) => this.isc.push(isc),
        ...more.host,
      },
      devno: 1,
      onEvent: (event) => this.events.push(event),
    });
  }

  get indicators() {
    return this.device.indicators;
  }

  /** Bytes of the guest that are not 0. */
  get set(): [number, number][] {
    return [...this.ram.entries()].filter(([, byte]) => byte !== 0);
  }
}

describe('adapter indicators', () => {
  test.each([
    [0n, 0, 0x20, 0x80],
    [0n, 7, 0x20, 1],
    [0n, 8, 0x21, 0x80],
    [5n, 3, 0x21, 0x80],
    [5n, 2, 0x20, 1],
    [21n, 1, 0x22, 2],
    [7n, 1023, 0x20 + 128, 0x80 >> 6],
  ])('begin at bit %s: vector %i', (bit, vector, byte, mask) => {
    const alone = new Alone();
    expect(alone.indicators.setAdapter({ summary: 0x10n, indicators: 0x20n, bit, isc: 3 })).toBe(true);
    expect(alone.indicators.notify(vector)).toBe(true);
    expect(alone.set).toEqual([
      [0x10, 1],
      [byte, mask],
    ]);
    expect([alone.isc, alone.io]).toEqual([[3], []]);
  });

  test('have a length that the saved state can say', () => {
    const { indicators } = new Alone();
    const area = { summary: 0x10n, indicators: 0x20n, isc: 3 };
    const last = 0x7fff_fffen * 8n + 7n;
    expect(indicators.setAdapter({ ...area, bit: last + 1n })).toBe(false);
    // what is refused changes nothing
    expect([indicators.queuesSet, indicators.capture(true).thinintIsc]).toEqual([false, 0]);
    expect(indicators.setAdapter({ ...area, bit: last })).toBe(true);
    expect(indicators.capture(true).indicators.len).toBe(0x7fff_ffff);
  });

  test.each<[string, bigint, bigint]>([
    ['indicators', 0x10n, 0x7000_0000n],
    ['a summary', 0x7000_0000n, 0x20n],
    ['both', 0x7000_0000n, 0x7000_0000n],
  ])('%s where there is no memory: said, with the queue and its vector', (_, summary, indicators) => {
    const alone = new Alone();
    alone.indicators.setAdapter({ summary, indicators, bit: 0n, isc: 3 });
    alone.indicators.vectors[0] = 0;
    alone.device.notify(0);
    expect(alone.events).toMatchObject([{ name: 'indicator', facts: { queue: 0, vector: 0 } }]);
    // an interrupt only with a summary
    expect(alone.isc).toEqual(summary === 0x10n ? [3] : []);
  });

  test('a queue without a vector has no bit', () => {
    const alone = new Alone();
    alone.indicators.setAdapter({ summary: 0x10n, indicators: 0x20n, bit: 0n, isc: 3 });
    expect([alone.indicators.notify(NO_VECTOR), alone.set, alone.isc]).toEqual([true, [], []]);
  });

  test('an interrupt comes once until the summary is cleared', () => {
    const alone = new Alone();
    alone.indicators.setAdapter({ summary: 0x10n, indicators: 0x20n, bit: 0n, isc: 3 });
    for (const vector of [0, 1, 0]) expect(alone.indicators.notify(vector)).toBe(true);
    expect(alone.isc).toEqual([3]);
    alone.ram[0x10] = 0;
    alone.indicators.notify(0);
    expect(alone.isc).toEqual([3, 3]);
  });
});

describe('classic indicators', () => {
  test.each([
    [0, 0x27, 1],
    [7, 0x27, 0x80],
    [8, 0x26, 1],
    [63, 0x20, 0x80],
  ])('vector %i', (vector, byte, mask) => {
    const alone = new Alone();
    alone.indicators.setClassic(0x20n);
    expect(alone.indicators.notify(vector)).toBe(true);
    expect(alone.set).toEqual([[byte, mask]]);
    expect(alone.isc).toEqual([]);
  });

  test.each([64, 65, 1023, 1025, NO_VECTOR])('vector %i has no bit', (vector) => {
    const alone = new Alone();
    alone.indicators.setClassic(0x20n);
    expect([alone.indicators.notify(vector), alone.set]).toEqual([true, []]);
  });

  test('no queue has a bit where none were set, and nothing is wrong with that', () => {
    const alone = new Alone();
    for (const vector of [0, 63, 64, NO_VECTOR, CONFIG_VECTOR])
      expect(alone.indicators.notify(vector)).toBe(true);
    expect([alone.set, alone.events, alone.isc, alone.io]).toEqual([[], [], [], []]);
  });

  test.each(['queue', 'configuration'] as const)('a %s indicator where there is no memory: said', (what) => {
    const alone = new Alone();
    alone.indicators.setClassic(what === 'queue' ? 0x7000_0000n : 0x20n);
    alone.indicators.setConfig(what === 'queue' ? 0x30n : 0x7000_0000n);
    alone.indicators.vectors[0] = 0;
    alone.indicators.configVector = CONFIG_VECTOR;
    alone.device.notify(0);
    alone.device.notify(-1);
    expect(alone.events.map(({ facts }) => facts)).toEqual([
      what === 'queue' ? { queue: 0, vector: 0 } : { queue: -1, vector: CONFIG_VECTOR },
    ]);
    expect(alone.set).toEqual(what === 'queue' ? [[0x37, 1]] : [[0x27, 1]]);
  });
});

describe('memory of another program', () => {
  // it has no bits that are set in one step
  const paged = (readonly = false) => {
    const region: MemoryRegion = { gpa: 0, bytes: new Uint8Array(4096), readonly };
    return {
      region,
      map: {
        contract: 1 as const,
        epoch: 0,
        tracksWrites: false,
        sync(): void {},
        regionAt: (gpa: number): MemoryRegion | undefined => (gpa < 4096 ? region : undefined),
        markDirty(): void {},
      },
    };
  };

  test('bits are added to what is there', () => {
    const { region, map } = paged();
    const alone = new Alone(map);
    region.bytes.set([0x40, 0x01], 0x20);
    alone.indicators.setAdapter({ summary: 0x10n, indicators: 0x20n, bit: 0n, isc: 3 });
    expect(alone.indicators.notify(0)).toBe(true);
    expect([...region.bytes.subarray(0x20, 0x22), region.bytes[0x10], alone.isc]).toEqual([0xc0, 1, 1, [3]]);
  });

  test.each([true, false])('read-only: %s; no place for a bit', (readonly) => {
    const { map } = paged(readonly);
    const alone = new Alone(map);
    const at = readonly ? 0x10n : 0x5000n;
    alone.indicators.setAdapter({ summary: at, indicators: at, bit: 0n, isc: 3 });
    expect([alone.indicators.notify(0), alone.isc]).toEqual([false, []]);
  });

  test('without orU8, a byte is read and written', () => {
    const ram = new MappedMemory([
      { gpa: 0, bytes: new Uint8Array(4096) },
      { gpa: 0x2000, bytes: new Uint8Array(16), readonly: true },
    ]);
    Object.defineProperty(ram, 'orU8', { value: undefined });
    const plain: GuestMemory = ram;
    expect(plain.orU8).toBeUndefined();
    const alone = new Alone(ram);
    ram.writeU8(0x20 as Gpa, 0x10);
    alone.indicators.setAdapter({ summary: 0x10n, indicators: 0x20n, bit: 0n, isc: 3 });
    expect(alone.indicators.notify(0)).toBe(true);
    expect([ram.readU8(0x20 as Gpa), ram.readU8(0x10 as Gpa), alone.isc]).toEqual([0x90, 1, [3]]);
    for (const at of [0x2000n, 0x9000n]) {
      alone.indicators.setAdapter({ summary: at, indicators: 0x20n, bit: 0n, isc: 3 });
      expect(alone.indicators.notify(1)).toBe(false);
    }
    expect(alone.isc).toEqual([3]);
  });
});

describe('what is kept', () => {
  const full = () => {
    const alone = new Alone();
    const { indicators } = alone;
    indicators.setConfig(0x40n);
    indicators.setAdapter({ summary: 0x10n, indicators: 0x20n, bit: 21n, isc: 5 });
    indicators.vectors[0] = 0;
    indicators.configVector = CONFIG_VECTOR;
    return alone;
  };

  test('in a saved state, with the summary offset and without', () => {
    const state = {
      indicators: { len: 3, addr: 0x20n },
      indicators2: { len: 8, addr: 0x40n },
      summaryIndicator: { len: 1, addr: 0x10n },
      configVector: CONFIG_VECTOR,
      thinintIsc: 5,
    };
    const { indicators } = full();
    expect(indicators.capture(true)).toEqual({ ...state, adapter: { indOffset: 21n, summaryOffset: 7 } });
    expect(indicators.capture(false)).toEqual({ ...state, adapter: { indOffset: 21n } });
    expect([...indicators.areas()]).toEqual([state.indicators, state.indicators2, state.summaryIndicator]);
  });

  test('after a move: the same bits and the same state, also from a machine that saves no summary offset', () => {
    const from = full();
    const state = from.device.device.capture();
    for (const offset of [7, undefined]) {
      const to = new Alone();
      const adapter = { indOffset: 21n, ...(offset !== undefined && { summaryOffset: offset }) };
      to.device.device.restore({ ...state, transport: { ...state.transport, adapter } });
      expect(to.indicators.capture(true)).toEqual({
        ...from.indicators.capture(true),
        adapter: { indOffset: 21n, summaryOffset: offset ?? 0 },
      });
      expect(to.indicators.notify(1)).toBe(true);
      expect(to.set).toEqual([
        [0x10, 1],
        [0x22, 2],
      ]);
      expect(to.isc).toEqual([5]);
    }
  });

  test('after a reset: the route of adapter interrupts, and nothing that could be announced', () => {
    const alone = full();
    alone.indicators.drop();
    expect(alone.indicators.capture(true)).toEqual({
      indicators: NOT_SET,
      indicators2: NOT_SET,
      summaryIndicator: NOT_SET,
      configVector: NO_VECTOR,
      adapter: { indOffset: 21n, summaryOffset: 7 },
      thinintIsc: 5,
    });
    expect([...alone.indicators.areas()]).toEqual([]);
    expect(alone.indicators.queuesSet).toBe(false);
    expect(new Set(alone.indicators.vectors)).toEqual(new Set([NO_VECTOR]));
    expect(alone.device.subchannel.thinintActive).toBe(false);
    // classic ones are where they are then put
    alone.indicators.setClassic(0x60n);
    alone.indicators.notify(0);
    expect(alone.set).toEqual([[0x67, 1]]);
  });

  test('a length that another device has said for the same address', () => {
    const asked: bigint[] = [];
    const host = {
      ioInterrupt: () => {},
      adapterInterrupt: () => {},
      indicatorLength: (address: bigint) => {
        asked.push(address);
        return address === 0x20n ? 77 : undefined;
      },
    };
    const { indicators } = new Alone(undefined, { host });
    indicators.setAdapter({ summary: 0x10n, indicators: 0x20n, bit: 0n, isc: 3 });
    indicators.setConfig(0x30n);
    expect(asked).toEqual([0x10n, 0x20n, 0x30n]);
    expect([...indicators.areas()].map(({ len }) => len)).toEqual([77, 8, 1]);
  });
});

describe('commands', () => {
  const at = (revision: number, options: Partial<CcwOptions> = {}): Guest => {
    const guest = new Guest(options).enable();
    if (revision >= 0) expect(endOf(guest.revision(revision))).toBe('done');
    return guest;
  };
  const u16 = (value: number): number[] => [value >> 8, value & 0xff];
  const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];
  const u64 = (value: number): number[] => [0, 0, 0, 0, ...u32(value)];
  const modern = (desc: number, index: number, num: number): number[] => [
    ...u64(desc),
    ...u32(0),
    ...u16(index),
    ...u16(num),
    ...u64(0x9000),
    ...u64(0xa000),
  ];
  const legacy = (desc: number, align: number, index: number, num: number): number[] => [
    ...u64(desc),
    ...u32(align),
    ...u16(index),
    ...u16(num),
  ];

  test('SET_VQ gives a queue its vector, and 0 takes it; the configuration has one then', () => {
    for (const revision of [0, 2]) {
      const guest = at(revision);
      const set = (desc: number): number[] =>
        revision === 0 ? legacy(desc, 4096, 0, 256) : modern(desc, 0, 256);
      const { indicators } = guest.ccw;
      expect([indicators.vectors[0], indicators.configVector]).toEqual([NO_VECTOR, NO_VECTOR]);
      expect(endOf(guest.command(0x13, set(0x8000)))).toBe('done');
      expect([indicators.vectors[0], indicators.configVector]).toEqual([0, CONFIG_VECTOR]);
      expect(endOf(guest.command(0x13, set(0)))).toBe('done');
      expect([indicators.vectors[0], indicators.configVector]).toEqual([NO_VECTOR, CONFIG_VECTOR]);
    }
  });

  test.each<[string, number, number[], 'done' | 'check', number, bigint]>([
    ['of the size that the queue has', 2, modern(0x8000, 0, 256), 'done', 256, 0x8000n],
    ['smaller', 2, modern(0x8000, 0, 128), 'done', 128, 0x8000n],
    ['larger', 2, modern(0x8000, 0, 257), 'check', 256, 0x8000n],
    ['of none, and larger', 2, modern(0, 0, 257), 'done', 256, 0n],
    ['legacy, as large', 0, legacy(0x8000, 4096, 0, 256), 'done', 256, 0x8000n],
    ['legacy, larger', 0, legacy(0x8000, 4096, 0, 257), 'done', 256, 0x8000n],
    ['legacy, smaller', 0, legacy(0x8000, 4096, 0, 255), 'check', 256, 0x8000n],
    ['legacy, of none, smaller', 0, legacy(0, 4096, 0, 255), 'done', 256, 0n],
    ['legacy, of another alignment', 0, legacy(0x8000, 8192, 0, 256), 'check', 256, 0n],
    ['legacy, of none, another alignment', 0, legacy(0, 8192, 0, 256), 'done', 256, 0n],
  ])('SET_VQ %s', (_, revision, data, ended, size, desc) => {
    const guest = at(revision);
    const irb = guest.command(0x13, data);
    expect([endOf(irb), irb.count]).toEqual([ended, 0]);
    const [queue] = guest.ccw.device.capture().queues;
    expect([queue?.num, queue?.desc]).toEqual([size, desc]);
  });

  test('features in halves: each keeps the other', () => {
    const bit = (n: number): bigint => 1n << BigInt(n);
    const guest = at(1);
    const offered = (half: number): number => {
      guest.command(0x12, [0, 0, 0, 0, half]);
      return guest.view.getUint32(AT.data, true);
    };
    const write = (half: number, bits: number, count = 5) => {
      const bytes = new Uint8Array(count);
      const view = new DataView(bytes.buffer);
      view.setUint32(0, bits, true);
      view.setUint8(4, half);
      return guest.command(0x11, bytes);
    };
    const low = offered(0);
    const high = offered(1);
    expect([offered(2), offered(255)]).toEqual([0, 0]);
    expect(high & 1).toBe(1);
    write(1, high);
    write(0, low);
    const all = (BigInt(high) << 32n) | BigInt(low >>> 0);
    const taken = (): bigint => {
      const { subsections, guestFeatures } = guest.ccw.device.capture();
      return subsections.features64 ?? BigInt(guestFeatures);
    };
    expect(taken() & bit(FEATURE.VERSION_1)).toBe(bit(FEATURE.VERSION_1));
    expect(taken()).toBe(all);
    write(2, 0);
    expect(taken()).toBe(all);
    write(0, 0);
    expect(taken()).toBe(BigInt(high) << 32n);
    write(0, low);
    write(1, 0);
    expect(taken()).toBe(BigInt(low >>> 0));
  });

  test('revision 0 has no upper half, in either direction', () => {
    const guest = at(0);
    guest.command(0x12, [0, 0, 0, 0, 1]);
    expect(guest.data(4)).toEqual([0, 0, 0, 0]);
    guest.command(0x11, [1, 0, 0, 0, 1]);
    guest.command(0x31, [STATUS.ACKNOWLEDGE]);
    expect(guest.ccw.device.capture().subsections.features64 ?? 0n).toBe(0n);
  });

  test.each([
    [5, 0, 'check'],
    [5, SLI, 'check'],
  ] as const)('READ_FEAT whose answer has no place (%i bytes)', (count, flags, ended) => {
    const guest = at(1);
    // the selector can be read behind the end of memory only
    expect(endOf(guest.command(0x12, [0], { count, flags, cda: RAM_BYTES - 4 }))).toBe(ended);
    expect(endOf(guest.command(0x12, [0], { count, flags, cda: RAM_BYTES - 5 }))).toBe('done');
  });

  test('READ_VQ_CONF: two bytes of the answer, big-endian, and no queue behind the last', () => {
    const guest = at(2);
    guest.command(0x32, [0, 0, 0xee, 0xee]);
    expect(guest.data(4)).toEqual([0, 0, 1, 0]);
    expect(endOf(guest.command(0x32, [...u16(1024), 0, 0]))).toBe('check');
    expect(endOf(guest.command(0x32, [0, 0, 0, 0], { cda: RAM_BYTES - 1 }))).toBe('check');
    expect(endOf(guest.command(0x32, [0, 0, 0, 0], { cda: RAM_BYTES - 3 }))).toBe('check');
  });

  test('WRITE_STATUS 0 forgets indicators; another status keeps them', () => {
    const guest = at(2);
    guest.command(0x43, u64(0x5000));
    guest.command(0x31, [STATUS.ACKNOWLEDGE]);
    expect(guest.ccw.indicators.queuesSet).toBe(true);
    guest.command(0x31, [0]);
    expect(guest.ccw.indicators.queuesSet).toBe(false);
  });

  test('configuration: the residual count of reads and writes, longer and shorter than it is', () => {
    const guest = at(2);
    const { length } = guest.ccw.device.capture().config;
    const run = (code: number, count: number, flags = SLI) => {
      const irb = guest.command(code, [], { count, flags });
      return [endOf(irb), irb.count];
    };
    // as QEMU up to 10.2, a read says nothing of what was not needed
    expect([run(0x22, length + 9), run(0x22, length), run(0x22, 1)]).toEqual([
      ['done', 0],
      ['done', 0],
      ['done', 0],
    ]);
    expect([run(0x21, length + 9), run(0x21, length), run(0x21, 1)]).toEqual([
      ['done', 9],
      ['done', 0],
      ['done', 0],
    ]);
    expect([run(0x22, length + 1, 0)[0], run(0x21, length + 1, 0)[0], run(0x22, length, 0)[0]]).toEqual([
      'check',
      'check',
      'done',
    ]);
    for (const code of [0x21, 0x22])
      expect(endOf(guest.command(code, [], { count: 1, cda: 0 }))).toBe('check');
    const outside = guest.command(0x22, [], { count: length + 7, flags: SLI, cda: 0x7000_0000 });
    expect([endOf(outside), outside.count]).toEqual(['check', 7]);
  });

  test('a command that fails leaves the residual count as it is', () => {
    const irb = at(2).command(0x43, u64(0x5000), { count: 11, flags: SLI, cda: 0x7000_0000 });
    expect([endOf(irb), irb.count]).toEqual(['check', 0]);
  });

  test('SET_VIRTIO_REV without data, with less than it needs, and where there is no memory', () => {
    const data = [0, 1, 0, 0];
    for (const more of [{ cda: 0 }, { count: 3 }, { cda: 0x7000_0000 }, { cda: RAM_BYTES - 3 }]) {
      const guest = at(-1);
      expect(endOf(guest.command(0x83, data, { flags: SLI, ...more }))).toBe('check');
      expect(guest.ccw.revision).toBe(-1);
    }
  });

  test('the commands of a driver that has set no revision are those of revision 0', () => {
    const guest = at(-1);
    expect(endOf(guest.command(0x31, [STATUS.ACKNOWLEDGE]))).toBe('done');
    expect(guest.ccw.revision).toBe(0);
    expect(endOf(guest.revision(1))).toBe('reject');
  });

  test('a disk of 64 queues has classic indicators, though its last queue has no ring', () => {
    const guest = new Guest(
      {},
      new BlkDevice({ backend: memoryDisk(1 << 20), queues: 64 }) as never,
    ).enable();
    guest.revision(2);
    expect(endOf(guest.command(0x43, u64(0x5000)))).toBe('done');
  });

  test('one of as many queues as there can be has none', () => {
    const guest = new Guest(
      {},
      new BlkDevice({ backend: memoryDisk(1 << 20), queues: 1024 }) as never,
    ).enable();
    guest.revision(2);
    expect(endOf(guest.command(0x43, u64(0x5000)))).toBe('reject');
  });
});

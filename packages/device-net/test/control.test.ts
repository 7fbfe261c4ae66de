import { NET_FEATURE, NetDevice, type NetOptions } from '@virtkit/device-net';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { frame, fromHex, hex, MAC_BYTES, Machine, type MachineOptions } from './machine.ts';

const F = NET_FEATURE;
const OK = 0;
const ERR = 1;
const macs = (count: number, first = 0x52): Uint8Array =>
  Uint8Array.from(
    { length: 6 * count },
    (_, i) => (i % 6 === 0 ? first : i >> (i % 6 === 4 ? 11 : 3)) & 0xff,
  );
const le32 = (n: number): number[] => [n & 0xff, (n >> 8) & 0xff, (n >> 16) & 0xff, (n >>> 24) & 0xff];
const le16 = (n: number): number[] => [n & 0xff, n >> 8];

function make(net: Partial<NetOptions> = {}, options: MachineOptions = {}): Machine {
  return new Machine({ ...options, net: { queuePairs: 4, offloads: { csum: true, tso: true }, ...net } });
}

describe('every class and command, with data of every length', () => {
  // class, command, lengths that are right
  const good = new Map<string, (length: number) => boolean>([
    ...[0, 1, 2, 3, 4, 5].map((command): [string, (n: number) => boolean] => [`0/${command}`, (n) => n >= 1]),
    // all zeros: two empty tables
    ['1/0', (n) => n === 8],
    ['1/1', (n) => n === 6],
    ['2/0', (n) => n >= 2],
    ['2/1', (n) => n >= 2],
    // no RSS and no hash types: 1 pair
    ['5/0', (n) => n >= 8],
  ]);

  test.each([0, 1, 2, 3, 4, 5, 6, 7, 255])('class %i', (group) => {
    const machine = make();
    for (let command = 0; command < 8; command++) {
      for (const length of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 40, 64]) {
        for (const split of [false, true]) {
          const ack = machine.command(group, command, new Uint8Array(length), split);
          const right = good.get(`${group}/${command}`)?.(length) === true;
          expect([command, length, ack]).toEqual([command, length, right ? OK : ERR]);
        }
      }
    }
    expect(machine.faults).toEqual([]);
  });

  test('any bytes at all: an answer to each, and never a fault', () => {
    const machine = make({ rss: true, hashReport: true, coalescing: { after: () => {} } });
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 7 }),
        fc.integer({ min: 0, max: 6 }),
        fc.uint8Array({ maxLength: 500 }),
        (group, command, data) => {
          const ack = machine.command(group, command, data);
          expect(ack === OK || ack === ERR || (group === 6 && command === 3)).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
    expect(machine.faults).toEqual([]);
  });
});

describe('what breaks the device', () => {
  test.each<[string, number, number]>([
    ['no reply', 8, 0],
    ['no command', 0, 1],
    ['half a command', 1, 1],
  ])('%s', (_name, out, reply) => {
    const machine = make();
    const at = machine.alloc(64);
    machine.add(machine.controlQueue, [
      ...(out > 0 ? [{ addr: at, len: out }] : []),
      ...(reply > 0 ? [{ addr: at + 32, len: reply, write: true }] : []),
    ]);
    machine.driver.kick(machine.controlQueue);
    expect(machine.faults).toEqual(['virtio-net ctrl missing headers']);
    expect(machine.used(machine.controlQueue)).toEqual([]);
  });
});

test('a reply longer than a byte has its first byte written', () => {
  const machine = make();
  const at = machine.put(Uint8Array.of(0, 0, 0));
  const reply = machine.put(Uint8Array.of(0xee, 0xee));
  machine.add(machine.controlQueue, [
    { addr: at, len: 3 },
    { addr: reply, len: 2, write: true },
  ]);
  machine.driver.kick(machine.controlQueue);
  expect(machine.used(machine.controlQueue)).toEqual([{ id: expect.any(Number), len: 1 }]);
  expect(hex(machine.read(reply, 2))).toBe('00ee');
});

test('receive modes are kept as the driver wrote them', () => {
  const machine = make();
  const names = ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'];
  names.forEach((_, command) => {
    expect(machine.command(0, command, [0x80 | command])).toBe(OK);
  });
  const { device } = machine.live.capture();
  expect(names.map((name) => (device as Record<string, unknown>)[name])).toEqual([
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85,
  ]);
});

describe('addresses', () => {
  test('the own one, by command', () => {
    const machine = make();
    expect(machine.command(1, 1, [2, 3, 4, 5, 6, 7])).toBe(OK);
    expect(hex(machine.card.mac)).toBe('020304050607');
    expect(hex(machine.config().subarray(0, 6))).toBe('020304050607');
    machine.start();
    expect(machine.card.mac).toEqual(MAC_BYTES);
  });

  test.each<[string, MachineOptions, string]>([
    ['legacy, without CTRL_MAC_ADDR', { legacy: true, without: [F.CTRL_MAC_ADDR] }, 'aa'],
    ['legacy, with it', { legacy: true }, '52'],
    ['modern', { without: [F.CTRL_MAC_ADDR] }, '52'],
  ])('the own one, by the configuration space: %s', (_name, options, first) => {
    const machine = new Machine(options);
    machine.config();
    machine.driver.config.write(0, 1, 0xaa);
    machine.driver.config.write(6, 1, 0);
    expect(hex(machine.config())).toBe(`${first}54001234560100`);
  });

  // unicast, multicast, stored, first multicast, overflows
  test.each<[number, number, number, number, number, number]>([
    [0, 0, 0, 0, 0, 0],
    [1, 0, 1, 1, 0, 0],
    [0, 1, 1, 0, 0, 0],
    [2, 3, 5, 2, 0, 0],
    [64, 0, 64, 64, 0, 0],
    [0, 64, 64, 0, 0, 0],
    [63, 1, 64, 63, 0, 0],
    [63, 2, 63, 63, 0, 1],
    [64, 1, 64, 64, 0, 1],
    [65, 0, 0, 0, 1, 0],
    [65, 64, 64, 0, 1, 0],
    [65, 65, 0, 0, 1, 1],
    [500, 500, 0, 0, 1, 1],
  ])(
    'table of %i unicast and %i multicast addresses',
    (unicast, multicast, inUse, firstMulti, uni, multi) => {
      for (const endian of ['little', 'big'] as const) {
        const machine = new Machine({ legacy: true, endian });
        const [first, second] = [macs(unicast), macs(multicast, 0x33)];
        const data = [...machine.u32(unicast), ...first, ...machine.u32(multicast), ...second];
        expect(machine.command(1, 0, data, true)).toBe(OK);
        const { device } = machine.live.capture();
        expect(device).toMatchObject({ macTableInUse: inUse, uniOverflow: uni, multiOverflow: multi });
        const stored = [
          ...first.subarray(0, 6 * firstMulti),
          ...second.subarray(0, 6 * (inUse - firstMulti)),
        ];
        expect(device.macTable.flatMap((mac) => [...mac])).toEqual(stored);
        // and it is what the filter goes by
        machine.command(0, 0, [0]);
        machine.offer([2048, 2048]);
        const group = second.subarray(0, 6);
        if (multicast > 0) machine.card.receive(Uint8Array.of(...group, ...new Uint8Array(54)));
        expect(machine.used(0)).toHaveLength(multicast > 0 ? 1 : 0);
      }
    },
  );

  test.each<[string, number[]]>([
    ['nothing', []],
    ['half a count', [1, 0]],
    ['a count without addresses', le32(1)],
    ['one address too few', [...le32(2), ...macs(1), ...le32(0)]],
    ['no second table', [...le32(1), ...macs(1)]],
    ['half a second count', [...le32(0), 0, 0]],
    ['second table too short', [...le32(0), ...le32(2), ...macs(1)]],
    ['second table too long', [...le32(0), ...le32(1), ...macs(2)]],
    ['a byte behind', [...le32(0), ...le32(0), 0]],
    ['a count whose bytes do not fit 32 bits', [...le32(0xffffffff), ...macs(3)]],
  ])('a table that is refused leaves the old one: %s', (_name, data) => {
    const machine = make();
    machine.command(1, 0, [...le32(1), ...macs(1), ...le32(0)]);
    const before = machine.live.capture().device;
    expect(machine.command(1, 0, data)).toBe(ERR);
    expect(machine.live.capture().device).toEqual(before);
  });

  test('a product of 2^32 and a little is what QEMU takes it for', () => {
    const machine = make();
    // 0x2aaaaaab * 6 is 2 in 32 bits: too many addresses, of two bytes together
    expect(machine.command(1, 0, [...le32(0x2aaaaaab), 1, 2, ...le32(0)])).toBe(OK);
    expect(machine.live.capture().device).toMatchObject({ macTableInUse: 0, uniOverflow: 1 });
  });
});

describe('VLANs', () => {
  test.each(['little', 'big'] as const)('are added and deleted, %s-endian', (endian) => {
    const machine = new Machine({ legacy: true, endian });
    expect(machine.live.capture().device.vlans.every((byte) => byte === 0)).toBe(true);
    for (const id of [0, 5, 4095]) expect(machine.command(2, 0, machine.u16(id))).toBe(OK);
    expect(machine.command(2, 1, machine.u16(5))).toBe(OK);
    for (const id of [4096, 0xffff]) expect(machine.command(2, 0, machine.u16(id))).toBe(ERR);
    expect(machine.command(2, 2, machine.u16(1))).toBe(ERR);
    const { vlans } = machine.live.capture().device;
    expect([vlans[0], vlans[511]]).toEqual([1, 0x80]);
  });

  test('all pass as long as CTRL_VLAN is not negotiated', () => {
    const machine = new Machine({ without: [F.CTRL_VLAN] });
    expect(machine.live.capture().device.vlans.every((byte) => byte === 0xff)).toBe(true);
    expect(new Machine({ idle: true }).live.capture().device.vlans.every((byte) => byte === 0xff)).toBe(true);
  });
});

describe('announcements', () => {
  test('are asked for by a status bit and a configuration interrupt, and acknowledged', () => {
    const machine = make();
    expect(machine.command(3, 0)).toBe(ERR);
    expect(machine.card.announce()).toBe(true);
    expect(machine.wire.notified.filter((queue) => queue === -1)).toHaveLength(1);
    expect(machine.config()[6]).toBe(3);
    expect(machine.command(3, 1)).toBe(ERR);
    expect(machine.command(3, 0)).toBe(OK);
    expect(machine.config()[6]).toBe(1);
    expect(machine.command(3, 0)).toBe(ERR);
    expect(make({}, { without: [F.GUEST_ANNOUNCE] }).card.announce()).toBe(false);
    expect(make({}, { without: [F.CTRL_VQ] }).card.announce()).toBe(false);
  });
});

describe('queue pairs', () => {
  test.each<[number, number]>([
    [0, ERR],
    [1, OK],
    [4, OK],
    [5, ERR],
    [0x8000, ERR],
    [0xffff, ERR],
  ])('%i of 4', (pairs, ack) => {
    const machine = make();
    expect(machine.command(4, 0, le16(pairs))).toBe(ack);
    expect(machine.card.queuePairs).toBe(ack === OK ? pairs : 1);
  });

  test('need MQ', () => {
    const machine = make({}, { without: [F.MQ] });
    expect(machine.live.queueCount).toBe(3);
    expect(machine.command(4, 0, le16(1))).toBe(ERR);
  });

  test('the number of queues follows MQ and RSS, and the control queue is the last', () => {
    const machine = make({ rss: true }, { idle: true });
    expect(machine.live.queueCount).toBe(3);
    for (const without of [[], [F.MQ], [F.RSS], [F.MQ, F.RSS]]) {
      const other = make({ rss: true, rxQueueSize: 512 }, { without });
      const pairs = without.length === 2 ? 1 : 4;
      const sizes = Array.from({ length: other.live.queueCount }, (_, i) => other.live.queue(i)?.size);
      expect(sizes).toEqual([...Array.from({ length: pairs }, () => [512, 256]).flat(), 64]);
      expect(other.command(0, 1, [1])).toBe(OK);
      other.live.reset();
      expect(other.live.queueCount).toBe(3);
    }
  });
});

describe('offloads', () => {
  const le64 = (bits: bigint): number[] =>
    Array.from({ length: 8 }, (_, i) => Number((bits >> BigInt(8 * i)) & 0xffn));
  const bits = (...list: number[]): bigint => list.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

  test.each<[string, bigint, number]>([
    ['none', 0n, OK],
    ['one', bits(F.GUEST_CSUM), OK],
    ['all', bits(F.GUEST_CSUM, F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_ECN), OK],
    ['RSC beside', bits(F.GUEST_CSUM, F.RSC_EXT), OK],
    ['one that is not offered', bits(F.GUEST_UFO), ERR],
    ['a bit that is no offload', bits(0), ERR],
    ['a bit of the other direction', bits(F.HOST_TSO4), ERR],
  ])('%s', (_name, wanted, ack) => {
    const machine = make();
    const before = machine.live.capture().device.currGuestOffloads;
    expect(before).toBe(bits(F.GUEST_CSUM, F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_ECN));
    expect(machine.command(5, 0, le64(wanted))).toBe(ack);
    const now = machine.live.capture().device.currGuestOffloads;
    expect(now).toBe(ack === OK ? wanted & ~bits(F.RSC_EXT) : before);
  });

  test('in the byte order of a legacy guest', () => {
    const machine = make({}, { legacy: true, endian: 'big' });
    expect(machine.command(5, 0, le64(bits(F.GUEST_CSUM)).reverse())).toBe(OK);
    expect(machine.live.capture().device.currGuestOffloads).toBe(2n);
  });

  test('of tunnels have numbers of their own', () => {
    const machine = make({ offloads: { csum: true, tso: true, udpTunnel: true } });
    expect(machine.command(5, 0, le64(bits(F.GUEST_CSUM, 46, 47)))).toBe(OK);
  });

  test('need a back end with headers, and the feature', () => {
    expect(new Machine().command(5, 0, new Uint8Array(8))).toBe(ERR);
    expect(make({}, { without: [F.CTRL_GUEST_OFFLOADS] }).command(5, 0, new Uint8Array(8))).toBe(ERR);
  });
});

interface Scaling {
  readonly types?: number;
  readonly mask?: number;
  readonly fallback?: number;
  readonly table?: readonly number[];
  readonly pairs?: number;
  readonly key?: Uint8Array;
}

const KEY = Uint8Array.from({ length: 40 }, (_, i) => i + 1);

function config({
  types = 0x3f,
  mask = 3,
  fallback = 0,
  table,
  pairs = 3,
  key = KEY,
}: Scaling = {}): number[] {
  const entries = table ?? Array.from({ length: mask + 1 }, (_, i) => i % 3);
  return [
    ...le32(types),
    ...le16(mask),
    ...le16(fallback),
    ...entries.flatMap(le16),
    ...le16(pairs),
    key.length,
    ...key,
  ];
}

describe('receive-side scaling', () => {
  test.each<[string, Scaling, number]>([
    ['four entries', {}, OK],
    ['one entry', { mask: 0 }, OK],
    ['128 entries', { mask: 127 }, OK],
    ['a short key', { key: KEY.subarray(0, 1) }, OK],
    ['no key and no types switches it off', { key: KEY.subarray(0, 0), types: 0 }, OK],
    ['256 entries', { mask: 255 }, ERR],
    ['three entries', { mask: 2 }, ERR],
    ['a table that is cut', { table: [0, 1] }, ERR],
    ['a default queue that there is not', { fallback: 4 }, ERR],
    ['no pairs', { pairs: 0 }, ERR],
    ['more pairs than there are', { pairs: 5 }, ERR],
    ['a key too long', { key: new Uint8Array(41) }, ERR],
    ['no key', { key: KEY.subarray(0, 0) }, ERR],
  ])('%s', (_name, scaling, ack) => {
    const machine = make({ rss: true });
    machine.command(4, 1, config());
    expect(machine.live.capture().device.rss?.enabled).toBe(true);
    const data = config(scaling);
    expect(machine.command(4, 1, data)).toBe(ack);
    const { rss } = machine.live.capture().device;
    expect(rss !== undefined).toBe(ack === OK && (scaling.key?.length ?? 40) > 0);
    // each byte is needed
    if (ack === OK) {
      for (const length of [0, 4, 7, 9, data.length - (scaling.key?.length ?? 40) - 1, data.length - 1]) {
        if (length >= data.length) continue;
        expect(machine.command(4, 1, data.slice(0, length))).toBe(ERR);
        expect(machine.live.capture().device.rss).toBeUndefined();
      }
    }
  });

  test('is saved as the driver set it', () => {
    const machine = make({ rss: true, hashReport: true });
    expect(machine.command(4, 1, config({ types: 0x3f, mask: 3, fallback: 2, pairs: 3 }))).toBe(OK);
    expect(machine.live.capture().device).toMatchObject({
      currQueuePairs: 3,
      rss: {
        version: 1,
        enabled: true,
        redirect: true,
        populateHash: true,
        hashTypes: 0x3f,
        indirectionsLen: 4,
        defaultQueue: 2,
        key: KEY,
        indirectionsTable: [0, 1, 2, 0],
      },
    });
    expect(machine.live.capture().device.rss?.supportedHashTypes).toBeUndefined();
    const newer = make({ rss: true, rssStateVersion: 2 });
    newer.command(4, 1, config());
    expect(newer.live.capture().device.rss).toMatchObject({ version: 2, supportedHashTypes: 0x1ff });
  });

  test('a key that is shorter leaves the rest of the one before', () => {
    const machine = make({ rss: true });
    machine.command(4, 1, config());
    machine.command(4, 1, config({ key: Uint8Array.of(0xff, 0xfe) }));
    expect(machine.live.capture().device.rss?.key.subarray(0, 4)).toEqual(Uint8Array.of(0xff, 0xfe, 3, 4));
  });

  test('any command of the class switches it off first', () => {
    const machine = make({ rss: true });
    for (const [command, data] of [
      [0, le16(9)],
      [7, []],
      [2, []],
    ] as const) {
      machine.command(4, 1, config());
      expect(machine.command(4, command, data)).toBe(ERR);
      expect(machine.live.capture().device.rss).toBeUndefined();
    }
  });

  test('needs its feature', () => {
    expect(make().command(4, 1, config())).toBe(ERR);
    expect(make({ rss: true }).command(4, 2, config())).toBe(ERR);
  });

  test('hash reports alone take one entry, and leave the pairs', () => {
    const machine = make({ hashReport: true });
    machine.command(4, 0, le16(2));
    expect(machine.command(4, 2, config({ mask: 0xffff, fallback: 77, table: [0], pairs: 0 }))).toBe(OK);
    expect(machine.live.capture().device).toMatchObject({
      currQueuePairs: 2,
      rss: { redirect: false, populateHash: true, indirectionsLen: 1, defaultQueue: 0 },
    });
  });

  test('steers, and reports', () => {
    const machine = make({ rss: true, hashReport: true });
    const key = fromHex('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa');
    machine.command(4, 1, config({ key, table: [2, 1, 0, 1], fallback: 3, pairs: 4 }));
    for (let pair = 0; pair < 4; pair++) machine.offer([2048, 2048], pair);
    // the first of Microsoft's vectors, hash 0x51ccc178: entry 0
    const tcp = fromHex(
      `ffffffffffff 525400000001 0800 4500002800004000 4006 0000 420995bb a18e6450 0aea06e6 ${'00'.repeat(16)}`,
    );
    expect(machine.card.receive(tcp)).toBe(true);
    const [used] = machine.used(4);
    expect(used?.len).toBe(20 + tcp.length);
    expect(machine.card.receive(frame(60))).toBe(true);
    expect(machine.used(6)).toHaveLength(1);
    const { desc } = machine.ring(4);
    const at = Number(machine.view.getBigUint64(desc + 16 * (used?.id ?? 0), true));
    expect(hex(machine.read(at + 10, 10))).toBe('0100' + '78c1cc51' + '0200' + 'aaaa');
    // a table entry beyond the pairs in use comes down to one of them
    machine.command(4, 1, config({ key, table: [3], mask: 0, pairs: 2 }));
    machine.card.receive(tcp);
    expect(machine.used(2)).toHaveLength(1);
  });
});

describe('notification coalescing', () => {
  function coalescing(perQueue = true) {
    const timers: { usecs: number; run: () => void }[] = [];
    const machine = make(
      { coalescing: { after: (usecs, run) => timers.push({ usecs, run }), perQueue } },
      { without: [29] },
    );
    return { machine, timers };
  }

  test('is offered only where there is a clock for it', () => {
    expect(make().live.offers(F.NOTF_COAL)).toBe(false);
    expect(make().command(6, 0, new Uint8Array(8))).toBe(ERR);
    const { machine } = coalescing(false);
    expect([F.NOTF_COAL, F.VQ_NOTF_COAL].map((bit) => machine.live.offers(bit))).toEqual([true, false]);
    expect(machine.command(6, 2, new Uint8Array(12))).toBe(ERR);
  });

  test('so many packets, or so much time', () => {
    const { machine, timers } = coalescing();
    expect(machine.command(6, 1, [...le32(3), ...le32(50)])).toBe(OK);
    machine.offer(Array.from({ length: 10 }, () => 2048));
    machine.wire.notified.length = 0;
    for (let i = 0; i < 2; i++) machine.card.receive(frame(60));
    expect(machine.wire.notified).toEqual([]);
    expect(timers.map(({ usecs }) => usecs)).toEqual([50]);
    machine.card.receive(frame(60));
    expect(machine.wire.notified).toEqual([0]);
    timers[0]?.run();
    expect(machine.wire.notified).toEqual([0]);
    machine.card.receive(frame(60));
    timers[1]?.run();
    expect(machine.wire.notified).toEqual([0, 0]);
    // the other direction is as before
    machine.transmit(frame(60));
    expect(machine.wire.notified).toEqual([0, 0, 1]);
  });

  test('per queue, and read back', () => {
    const { machine } = coalescing();
    expect(machine.command(6, 2, [...le16(3), 0, 0, ...le32(7), ...le32(9)])).toBe(OK);
    for (const queue of [8, 9, 500]) {
      expect(machine.command(6, 2, [...le16(queue), 0, 0, ...le32(7), ...le32(9)])).toBe(ERR);
    }
    const query = (queue: number): string => {
      const at = machine.put(Uint8Array.of(6, 3, ...le16(queue), 0, 0));
      const reply = machine.put(new Uint8Array(9).fill(0xee));
      machine.add(machine.controlQueue, [
        { addr: at, len: 6 },
        { addr: reply, len: 9, write: true },
      ]);
      machine.driver.kick(machine.controlQueue);
      machine.used(machine.controlQueue);
      return hex(machine.read(reply, 9));
    };
    expect(query(3)).toBe('070000000900000000');
    expect(query(1)).toBe('000000000000000000');
    expect(query(8)).toBe('eeeeeeeeeeeeeeee01');
  });

  test('parameters that are met already when they come', () => {
    const { machine } = coalescing();
    machine.command(6, 1, [...le32(9), ...le32(50)]);
    machine.offer(Array.from({ length: 10 }, () => 2048));
    for (let i = 0; i < 3; i++) machine.card.receive(frame(60));
    machine.wire.notified.length = 0;
    machine.command(6, 1, [...le32(4), ...le32(50)]);
    expect(machine.wire.notified).toEqual([8]);
    machine.command(6, 1, [...le32(3), ...le32(50)]);
    expect(machine.wire.notified).toEqual([8, 0, 8]);
  });

  test('a queue that is reset has the parameters of its direction again', () => {
    const { machine, timers } = coalescing();
    machine.command(6, 1, [...le32(9), ...le32(50)]);
    machine.command(6, 2, [...le16(0), 0, 0, ...le32(0), ...le32(0)]);
    machine.driver.queue(0)?.reset();
    machine.setUpQueue(0);
    machine.offer([2048, 2048]);
    machine.card.receive(frame(60));
    expect(timers.map(({ usecs }) => usecs)).toEqual([50]);
  });

  test('has one timer a queue, however many packets come and whatever the driver sets', () => {
    const { machine, timers } = coalescing();
    machine.offer(Array.from({ length: 200 }, () => 2048));
    machine.command(6, 1, [...le32(2), ...le32(0xffff_ffff)]);
    for (let i = 0; i < 100; i++) machine.card.receive(frame(60));
    expect(timers).toHaveLength(1);
    // shorter and shorter, with a packet held back each time: a clock that cannot cancel gets no further timer
    for (let i = 0; i < 50; i++) {
      machine.command(6, 1, [...le32(9), ...le32(1000 - i)]);
      machine.card.receive(frame(60));
    }
    machine.live.reset();
    expect(timers).toHaveLength(1);
  });

  test('less time than the timer under way may take: told at once, until it has run', () => {
    const { machine, timers } = coalescing();
    machine.offer(Array.from({ length: 10 }, () => 2048));
    machine.command(6, 1, [...le32(9), ...le32(5000)]);
    machine.card.receive(frame(60));
    machine.wire.notified.length = 0;
    machine.command(6, 1, [...le32(9), ...le32(50)]);
    expect(machine.wire.notified).toEqual([0, 8]);
    machine.card.receive(frame(60));
    expect(machine.wire.notified).toEqual([0, 8, 0]);
    timers[0]?.run();
    machine.card.receive(frame(60));
    expect(machine.wire.notified).toEqual([0, 8, 0]);
    expect(timers.map(({ usecs }) => usecs)).toEqual([5000, 50]);
    timers[1]?.run();
    expect(machine.wire.notified).toEqual([0, 8, 0, 0]);
  });

  test('a clock that can cancel has no timer that is of no use', () => {
    const waiting = new Map<number, () => void>();
    let made = 0;
    const machine = make(
      {
        coalescing: {
          after: (_usecs, run) => {
            waiting.set(++made, run);
            return made;
          },
          cancel: (timer) => {
            expect(waiting.delete(Number(timer))).toBe(true);
          },
        },
      },
      { without: [29] },
    );
    machine.offer(Array.from({ length: 20 }, () => 2048));
    machine.command(6, 1, [...le32(2), ...le32(5000)]);
    machine.wire.notified.length = 0;
    for (let i = 0; i < 7; i++) machine.card.receive(frame(60));
    expect(machine.wire.notified).toEqual([0, 0, 0]);
    expect(waiting.size).toBe(1);
    machine.command(6, 1, [...le32(9), ...le32(50)]);
    expect(waiting.size).toBe(0);
    machine.card.receive(frame(60));
    expect(waiting.size).toBe(1);
    machine.live.reset();
    expect(waiting.size).toBe(0);
  });

  test('a timer finds the ring where the driver has put it meanwhile, and memory as it is by then', () => {
    const { machine, timers } = coalescing();
    machine.command(6, 1, [...le32(9), ...le32(50)]);
    machine.offer([2048]);
    machine.card.receive(frame(60));
    machine.wire.notified.length = 0;
    machine.setUpQueue(0);
    const sync = vi.spyOn(machine.live.memory, 'sync');
    timers[0]?.run();
    expect(sync).toHaveBeenCalled();
    expect(machine.wire.notified).toEqual([0]);
  });

  test('what is owed is told before the machine stops, and a reset owes nothing', () => {
    const { machine, timers } = coalescing();
    machine.command(6, 1, [...le32(9), ...le32(50)]);
    machine.offer([2048, 2048]);
    machine.wire.notified.length = 0;
    machine.card.receive(frame(60));
    machine.live.pause();
    expect(machine.wire.notified).toEqual([0]);
    machine.live.resume();
    machine.wire.notified.length = 0;
    machine.card.receive(frame(60));
    machine.live.reset();
    for (const { run } of timers) run();
    expect(machine.wire.notified).toEqual([]);
  });
});

test('a front end that has a control queue of its own: the card has the queues of all pairs, and nothing of control', () => {
  const options = { backend: { send: () => true }, mac: '52:54:00:12:34:56', queuePairs: 2 };
  const card = new NetDevice({ ...options, frontEndControl: true, rss: true });
  expect(card.queueSizes).toEqual([256, 256, 256, 256]);
  expect(card.queuePairs).toBe(2);
  const control = [
    F.CTRL_GUEST_OFFLOADS,
    F.CTRL_VQ,
    F.CTRL_RX,
    F.CTRL_VLAN,
    F.CTRL_RX_EXTRA,
    F.CTRL_MAC_ADDR,
    F.RSS,
  ];
  const offered = (features: bigint): boolean[] =>
    control.map((bit) => ((features >> BigInt(bit)) & 1n) !== 0n);
  expect(offered(new NetDevice({ ...options, rss: true }).features)).not.toContain(false);
  expect(offered(card.features)).not.toContain(true);
  expect((card.features >> BigInt(F.MQ)) & 1n).toBe(1n);
});

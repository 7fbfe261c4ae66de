// Known attacks on QEMU's cards, against ours. `pnpm cves` lists them all.
import { virtioDevice } from '@virtkit/core';
import { GSO, HDR_FLAG, NET_FEATURE, net, type PacketMeta } from '@virtkit/device-net';
import { SoftwareOffload } from '@virtkit/device-net/offload';
import { isStateError, nodeAt, Trace } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { packetOf } from './frames.ts';
import { frame, fromHex, hex, Machine, type MachineOptions } from './machine.ts';

const F = NET_FEATURE;
const le16 = (n: number): number[] => [n & 0xff, (n >> 8) & 0xff];
const le32 = (n: number): number[] => [...le16(n & 0xffff), ...le16(n >>> 16)];
const be16 = (n: number): number[] => le16(n).reverse();
const be32 = (n: number): number[] => le32(n).reverse();

const PAIRS: MachineOptions = { net: { queuePairs: 2, rss: true, offloads: {} } };

/** A card that runs, saved, with other bytes in one field; and a machine that is to go on with it. */
function damaged(path: string, bytes: readonly number[], options: MachineOptions = PAIRS) {
  const machine = new Machine(options);
  // RSS over two pairs, with a table of two
  if (options === PAIRS)
    machine.command(4, 1, [
      ...le32(1),
      ...le16(1),
      ...le16(0),
      ...le16(0),
      ...le16(1),
      ...le16(2),
      40,
      ...Array(40).fill(7),
    ]);
  machine.live.pause();
  const codec = virtioDevice(machine.wire.layer, net);
  const body = codec.encode(machine.live.capture());
  const trace = new Trace();
  codec.decode(body, 0, { trace });
  const node = nodeAt(trace.root, path);
  if (node === undefined) throw new Error(`no field ${path}`);
  body.set(bytes, node.start);
  const next = new Machine({ ...options, ram: machine.ram, idle: true });
  const before = next.live.capture();
  return { codec, body, next, before };
}

/** Loads as a host does it: decodes, and restores into a device. Answers the code of the error. */
function loadError({ codec, body, next, before }: ReturnType<typeof damaged>): string {
  try {
    next.live.restore(codec.decode(body));
  } catch (error) {
    if (!isStateError(error)) throw error;
    // nothing was half taken
    expect(next.live.capture()).toEqual(before);
    return error.code;
  }
  return 'loaded';
}

describe('saved cards that are not loaded', () => {
  test.each([
    [
      'CVE-2013-4148',
      'a negative number of addresses',
      'device.macTableInUse',
      be32(0xffff_ffff),
      'truncated',
    ],
    [
      'CVE-2013-4148',
      'addresses whose bytes overflow 32 bits',
      'device.macTableInUse',
      be32(0x2aaa_aaab),
      'truncated',
    ],
    ['CVE-2013-4150', 'more queue pairs in use than there are', 'device.currQueuePairs', be16(3), 'trailing'],
    ['CVE-2013-4150', 'no queue pairs in use', 'device.currQueuePairs', be16(0), 'trailing'],
    [
      'CVE-2024-6505',
      'a hash that leads to a queue behind the last one',
      'device.rss.indirectionsTable[1]',
      be16(2),
      'rss-queue',
    ],
    [
      'CVE-2024-6505',
      'no hash, and a queue behind the last one',
      'device.rss.defaultQueue',
      be16(0xffff),
      'rss-queue',
    ],
    ['no number', 'a table of no entries', 'device.rss.indirectionsLen', be16(0), 'trailing'],
  ] as const)('%s: %s', (_cve, _what, path, bytes, code) => {
    expect(loadError(damaged(path, bytes))).toBe(code);
  });

  test('CVE-2013-4150: more queue pairs in use than there are, with all that follows from it', () => {
    const machine = new Machine(PAIRS);
    machine.live.pause();
    const state = machine.live.capture();
    const device = { ...state.device, currQueuePairs: 3, txWaitingOthers: [0, 0] };
    const codec = virtioDevice(machine.wire.layer, net);
    const body = codec.encode({ ...state, device });
    expect(() => codec.load(body)).toThrow(expect.objectContaining({ code: 'queue-pairs' }));
    const next = new Machine({ ...PAIRS, ram: machine.ram, idle: true });
    expect(() => next.live.restore(codec.decode(body))).toThrow(
      expect.objectContaining({ code: 'queue-pairs' }),
    );
  });

  test('CVE-2013-4149: more addresses than the table takes are forgotten', () => {
    const machine = new Machine();
    const state = machine.live.capture();
    const many = Array.from({ length: 65 }, (_, i) => Uint8Array.of(2, 0, 0, 0, 0, i));
    const codec = virtioDevice(machine.wire.layer, net);
    const device = { ...state.device, macTableInUse: 65, macTable: many } as typeof state.device;
    const next = new Machine({ ram: machine.ram, idle: true });
    next.live.restore(codec.load(codec.encode({ ...state, device })));
    expect(next.live.capture().device).toMatchObject({ macTableInUse: 0, macTable: [] });
  });
});

describe('commands', () => {
  test.each([0x2aaa_aaab, 0x4000_0000, 0xffff_ffff])(
    'CVE-2014-0150: a table of %i addresses, whose bytes overflow, is refused and changes nothing',
    (count) => {
      const machine = new Machine();
      const address = fromHex('020000000001');
      expect(machine.command(1, 0, [...le32(1), ...address, ...le32(0)])).toBe(0);
      expect(machine.command(1, 0, [...le32(count), ...address, ...le32(0)])).toBe(1);
      expect(machine.command(1, 0, [...le32(0), ...le32(count), ...address])).toBe(1);
      expect(machine.live.capture().device.macTableInUse).toBeLessThanOrEqual(1);
      expect(machine.faults).toEqual([]);
    },
  );

  test.each([
    ['unicast', [...le32(0x2aaa_aaab), 0, 0, ...le32(0)]],
    ['multicast', [...le32(0), ...le32(0x2aaa_aaab), 0, 0]],
  ])(
    'CVE-2014-0150: a table of %s addresses whose bytes overflow to what is there holds none',
    (_kind, table) => {
      const machine = new Machine();
      machine.command(1, 0, table);
      expect(machine.live.capture().device).toMatchObject({ macTableInUse: 0, macTable: [] });
      machine.offer([2048]);
      machine.card.receive(frame(60));
      expect(machine.faults).toEqual([]);
    },
  );

  test.each([
    ['in the table', [...le16(0), ...le16(2)], 0],
    ['for what has no hash', [...le16(0), ...le16(1)], 2],
  ])('CVE-2024-6505: a queue behind the last one, %s, is refused', (_where, table, unclassified) => {
    const machine = new Machine(PAIRS);
    const rest = [...le16(2), 40, ...Array<number>(40).fill(7)];
    expect(machine.command(4, 1, [...le32(1), ...le16(1), ...le16(unclassified), ...table, ...rest])).toBe(1);
    // and what the card has instead can be taken elsewhere
    machine.live.pause();
    const next = new Machine({ ...PAIRS, ram: machine.ram, idle: true });
    expect(next.live.check(machine.live.capture())).toEqual([]);
  });

  test('CVE-2024-6505: what stands where a hash without a table has nothing is not kept', () => {
    const options: MachineOptions = { net: { ...PAIRS.net, hashReport: true } };
    const machine = new Machine(options);
    const reserved = Array<number>(8).fill(0xff);
    reserved.fill(0, 0, 2);
    expect(machine.command(4, 2, [...le32(1), ...reserved, 40, ...Array<number>(40).fill(7)])).toBe(0);
    machine.live.pause();
    const next = new Machine({ ...options, ram: machine.ram, idle: true });
    expect(next.live.check(machine.live.capture())).toEqual([]);
  });
});

describe('packets for the guest', () => {
  test.each([12, 13, 60, 100])(
    'CVE-2015-7295: a buffer of %i bytes without mergeable buffers takes no more than it holds',
    (size) => {
      const machine = new Machine({ without: [F.MRG_RXBUF] });
      const [at = 0] = machine.offer([size]);
      machine.card.receive(frame(1514));
      expect(machine.faults).toEqual([]);
      expect(hex(machine.read(at + size, 64 - (size % 64)))).toMatch(/^(00|aa)*$/);
      expect(machine.live.queue(0)?.inFlight).toBe(0);
    },
  );

  test.each([
    ['CVE-2021-3748', 'outside of memory', { addr: 0x7fff_0000, len: 2048 }],
    ['CVE-2022-26353', 'of no bytes', { addr: 0x100000, len: 0 }],
  ])(
    '%s: the second buffer of a merged packet is %s: all are given back, and the card stands',
    (_cve, _what, bad) => {
      const machine = new Machine();
      machine.offer([64]);
      // counts as room, and turns out to be none
      machine.add(0, [{ ...bad, write: true }]);
      machine.offer([2048, 2048]);
      const descriptor = machine.ring(0).desc;
      expect(machine.view.getUint32(descriptor + 8, true)).toBeGreaterThan(0);
      machine.card.receive(frame(1514));
      expect(machine.faults).toHaveLength(1);
      expect(machine.live.queue(0)?.inFlight ?? 0).toBe(0);
      expect(machine.used(0)).toEqual([]);
      expect(machine.card.receive(frame(60))).toBe(false);
    },
  );

  test.each(Array.from({ length: 20 }, (_, i) => i))(
    'CVE-2026-63320: a frame of %i bytes is judged by the bytes it has',
    (length) => {
      // what lies behind the frame would pass every filter, or none
      const results = [0x00, 0x07, 0xff].map((behind) => {
        const machine = new Machine();
        // an address filter, VLANs: all that looks into the frame
        for (const command of [0, 1]) machine.command(0, command, [0]);
        machine.command(2, 0, le16(7));
        machine.offer([2048]);
        const around = new Uint8Array(64).fill(behind);
        const short = around.subarray(8, 8 + length);
        short.set(fromHex('525400123456 525400aabbcc 8100 0007 0800 00 00').subarray(0, length));
        machine.card.receive(short);
        expect(machine.faults).toEqual([]);
        return machine.used(0);
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
      if (length < 6) expect(results[0]).toEqual([]);
    },
  );

  test.each([70_000, 1 << 20])(
    'CVE-2018-17963: a packet of %i bytes is larger than any: dropped whole',
    (length) => {
      const machine = new Machine();
      machine.offer(Array<number>(64).fill(32_768));
      expect(machine.card.receive(new Uint8Array(length))).toBe(true);
      expect(machine.used(0)).toEqual([]);
      expect(machine.card.counters.rxDropped).toBe(1);
      expect(machine.card.receive(frame(60))).toBe(true);
      expect(machine.used(0)).toHaveLength(1);
    },
  );

  test('CVE-2010-0741: a driver that takes no features gets no packet that only features explain', () => {
    const machine = new Machine({ legacy: true, features: 0n, net: { offloads: { csum: true, tso: true } } });
    machine.offer([65_000]);
    const large = { flags: 1, gsoType: 1, hdrLen: 54, gsoSize: 500, csumStart: 34, csumOffset: 16 };
    machine.card.receive(frame(3000), large);
    expect(machine.used(0)).toEqual([]);
    expect(machine.card.counters.rxDropped).toBe(1);
  });
});

describe('packets from the guest', () => {
  test.each([1, 11, 12, 19, 20])(
    'CVE-2023-6693: a header for hash reports whose first piece has %i bytes is read as far as it goes',
    (first) => {
      const machine = new Machine({ net: { hashReport: true, rss: true, offloads: {} } });
      const bytes = machine.put(Uint8Array.from([...Array(20).fill(0), ...frame(60)]));
      machine.add(1, [
        { addr: bytes, len: first },
        { addr: bytes + first, len: 80 - first },
      ]);
      machine.driver.kick(1);
      expect(machine.faults).toEqual([]);
      expect(machine.sink.frames.map((sent) => hex(sent))).toEqual([hex(frame(60))]);
    },
  );

  test('CVE-2023-6693: a packet that ends inside of its header is dropped', () => {
    for (let length = 1; length < 20; length++) {
      const machine = new Machine({ net: { hashReport: true, rss: true, offloads: {} } });
      machine.add(1, [{ addr: machine.alloc(length), len: length }]);
      machine.driver.kick(1);
      expect(machine.faults).toEqual([]);
      expect(machine.sink.frames).toEqual([]);
      expect(machine.card.counters.txDropped).toBe(1);
      expect(machine.used(1)).toHaveLength(1);
    }
  });

  const ipv4 = (totalLength: number, protocol: number, ...rest: readonly number[]): Uint8Array =>
    Uint8Array.from([
      ...fromHex('525400123456 525400aabbcc 0800 4500'),
      ...be16(totalLength),
      ...fromHex('0001 0000 40'),
      protocol,
      ...fromHex('0000 0a000001 0a000002'),
      ...rest,
    ]);
  const meta = (over: Partial<PacketMeta>): Partial<PacketMeta> => ({
    flags: HDR_FLAG.NEEDS_CSUM,
    csumStart: 34,
    csumOffset: 16,
    ...over,
  });

  test.each([
    [
      'CVE-2016-2857',
      'an IP length beyond the frame',
      ipv4(0xffff, 6, ...Array<number>(20).fill(0x50)),
      meta({}),
    ],
    ['CVE-2016-2857', 'a checksum behind the frame', ipv4(40, 17, 1, 2, 3, 4), meta({ csumOffset: 0xffff })],
    ['CVE-2024-3567', 'SCTP without its header', ipv4(24, 132, 1, 2, 3, 4), meta({ csumStart: 0xffff })],
    [
      'CVE-2024-3567',
      'segments of a TCP header that is not there',
      ipv4(24, 6, 1, 2, 3, 4),
      meta({ gsoType: GSO.TCPV4, gsoSize: 1, hdrLen: 54 }),
    ],
    [
      'CVE-2020-16092',
      'segments of no bytes',
      ipv4(60, 6, ...Array<number>(40).fill(0x50)),
      meta({ gsoType: GSO.TCPV4, gsoSize: 0, hdrLen: 54 }),
    ],
  ])('%s: %s: no more than the frame is read, and no more than it comes out', (_cve, _what, bytes, over) => {
    const offload = new SoftwareOffload();
    const count = offload.open(packetOf(bytes, over));
    expect(count).toBeLessThanOrEqual(1);
    let total = 0;
    while (offload.left > 0) {
      const target = new Uint8Array(offload.length);
      total += offload.write(target);
    }
    expect(total).toBeLessThanOrEqual(bytes.length);
  });
});

describe('cards that are reached while they work', () => {
  test('CVE-2021-3416: a back end that hands each packet back while it gets it', () => {
    const machine = new Machine();
    machine.offer(Array<number>(16).fill(2048));
    machine.sink.onSend = (packet) => {
      const copy = new Uint8Array(packet.length);
      packet.copyTo(copy);
      machine.card.receive(copy);
      machine.driver.kick(1);
    };
    for (let i = 0; i < 4; i++) machine.transmit(frame(60));
    expect(machine.sink.frames).toHaveLength(4);
    expect(machine.used(0)).toHaveLength(4);
    expect(machine.faults).toEqual([]);
  });

  test.each([1, 5, 6, 13, 14])(
    'CVE-2025-12464: a packet of %i bytes comes back as long as it was, or not at all',
    (length) => {
      const machine = new Machine();
      machine.offer([2048]);
      machine.sink.onSend = (packet) => {
        const copy = new Uint8Array(packet.length);
        packet.copyTo(copy);
        machine.card.receive(copy);
      };
      machine.transmit(new Uint8Array(length).fill(0xff));
      for (const { len } of machine.used(0)) expect(len).toBe(12 + length);
      expect(machine.faults).toEqual([]);
    },
  );

  test.each([
    ['CVE-2026-66022', 'kicks', (machine: Machine, queue: number) => machine.driver.kick(queue)],
    [
      'CVE-2023-3019',
      'kicks the queue beside',
      (machine: Machine, queue: number) => machine.driver.kick(queue ^ 1),
    ],
    ['CVE-2021-3750', 'resets the card', (machine: Machine) => machine.live.reset()],
  ])('%s: an interrupt that %s', (_cve, _what, reach) => {
    const machine = new Machine();
    machine.offer(Array<number>(8).fill(2048));
    for (let i = 0; i < 8; i++) machine.add(1, [{ addr: machine.put(new Uint8Array(72)), len: 72 }]);
    let deep = 0;
    let deepest = 0;
    machine.wire.listen = (queue) => {
      deepest = Math.max(deepest, ++deep);
      reach(machine, queue);
      deep--;
    };
    machine.driver.kick(1);
    machine.card.receive(frame(60));
    expect(deepest).toBeGreaterThan(0);
    expect(deepest).toBeLessThanOrEqual(4);
    expect(machine.sink.frames.length).toBeLessThanOrEqual(8);
    expect(machine.faults).toEqual([]);
    // the card goes on
    machine.wire.listen = undefined;
    machine.start();
    machine.sink.frames.length = 0;
    machine.transmit(frame(60));
    expect(machine.sink.frames).toHaveLength(1);
  });
});

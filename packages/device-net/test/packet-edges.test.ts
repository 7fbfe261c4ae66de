// The smallest and the largest of what the card takes, and what it answers one byte beyond.
import { NET_FEATURE, type PacketMeta } from '@virtkit/device-net';
import { describe, expect, test } from 'vitest';
import { frame, hex, Machine, type MachineOptions } from './machine.ts';

const F = NET_FEATURE;
const offloads = { csum: true, tso: true, ufo: true, uso: true } as const;
const PLAIN: PacketMeta = { flags: 0, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart: 0, csumOffset: 0 };
const LARGEST = 4096 + 65536;

/** What becomes of one frame: how it was answered, the header that the guest sees, and what was counted. */
function received(options: MachineOptions, bytes: Uint8Array, meta?: PacketMeta): readonly unknown[] {
  const machine = new Machine(options);
  const [at = 0] = machine.offer([8192]);
  const taken = machine.card.receive(bytes, meta);
  const header = machine.used(0).length === 0 ? 'none' : hex(machine.read(at, 10));
  const { rxPackets, rxDropped, rxRefused, rxBytes } = machine.card.counters;
  expect(machine.faults).toEqual([]);
  expect(machine.wire.notified).toEqual(rxPackets > 0 ? [0] : []);
  expect(rxBytes).toBe(rxPackets > 0 ? bytes.length : 0);
  return [taken, header, { rxPackets, rxDropped, rxRefused }];
}

const LOST = [true, 'none', { rxPackets: 0, rxDropped: 1, rxRefused: 0 }];
const got = (header: string): readonly unknown[] => [
  true,
  header.replaceAll(' ', ''),
  { rxPackets: 1, rxDropped: 0, rxRefused: 0 },
];

describe('what a back end says of a frame', () => {
  const TSO = { ...PLAIN, flags: 1, gsoType: 1, hdrLen: 54, gsoSize: 1460, csumStart: 34, csumOffset: 16 };
  const SUM = { ...PLAIN, flags: 1, csumStart: 34, csumOffset: 16 };
  test.each<[string, MachineOptions, PacketMeta | undefined, readonly unknown[]]>([
    ['nothing', {}, undefined, got('00 00 0000 0000 0000 0000')],
    ['that it is whole', {}, { ...PLAIN, hdrLen: 7, csumStart: 9 }, got('00 00 0000 0000 0000 0000')],
    ['segments', {}, TSO, got('01 01 3600 b405 2200 1000')],
    ['segments without a size', {}, { ...TSO, gsoSize: 0 }, LOST],
    ['segments whose checksum is not left', {}, { ...TSO, flags: 0 }, LOST],
    ['segments whose checksum was validated', {}, { ...TSO, flags: 2 }, LOST],
    ['segments of a type that there is not', {}, { ...TSO, gsoType: 2 }, LOST],
    ['segments that were not negotiated', { without: [F.GUEST_TSO4] }, TSO, LOST],
    ['segments for a guest without GUEST_CSUM', { without: [F.GUEST_CSUM, F.GUEST_TSO4] }, TSO, LOST],
    ['a checksum', {}, SUM, got('01 00 0000 0000 2200 1000')],
    [
      'a checksum that is the last of the frame',
      {},
      { ...SUM, csumStart: 82 },
      got('01 00 0000 0000 5200 1000'),
    ],
    ['a checksum across its end', {}, { ...SUM, csumStart: 83 }, LOST],
    [
      'a checksum across its end, for a guest without GUEST_CSUM',
      { without: [F.GUEST_CSUM] },
      { ...SUM, csumStart: 83 },
      LOST,
    ],
    ['that it was validated', {}, { ...PLAIN, flags: 2, csumStart: 999 }, got('02 00 0000 0000 e703 0000')],
    [
      'that it was validated, to a guest without GUEST_CSUM',
      { without: [F.GUEST_CSUM] },
      { ...PLAIN, flags: 2 },
      got('00 00 0000 0000 0000 0000'),
    ],
    [
      'information on coalesced segments, which was not offered',
      {},
      { ...SUM, flags: 5 },
      got('01 00 0000 0000 2200 1000'),
    ],
  ])('%s', (_what, options, meta, expected) => {
    expect(received({ net: { offloads }, ...options }, frame(100), meta)).toEqual(expected);
  });

  test('of one frame says nothing of the next', () => {
    const machine = new Machine({ net: { offloads } });
    const at = machine.offer([2048, 2048, 2048]);
    machine.card.receive(frame(100), SUM);
    machine.card.receive(frame(100));
    machine.card.receive(frame(100), { ...PLAIN });
    expect(at.map((place) => hex(machine.read(place, 10)))).toEqual([
      '01000000000022001000',
      '00'.repeat(10),
      '00'.repeat(10),
    ]);
  });
});

describe('an answer of a DHCP server, whose checksum old clients look at', () => {
  const answer = (length: number, change: Readonly<Record<number, number>> = {}): Uint8Array => {
    const bytes = new Uint8Array(length);
    bytes.set([8, 0], 12);
    bytes[23] = 17;
    bytes.set([0, 67], 34);
    for (const [at, value] of Object.entries(change)) bytes[Number(at)] = value;
    return bytes;
  };
  const meta = { ...PLAIN, flags: 1, csumStart: 34, csumOffset: 6 };
  test.each<[string, Uint8Array, PacketMeta, boolean]>([
    ['the shortest', answer(42), meta, true],
    ['the longest', answer(1499), meta, true],
    ['a longer one', answer(1500), meta, false],
    ['not of IPv4', answer(300, { 12: 0x86, 13: 0xdd }), meta, false],
    ['not of UDP', answer(300, { 23: 6 }), meta, false],
    ['of another port', answer(300, { 35: 68 }), meta, false],
    ['of a port whose low byte is the same', answer(300, { 34: 1 }), meta, false],
  ])('%s', (_what, bytes, said, completed) => {
    const machine = new Machine({ net: { offloads } });
    const [at = 0] = machine.offer([4096]);
    machine.card.receive(bytes, said);
    expect(machine.ram[at]).toBe(completed ? 0 : 1);
    expect(hex(machine.read(at + 12 + 40, 2)) !== '0000').toBe(completed);
    expect(machine.used(0)).toHaveLength(1);
  });

  test('one byte shorter is none', () => {
    const machine = new Machine({ net: { offloads } });
    const [at = 0] = machine.offer([4096]);
    machine.card.receive(answer(41), { ...meta, csumOffset: 4 });
    expect(machine.ram[at]).toBe(1);
  });

  test('whose checksum is there is left as it is', () => {
    const machine = new Machine({ net: { offloads } });
    const [at = 0] = machine.offer([4096]);
    machine.card.receive(answer(300), { ...meta, flags: 2 });
    expect(hex(machine.read(at, 1)) + hex(machine.read(at + 12 + 40, 2))).toBe('020000');
  });
});

describe('sizes', () => {
  test.each([
    ['the largest frame', LARGEST - 12, 1],
    ['one byte more', LARGEST - 11, 0],
    ['none', 0, 0],
    ['one byte', 1, 1],
  ])('received: %s', (_what, length, packets) => {
    const machine = new Machine();
    machine.offer(Array.from({ length: 20 }, () => 4096));
    expect(machine.card.receive(frame(length))).toBe(true);
    expect(machine.card.counters).toMatchObject({ rxPackets: packets, rxDropped: 1 - packets, rxRefused: 0 });
  });

  test.each<[string, MachineOptions, number, number, number]>([
    ['the largest with a header', { net: { offloads } }, LARGEST - 12, 12, 1],
    ['one byte more', { net: { offloads } }, LARGEST - 11, 12, 0],
    ['the largest without', {}, LARGEST, 12, 1],
    ['one byte more without', {}, LARGEST + 1, 12, 0],
    ['no frame behind the header', { net: { offloads } }, 0, 12, 0],
    ['not even the header', { net: { offloads } }, 0, 3, 0],
  ])('sent: %s', (_what, options, length, header, packets) => {
    const machine = new Machine(options);
    machine.transmit(frame(length), new Uint8Array(header));
    expect(machine.sink.frames.map((sent) => sent.length)).toEqual(packets === 0 ? [] : [length]);
    expect(machine.used(1)).toEqual([{ id: expect.any(Number), len: 0 }]);
    expect(machine.card.counters).toMatchObject({
      txPackets: packets,
      txBytes: packets * length,
      txDropped: 1 - packets,
    });
    expect(machine.wire.notified).toEqual([1]);
  });

  test.each<[string, number, readonly unknown[]]>([
    ['a header that is cut off', 11, ['virtio-net header is invalid', { length: 11, headerLength: 12 }]],
    ['a header alone', 12, ['virtio-net nothing to send', { length: 12, headerLength: 12 }]],
  ])('sent without offloads: %s breaks the device', (_what, length, said) => {
    const machine = new Machine();
    machine.transmit(new Uint8Array(0), new Uint8Array(length));
    expect(faults(machine)).toEqual([said]);
    expect(machine.used(1)).toEqual([]);
    expect(machine.live.queue(1)?.inFlight).toBe(0);
    expect(machine.card.counters).toMatchObject({ txDropped: 0, txPackets: 0 });
  });

  test.each([
    ['a header of nine bytes', 9, [['virtio-net header incorrect', { length: 9 }]]],
    ['a header of ten', 10, []],
  ])('sent in another byte order: %s', (_what, length, said) => {
    const machine = new Machine({ net: { offloads }, legacy: true, endian: 'big', without: [F.MRG_RXBUF] });
    machine.transmit(new Uint8Array(0), new Uint8Array(length));
    expect(faults(machine)).toEqual(said);
    expect(machine.card.counters.txDropped).toBe(1 - said.length);
  });
});

/** Reasons and values of what broke the device. */
function faults(machine: Machine): readonly unknown[] {
  return machine.events.filter(({ name }) => name === 'fault').map(({ reason, facts }) => [reason, facts]);
}

describe('buffers that break the device', () => {
  test('are told with their values', () => {
    const nothing = new Machine({ without: [F.MRG_RXBUF] });
    nothing.add(0, [{ addr: nothing.alloc(64), len: 64 }]);
    nothing.card.receive(frame(64));
    expect(faults(nothing)).toEqual([['virtio-net receive queue contains no in buffers', { length: 0 }]]);
    const short = new Machine();
    short.offer([11, 2048]);
    short.card.receive(frame(64));
    expect(faults(short)).toEqual([['virtio-net receive buffer is shorter than the header', { length: 11 }]]);
    expect(short.live.queue(0)?.inFlight).toBe(0);
    expect(short.card.counters).toMatchObject({ rxDropped: 1, rxPackets: 0 });
  });

  test('a header in pieces is written whole', () => {
    const machine = new Machine({ net: { offloads } });
    const [first, second] = [machine.alloc(5), machine.alloc(200)];
    machine.add(0, [
      { addr: first, len: 5, write: true },
      { addr: second, len: 200, write: true },
    ]);
    machine.card.receive(frame(100), { ...PLAIN, flags: 1, csumStart: 34, csumOffset: 16 });
    expect(hex(machine.read(first, 5)) + hex(machine.read(second, 7))).toBe('010000000000220010000100');
    expect(machine.read(second + 7, 100)).toEqual(frame(100));
  });
});

describe('the link is down', () => {
  test('packets that wait vanish: each is counted, and the driver told once', () => {
    const machine = new Machine();
    machine.card.setLink(false);
    machine.wire.notified.length = 0;
    for (let i = 0; i < 3; i++) machine.add(1, [{ addr: machine.put(new Uint8Array(76)), len: 76 }]);
    machine.driver.kick(1);
    expect(machine.sink.frames).toEqual([]);
    expect(machine.card.counters).toMatchObject({ txDropped: 3, txPackets: 0 });
    expect(machine.used(1).map(({ len }) => len)).toEqual([0, 0, 0]);
    expect(machine.wire.notified).toEqual([1]);
    machine.driver.kick(1);
    expect(machine.wire.notified).toEqual([1]);
    expect(machine.live.capture().device.txWaiting).toBe(0);
  });
});

describe('a back end that refuses', () => {
  test('is counted, and asked no more before it says that it can', () => {
    const machine = new Machine();
    machine.sink.room = 0;
    machine.transmit(frame(60));
    machine.transmit(frame(61));
    expect(machine.card.counters).toMatchObject({ txRefused: 1, txPackets: 0, txDropped: 0 });
    machine.card.txReady();
    expect(machine.card.counters.txRefused).toBe(2);
    machine.sink.room = 9;
    machine.card.txReady();
    expect(machine.card.counters).toMatchObject({ txRefused: 2, txPackets: 2, txBytes: 121 });
    machine.card.txReady();
    expect(machine.card.counters.txPackets).toBe(2);
  });

  test('that says that it can from inside of send() is asked again at once', () => {
    const machine = new Machine();
    machine.sink.onSend = () => machine.card.txReady();
    machine.transmit(frame(60));
    machine.transmit(frame(61));
    expect(machine.sink.frames.map(({ length }) => length)).toEqual([60, 61]);
    expect(machine.live.capture().device.txWaiting).toBe(0);
  });
});

test('a header of ten bytes has no bytes of the longer ones', () => {
  const machine = new Machine({ legacy: true, without: [F.MRG_RXBUF] });
  const [at = 0] = machine.offer([2048]);
  machine.card.receive(frame(64));
  expect(machine.read(at + 10, 64)).toEqual(frame(64));
});

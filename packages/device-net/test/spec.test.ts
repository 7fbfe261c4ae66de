// Requirements of Virtio 1.3 §5.1 that no other test asks for.
import { NET_FEATURE as F, type PacketMeta } from '@virtkit/device-net';
import { describe, expect, test } from 'vitest';
import { frame, fromHex, Machine, type MachineOptions } from './machine.ts';

const OK = 0;
const all = { csum: true, tso: true, ufo: true, uso: true };
const le16 = (value: number): number[] => [value & 0xff, value >> 8];
const le32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

describe('configuration (§5.1.4.1)', () => {
  test('is as it was made, and stays so, whatever the driver writes', () => {
    const machine = new Machine({
      net: { queuePairs: 4, mtu: 1500, speed: 10_000, duplex: 'full', rss: true, hashReport: true },
    });
    const fields = (): number[] => {
      const { buffer } = machine.config();
      const view = new DataView(buffer);
      return [
        view.getUint16(8, true),
        view.getUint16(10, true),
        view.getUint32(12, true),
        view.getUint8(17),
        view.getUint16(18, true),
      ];
    };
    const made = [4, 1500, 10_000, 40, 128];
    expect(fields()).toEqual(made);
    for (let at = 6; at < machine.driver.config.length; at++) machine.driver.config.write(at, 1, 0xff);
    expect(fields()).toEqual(made);
    machine.card.setLink(false);
    machine.card.setLink(true);
    expect(fields()).toEqual(made);
    machine.start();
    expect(fields()).toEqual(made);
  });

  test('speed is all ones where it is not known', () => {
    const machine = new Machine({ net: { duplex: 'half' } });
    expect([...machine.config().subarray(12, 16)]).toEqual([0xff, 0xff, 0xff, 0xff]);
  });
});

describe('what the driver sends (§5.1.4.1, §5.1.6.2.2)', () => {
  test('goes out whole, up to the MTU', () => {
    const machine = new Machine({ net: { mtu: 1000 } });
    const sent = [60, 1014, 1018].map((length) => frame(length));
    for (const one of sent) machine.transmit(one);
    expect(machine.sink.frames).toEqual(sent);
  });

  test.each<[string, string]>([
    ['flags that nobody knows', 'f0 00 0000 0000 0000 0000 0000'],
    ['flags of tunnels, where there are none,', '08 00 0000 0000 0000 0000 0000'],
    ['flags of the other direction', '06 00 0000 0000 0000 0000 0000'],
    ['where a checksum would be, without one', '00 00 0000 0000 ffff ffff 0000'],
    ['headers longer than the frame', '00 00 ffff 0000 0000 0000 0000'],
  ])('%s say nothing', (_name, header) => {
    const machine = new Machine({ net: { offloads: all } });
    machine.transmit(frame(100), fromHex(header));
    expect(machine.sink.frames).toEqual([frame(100)]);
    expect(machine.sink.metas).toMatchObject([{ flags: 0, gsoType: 0 }]);
  });

  test('a guest does not hear from another one that a checksum was looked at', () => {
    const [sender, receiver] = [
      new Machine({ net: { offloads: all } }),
      new Machine({ net: { offloads: all } }),
    ];
    sender.sink.onSend = (packet) => {
      const copy = new Uint8Array(packet.length);
      packet.copyTo(copy);
      receiver.card.receive(copy, packet);
    };
    const [at = 0] = receiver.offer([2048]);
    sender.transmit(frame(100), fromHex('02 00 0000 0000 0000 0000 0000'));
    expect(receiver.used(0)).toHaveLength(1);
    expect(receiver.ram[at]).toBe(0);
  });
});

describe('segments for a driver (§5.1.6.4.1)', () => {
  test.each<[string, readonly number[], number]>([
    ['TCPv4', [F.GUEST_TSO4], 0x01],
    ['TCPv6', [F.GUEST_TSO6], 0x04],
    ['UDP fragments', [F.GUEST_UFO], 0x03],
    ['UDP', [F.GUEST_USO4, F.GUEST_USO6], 0x05],
    ['with ECN', [F.GUEST_ECN], 0x81],
  ])('%s: only with the feature, and the header says so', (_name, features, gsoType) => {
    const meta: PacketMeta = { flags: 1, gsoType, hdrLen: 54, gsoSize: 500, csumStart: 34, csumOffset: 16 };
    const received = (options: MachineOptions): Uint8Array | undefined => {
      const machine = new Machine({ net: { offloads: all }, ...options });
      const [at = 0] = machine.offer([2048]);
      expect(machine.card.receive(frame(1200), meta)).toBe(true);
      return machine.used(0).length === 0 ? undefined : machine.read(at, 6);
    };
    expect(received({})).toEqual(Uint8Array.of(1, gsoType, 54, 0, ...le16(500)));
    expect(received({ without: features })).toBeUndefined();
  });
});

describe('UDP tunnels (Virtio 1.4 §5.1.9.2.2, §5.1.9.4.1)', () => {
  const offloads = { ...all, udpTunnel: true };
  const OFFSETS = `${'00'.repeat(8)} 2a00 4000`;
  const send = (start: string, options: MachineOptions = {}): Machine => {
    const machine = new Machine({ net: { offloads }, ...options });
    machine.transmit(frame(3000), fromHex(`${start} 3600 b405 2200 1000 0000 ${OFFSETS}`));
    expect(machine.used(1)).toHaveLength(1);
    return machine;
  };
  const SENT = {
    hdrLen: 54,
    gsoSize: 0x5b4,
    csumStart: 34,
    csumOffset: 16,
    outerThOffset: 42,
    innerNhOffset: 64,
  };

  test.each<[string, string]>([
    ['of both kinds', '01 61'],
    ['without NEEDS_CSUM', '00 21'],
    ['with DATA_VALID', '03 41'],
    ['of no segments', '01 20'],
    ['whose checksum is left, and that is none', '09 01'],
  ])('a packet %s is not accepted', (_name, start) => {
    const { sink, card } = send(start);
    expect(sink.frames).toEqual([]);
    expect(card.counters.txDropped).toBe(1);
  });

  test.each([0x21, 0x41])('one of kind %i is, with where its headers are', (gsoType) => {
    expect(send(`01 ${gsoType.toString(16)}`).sink.metas).toEqual([{ ...SENT, flags: 1, gsoType }]);
  });

  test('a packet without a tunnel has no headers in one', () => {
    const untunnelled = { flags: 1, gsoType: 1, outerThOffset: 0, innerNhOffset: 0 };
    expect(send('01 01').sink.metas).toMatchObject([untunnelled]);
  });

  test.each<[string, number, number, readonly number[], boolean]>([
    ['with the feature', 1, 0x21, [], true],
    ['without it', 1, 0x21, [F.GUEST_UDP_TUNNEL_GSO, F.GUEST_UDP_TUNNEL_GSO_CSUM], false],
    ['with a checksum that is left, and the feature', 9, 0x41, [], true],
    ['with a checksum that is left, without it', 9, 0x41, [F.GUEST_UDP_TUNNEL_GSO_CSUM], false],
    ['with DATA_VALID', 3, 0x21, [], false],
    ['of both kinds', 1, 0x61, [], false],
  ])('a driver is given one %s: %i %i', (_name, flags, gsoType, without, given) => {
    const machine = new Machine({ net: { offloads }, without });
    const [at = 0] = machine.offer([4000]);
    expect(machine.card.receive(frame(3000), { ...SENT, flags, gsoType })).toBe(true);
    expect(machine.used(0)).toHaveLength(given ? 1 : 0);
    if (!given) return;
    expect([...machine.read(at, 2)]).toEqual([flags, gsoType]);
    expect([...machine.read(at + 20, 4)]).toEqual([42, 0, 64, 0]);
  });
});

describe('after a reset (§5.1.6.5)', () => {
  const own = (machine: Machine, length: number): boolean => machine.card.receive(frame(length));

  test('the filtering table is empty, and only the first pair is used', () => {
    const machine = new Machine({ net: { queuePairs: 2 } });
    const table = [...le32(1), 2, 0, 0, 0, 0, 9, ...le32(1), 0x33, 0, 0, 0, 0, 9];
    expect(machine.command(1, 0, table)).toBe(OK);
    expect(machine.command(4, 0, le16(2))).toBe(OK);
    machine.offer([2048], 1);
    expect(machine.card.receive(frame(64), undefined, 1)).toBe(true);
    machine.start();
    const { device } = machine.live.capture();
    expect(device).toMatchObject({ macTableInUse: 0, uniOverflow: 0, multiOverflow: 0 });
    machine.offer([2048], 1);
    expect(machine.card.receive(frame(64), undefined, 1)).toBe(false);
    machine.offer([2048], 0);
    expect(own(machine, 64)).toBe(true);
  });

  test('every packet is told of, whatever coalescing was set', () => {
    const { machine, limits } = coalescing();
    machine.command(6, 0, [...le32(9), ...le32(50)]);
    machine.command(6, 1, [...le32(8), ...le32(40)]);
    expect([limits(0), limits(1)]).toEqual([
      [8, 40],
      [9, 50],
    ]);
    machine.start();
    expect([limits(0), limits(1)]).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });
});

/** A card with coalescing, and what a queue has now: packets and microseconds. */
function coalescing(): { machine: Machine; limits: (queue: number) => number[] } {
  const machine = new Machine({ net: { coalescing: { after: () => 0 } }, without: [29] });
  const limits = (queue: number): number[] => {
    const at = machine.put(Uint8Array.of(6, 3, ...le16(queue), 0, 0));
    const reply = machine.put(new Uint8Array(9));
    machine.add(machine.controlQueue, [
      { addr: at, len: 6 },
      { addr: reply, len: 9, write: true },
    ]);
    machine.driver.kick(machine.controlQueue);
    machine.used(machine.controlQueue);
    return [machine.view.getUint32(reply, true), machine.view.getUint32(reply + 4, true)];
  };
  return { machine, limits };
}

describe('coalescing (§5.1.6.5.9.6)', () => {
  test('reserved bytes say nothing', () => {
    const { machine, limits } = coalescing();
    expect(machine.command(6, 2, [...le16(1), 0xff, 0xff, ...le32(7), ...le32(9)])).toBe(OK);
    expect(limits(1)).toEqual([7, 9]);
  });

  test('a queue that is enabled again has what was set for all of its direction, or nothing', () => {
    for (const [command, queue, other] of [
      [0, 1, 0],
      [1, 0, 1],
    ] as const) {
      const { machine, limits } = coalescing();
      for (const of of [queue, other]) machine.command(6, 2, [...le16(of), 0, 0, ...le32(7), ...le32(9)]);
      machine.driver.queue(queue)?.reset();
      machine.setUpQueue(queue);
      expect([limits(queue), limits(other)]).toEqual([
        [0, 0],
        [7, 9],
      ]);
      machine.command(6, command, [...le32(5), ...le32(60)]);
      machine.command(6, 2, [...le16(queue), 0, 0, ...le32(7), ...le32(9)]);
      machine.driver.queue(queue)?.reset();
      machine.setUpQueue(queue);
      expect(limits(queue)).toEqual([5, 60]);
    }
  });

  test('a driver that wants no notifications gets none, whatever has come together', () => {
    const { machine } = coalescing();
    machine.command(6, 1, [...le32(2), ...le32(50)]);
    machine.offer([2048, 2048, 2048, 2048]);
    machine.wire.notified.length = 0;
    machine.view.setUint16(machine.ring(0).avail, 1, true);
    for (let i = 0; i < 4; i++) machine.card.receive(frame(60));
    expect(machine.used(0)).toHaveLength(4);
    expect(machine.wire.notified).toEqual([]);
  });
});

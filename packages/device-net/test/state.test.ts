// Stopped, saved, and gone on with in another machine over the same memory.
import { virtioDevice } from '@virtkit/core';
import { NET_FEATURE, type NetOptions, net } from '@virtkit/device-net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frame, fromHex, hex, Machine, type MachineOptions, Sink, type State } from './machine.ts';

const F = NET_FEATURE;
const le16 = (n: number): number[] => [n & 0xff, n >> 8];
const le32 = (n: number): number[] => [...le16(n & 0xffff), ...le16(n >>> 16)];

/** Over the codec, so that only what the bytes hold gets through. */
function carried(machine: Machine, state: State): State {
  const codec = virtioDevice(machine.wire.layer, net);
  return codec.load(codec.encode(state)) as State;
}

/** Another machine with the same memory goes on. */
function move(machine: Machine, resume = true): Machine {
  machine.live.pause();
  const state = machine.live.capture();
  const next = new Machine({ ...machine.options, ram: machine.ram, idle: true });
  next.live.restore(carried(machine, state));
  expect(next.live.capture()).toEqual(state);
  next.rings.push(...machine.rings);
  next.heap = machine.heap;
  next.headerBytes = machine.headerBytes;
  if (resume) next.live.resume();
  return next;
}

describe('a card goes on where it was', () => {
  test.each<[string, MachineOptions]>([
    ['modern', {}],
    ['packed', { rings: { packed: true } }],
    ['legacy', { legacy: true }],
    ['legacy, big-endian', { legacy: true, endian: 'big' }],
    ['legacy without MRG_RXBUF', { legacy: true, without: [F.MRG_RXBUF] }],
    ['modern without MRG_RXBUF', { without: [F.MRG_RXBUF] }],
    ['hash reports', { net: { offloads: {}, hashReport: true, rss: true } }],
    ['tunnels', { net: { offloads: { csum: true, tso: true, udpTunnel: true } } }],
    ['four pairs', { net: { queuePairs: 4, offloads: { csum: true, tso: true } } }],
    ['four pairs with RSS', { net: { queuePairs: 4, offloads: {}, rss: true, rssStateVersion: 2 } }],
  ])('%s: header length, queues, both directions', (_name, options) => {
    const machine = new Machine(options);
    machine.offer([2048, 2048, 2048]);
    machine.card.receive(frame(60));
    const before = machine.used(0);
    machine.transmit(frame(61), new Uint8Array(before[0] === undefined ? 0 : before[0].len - 60));
    machine.headerBytes = (before[0]?.len ?? 0) - 60;
    const next = move(machine);
    expect(next.live.queueCount).toBe(machine.live.queueCount);
    expect(next.card.receive(frame(60))).toBe(true);
    expect(next.used(0).map(({ len }) => len)).toEqual(before.map(({ len }) => len));
    next.transmit(frame(62));
    expect(next.sink.frames.map(({ length }) => length)).toEqual([62]);
    // and once more
    const last = move(next);
    expect(last.card.receive(frame(60))).toBe(true);
    expect(last.used(0).map(({ len }) => len)).toEqual(before.map(({ len }) => len));
  });

  test('receive modes, addresses, VLANs', () => {
    const machine = new Machine();
    for (const command of [0, 5]) machine.command(0, command, [command === 0 ? 0 : 1]);
    const table = fromHex('020000000001 020000000002');
    const group = fromHex('01005e000001');
    machine.command(1, 0, [...le32(2), ...table, ...le32(1), ...group]);
    machine.command(1, 1, fromHex('060000000009'));
    machine.command(2, 0, le16(7));
    const next = move(machine);
    next.offer(Array(8).fill(2048));
    const frames: readonly (readonly [string, boolean])[] = [
      ['020000000002', true],
      ['020000000003', false],
      ['060000000009', true],
      ['525400123456', false],
      ['01005e000001', true],
      ['01005e000002', false],
      ['ffffffffffff', false],
    ];
    for (const [to, wanted] of frames) {
      const got = next.card.counters.rxPackets;
      next.card.receive(frame(60, to));
      expect([to, next.card.counters.rxPackets - got]).toEqual([to, wanted ? 1 : 0]);
    }
    const tagged = (vid: number): Uint8Array =>
      fromHex(`060000000009525400aabbcc8100${vid.toString(16).padStart(4, '0')}0800`);
    next.card.receive(tagged(7));
    next.card.receive(tagged(8));
    expect(next.card.counters.rxPackets).toBe(4);
  });

  test('offloads that the driver switched off stay off', () => {
    const machine = new Machine({ net: { offloads: { csum: true, tso: true } } });
    machine.command(5, 0, [2, 0, 0, 0, 0, 0, 0, 0]);
    const next = move(machine);
    expect(next.sink.offloads).toMatchObject({ csum: true, tso4: false });
    next.offer([2048]);
    next.card.receive(frame(1000), {
      flags: 1,
      gsoType: 1,
      hdrLen: 54,
      gsoSize: 500,
      csumStart: 34,
      csumOffset: 16,
    });
    expect(next.card.counters.rxDropped).toBe(1);
  });

  test('without the command they are what was negotiated', () => {
    const machine = new Machine({
      net: { offloads: { csum: true, tso: true } },
      without: [F.CTRL_GUEST_OFFLOADS],
    });
    expect(machine.live.capture().device.currGuestOffloads).toBeUndefined();
    expect(move(machine).sink.offloads).toMatchObject({ csum: true, tso4: true });
  });

  test('pairs in use, scaling, and packets that wait in each', () => {
    const machine = new Machine({ net: { queuePairs: 4, offloads: {}, rss: true } });
    const key = Array.from({ length: 40 }, (_, i) => i);
    const data = [...le32(0x3f), ...le16(1), ...le16(2), ...le16(1), ...le16(0), ...le16(3), 40, ...key];
    expect(machine.command(4, 1, data)).toBe(0);
    machine.sink.room = 0;
    machine.transmit(frame(60), new Uint8Array(12), 0);
    machine.transmit(frame(61), new Uint8Array(12), 2);
    expect(machine.live.capture().device).toMatchObject({
      txWaiting: 1,
      txWaitingOthers: [0, 1],
      currQueuePairs: 3,
    });
    const next = move(machine);
    expect(next.sink.frames.map(({ length }) => length)).toEqual([60, 61]);
    expect(next.sink.pairs).toEqual([0, 2]);
    next.offer([2048], 2);
    next.card.receive(frame(70));
    expect(next.used(4)).toHaveLength(1);
  });

  test('the link, down, and the MAC that a legacy driver wrote', () => {
    const machine = new Machine({ legacy: true, without: [F.CTRL_MAC_ADDR] });
    machine.config();
    machine.driver.config.write(5, 1, 0x99);
    machine.card.setLink(false);
    const next = move(machine);
    expect(next.card.linkUp).toBe(false);
    expect(hex(next.config())).toBe('5254001234990200');
    expect(next.card.receive(frame(60))).toBe(true);
    expect(next.card.counters.rxDropped).toBe(1);
  });

  test('before negotiation, and as the firmware leaves it', () => {
    const machine = new Machine({ idle: true, net: { queuePairs: 2 } });
    expect(move(machine, false).live.queueCount).toBe(3);
    machine.driver.setStatus(1);
    machine.driver.setStatus(3);
    const next = move(machine);
    next.start();
    next.offer([2048]);
    expect(next.card.receive(frame(60))).toBe(true);
  });

  test('a kick that came while it was stopped', () => {
    const machine = new Machine();
    machine.live.pause();
    machine.transmit(frame(60));
    expect(machine.sink.frames).toEqual([]);
    expect(machine.live.capture().device.txWaiting).toBe(1);
    expect(move(machine).sink.frames).toHaveLength(1);
  });

  test('tells the driver to announce itself', () => {
    const machine = new Machine();
    const next = move(machine);
    expect(next.config()[6]).toBe(3);
    expect(next.wire.notified.filter((queue) => queue === -1)).toHaveLength(1);
    expect(next.command(3, 0)).toBe(0);
    expect(move(new Machine({ without: [F.GUEST_ANNOUNCE] })).config()[6]).toBe(1);
    // once
    next.live.pause();
    next.live.resume();
    expect(next.config()[6]).toBe(1);
  });
});

describe('states that do not fit', () => {
  const full: Partial<NetOptions> = {
    offloads: { csum: true, tso: true, ufo: true },
    queuePairs: 2,
    rss: true,
  };
  test.each<[string, Partial<NetOptions>, Partial<NetOptions>, string]>([
    ['virtio headers', { offloads: {} }, {}, 'virtio-net: saved image requires vnet_hdr=on'],
    [
      'UFO',
      { offloads: { csum: true, ufo: true } },
      { offloads: { csum: true } },
      'virtio-net: saved image requires TUN_F_UFO support',
    ],
    ['more pairs', { queuePairs: 2 }, { queuePairs: 4 }, '2 != 4'],
    ['fewer pairs', { queuePairs: 4 }, { queuePairs: 2 }, '4 != 2'],
    ['one pair', { queuePairs: 2 }, {}, '2 != 1'],
    ['several pairs', {}, { queuePairs: 2 }, '1 != 2'],
  ])('%s: refused, and nothing changes', (_name, theirs, ours, reason) => {
    const state = new Machine({ net: theirs, idle: true }).live.capture();
    const machine = new Machine({ net: ours });
    machine.offer([2048]);
    const before = machine.live.capture();
    expect(() => machine.live.restore(state)).toThrow(reason);
    expect(machine.live.capture()).toEqual(before);
    expect(machine.card.receive(frame(60))).toBe(true);
  });

  test.each<[string, (state: State['device']) => Partial<State['device']>]>([
    ['pairs in use: none', () => ({ currQueuePairs: 0 })],
    ['pairs in use: too many', () => ({ currQueuePairs: 3 })],
    [
      'a table of three',
      ({ rss }) => ({ rss: { ...rss, indirectionsLen: 3, indirectionsTable: [0, 1, 0] } as never }),
    ],
    [
      'an empty table',
      ({ rss }) => ({ rss: { ...rss, indirectionsLen: 0, indirectionsTable: [] } as never }),
    ],
    ['a queue that there is not', ({ rss }) => ({ rss: { ...rss, indirectionsTable: [9, 0] } as never })],
    ['a default queue that there is not', ({ rss }) => ({ rss: { ...rss, defaultQueue: 2 } as never })],
    ["a vhost-user back end's state", () => ({ backend: [new Uint8Array(1)] })],
  ])('%s', (_name, change) => {
    const machine = new Machine({ net: full });
    const key = Array.from({ length: 40 }, (_, i) => i);
    const data = [...le32(0x3f), ...le16(1), ...le16(0), ...le16(1), ...le16(0), ...le16(2), 40, ...key];
    expect(machine.command(4, 1, data)).toBe(0);
    const state = machine.live.capture();
    const next = new Machine({ net: full, idle: true });
    const bad = { ...state, device: { ...state.device, ...change(state.device) } };
    expect(next.live.check(bad).some(({ severity }) => severity === 'error')).toBe(true);
    expect(() => next.live.restore(bad)).toThrow();
    next.live.check(state).forEach(({ severity }) => {
      expect(severity).toBe('warning');
    });
  });

  test("more than 65536 chunks of a back end's state", () => {
    const machine = new Machine({ net: full });
    const state = machine.live.capture();
    const withChunks = (count: number): State => ({
      ...state,
      device: { ...state.device, backend: chunks(count) },
    });
    const chunks = (count: number): Uint8Array[] => Array(count).fill(Uint8Array.of(1));
    expect(carried(machine, withChunks(65_536)).device.backend).toHaveLength(65_536);
    expect(() => carried(machine, withChunks(65_537))).toThrow(
      "more than 65536 chunks of a back end's state",
    );
  });

  test('a MAC table that is too long is forgotten, as in QEMU; one out of order is told of', () => {
    const { live } = new Machine();
    const state = live.capture();
    const mac = (first: number): Uint8Array => Uint8Array.of(first, 0, 0, 0, 0, 1);
    const long = { ...state.device, macTableInUse: 65, macTable: Array(65).fill(mac(2)) as Uint8Array[] };
    const next = new Machine({ idle: true, ram: new Uint8Array(4 << 20) });
    next.live.restore({ ...state, device: long });
    expect(next.live.capture().device.macTable).toEqual([]);
    const mixed = { ...state.device, macTableInUse: 2, macTable: [mac(1), mac(2)] };
    expect(next.live.check({ ...state, device: mixed }).map(({ code }) => code)).toContain('mac-table-order');
  });
});

test('at any moment of any traffic, two machines in turn do what one does', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('receive' as const), length: fc.integer({ min: 1, max: 3000 }) }),
    fc.record({ kind: fc.constant('transmit' as const), length: fc.integer({ min: 1, max: 3000 }) }),
    fc.record({ kind: fc.constant('offer' as const), length: fc.integer({ min: 12, max: 2000 }) }),
    fc.record({ kind: fc.constant('block' as const), length: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ kind: fc.constant('mode' as const), length: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ kind: fc.constant('move' as const), length: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, packed) => {
      const run = (moving: boolean): string => {
        let machine = new Machine({ rings: { packed }, without: [F.GUEST_ANNOUNCE] });
        const sent: string[] = [];
        const received: string[] = [];
        const places = new Map<number, number>();
        const collect = (): void => {
          sent.push(...machine.sink.frames.splice(0).map(hex));
          for (const { id, len } of machine.used(0)) {
            received.push(hex(machine.read(places.get(id) ?? 0, len)));
            places.delete(id);
          }
          machine.used(1);
        };
        for (const { kind, length } of steps) {
          if (kind === 'receive') received.push(`${machine.card.receive(frame(length))}`);
          if (kind === 'transmit' && machine.ring(1).free.length > 0) machine.transmit(frame(length));
          if (kind === 'offer' && machine.ring(0).free.length > 0) {
            const addr = machine.alloc(length);
            machine.ram.fill(0, addr, addr + length);
            places.set(machine.add(0, [{ addr, len: length, write: true }]), addr);
            machine.driver.kick(0);
          }
          if (kind === 'block') {
            machine.sink.room = length;
            machine.card.txReady();
          }
          if (kind === 'mode') machine.command(0, length, [length & 1]);
          if (kind === 'move' && moving) {
            const { room } = machine.sink;
            collect();
            const next = move(machine, false);
            next.sink.room = room;
            next.live.resume();
            machine = next;
          }
          collect();
        }
        machine.sink.room = Number.POSITIVE_INFINITY;
        machine.card.txReady();
        collect();
        expect(machine.faults).toEqual([]);
        return [...sent, '', ...received].join('\n');
      };
      expect(run(true)).toBe(run(false));
    }),
    { numRuns: 60 },
  );
});

test('a back end is told at the start what the guest wants', () => {
  const sink = new Sink();
  const machine = new Machine({ net: { backend: sink, offloads: { csum: true, tso: true } } });
  expect(sink.offloads).toMatchObject({ csum: true, tso4: true, ufo: false });
  machine.live.reset();
  expect(sink.offloads).toMatchObject({ csum: false, tso4: false });
});

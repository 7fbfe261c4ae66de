// What a receive queue and its counters show at the edges of a frame's way: rings that change or run dry, frames that are turned
// away, headers that speak of the frame before.
import { NET_FEATURE, type NetBackend, NetDevice, type PacketMeta } from '@virtkit/device-net';
import { BareMachine } from '@virtkit/lab/bare-machine.ts';
import { describe, expect, test } from 'vitest';
import { frame, hex, Machine, type MachineOptions } from './machine.ts';

const F = NET_FEATURE;
const RING_EVENT_IDX = 29;
const ALL = { csum: true, tso: true, ufo: true, uso: true } as const;
const PLAIN: PacketMeta = { flags: 0, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart: 0, csumOffset: 0 };
const SEGMENTS: PacketMeta = {
  flags: 1,
  gsoType: 1,
  hdrLen: 54,
  gsoSize: 1460,
  csumStart: 34,
  csumOffset: 16,
};

describe('a driver is asked for kicks only where buffers are missing', () => {
  /** The index behind which a driver kicks (EVENT_IDX), or whether it is to kick at all. */
  const askedAt = (machine: Machine): number => {
    const { used, size } = machine.ring(0);
    return machine.view.getUint16(used + 4 + 8 * size, true);
  };
  const unwanted = (machine: Machine): number => machine.view.getUint16(machine.ring(0).used, true);

  test.each<[string, MachineOptions]>([
    ['mergeable', {}],
    ['not mergeable', { without: [F.MRG_RXBUF] }],
  ])('%s: not by frames that find theirs', (_name, options) => {
    const machine = new Machine(options);
    machine.offer([2048, 2048, 2048, 2048]);
    for (let i = 0; i < 3; i++) {
      expect(machine.card.canReceive()).toBe(true);
      expect(machine.card.receive(frame(60))).toBe(true);
    }
    expect(askedAt(machine)).toBe(0);
    machine.card.receive(frame(60));
    expect(machine.card.canReceive()).toBe(false);
    expect(askedAt(machine)).toBe(4);
  });

  test('and no more, once there are buffers again', () => {
    const machine = new Machine({ without: [RING_EVENT_IDX] });
    expect(machine.card.receive(frame(60))).toBe(false);
    expect(unwanted(machine)).toBe(0);
    machine.offer([2048, 2048]);
    machine.card.receive(frame(60));
    expect(unwanted(machine)).toBe(1);
    expect(machine.card.canReceive()).toBe(true);
    expect(unwanted(machine)).toBe(1);
  });
});

test('a back end that does not care when there are buffers again is left alone', () => {
  const backend: NetBackend = { send: () => true };
  const card = new NetDevice({ backend, mac: '52:54:00:12:34:56' });
  const machine = new BareMachine(card, {}, [6]);
  expect(card.receive(frame(60))).toBe(false);
  machine.add(0, [{ addr: machine.alloc(2048), len: 2048, write: true }]);
  machine.driver.kick(0);
  expect(card.receive(frame(60))).toBe(true);
  expect(machine.used(0)).toHaveLength(1);
});

describe('frames that are turned away', () => {
  test.each([
    ['a byte too little', 100 + 12 - 1, false],
    ['just enough', 100 + 12, true],
  ])('mergeable buffers with %s: the header counts', (_name, room, taken) => {
    const machine = new Machine();
    machine.offer([60, room - 60]);
    expect(machine.card.receive(frame(100))).toBe(taken);
    expect(machine.used(0)).toHaveLength(taken ? 2 : 0);
    expect(machine.card.counters).toMatchObject({ rxRefused: taken ? 0 : 1, rxDropped: 0 });
  });

  test('each is counted under its reason', () => {
    const machine = new Machine({ net: { mtu: 1000, offloads: ALL } });
    machine.offer([4096]);
    machine.command(0, 0, [0]);
    machine.card.receive(frame(60, '525400999999'));
    machine.card.receive(frame(1019));
    machine.card.receive(frame(1019), { ...PLAIN, flags: 2 });
    machine.card.receive(frame(1019), { ...SEGMENTS, gsoType: 0x80 });
    expect(machine.used(0)).toEqual([]);
    expect(machine.card.counters).toMatchObject({ rxFiltered: 1, rxDropped: 3, rxRefused: 0, rxPackets: 0 });
  });

  test('segments are not: the guest cuts them, and each will be short enough', () => {
    const machine = new Machine({ net: { mtu: 1000, offloads: ALL } });
    machine.offer([4096]);
    expect(machine.card.receive(frame(3000), SEGMENTS)).toBe(true);
    expect(machine.used(0).map(({ len }) => len)).toEqual([3012]);
  });
});

describe('a guest that has switched checksums off, and segmentation not', () => {
  const switched = (): { machine: Machine; at: number } => {
    const machine = new Machine({ net: { offloads: ALL } });
    const [at = 0] = machine.offer([4096]);
    expect(machine.command(5, 0, [1 << F.GUEST_TSO4, 0, 0, 0, 0, 0, 0, 0])).toBe(0);
    return { machine, at };
  };

  test('gets no segments: their checksum is left to it', () => {
    const { machine } = switched();
    expect(machine.card.receive(frame(3000), SEGMENTS)).toBe(true);
    expect(machine.used(0)).toEqual([]);
    expect(machine.card.counters).toMatchObject({ rxDropped: 1, rxPackets: 0 });
  });

  test('gets a frame whose checksum was validated as it is', () => {
    const { machine, at } = switched();
    machine.card.receive(frame(100), { ...PLAIN, flags: 2, csumStart: 34, csumOffset: 16 });
    expect(machine.used(0).map(({ len }) => len)).toEqual([112]);
    expect(machine.read(at + 12, 100)).toEqual(frame(100));
    expect(machine.ram[at]).toBe(0);
  });
});

describe('a packet in several buffers', () => {
  test('a shorter one behind it leaves the rest of its buffers alone', () => {
    const machine = new Machine();
    machine.offer([512, 512, 512, 512, 512, 512, 512]);
    for (const bytes of [1500, 700, 60]) machine.card.receive(frame(bytes));
    expect(machine.used(0).map(({ len }) => len)).toEqual([512, 512, 488, 512, 200, 72]);
    expect(machine.live.queue(0)?.inFlight).toBe(0);
    expect(machine.faults).toEqual([]);
  });

  test.each([
    ['split', false],
    ['packed', true],
  ])('%s: one that breaks the device behind it, too', (_name, packed) => {
    const machine = new Machine({ rings: { packed } });
    machine.offer([512, 512, 512, 512], 0, false);
    machine.add(0, [{ addr: machine.alloc(64), len: 64 }]);
    machine.offer([512], 0);
    machine.card.receive(frame(1500));
    expect(machine.used(0)).toHaveLength(3);
    machine.card.receive(frame(700));
    expect(machine.faults).toEqual(['virtio-net receive queue contains no in buffers']);
    expect(machine.card.counters).toMatchObject({ rxPackets: 1, rxDropped: 1 });
    expect(machine.live.queue(0)?.inFlight).toBe(0);
  });
});

describe('a driver on another processor takes a buffer back', () => {
  /** A packed ring whose driver unmakes what stands at the device's place, before it takes the n-th chain. */
  function takenBack(n: number): Machine {
    const machine = new Machine({ rings: { packed: true } });
    machine.offer([512, 512, 512]);
    const ring = machine.host.queue(0);
    if (ring === undefined) throw new Error('no queue');
    const { pop } = ring;
    let taken = 0;
    ring.pop = () => {
      if (taken++ === n) machine.view.setUint16(machine.ring(0).desc + 16 * n + 14, 0, true);
      return pop.call(ring);
    };
    return machine;
  }

  test('all of them: the frame is lost, and the device goes on', () => {
    const machine = takenBack(0);
    expect(machine.card.receive(frame(1200))).toBe(true);
    expect(machine.faults).toEqual([]);
    expect(machine.card.counters).toMatchObject({ rxDropped: 1, rxPackets: 0 });
    expect(machine.live.queue(0)?.inFlight).toBe(0);
  });

  test('behind the first: the device breaks, says where it stood, and holds no chain', () => {
    const machine = takenBack(1);
    expect(machine.card.receive(frame(1200))).toBe(true);
    expect(machine.events.filter(({ name }) => name === 'fault')).toMatchObject([
      { reason: 'virtio-net unexpected empty queue', facts: { buffers: 1, offset: 500, size: 1200 } },
    ]);
    expect(machine.card.counters).toMatchObject({ rxDropped: 1, rxPackets: 0 });
    expect(machine.live.queue(0)?.inFlight).toBe(0);
  });
});

describe('a hash in the header', () => {
  const HASH: MachineOptions = { net: { hashReport: true, offloads: {} } };
  // types: all; one entry; pairs do not count; a key of 40 bytes
  const config = [0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, ...Array.from({ length: 40 }, (_, i) => i + 1)];
  const tcp = (): Uint8Array => {
    const bytes = new Uint8Array(60);
    bytes.set([8, 0, 0x45], 12);
    bytes[23] = 6;
    bytes.set([10, 0, 0, 1, 10, 0, 0, 2, 3, 0xe8, 7, 0xd0], 26);
    return bytes;
  };

  test('of a frame that has one, and none of the frame before it once hashes are switched off', () => {
    const machine = new Machine(HASH);
    const at = machine.offer([2048, 2048, 2048]);
    expect(machine.command(4, 2, config)).toBe(0);
    machine.card.receive(frame(60));
    machine.card.receive(tcp());
    // half a command: refused, and hashes are off
    expect(machine.command(4, 2, config.slice(0, 20))).toBe(1);
    machine.card.receive(tcp());
    const [second, first, third] = at.map((place) => hex(machine.read(place + 12, 6)));
    expect(first?.slice(8)).toBe('0200');
    expect(first?.slice(0, 8)).not.toBe('00000000');
    expect([second, third]).toEqual(['000000000000', '000000000000']);
  });

  test('chooses the first pair, too, for a frame that came for another', () => {
    const machine = new Machine({ net: { rss: true, queuePairs: 2, offloads: {} } });
    machine.command(4, 0, [2, 0]);
    expect(machine.command(4, 1, [...config.slice(0, 10), 2, 0, ...config.slice(12)])).toBe(0);
    for (let pair = 0; pair < 2; pair++) machine.offer([2048], pair);
    machine.card.receive(tcp(), undefined, 1);
    expect([0, 2].map((queue) => machine.used(queue).length)).toEqual([1, 0]);
  });

  test('alone leaves a frame on the pair that it came for', () => {
    const machine = new Machine({ net: { hashReport: true, queuePairs: 3, offloads: {} } });
    machine.command(4, 0, [3, 0]);
    expect(machine.command(4, 2, config)).toBe(0);
    for (let pair = 0; pair < 3; pair++) machine.offer([2048], pair);
    machine.card.receive(tcp(), undefined, 2);
    expect([0, 2, 4].map((queue) => machine.used(queue).length)).toEqual([0, 0, 1]);
  });
});

import { NET_FEATURE } from '@virtkit/device-net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frame, hex, Machine, type MachineOptions, type Segment } from './machine.ts';

const F = NET_FEATURE;
const none: readonly number[] = [];

/** Every form of the header: what is negotiated, its bytes, and how num_buffers stands in it. */
const FORMS: readonly (readonly [string, MachineOptions, number, string])[] = [
  ['legacy', { legacy: true, without: [F.MRG_RXBUF] }, 10, ''],
  ['legacy, big-endian', { legacy: true, endian: 'big', without: [F.MRG_RXBUF] }, 10, ''],
  ['legacy, mergeable', { legacy: true }, 12, '0100'],
  ['legacy, mergeable, big-endian', { legacy: true, endian: 'big' }, 12, '0001'],
  ['modern', { without: [F.MRG_RXBUF] }, 12, '0100'],
  ['modern, mergeable', {}, 12, '0100'],
  ['modern on a big-endian CPU', { endian: 'big' }, 12, '0100'],
  ['modern, packed', { rings: { packed: true } }, 12, '0100'],
  ['hash report', { net: { offloads: {}, hashReport: true } }, 20, '0100000000000000aaaa'],
  [
    'UDP tunnels',
    { net: { offloads: { csum: true, tso: true, udpTunnel: true } } },
    24,
    '0100aaaaaaaaaaaaaaaa00000000',
  ],
];

describe('forms of the header', () => {
  test.each(FORMS)('%s: received', (_name, options, length, rest) => {
    const machine = new Machine(options);
    const sent = frame(100);
    const [at = 0] = machine.offer([2048]);
    expect(machine.card.receive(sent)).toBe(true);
    expect(machine.used(0)).toEqual([{ id: expect.any(Number), len: length + 100 }]);
    expect(hex(machine.read(at, length))).toBe('00'.repeat(10) + rest);
    expect(machine.read(at + length, 101)).toEqual(Uint8Array.of(...sent, 0xaa));
    expect(machine.wire.notified).toEqual([0]);
    expect(machine.card.counters).toMatchObject({ rxPackets: 1, rxBytes: 100 });
  });

  test.each(FORMS)('%s: sent', (_name, options, length) => {
    const machine = new Machine(options);
    const sent = frame(100);
    machine.transmit(sent, new Uint8Array(length));
    expect(machine.sink.frames).toEqual([sent]);
    expect(machine.used(1)).toEqual([{ id: expect.any(Number), len: 0 }]);
    expect(machine.card.counters).toMatchObject({ txPackets: 1, txBytes: 100 });
  });

  test('QEMU before 2025: num_buffers stays as it was without MRG_RXBUF', () => {
    const machine = new Machine({ without: [F.MRG_RXBUF], net: { alwaysNumBuffers: false } });
    const [at = 0] = machine.offer([2048]);
    machine.card.receive(frame(64));
    // the bytes that QEMU 7.2.22 left in a buffer of 0xaa
    expect(hex(machine.read(at, 12))).toBe('00000000000000000000aaaa');
  });
});

describe('mergeable buffers', () => {
  test('a packet over several buffers is visible at once', () => {
    const machine = new Machine();
    const sent = frame(1500);
    const at = machine.offer([512, 512, 512, 512]);
    const { used } = machine.ring(0);
    let seen: number | undefined;
    machine.wire.listen = () => {
      seen ??= machine.view.getUint16(used + 2, true);
    };
    machine.card.receive(sent);
    expect(seen).toBe(3);
    expect(machine.used(0).map(({ len }) => len)).toEqual([512, 512, 488]);
    const bytes = [
      machine.read((at[0] ?? 0) + 12, 500),
      machine.read(at[1] ?? 0, 512),
      machine.read(at[2] ?? 0, 488),
    ];
    expect(hex(Uint8Array.from(bytes.flatMap((part) => [...part])))).toBe(hex(sent));
    expect(hex(machine.read((at[0] ?? 0) + 10, 2))).toBe('0300');
    expect(machine.wire.notified).toEqual([0]);
  });

  test('the header alone in the first buffer', () => {
    const machine = new Machine();
    const at = machine.offer([12, 2048]);
    machine.card.receive(frame(64));
    expect(machine.used(0).map(({ len }) => len)).toEqual([12, 64]);
    expect(hex(machine.read(at[0] ?? 0, 12))).toBe('000000000000000000000200');
  });

  test('not enough buffers: none is taken, the driver is asked for kicks, and the back end told', () => {
    const machine = new Machine();
    machine.offer([512, 512]);
    machine.sink.rxReadyCalls = 0;
    expect(machine.card.receive(frame(1500))).toBe(false);
    expect(machine.used(0)).toEqual([]);
    expect(machine.live.capture().queues[0]?.lastAvailIdx).toBe(0);
    const { used, size } = machine.ring(0);
    expect(machine.view.getUint16(used + 4 + 8 * size, true)).toBe(2);
    expect(machine.sink.rxReadyCalls).toBe(0);
    machine.sink.onRxReady = () => expect(machine.card.receive(frame(1500))).toBe(true);
    machine.offer([512]);
    expect(machine.sink.rxReadyCalls).toBe(1);
    expect(machine.used(0).map(({ len }) => len)).toEqual([512, 512, 488]);
    expect(machine.card.counters).toMatchObject({ rxPackets: 1, rxRefused: 1, rxDropped: 0 });
  });

  test('kicks are told to a back end only if it was refused', () => {
    const machine = new Machine();
    machine.sink.rxReadyCalls = 0;
    machine.offer([2048, 2048]);
    expect(machine.sink.rxReadyCalls).toBe(0);
    machine.card.receive(frame(64));
    machine.offer([2048]);
    expect(machine.sink.rxReadyCalls).toBe(0);
  });

  test('segments of any size in any number of chains hold any frame', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 4 }), {
          minLength: 1,
          maxLength: 30,
        }),
        fc.integer({ min: 1, max: 6000 }),
        fc.boolean(),
        (chains, length, packed) => {
          const machine = new Machine({ rings: { packed } });
          const placed = chains.map((sizes) => {
            const segments: Segment[] = sizes.map((len) => ({ addr: machine.alloc(len), len, write: true }));
            machine.add(0, segments);
            return segments;
          });
          const room = chains.flat().reduce((sum, size) => sum + size, 0);
          const head = (chains[0] ?? []).reduce((sum, size) => sum + size, 0);
          const sent = frame(length);
          const taken = machine.card.receive(sent);
          if (room < length + 12) {
            expect(taken).toBe(false);
            expect(machine.used(0)).toEqual([]);
            return;
          }
          expect(taken).toBe(true);
          if (head < 12) {
            expect(machine.faults).toEqual(['virtio-net receive buffer is shorter than the header']);
            return;
          }
          const used = machine.used(0);
          let left = length + 12;
          const bytes = used.flatMap(({ len }, i) => {
            const all = (placed[i] ?? []).flatMap(({ addr, len: size }) => [...machine.read(addr, size)]);
            const size = Math.min(all.length, left);
            left -= size;
            expect(len).toBe(size);
            return all.slice(0, size);
          });
          expect(left).toBe(0);
          expect(hex(Uint8Array.from(bytes.slice(0, 12)))).toBe(
            `${'00'.repeat(10)}${used.length.toString(16).padStart(2, '0')}00`,
          );
          expect(hex(Uint8Array.from(bytes.slice(12)))).toBe(hex(sent));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('buffers that are too small without MRG_RXBUF', () => {
  test('the frame is lost, the buffer stays, and what fits was written, as in QEMU', () => {
    const machine = new Machine({ without: [F.MRG_RXBUF], net: { alwaysNumBuffers: false } });
    const [at = 0] = machine.offer([40]);
    expect(machine.card.receive(frame(64))).toBe(true);
    expect(machine.used(0)).toEqual([]);
    expect(machine.wire.notified).toEqual([]);
    expect(machine.card.counters).toMatchObject({ rxDropped: 1, rxPackets: 0 });
    expect(hex(machine.read(at, 12))).toBe('00000000000000000000aaaa');
    expect(hex(machine.read(at + 12, 28))).toBe(hex(frame(64).subarray(0, 28)));
    // the buffer serves the next frame
    machine.card.receive(frame(20));
    expect(machine.used(0).map(({ len }) => len)).toEqual([32]);
  });
});

describe('what breaks the device', () => {
  const out = (machine: Machine): void => {
    machine.add(0, [{ addr: machine.alloc(64), len: 64 }]);
    machine.driver.kick(0);
  };

  test('a receive chain without buffers to write', () => {
    const machine = new Machine({ without: [F.MRG_RXBUF] });
    out(machine);
    expect(machine.card.receive(frame(64))).toBe(true);
    expect(machine.faults).toEqual(['virtio-net receive queue contains no in buffers']);
    expect(machine.live.status & 0x40).toBe(0x40);
    expect(machine.card.receive(frame(64))).toBe(false);
    machine.start();
    machine.offer([2048]);
    expect(machine.card.receive(frame(64))).toBe(true);
    expect(machine.used(0)).toHaveLength(1);
  });

  test('such a chain behind a good one: all of the packet is gone', () => {
    const machine = new Machine();
    machine.offer([64], 0, false);
    out(machine);
    machine.offer([2048], 0, false);
    machine.card.receive(frame(500));
    expect(machine.faults).toEqual(['virtio-net receive queue contains no in buffers']);
    expect(machine.used(0)).toEqual([]);
    expect(machine.live.queue(0)?.inFlight).toBe(0);
  });

  test.each([
    ['mergeable', none],
    ['not mergeable', [F.MRG_RXBUF]],
  ])('a first chain that does not hold the header, %s (QEMU aborts)', (_name, without) => {
    const machine = new Machine({ without });
    machine.offer([8, 2048]);
    machine.card.receive(frame(64));
    expect(machine.faults).toEqual(['virtio-net receive buffer is shorter than the header']);
  });
});

describe('who may receive', () => {
  test('nobody before DRIVER_OK, while paused, without a queue, or on pairs that are not used', () => {
    const machine = new Machine({ idle: true });
    expect(machine.card.receive(frame(64))).toBe(false);
    machine.start([1]);
    expect(machine.card.receive(frame(64))).toBe(false);
    machine.start();
    expect(machine.card.canReceive()).toBe(false);
    machine.offer([2048]);
    expect(machine.card.canReceive()).toBe(true);
    machine.live.pause();
    expect(machine.card.receive(frame(64))).toBe(false);
    expect(machine.card.canReceive()).toBe(false);
    machine.sink.rxReadyCalls = 0;
    machine.live.resume();
    expect(machine.sink.rxReadyCalls).toBeGreaterThan(0);
    expect(machine.card.receive(frame(64))).toBe(true);
  });

  test('a pair that the driver does not use, and one that does not exist', () => {
    const machine = new Machine({ net: { queuePairs: 2 } });
    machine.offer([2048], 1);
    expect(machine.card.receive(frame(64), undefined, 1)).toBe(false);
    expect(machine.command(4, 0, [2, 0])).toBe(0);
    expect(machine.card.receive(frame(64), undefined, 1)).toBe(true);
    expect(machine.used(2)).toHaveLength(1);
    expect(() => machine.card.receive(frame(64), undefined, 2)).toThrow('queue pair 2: the card has 2');
  });

  test('with the link down frames are lost, and the driver hears of the link', () => {
    const machine = new Machine();
    machine.offer([2048]);
    machine.card.setLink(false);
    expect(machine.wire.notified).toEqual([-1]);
    expect(machine.config()[6]).toBe(0);
    expect(machine.card.receive(frame(64))).toBe(true);
    expect(machine.used(0)).toEqual([]);
    expect(machine.card.counters.rxDropped).toBe(1);
    machine.card.setLink(true);
    expect(machine.wire.notified).toEqual([-1, -1]);
    machine.card.receive(frame(64));
    expect(machine.used(0)).toHaveLength(1);
  });
});

test('nothing longer than the MTU reaches a driver that knows it', () => {
  for (const without of [none, [F.MTU]]) {
    const machine = new Machine({ net: { mtu: 1000 }, without });
    machine.offer([4096, 4096]);
    for (const length of [1018, 1019]) expect(machine.card.receive(frame(length))).toBe(true);
    expect(machine.used(0)).toHaveLength(without.length === 0 ? 1 : 2);
  }
});

describe('frames of every length', () => {
  const lengths = [
    0, 1, 5, 6, 12, 13, 14, 15, 17, 18, 59, 60, 64, 1514, 9000, 65535, 65536, 69620, 69621, 200_000,
  ];
  test.each(lengths)('%i bytes, filter on and off', (length) => {
    for (const filtered of [false, true]) {
      const machine = new Machine();
      machine.offer(Array.from({ length: 20 }, () => 4096));
      if (filtered) machine.command(0, 0, [0]);
      const taken = machine.card.receive(frame(length));
      expect(taken).toBe(true);
      const whole = length > 0 && length <= 69620 && (!filtered || length >= 6);
      const bytes = machine.used(0).reduce((sum, { len }) => sum + len, 0);
      expect(bytes).toBe(whole ? length + 12 : 0);
      expect(machine.faults).toEqual([]);
    }
  });
});

import { NET_FEATURE } from '@virtkit/device-net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frame, fromHex, hex, Machine, type Segment } from './machine.ts';

const F = NET_FEATURE;
const offloads = { csum: true, tso: true, ufo: true, uso: true } as const;

describe('gathering', () => {
  test('descriptors of any size, header and frame anywhere', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 }),
        fc.boolean(),
        fc.boolean(),
        (sizes, packed, vnet) => {
          const machine = new Machine({ rings: { packed }, ...(vnet && { net: { offloads } }) });
          const total = sizes.reduce((sum, size) => sum + size, 0);
          const bytes = Uint8Array.from({ length: total }, (_, i) => (i < 12 ? 0 : (i * 13) & 0xff));
          let at = 0;
          const segments: Segment[] = sizes.map((len) => {
            const addr = machine.put(bytes.subarray(at, at + len));
            at += len;
            return { addr, len };
          });
          machine.sink.onSend = (packet) => {
            const pieces: number[] = [];
            for (let i = 0; i < packet.pieces; i++)
              pieces.push(...packet.bytes(i).subarray(packet.offset(i), packet.offset(i) + packet.size(i)));
            expect(hex(Uint8Array.from(pieces))).toBe(hex(bytes.subarray(12)));
            const part = new Uint8Array(5);
            expect(packet.copyTo(part, 1, 2, 3)).toBe(Math.max(0, Math.min(3, total - 14)));
          };
          machine.add(1, segments);
          machine.driver.kick(1);
          if (total > 12) {
            expect(machine.sink.frames.map(hex)).toEqual([hex(bytes.subarray(12))]);
            expect(machine.used(1)).toHaveLength(1);
          } else if (vnet) {
            // a back end with headers is not given an empty frame, and the driver gets its buffer back
            expect(machine.sink.frames).toEqual([]);
            expect(machine.used(1)).toHaveLength(1);
            expect(machine.card.counters.txDropped).toBe(1);
          } else {
            expect(machine.faults).toEqual([
              total === 12 ? 'virtio-net nothing to send' : 'virtio-net header is invalid',
            ]);
            expect(machine.used(1)).toEqual([]);
            expect(machine.live.queue(1)?.inFlight).toBe(0);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a chain with nothing to read breaks the device', () => {
    const machine = new Machine();
    machine.add(1, [{ addr: machine.alloc(64), len: 64, write: true }]);
    machine.driver.kick(1);
    expect(machine.faults).toEqual(['virtio-net header not in first element']);
    expect(machine.live.status & 0x40).toBe(0x40);
  });

  test('a header whose bytes would have to be swapped and are not there', () => {
    const machine = new Machine({ net: { offloads }, legacy: true, endian: 'big', without: [F.MRG_RXBUF] });
    machine.transmit(new Uint8Array(0), new Uint8Array(9));
    expect(machine.faults).toEqual(['virtio-net header incorrect']);
  });

  test('packets of a gigabyte and more are not copied anywhere', () => {
    const machine = new Machine();
    const segments = Array.from({ length: 200 }, () => ({ addr: 0x1000, len: (4 << 20) >> 1 }));
    machine.add(1, segments);
    machine.driver.kick(1);
    expect(machine.sink.frames).toEqual([]);
    expect(machine.used(1)).toHaveLength(1);
    expect(machine.card.counters.txDropped).toBe(1);
  });

  test('a packet is lent for the call only', () => {
    const machine = new Machine();
    let kept: { bytes(i: number): Uint8Array } | undefined;
    machine.sink.onSend = (packet) => {
      kept = packet;
    };
    machine.transmit(frame(64));
    expect(() => kept?.bytes(0)).toThrow('lent');
  });
});

describe('notifications', () => {
  test('one for each packet, as in QEMU, and kicks are wanted again afterwards', () => {
    const machine = new Machine({ without: [29] });
    const { used } = machine.ring(1);
    for (let i = 0; i < 3; i++) machine.add(1, [{ addr: machine.put(new Uint8Array(76)), len: 76 }]);
    machine.driver.kick(1);
    expect(machine.wire.notified).toEqual([1, 1, 1]);
    expect(machine.view.getUint16(used, true)).toBe(0);
  });

  test('more than a burst', () => {
    const machine = new Machine({ net: { txQueueSize: 1024 } });
    const at = machine.put(new Uint8Array(76));
    for (let i = 0; i < 1000; i++) machine.add(1, [{ addr: at, len: 76 }]);
    machine.driver.kick(1);
    expect(machine.sink.frames).toHaveLength(1000);
    expect(machine.used(1)).toHaveLength(1000);
  });
});

describe('a back end that cannot take a packet', () => {
  test('leaves it in the ring, and goes on when it can', () => {
    const machine = new Machine();
    machine.sink.room = 2;
    for (let i = 0; i < 5; i++) machine.transmit(frame(60 + i));
    expect(machine.sink.frames).toHaveLength(2);
    expect(machine.live.queue(1)?.inFlight).toBe(0);
    expect(machine.live.capture().device.txWaiting).toBe(1);
    expect(machine.live.capture().queues[1]?.lastAvailIdx).toBe(2);
    machine.card.txReady();
    expect(machine.sink.frames).toHaveLength(2);
    machine.sink.room = 10;
    machine.card.txReady();
    expect(machine.sink.frames.map(({ length }) => length)).toEqual([60, 61, 62, 63, 64]);
    expect(machine.used(1)).toHaveLength(5);
    expect(machine.live.capture().device.txWaiting).toBe(0);
    expect(machine.card.counters).toMatchObject({ txPackets: 5, txDropped: 0 });
  });

  test('and a packet that waited is sent by the machine that takes over', () => {
    for (const packed of [false, true]) {
      const machine = new Machine({ rings: { packed } });
      machine.sink.room = 1;
      machine.transmit(frame(60));
      machine.transmit(frame(61));
      machine.live.pause();
      const state = machine.live.capture();
      const other = new Machine({ rings: { packed }, ram: machine.ram, idle: true });
      other.live.restore(state);
      expect(other.live.capture().device).toEqual(state.device);
      expect(other.sink.frames).toEqual([]);
      other.live.resume();
      expect(other.sink.frames.map(({ length }) => length)).toEqual([61]);
      expect(machine.used(1)).toHaveLength(2);
    }
  });

  test('a reset forgets that it waited', () => {
    const machine = new Machine();
    machine.sink.room = 0;
    machine.transmit(frame(60));
    machine.start();
    expect(machine.live.capture().device.txWaiting).toBe(0);
    machine.sink.room = 10;
    machine.transmit(frame(61));
    expect(machine.sink.frames.map(({ length }) => length)).toEqual([61]);
  });

  test('throws: the packet stays, and the next kick tries again', () => {
    const machine = new Machine();
    machine.sink.onSend = () => {
      throw new Error('cable on fire');
    };
    expect(() => machine.transmit(frame(60))).toThrow('cable on fire');
    expect(machine.live.queue(1)?.inFlight).toBe(0);
    machine.sink.onSend = undefined;
    machine.sink.frames.length = 0;
    machine.driver.kick(1);
    expect(machine.sink.frames).toHaveLength(1);
    expect(machine.used(1)).toHaveLength(1);
  });
});

describe('inside of send()', () => {
  test('the machine cannot be saved: the packet is nowhere', () => {
    const machine = new Machine();
    machine.sink.onSend = () => {
      machine.live.capture();
    };
    expect(() => machine.transmit(frame(60))).toThrow('inside of its back end');
  });

  test('the driver may kick again: no deeper stack, no packet lost', () => {
    const machine = new Machine();
    let left = 100;
    let depth = 0;
    let deepest = 0;
    machine.sink.onSend = () => {
      depth++;
      deepest = Math.max(deepest, depth);
      if (left-- > 0) machine.transmit(frame(60));
      depth--;
    };
    machine.transmit(frame(60));
    expect(machine.sink.frames).toHaveLength(101);
    expect(machine.used(1)).toHaveLength(101);
    expect(deepest).toBe(1);
  });

  test('the driver may reset the card, start it, and send: nothing is written to the old ring', () => {
    const machine = new Machine();
    machine.sink.onSend = () => {
      machine.sink.onSend = undefined;
      machine.start();
      machine.transmit(frame(99));
    };
    machine.transmit(frame(60));
    expect(machine.sink.frames.map(({ length }) => length)).toEqual([60, 99]);
    expect(machine.used(1)).toHaveLength(1);
  });

  test('the host may stop the machine: the rest is due where it goes on', () => {
    const machine = new Machine();
    for (let i = 0; i < 3; i++) machine.add(1, [{ addr: machine.put(new Uint8Array(76)), len: 76 }]);
    machine.sink.onSend = () => machine.live.pause();
    machine.driver.kick(1);
    expect(machine.sink.frames).toHaveLength(1);
    machine.sink.onSend = undefined;
    expect(machine.live.capture().device.txWaiting).toBe(1);
    machine.live.resume();
    expect(machine.sink.frames).toHaveLength(3);
  });

  test('two guests in one program do not keep it for ever', async () => {
    const machine = new Machine();
    let sent = 0;
    machine.sink.onSend = () => {
      machine.sink.frames.length = 0;
      if (++sent < 10_000) {
        machine.used(1);
        machine.transmit(new Uint8Array(60));
      }
    };
    machine.transmit(frame(60));
    expect(sent).toBeLessThan(5000);
    expect(machine.live.capture().device.txWaiting).toBe(1);
    // and timers have their turn in between
    const seen: number[] = [];
    while (sent < 10_000) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      seen.push(sent);
    }
    expect(seen.length).toBeGreaterThan(1);
    expect(machine.live.capture().device.txWaiting).toBe(0);
  });
});

describe('deferred, as in QEMU’s bottom half', () => {
  test('a kick only says that transmission is due', () => {
    const later: (() => void)[] = [];
    const machine = new Machine({ net: { defer: (proceed) => later.push(proceed) } });
    machine.transmit(frame(60));
    machine.transmit(frame(61));
    expect(later).toHaveLength(1);
    expect(machine.sink.frames).toEqual([]);
    expect(machine.live.capture().device.txWaiting).toBe(1);
    for (let proceed = later.shift(); proceed !== undefined; proceed = later.shift()) proceed();
    expect(machine.sink.frames).toHaveLength(2);
    expect(machine.live.capture().device.txWaiting).toBe(0);
  });

  test('stopped in between: it goes on with the machine', () => {
    const later: (() => void)[] = [];
    const machine = new Machine({ net: { defer: (proceed) => later.push(proceed) } });
    machine.transmit(frame(60));
    machine.live.pause();
    later.shift()?.();
    expect(machine.sink.frames).toEqual([]);
    expect(machine.live.capture().device.txWaiting).toBe(1);
    machine.live.resume();
    expect(machine.sink.frames).toHaveLength(1);
  });
});

describe('link', () => {
  test('down: packets vanish, and the driver gets its buffers', () => {
    const machine = new Machine();
    machine.card.setLink(false);
    for (let i = 0; i < 3; i++) machine.transmit(frame(60));
    expect(machine.sink.frames).toEqual([]);
    expect(machine.used(1).map(({ len }) => len)).toEqual([0, 0, 0]);
    expect(machine.card.counters.txDropped).toBe(3);
  });

  test('goes down while packets wait', () => {
    const machine = new Machine();
    machine.sink.room = 0;
    machine.transmit(frame(60));
    machine.card.setLink(false);
    machine.card.setLink(true);
    machine.sink.room = 9;
    machine.card.txReady();
    expect(machine.sink.frames.length + machine.card.counters.txDropped).toBe(1);
    expect(machine.used(1)).toHaveLength(1);
  });
});

describe('headers', () => {
  // flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers
  const little = fromHex('01 01 3600 b405 2200 1000 0000');
  const big = fromHex('01 01 0036 05b4 0022 0010');
  const meta = { flags: 1, gsoType: 1, hdrLen: 54, gsoSize: 1460, csumStart: 34, csumOffset: 16 };

  test('are carried through, in the byte order of the driver', () => {
    const modern = new Machine({ net: { offloads } });
    modern.transmit(frame(3000), little);
    expect(modern.sink.metas).toMatchObject([meta]);
    const legacy = new Machine({ net: { offloads }, legacy: true, endian: 'big', without: [F.MRG_RXBUF] });
    legacy.transmit(frame(3000), big);
    expect(legacy.sink.metas).toMatchObject([meta]);
  });

  test('both ways', () => {
    const machine = new Machine({ net: { offloads } });
    const [at = 0] = machine.offer([4000]);
    machine.card.receive(frame(3000), meta);
    expect(hex(machine.read(at, 12))).toBe(hex(Uint8Array.of(...little.subarray(0, 10), 1, 0)));
    const legacy = new Machine({ net: { offloads }, legacy: true, endian: 'big', without: [F.MRG_RXBUF] });
    const [there = 0] = legacy.offer([4000]);
    legacy.card.receive(frame(3000), meta);
    expect(hex(legacy.read(there, 10))).toBe(hex(big));
  });

  test('of UDP tunnels', () => {
    const machine = new Machine({ net: { offloads: { csum: true, tso: true, udpTunnel: true } } });
    const header = fromHex(`09 21 3600 b405 2200 1000 0000 ${'00'.repeat(8)} 2a00 4000`);
    machine.transmit(frame(3000), header);
    const tunnel = { ...meta, flags: 9, gsoType: 0x21, outerThOffset: 42, innerNhOffset: 64 };
    expect(machine.sink.metas).toEqual([tunnel]);
    const [at = 0] = machine.offer([4000]);
    machine.card.receive(frame(3000), tunnel);
    expect(hex(machine.read(at, 24))).toBe(
      hex(fromHex(`09 21 3600 b405 2200 1000 0100 ${'aa'.repeat(8)} 2a00 4000`)),
    );
  });

  test('without offloads nothing in them reaches the back end', () => {
    const machine = new Machine();
    machine.transmit(
      frame(3000),
      Uint8Array.from({ length: 12 }, () => 0xff),
    );
    expect(machine.sink.metas).toMatchObject([{ flags: 0, gsoType: 0, hdrLen: 0, csumStart: 0 }]);
    expect(machine.sink.frames).toHaveLength(1);
  });

  test.each<[string, readonly number[], string]>([
    ['a checksum without CSUM', [F.CSUM], '01 00 0000 0000 2200 1000 0000'],
    ['TSO4 without HOST_TSO4', [F.HOST_TSO4], '01 01 3600 b405 2200 1000 0000'],
    ['TSO6 without HOST_TSO6', [F.HOST_TSO6], '01 04 3600 b405 2200 1000 0000'],
    ['ECN without HOST_ECN', [F.HOST_ECN], '01 81 3600 b405 2200 1000 0000'],
    ['UFO without HOST_UFO', [F.HOST_UFO], '01 03 3600 b405 2200 1000 0000'],
    ['USO without HOST_USO', [F.HOST_USO], '01 05 3600 b405 2200 1000 0000'],
    ['an unknown type', [], '01 02 3600 b405 2200 1000 0000'],
    ['ECN of nothing', [], '01 80 3600 b405 2200 1000 0000'],
    ['a tunnel', [], '01 21 3600 b405 2200 1000 0000'],
    ['a checksum outside of the frame', [], '01 00 0000 0000 ffff 1000 0000'],
    ['a checksum across its end', [], '01 00 0000 0000 4600 1d00 0000'],
  ])('%s: the packet is dropped', (_name, without, header) => {
    const machine = new Machine({ net: { offloads }, without });
    machine.transmit(frame(100), fromHex(header));
    expect(machine.sink.frames).toEqual([]);
    expect(machine.used(1)).toHaveLength(1);
    expect(machine.card.counters.txDropped).toBe(1);
    expect(machine.faults).toEqual([]);
  });
});

describe('frames that the back end left incomplete', () => {
  // IPv4 UDP from 10.0.0.1:1000 to 10.0.0.2:2000 with the sum of the pseudo header in place
  const partial = fromHex(
    `ffffffffffff525400000001 0800 4500001f000040004011 0000 0a000001 0a000002
     03e8 07d0 000b 141f 616263`,
  );
  const meta = { flags: 1, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart: 34, csumOffset: 6 };

  /** The sum over the datagram is all ones. */
  function whole(bytes: Uint8Array): boolean {
    const pseudo = [0x0a00, 0x0001, 0x0a00, 0x0002, 17, 11];
    let sum = pseudo.reduce((a, b) => a + b, 0);
    for (let i = 34; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return sum === 0xffff;
  }

  test.each<[string, readonly number[], readonly number[]]>([
    ['in one buffer', [2048], []],
    ['with its checksum across two buffers', [12 + 41, 2048], []],
    ['not mergeable', [2048], [F.MRG_RXBUF]],
  ])('are completed for a guest without GUEST_CSUM, %s', (_name, sizes, without) => {
    const machine = new Machine({ net: { offloads }, without: [F.GUEST_CSUM, ...without] });
    const at = machine.offer(sizes);
    machine.card.receive(partial, meta);
    const used = machine.used(0);
    const all = used.flatMap(({ len }, i) => [...machine.read(at[i] ?? 0, len)]);
    expect(all.slice(0, 10)).toEqual(Array(10).fill(0));
    const bytes = Uint8Array.from(all.slice(12));
    expect(bytes).toHaveLength(partial.length);
    expect(whole(bytes)).toBe(true);
  });

  test('or for one whose card has no offloads at all', () => {
    const machine = new Machine();
    const [at = 0] = machine.offer([2048]);
    machine.card.receive(partial, meta);
    expect(whole(machine.read(at + 12, partial.length))).toBe(true);
  });

  test('are left to a guest that switched GUEST_CSUM on, but not after it switched it off', () => {
    const machine = new Machine({ net: { offloads } });
    const at = machine.offer([2048, 2048]);
    machine.card.receive(partial, meta);
    expect(machine.read((at[0] ?? 0) + 12, partial.length)).toEqual(partial);
    expect(machine.ram[at[0] ?? 0]).toBe(1);
    expect(machine.command(5, 0, new Uint8Array(8))).toBe(0);
    expect(machine.sink.offloads).toMatchObject({ csum: false, tso4: false });
    machine.card.receive(partial, meta);
    expect(whole(machine.read((at[1] ?? 0) + 12, partial.length))).toBe(true);
    expect(machine.ram[at[1] ?? 0]).toBe(0);
  });

  test('a DHCP answer is completed for everybody, as in QEMU', () => {
    const machine = new Machine({ net: { offloads } });
    const answer = partial.slice();
    answer.set([0, 67], 34);
    const [at = 0] = machine.offer([2048]);
    machine.card.receive(answer, meta);
    const bytes = machine.read(at + 12, answer.length);
    expect(bytes.subarray(40, 42)).not.toEqual(answer.subarray(40, 42));
    expect(machine.ram[at]).toBe(0);
  });

  test('segments that the guest cannot take are lost', () => {
    const machine = new Machine({ net: { offloads }, without: [F.GUEST_TSO4] });
    machine.offer([4000]);
    expect(machine.card.receive(frame(3000), { ...meta, gsoType: 1 })).toBe(true);
    expect(machine.used(0)).toEqual([]);
    expect(machine.card.counters.rxDropped).toBe(1);
    const plain = new Machine();
    plain.offer([4000]);
    plain.card.receive(frame(3000), { ...meta, gsoType: 1 });
    expect(plain.card.counters.rxDropped).toBe(1);
  });
});

describe('queue pairs', () => {
  test('each sends for itself', () => {
    const machine = new Machine({ net: { queuePairs: 3 } });
    machine.transmit(frame(60), new Uint8Array(12), 2);
    machine.transmit(frame(61), new Uint8Array(12), 0);
    expect(machine.sink.pairs).toEqual([2, 0]);
    expect(machine.used(5)).toHaveLength(1);
  });
});

// Guests that break every rule: bounded time and memory, one fault, and a device that works again after a reset.
import { HostError } from '@virtkit/core';
import { NET_FEATURE, NetDevice, type NetOptions } from '@virtkit/device-net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frame, Machine, Sink } from './machine.ts';

const RUNS = Number(process.env['VIRTKIT_FUZZ_RUNS'] ?? 60);

describe('random operations', () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('poke' as const), at: fc.integer({ min: 0, max: 0xffff }), value: byte }),
    fc.record({
      kind: fc.constant('desc' as const),
      at: fc.integer({ min: 0, max: 255 }),
      value: fc.integer(),
    }),
    fc.record({ kind: fc.constant('kick' as const), at: fc.integer({ min: 0, max: 12 }), value: byte }),
    fc.record({
      kind: fc.constant('receive' as const),
      at: fc.integer({ min: 0, max: 70_000 }),
      value: byte,
    }),
    fc.record({ kind: fc.constant('config' as const), at: fc.integer({ min: 0, max: 30 }), value: byte }),
    fc.record({
      kind: fc.constant('status' as const),
      at: fc.constantFrom(0, 1, 3, 7, 11, 15, 0x8f),
      value: byte,
    }),
    fc.record({
      kind: fc.constant('queue' as const),
      at: fc.integer({ min: 0, max: 9 }),
      value: fc.integer(),
    }),
    fc.record({ kind: fc.constant('host' as const), at: fc.integer({ min: 0, max: 5 }), value: byte }),
  );

  test.each([
    ['split', false],
    ['packed', true],
  ])('%s', (_name, packed) => {
    fc.assert(
      fc.property(
        fc.array(operation, { minLength: 50, maxLength: 300 }),
        fc.integer(),
        (operations, seed) => {
          const net: Partial<NetOptions> = {
            queuePairs: 2,
            rss: true,
            hashReport: true,
            offloads: { csum: true, tso: true, ufo: true, uso: true },
            coalescing: { after: () => {} },
          };
          const machine = new Machine({ net, rings: { packed } });
          const { live, driver, card, view } = machine;
          let x = seed | 1;
          const random = (below: number): number => {
            x = (Math.imul(x, 1664525) + 1013904223) | 0;
            return (x >>> 8) % below;
          };
          for (const { kind, at, value } of operations) {
            if (kind === 'poke') machine.ram[0x1000 + at] = value;
            if (kind === 'desc') {
              // a descriptor that is nearly right, and an index that moves on
              const ring = machine.rings[random(machine.rings.length)];
              if (ring === undefined) continue;
              const place = ring.desc + 16 * (at % ring.size);
              view.setBigUint64(place, BigInt(random(machine.ram.length + 4096)), true);
              view.setUint32(
                place + 8,
                [0, 1, 2, 12, 64, 1514, 0xffff_ffff, value >>> 0][random(8)] ?? 0,
                true,
              );
              view.setUint16(
                place + 12,
                [0, 1, 2, 3, 4, value & 0xffff, 0x80, 0x81, 0x8082][random(9)] ?? 0,
                true,
              );
              view.setUint16(
                place + 14,
                packed ? ([0x80, 0x81, 0x82, 0x8000][random(4)] ?? 0) : random(256),
                true,
              );
              if (!packed)
                view.setUint16(ring.avail + 2, view.getUint16(ring.avail + 2, true) + random(3), true);
            }
            if (kind === 'kick') driver.kick(at);
            if (kind === 'receive')
              card.receive(
                new Uint8Array(at),
                value & 1
                  ? {
                      flags: value,
                      gsoType: value >> 1,
                      hdrLen: 0,
                      gsoSize: 0,
                      csumStart: at,
                      csumOffset: value,
                    }
                  : undefined,
                value & 2 ? 1 : 0,
              );
            if (kind === 'config') {
              driver.config.read(at, [1, 2, 4][value % 3] ?? 1);
              driver.config.write(at, [1, 2, 4][value % 3] ?? 1, value);
            }
            if (kind === 'status') {
              if (at === 0) live.reset();
              driver.setDriverFeatures(
                live.offeredFeatures & BigInt.asUintN(64, BigInt(value) * 0x0101_0101_0101_0101n),
              );
              driver.setStatus(at);
            }
            if (kind === 'queue') {
              if (value & 1) driver.queue(at)?.reset();
              else if ((live.queue(at)?.size ?? 0) > 0) machine.setUpQueue(at);
            }
            if (kind === 'host') {
              if (at === 0) card.setLink((value & 1) === 1);
              if (at === 1) card.announce();
              if (at === 2) live.pause();
              if (at === 3) live.resume();
              if (at === 4) machine.sink.room = value & 3;
              if (at === 5) card.txReady();
            }
            // whatever it is, it can be saved, and makes sense to another machine or is refused in words
            if ((value & 31) === 7) {
              const state = live.capture();
              const findings = new Machine({
                net,
                rings: { packed },
                idle: true,
                ram: machine.ram,
              }).live.check(state);
              for (const { reason } of findings) expect(reason).not.toBe('');
            }
          }
          live.resume();
          card.setLink(true);
          machine.sink.room = Number.POSITIVE_INFINITY;
          machine.sink.frames.length = 0;
          card.txReady();
          machine.start();
          machine.sink.frames.length = 0;
          const faults = machine.faults.length;
          machine.headerBytes = 20;
          machine.transmit(frame(60));
          expect(machine.sink.frames).toHaveLength(1);
          machine.offer([2048]);
          expect(card.receive(frame(60))).toBe(true);
          expect(machine.used(0)).toHaveLength(1);
          expect(machine.faults).toHaveLength(faults);
        },
      ),
      { numRuns: RUNS },
    );
  });
});

describe('one fault only', () => {
  test('however often the guest kicks', () => {
    const machine = new Machine();
    for (let i = 0; i < 10; i++) machine.add(1, [{ addr: 0x100000, len: 3 }]);
    for (let i = 0; i < 10; i++) machine.driver.kick(1);
    expect(machine.faults).toHaveLength(1);
    for (let i = 0; i < 10; i++) expect(machine.card.receive(frame(60))).toBe(false);
    expect(machine.faults).toHaveLength(1);
  });
});

describe('descriptors', () => {
  test.each<[string, number, number]>([
    ['outside of memory', 0x7fff_0000, 64],
    ['across its end', (4 << 20) - 10, 64],
    ['of 2^32 - 1 bytes', 0x100000, 0xffff_ffff],
    ['of no bytes', 0x100000, 0],
  ])('%s', (_name, addr, len) => {
    for (const queue of [0, 1, 2]) {
      // without MRG_RXBUF buffers are not counted before they are taken
      const machine = new Machine({ without: [NET_FEATURE.MRG_RXBUF] });
      machine.add(queue, [{ addr, len, write: queue === 0 }]);
      machine.driver.kick(queue);
      if (queue === 0) machine.card.receive(frame(60));
      expect(machine.faults).toHaveLength(1);
      expect(machine.live.queue(queue)?.inFlight ?? 0).toBe(0);
    }
  });

  test('a receive buffer in a loop', () => {
    const machine = new Machine();
    machine.add(0, [{ addr: 0x100000, len: 10, write: true }]);
    const { desc } = machine.ring(0);
    machine.view.setUint16(desc + 12, 3, true);
    machine.view.setUint16(desc + 14, 0, true);
    machine.driver.kick(0);
    machine.card.receive(frame(60));
    expect(machine.faults).toHaveLength(1);
  });
});

describe('mistakes of the host program', () => {
  test.each<[string, Partial<NetOptions>]>([
    ['queuePairs: 0', { queuePairs: 0 }],
    ['queuePairs: 512', { queuePairs: 512 }],
    ['rxQueueSize: 128', { rxQueueSize: 128 }],
    ['rxQueueSize: 300', { rxQueueSize: 300 }],
    ['txQueueSize: 2048', { txQueueSize: 2048 }],
    ['mtu: 67', { mtu: 67 }],
    ['mtu: 65536', { mtu: 65_536 }],
    ['speed: -1', { speed: -1 }],
    ['mac: nonsense', { mac: 'nonsense' }],
    ['mac: 1,2', { mac: Uint8Array.of(1, 2) }],
    ['segmentation needs csum', { offloads: { tso: true } }],
  ])('%s', (message, options) => {
    const make = (): NetDevice =>
      new NetDevice({ backend: new Sink(), mac: '02:00:00:00:00:01', ...options });
    expect(make).toThrow(HostError);
    expect(make).toThrow(message);
  });

  test('a card in two devices', () => {
    const machine = new Machine();
    expect(() => machine.card.attach(machine.host)).toThrow('already');
  });
});

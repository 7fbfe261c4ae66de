import { NetDevice, type NetPort, type Packet } from '@virtkit/device-net';
import {
  connect,
  NetSwitch,
  type SwitchEvent,
  type SwitchOptions,
  type SwitchPort,
} from '@virtkit/device-net/switch';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MacTable } from '../src/switch/mac-table.ts';
import { frame, fromHex, hex, Machine, type MachineOptions } from './machine.ts';

const macOf = (n: number): string => `5254000000${n.toString(16).padStart(2, '0')}`;

/** A machine on a port of its own. */
function plug(
  lan: NetSwitch,
  n: number,
  options: MachineOptions = {},
): { machine: Machine; port: SwitchPort } {
  const port = lan.port();
  const mac = fromHex(macOf(n));
  return { machine: new Machine({ ...options, net: { backend: port, mac, ...options.net } }), port };
}

function packet(bytes: Uint8Array, pair = 0): Packet {
  return {
    pair,
    length: bytes.length,
    pieces: 1,
    bytes: () => bytes,
    offset: () => 0,
    size: () => bytes.length,
    copyTo: (target, at = 0, from = 0, length = target.length - at) => {
      const part = bytes.subarray(from, from + Math.min(length, bytes.length - from));
      target.set(part, at);
      return part.length;
    },
    flags: 0,
    gsoType: 0,
    hdrLen: 0,
    gsoSize: 0,
    csumStart: 0,
    csumOffset: 0,
  };
}

describe('who gets a frame', () => {
  test('everybody, until it is known who is where', () => {
    const lan = new NetSwitch();
    const machines = [1, 2, 3].map((n) => plug(lan, n).machine);
    const [a, b, c] = machines as [Machine, Machine, Machine];
    for (const machine of machines) machine.offer(Array(8).fill(2048));
    const counts = (): number[] => machines.map((machine) => machine.used(0).length);
    a.transmit(frame(60, macOf(2), macOf(1)));
    expect(counts()).toEqual([0, 1, 1]);
    b.transmit(frame(60, macOf(1), macOf(2)));
    expect(counts()).toEqual([1, 0, 0]);
    a.transmit(frame(60, macOf(2), macOf(1)));
    expect(counts()).toEqual([0, 1, 0]);
    c.transmit(frame(60, 'ffffffffffff', macOf(3)));
    expect(counts()).toEqual([1, 1, 0]);
    // for itself
    a.transmit(frame(60, macOf(1), macOf(1)));
    expect(counts()).toEqual([0, 0, 0]);
    // it has moved
    c.transmit(frame(60, macOf(2), macOf(1)));
    b.transmit(frame(60, macOf(1), macOf(2)));
    expect(counts()).toEqual([0, 1, 1]);
  });

  test('bytes arrive as they were sent, of any length', () => {
    const lan = new NetSwitch();
    const [a, b] = [plug(lan, 1), plug(lan, 2)];
    const lengths = [14, 60, 61, 1514, 2048, 2049, 4097, 9000, 65_000];
    for (const length of lengths) {
      const sent = frame(length, macOf(2), macOf(1));
      const at = b.machine.offer(Array.from({ length: Math.ceil((length + 12) / 4096) }, () => 4096));
      a.machine.transmit(sent);
      const all = b.machine.used(0).flatMap(({ len }, i) => [...b.machine.read(at[i] ?? 0, len)]);
      expect(hex(Uint8Array.from(all.slice(12)))).toBe(hex(sent));
    }
    expect(b.port.counters).toEqual({ sent: 0, delivered: lengths.length, dropped: 0, malformed: 0 });
    a.machine.transmit(new Uint8Array(13));
    expect(a.port.counters).toMatchObject({ sent: lengths.length, malformed: 1 });
  });

  test('headers arrive too, completed where they have to be', () => {
    const lan = new NetSwitch();
    const offloads = { csum: true, tso: true };
    const a = plug(lan, 1, { net: { offloads } }).machine;
    const b = plug(lan, 2, { net: { offloads } }).machine;
    const c = plug(lan, 3, { net: { offloads: false } }).machine;
    const sent = frame(100, 'ffffffffffff', macOf(1));
    const header = fromHex('01 00 0000 0000 2200 1000 0000');
    const [there = 0] = b.offer([2048]);
    const [other = 0] = c.offer([2048]);
    a.transmit(sent, header);
    expect(hex(b.read(there, 10))).toBe(hex(header.subarray(0, 10)));
    expect(hex(c.read(other, 10))).toBe('00'.repeat(10));
    expect(hex(c.read(other + 12, 34))).toBe(hex(sent.subarray(0, 34)));
    expect(hex(c.read(other + 12 + 50, 2))).not.toBe(hex(sent.subarray(50, 52)));
  });

  test('pairs stay pairs', () => {
    const lan = new NetSwitch();
    const a = plug(lan, 1, { net: { queuePairs: 4 } }).machine;
    const b = plug(lan, 2, { net: { queuePairs: 2 } }).machine;
    b.command(4, 0, [2, 0]);
    b.offer([2048, 2048], 0);
    b.offer([2048, 2048], 1);
    for (let pair = 0; pair < 4; pair++) a.transmit(frame(60, macOf(2), macOf(1)), new Uint8Array(12), pair);
    expect([b.used(0).length, b.used(2).length]).toEqual([2, 2]);
  });
});

describe('a card without buffers', () => {
  test('has frames kept for it, in order, and not too many', () => {
    const lan = new NetSwitch({ queueFrames: 4 });
    const a = plug(lan, 1).machine;
    const { machine: b, port } = plug(lan, 2);
    for (let i = 0; i < 6; i++) a.transmit(frame(60 + i, macOf(2), macOf(1)));
    expect(port.waiting).toBe(4);
    expect(port.counters).toMatchObject({ delivered: 0, dropped: 2 });
    expect(a.used(1)).toHaveLength(6);
    b.offer(Array(2).fill(2048));
    expect(b.used(0).map(({ len }) => len - 12)).toEqual([60, 61]);
    // the queue was used up, and goes on from the middle
    a.transmit(frame(99, macOf(2), macOf(1)));
    b.offer(Array(5).fill(2048));
    expect(b.used(0).map(({ len }) => len - 12)).toEqual([62, 63, 99]);
    expect(port.waiting).toBe(0);
  });

  test('by bytes too', () => {
    const lan = new NetSwitch({ queueBytes: 100_000 });
    const a = plug(lan, 1).machine;
    const { machine: b, port } = plug(lan, 2);
    for (let i = 0; i < 3; i++) a.transmit(frame(40_000, macOf(2), macOf(1)));
    expect(port.counters.dropped).toBe(1);
    b.offer(Array(40).fill(4096));
    expect(port.counters.delivered).toBe(2);
  });

  test('does not hold up the others', () => {
    const lan = new NetSwitch();
    const [a, , c] = [1, 2, 3].map((n) => plug(lan, n).machine) as [Machine, Machine, Machine];
    c.offer(Array(8).fill(2048));
    for (let i = 0; i < 5; i++) a.transmit(frame(60, 'ffffffffffff', macOf(1)));
    expect(c.used(0)).toHaveLength(5);
  });

  test('that is stopped gets them when it goes on', () => {
    const lan = new NetSwitch();
    const [a, b] = [plug(lan, 1), plug(lan, 2)];
    b.machine.offer([2048]);
    b.machine.live.pause();
    a.machine.transmit(frame(60, macOf(2), macOf(1)));
    expect(b.machine.used(0)).toEqual([]);
    b.machine.live.resume();
    expect(b.machine.used(0)).toHaveLength(1);
  });

  test('that was unplugged gets nothing', () => {
    const lan = new NetSwitch();
    const [a, b] = [plug(lan, 1), plug(lan, 2)];
    b.machine.transmit(frame(60, macOf(1), macOf(2)));
    b.machine.offer([2048]);
    b.port.close();
    b.port.close();
    a.machine.transmit(frame(60, macOf(2), macOf(1)));
    b.machine.transmit(frame(60, macOf(1), macOf(2)));
    expect(b.machine.used(0)).toEqual([]);
    expect(a.port.counters).toMatchObject({ sent: 1, delivered: 0 });
    // its place is free again
    const c = plug(lan, 3);
    c.machine.offer([2048]);
    a.machine.transmit(frame(60, macOf(2), macOf(1)));
    expect(c.machine.used(0)).toHaveLength(1);
  });

  test('that is part of no device yet', () => {
    const lan = new NetSwitch();
    const a = plug(lan, 1).machine;
    const port = lan.port();
    const card = new NetDevice({ backend: port, mac: fromHex(macOf(2)) });
    a.transmit(frame(60, macOf(2), macOf(1)));
    expect(port.waiting).toBe(1);
    expect(card.counters.rxPackets).toBe(0);
  });
});

describe('a guest that answers while it receives', () => {
  /** Answers each frame with one to whoever sent it, out of the interrupt. */
  function echo(machine: Machine, own: string, other: string, depth: { now: number; most: number }): void {
    machine.wire.quiet = true;
    machine.wire.listen = (queue) => {
      if (queue !== 0) return;
      depth.now++;
      depth.most = Math.max(depth.most, depth.now);
      for (const used of machine.used(0)) {
        void used;
        machine.used(1);
        machine.offer([256]);
        machine.transmit(frame(60, other, own));
      }
      depth.now--;
    };
  }

  test('the stack does not grow, and others get to run', async () => {
    const later: (() => void)[] = [];
    const lan = new NetSwitch({ burst: 50, defer: (proceed) => later.push(proceed) });
    const options: MachineOptions = { without: [29], net: { defer: (proceed) => later.push(proceed) } };
    const [a, b] = [plug(lan, 1, options), plug(lan, 2, options)];
    const depth = { now: 0, most: 0 };
    echo(a.machine, macOf(1), macOf(2), depth);
    echo(b.machine, macOf(2), macOf(1), depth);
    a.machine.offer(Array(4).fill(256));
    b.machine.offer(Array(4).fill(256));
    a.machine.transmit(frame(60, macOf(2), macOf(1)));
    for (let turn = 0; turn < 2000; turn++) {
      later.shift()?.();
      // kicks out of interrupts wait until the device has finished
      await Promise.resolve();
    }
    expect(a.port.counters.delivered).toBeGreaterThan(300);
    expect(depth.most).toBeLessThanOrEqual(2);
    expect(a.port.counters.dropped + b.port.counters.dropped).toBe(0);
  });

  test('nor where everything happens at once', async () => {
    const lan = new NetSwitch({ burst: 64 });
    const [a, b] = [plug(lan, 1, { without: [29] }), plug(lan, 2, { without: [29] })];
    const depth = { now: 0, most: 0 };
    echo(a.machine, macOf(1), macOf(2), depth);
    echo(b.machine, macOf(2), macOf(1), depth);
    b.machine.offer(Array(4).fill(256));
    a.machine.offer(Array(4).fill(256));
    a.machine.transmit(frame(60, macOf(2), macOf(1)));
    const first = b.port.counters.delivered;
    while (b.port.counters.delivered === first) await new Promise((resolve) => setTimeout(resolve, 0));
    a.machine.card.setLink(false);
    b.machine.card.setLink(false);
    expect(b.port.counters.delivered).toBeGreaterThan(first);
    expect(depth.most).toBeLessThanOrEqual(3);
  });
});

describe('addresses', () => {
  test('a table of fixed size knows the newest', () => {
    const table = new MacTable(64);
    const mac = (n: number): Uint8Array =>
      Uint8Array.of(2, 0, n >> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255);
    for (let n = 0; n < 10_000; n++) {
      table.learn(mac(n), 0, n % 7);
      expect(table.find(mac(n), 0)).toBe(n % 7);
    }
    const known = [...Array(10_000).keys()].filter((n) => table.find(mac(n), 0) >= 0);
    expect(known.length).toBeLessThanOrEqual(64);
    table.forget(3);
    expect(known.every((n) => n % 7 !== 3 || table.find(mac(n), 0) === -1)).toBe(true);
  });

  test('and with room for all, all', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 0xffffffff }), { maxLength: 6 }), (list) => {
        const table = new MacTable(8);
        const macs = list.map((n) =>
          Uint8Array.of(9, 0x52, 0, n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255),
        );
        macs.forEach((mac, i) => {
          table.learn(mac, 1, i);
        });
        macs.forEach((mac, i) => {
          expect(table.find(mac, 1)).toBe(i);
        });
      }),
    );
  });

  test('a guest that invents addresses floods nothing but the table', () => {
    const lan = new NetSwitch({ addresses: 8 });
    const [a, b] = [plug(lan, 1), plug(lan, 2)];
    b.machine.offer(Array(100).fill(256));
    for (let i = 0; i < 100; i++) {
      a.machine.transmit(frame(60, macOf(2), `02000000${i.toString(16).padStart(4, '0')}`));
      a.machine.used(1);
    }
    expect(b.machine.used(0)).toHaveLength(100);
  });
});

test('mistakes of the host program are named', () => {
  expect(() => new NetSwitch({ addresses: 100 })).toThrow('addresses: 100');
  expect(() => new NetSwitch({ queueFrames: 0 })).toThrow('queueFrames: 0');
  const port = new NetSwitch().port();
  const card: NetPort = { receive: () => true, canReceive: () => true, txReady: () => {} };
  port.attach?.(card);
  expect(() => port.attach?.(card)).toThrow('one card');
});

describe('a card that throws', () => {
  /** Three ports; the card of the second one throws while told to. */
  function three(options?: SwitchOptions) {
    const events: SwitchEvent[] = [];
    const lan = new NetSwitch(options ?? { onEvent: (event) => events.push(event) });
    const ports = [1, 2, 3].map(() => lan.port()) as [SwitchPort, SwitchPort, SwitchPort];
    const state = { broken: true, ready: true };
    const got: number[][] = [[], [], []];
    ports.forEach((port, n) => {
      port.attach?.({
        receive: (bytes) => {
          if (n === 1 && state.broken) throw new Error('no');
          if (n === 1 && !state.ready) return false;
          got[n]?.push(bytes.length);
          return true;
        },
        canReceive: () => true,
        txReady: () => {},
      });
    });
    return { ports, state, got, events };
  }

  test.each([
    ['a frame for all', 'ffffffffffff'],
    ['a frame for it alone', macOf(2)],
  ])(
    '%s: the sender and the others notice nothing, it is an event, and the next frame arrives',
    (_what, to) => {
      const { ports, state, got, events } = three();
      const [a, b] = ports;
      state.broken = false;
      b.send(packet(frame(60, macOf(9), macOf(2))));
      state.broken = true;
      for (const list of got) list.length = 0;
      expect(a.send(packet(frame(61, to, macOf(1))))).toBe(true);
      expect(a.send(packet(frame(62, to, macOf(1))))).toBe(true);
      expect(events).toEqual([1, 2].map(() => ({ name: 'failed', port: b, error: new Error('no') })));
      state.broken = false;
      a.send(packet(frame(63, to, macOf(1))));
      expect(got[1]).toEqual([63]);
      expect(got[2]).toEqual(to === macOf(2) ? [] : [61, 62, 63]);
      expect(b.counters).toMatchObject({ dropped: 2, delivered: 1 });
      expect(b.waiting).toBe(0);
    },
  );

  test('a frame that has waited is lost, those behind it are not', () => {
    const { ports, state, got, events } = three();
    const [a, b] = ports;
    state.broken = false;
    state.ready = false;
    for (const length of [60, 61, 62]) a.send(packet(frame(length, 'ffffffffffff', macOf(1))));
    state.broken = true;
    state.ready = true;
    b.rxReady?.(0);
    expect(events).toHaveLength(3);
    expect(b.waiting).toBe(0);
    state.broken = false;
    a.send(packet(frame(63, 'ffffffffffff', macOf(1))));
    expect(got[1]).toEqual([63]);
  });

  test('a listener may pull its plug', () => {
    const { ports, got, events } = three({
      onEvent: ({ port }) => port.close(),
    });
    const [a, b] = ports;
    for (const length of [60, 61]) a.send(packet(frame(length, 'ffffffffffff', macOf(1))));
    expect(got).toEqual([[], [], [60, 61]]);
    expect(b.counters.dropped).toBe(1);
    expect(events).toEqual([]);
  });

  test('without a listener it can be asked for', () => {
    const { ports, state, got } = three({});
    const [a, b] = ports;
    expect(b.failure).toBeUndefined();
    a.send(packet(frame(60, 'ffffffffffff', macOf(1))));
    expect(b.failure).toEqual(new Error('no'));
    state.broken = false;
    a.send(packet(frame(61, 'ffffffffffff', macOf(1))));
    expect(got).toEqual([[], [61], [60, 61]]);
  });

  test('what the listener throws, a timer throws', async () => {
    const { ports, got } = three({
      onEvent: () => {
        throw new Error('my mistake');
      },
    });
    const [a] = ports;
    const uncaught = new Promise((resolve) => {
      // Vitest's own listeners would fail the test for it
      const others = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.once('uncaughtException', (error) => {
        for (const listener of others) process.on('uncaughtException', listener);
        resolve(error);
      });
    });
    a.send(packet(frame(60, 'ffffffffffff', macOf(1))));
    expect(got[2]).toEqual([60]);
    await expect(uncaught).resolves.toEqual(new Error('my mistake'));
  });
});

describe('a frame that goes round', () => {
  /** A card that counts. */
  function counter(port: SwitchPort): { got: number } {
    const state = { got: 0 };
    port.attach?.({
      receive: () => {
        state.got++;
        return true;
      },
      canReceive: () => true,
      txReady: () => {},
    });
    return state;
  }

  test.each([
    ['two switches, twice connected', 2],
    ['four in a ring', 4],
  ])('%s: each turn of the program has its burst, and timers run', async (_what, count) => {
    const burst = 100;
    const lans = Array.from({ length: count }, () => new NetSwitch({ burst }));
    const plugs: SwitchPort[] = [];
    lans.forEach((lan, n) => {
      const ends = [lan.port(), lans[(n + 1) % count]?.port() ?? lan.port()] as const;
      connect(...ends);
      plugs.push(...ends);
    });
    const [first] = lans;
    const source = first?.port() ?? lans[0]?.port();
    if (source === undefined) throw new Error('no switch');
    const seen = lans.map((lan) => counter(lan.port()));
    const total = (): number => seen.reduce((sum, { got }) => sum + got, 0);
    try {
      for (let sent = 0; sent < 50; sent++) source.send(packet(frame(60, 'ffffffffffff', macOf(1))));
      // the first frame has used the burst up, and those behind it wait with what it left
      expect(total()).toBeLessThanOrEqual(2 * burst);
      for (let turn = 1; turn <= 5; turn++) {
        const before = total();
        await new Promise((resolve) => setTimeout(resolve, 0));
        // several switches have their turn before this timer has
        expect(total() - before).toBeLessThanOrEqual(4 * count * burst);
      }
      expect(total()).toBeGreaterThan(burst);
    } finally {
      for (const plug of plugs) plug.close();
    }
  });

  test('a frame for more ports than a burst has arrives at once', () => {
    const lan = new NetSwitch({ burst: 10 });
    const cards = Array.from({ length: 100 }, () => counter(lan.port()));
    const source = lan.port();
    for (let sent = 1; sent <= 3; sent++) {
      source.send(packet(frame(60, 'ffffffffffff', macOf(1))));
      expect(cards.every(({ got }) => got === sent)).toBe(true);
    }
  });

  test('a switch that is connected with itself', async () => {
    const lan = new NetSwitch({ burst: 100 });
    const ends = [lan.port(), lan.port()] as const;
    connect(...ends);
    const state = counter(lan.port());
    lan.port().send(packet(frame(60, 'ffffffffffff', macOf(1))));
    expect(state.got).toBeLessThanOrEqual(100);
    await new Promise((resolve) => setTimeout(resolve, 0));
    for (const plug of ends) plug.close();
    // what waits for the card is still delivered, and that is all
    for (let before = -1; before !== state.got; ) {
      before = state.got;
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    expect(state.got).toBeLessThan(1000);
  });
});

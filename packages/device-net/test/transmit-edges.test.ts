// What a transmit queue does at the edges of a packet's way: kicks that come at the wrong moment, back ends that are full, drivers that
// reset the card from inside of it, and bursts.
import { describe, expect, test } from 'vitest';
import { frame, fromHex, Machine } from './machine.ts';

const RING_EVENT_IDX = 29;
const ALL = { csum: true, tso: true, ufo: true, uso: true } as const;

/** A packet that the driver adds without a kick. */
function add(machine: Machine, length = 76): void {
  machine.add(1, [{ addr: machine.put(new Uint8Array(length)), len: length }]);
}

/** Without EVENT_IDX: does the ring say that kicks are not wanted? */
function unwanted(machine: Machine): boolean {
  return machine.view.getUint16(machine.ring(1).used, true) === 1;
}

const due = (machine: Machine): number => machine.live.capture().device.txWaiting;

/** A card whose transmission is deferred, and what it asked to be called. */
function deferring(options: { txQueueSize?: number } = {}): {
  machine: Machine;
  later: (() => void)[];
  turn: () => void;
} {
  const later: (() => void)[] = [];
  const machine = new Machine({
    net: { ...options, defer: (proceed) => later.push(proceed) },
    without: [RING_EVENT_IDX],
  });
  return {
    machine,
    later,
    turn: () => {
      for (const proceed of later.splice(0)) proceed();
    },
  };
}

describe('kicks', () => {
  test('of an empty ring leave kicks wanted', () => {
    const machine = new Machine({ without: [RING_EVENT_IDX] });
    machine.driver.kick(1);
    expect(unwanted(machine)).toBe(false);
    expect(due(machine)).toBe(0);
  });

  test('from inside of send() leave nothing due', () => {
    const machine = new Machine();
    machine.sink.onSend = () => machine.driver.kick(1);
    machine.transmit(frame(60));
    expect([machine.sink.frames.length, due(machine)]).toEqual([1, 0]);
  });

  test('that are answered later are not wanted again before', () => {
    const { machine, later, turn } = deferring();
    machine.transmit(frame(60));
    expect([unwanted(machine), due(machine), later.length]).toEqual([true, 1, 1]);
    turn();
    expect([unwanted(machine), due(machine), later.length]).toEqual([false, 0, 0]);
    machine.transmit(frame(61));
    turn();
    expect(machine.sink.frames.map(({ length }) => length)).toEqual([60, 61]);
  });

  test('are what sends a packet: a back end that says that it can take more does not', () => {
    for (const before of [0, 1]) {
      const machine = new Machine();
      for (let i = 0; i < before; i++) machine.transmit(frame(60));
      add(machine);
      machine.card.txReady();
      expect(machine.sink.frames).toHaveLength(before);
      machine.driver.kick(1);
      expect(machine.sink.frames).toHaveLength(before + 1);
    }
  });
});

describe('a back end that is full', () => {
  test('is not asked again, and no kick wanted, before it says that it can', () => {
    const machine = new Machine({ without: [RING_EVENT_IDX] });
    machine.sink.room = 0;
    machine.transmit(frame(60));
    expect([unwanted(machine), due(machine)]).toEqual([true, 1]);
    machine.sink.room = 9;
    machine.transmit(frame(61));
    expect([machine.sink.frames.length, unwanted(machine), due(machine)]).toEqual([0, true, 1]);
    machine.card.txReady();
    expect([machine.sink.frames.length, unwanted(machine), due(machine)]).toEqual([2, false, 0]);
  });

  test('and says that it can while the machine stands: its packets are due when that goes on', () => {
    const machine = new Machine();
    machine.sink.room = 0;
    machine.transmit(frame(60));
    machine.live.pause();
    machine.sink.room = 9;
    machine.card.txReady();
    expect([machine.sink.frames.length, due(machine)]).toEqual([0, 1]);
    machine.live.resume();
    expect([machine.sink.frames.length, due(machine)]).toEqual([1, 0]);
  });

  test('is not looked after by turns', () => {
    const { machine, later, turn } = deferring();
    machine.sink.room = 0;
    machine.transmit(frame(60));
    turn();
    expect([later.length, due(machine)]).toEqual([0, 1]);
  });
});

describe('bursts', () => {
  test('deferred: 256 packets a turn', () => {
    const { machine, later, turn } = deferring({ txQueueSize: 1024 });
    for (let i = 0; i < 600; i++) add(machine);
    machine.driver.kick(1);
    const sent: number[] = [];
    while (later.length > 0) {
      turn();
      sent.push(machine.sink.frames.length);
    }
    expect(sent).toEqual([256, 512, 600]);
    expect([due(machine), unwanted(machine)]).toEqual([0, false]);
  });

  test('exactly one leaves nothing behind', () => {
    const { machine, turn } = deferring({ txQueueSize: 512 });
    for (let i = 0; i < 256; i++) add(machine);
    machine.driver.kick(1);
    turn();
    turn();
    expect([machine.sink.frames.length, due(machine), unwanted(machine)]).toEqual([256, 0, false]);
  });

  test('that a driver adds while kicks are asked for are sent to the last packet', () => {
    const machine = new Machine({ net: { txQueueSize: 1024 }, without: [RING_EVENT_IDX] });
    const ring = machine.host.queue(1);
    if (ring === undefined) throw new Error('no queue');
    const { setNotification } = ring;
    let more = 300;
    ring.setNotification = (wanted) => {
      setNotification.call(ring, wanted);
      if (wanted) for (; more > 0; more--) add(machine);
    };
    const asked: boolean[] = [];
    machine.sink.onSend = () => asked.push(!unwanted(machine));
    add(machine);
    machine.driver.kick(1);
    expect(machine.sink.frames).toHaveLength(301);
    // in the second look kicks are wanted, and in those behind it no more
    expect([asked[0], asked[1], asked[256], asked[257], asked[300]]).toEqual([
      false,
      true,
      true,
      false,
      false,
    ]);
    expect([due(machine), unwanted(machine)]).toEqual([0, false]);
  });

  test('at once: 4096 packets without a pause, and a kick meanwhile adds none', () => {
    const machine = new Machine();
    let sent = 0;
    machine.sink.onSend = () => {
      machine.sink.frames.length = 0;
      machine.sink.metas.length = 0;
      sent++;
      machine.used(1);
      add(machine);
    };
    add(machine);
    machine.driver.kick(1);
    expect([sent, due(machine)]).toEqual([4096, 1]);
    machine.driver.kick(1);
    expect([sent, due(machine)]).toEqual([4096, 1]);
    machine.live.reset();
  });
});

describe('the link is down', () => {
  test('dropped packets are told together, and nothing is told of none', () => {
    const machine = new Machine({ without: [RING_EVENT_IDX] });
    machine.card.setLink(false);
    machine.wire.notified.length = 0;
    machine.driver.kick(1);
    expect(machine.wire.notified).toEqual([]);
    for (let i = 0; i < 3; i++) add(machine);
    machine.driver.kick(1);
    expect(machine.wire.notified).toEqual([1]);
    expect(machine.card.counters.txDropped).toBe(3);
  });

  test('a full ring is dropped in one go, and nothing is due', () => {
    const { machine, later } = deferring();
    machine.card.setLink(false);
    const { size } = machine.ring(1);
    for (let i = 0; i < size; i++) add(machine);
    machine.driver.kick(1);
    expect(machine.used(1)).toHaveLength(size);
    expect([machine.card.counters.txDropped, due(machine), later.length]).toEqual([size, 0, 0]);
  });
});

describe('a driver resets the card', () => {
  test('while transmission is deferred: what it adds afterwards waits for its kick', () => {
    const { machine, later, turn } = deferring();
    machine.transmit(frame(60));
    machine.start();
    add(machine);
    turn();
    expect([machine.sink.frames.length, due(machine)]).toEqual([0, 0]);
    machine.driver.kick(1);
    expect(later).toHaveLength(1);
    turn();
    expect(machine.sink.frames).toHaveLength(1);
  });

  test('and kicks: the turn that was asked for already is enough', () => {
    const { machine, later, turn } = deferring();
    machine.transmit(frame(60));
    machine.start();
    machine.transmit(frame(61));
    expect(later).toHaveLength(1);
    turn();
    expect(machine.sink.frames.map(({ length }) => length)).toEqual([61]);
  });

  test('from inside of a back end that throws then: nothing is due, and nothing comes back', () => {
    const machine = new Machine();
    machine.sink.onSend = () => {
      machine.sink.onSend = undefined;
      machine.start();
      throw new Error('cable on fire');
    };
    expect(() => machine.transmit(frame(60))).toThrow('cable on fire');
    expect([due(machine), machine.used(1).length, machine.live.queue(1)?.inFlight]).toEqual([0, 0, 0]);
    machine.transmit(frame(61));
    expect(machine.sink.frames.map(({ length }) => length)).toEqual([60, 61]);
    expect(machine.used(1)).toHaveLength(1);
  });

  test('from inside of send(): of several packets only the first was sent', () => {
    const machine = new Machine();
    for (let i = 0; i < 3; i++) add(machine);
    machine.sink.onSend = () => {
      machine.sink.onSend = undefined;
      machine.start();
    };
    machine.driver.kick(1);
    expect([machine.sink.frames.length, due(machine), machine.used(1).length]).toEqual([1, 0, 0]);
    expect(machine.live.queue(1)?.inFlight).toBe(0);
  });
});

test('a card that nobody has started has nothing due', () => {
  expect(due(new Machine({ idle: true }))).toBe(0);
});

test('where a checksum is not left to the device, where it would be means nothing', () => {
  const machine = new Machine({ net: { offloads: ALL } });
  machine.transmit(frame(3000), fromHex('00 01 3600 b405 ffff ffff 0000'));
  expect(machine.sink.metas).toMatchObject([{ flags: 0, gsoType: 1, csumStart: 0xffff }]);
});

test('a chain with nothing to read is no packet: it breaks the device, and is not counted', () => {
  const machine = new Machine();
  machine.add(1, [{ addr: machine.alloc(64), len: 64, write: true }]);
  machine.driver.kick(1);
  expect(machine.faults).toEqual(['virtio-net header not in first element']);
  expect(machine.card.counters).toMatchObject({ txDropped: 0, txPackets: 0 });
  expect(machine.live.queue(1)?.inFlight).toBe(0);
});

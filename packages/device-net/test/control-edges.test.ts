// Control commands at their limits: data that is a byte too short, commands that there are not, and a driver that never stops.
import type { NetOptions } from '@virtkit/device-net';
import { describe, expect, test } from 'vitest';
import { hex, Machine } from './machine.ts';

const OK = 0;
const ERR = 1;
const le32 = (n: number): number[] => [n & 0xff, (n >> 8) & 0xff, (n >> 16) & 0xff, (n >>> 24) & 0xff];
const zeros = (count: number): number[] => new Array(count).fill(0);

/** Without it each command is an interrupt. */
const RING_EVENT_IDX = 29;
const MQ = 22;

const make = (net: Partial<NetOptions> = {}): Machine =>
  new Machine({
    without: [RING_EVENT_IDX],
    net: {
      queuePairs: 4,
      rss: true,
      offloads: { csum: true, tso: true },
      coalescing: { after: () => {}, perQueue: true },
      ...net,
    },
  });

test.each<[string, number, number, number[], number]>([
  ['a receive mode without its byte', 0, 0, [], ERR],
  ['a receive mode', 0, 5, [1], OK],
  ['a receive mode that there is not', 0, 6, [1], ERR],
  ['an address that is too short', 1, 1, zeros(5), ERR],
  ['an address', 1, 1, zeros(6), OK],
  ['an address that is too long', 1, 1, zeros(7), ERR],
  ['two empty tables', 1, 0, zeros(8), OK],
  ['the same under a command that there is not', 1, 2, zeros(8), ERR],
  ['half a VLAN', 2, 0, [1], ERR],
  ['a VLAN', 2, 0, [1, 0], OK],
  ['a VLAN behind the last', 2, 0, [0, 0x10], ERR],
  ['half a number of pairs', 4, 0, [1], ERR],
  ['a number of pairs', 4, 0, [2, 0], OK],
  ['no pairs', 4, 0, [0, 0], ERR],
  ['more pairs than there are', 4, 0, [5, 0], ERR],
  ['a number of pairs under a command that there is not', 4, 3, [1, 0], ERR],
  ['offloads of seven bytes', 5, 0, zeros(7), ERR],
  ['offloads', 5, 0, zeros(8), OK],
  ['offloads under a command that there is not', 5, 1, zeros(8), ERR],
  ['coalescing of seven bytes', 6, 0, zeros(7), ERR],
  ['coalescing', 6, 0, zeros(8), OK],
  ['coalescing under a command that there is not', 6, 4, zeros(8), ERR],
  ['coalescing of a queue, of eleven bytes', 6, 2, zeros(11), ERR],
  ['coalescing of a queue', 6, 2, zeros(12), OK],
])('%s', (_, group, command, data, ack) => {
  const machine = make();
  const before = machine.live.capture();
  expect(machine.command(group, command, data)).toBe(ack);
  expect(machine.faults).toEqual([]);
  // what is refused changes nothing but the ring
  if (ack === ERR) expect(machine.live.capture().device).toEqual(before.device);
});

test('a number of pairs without MQ', () => {
  const machine = new Machine({ net: { queuePairs: 4 }, without: [MQ] });
  expect(machine.command(4, 0, [1, 0])).toBe(ERR);
});

describe('coalescing', () => {
  function query(machine: Machine, out: number[], room: number): string {
    const at = machine.put(Uint8Array.from(out));
    const reply = machine.put(new Uint8Array(room).fill(0xee));
    machine.add(machine.controlQueue, [
      { addr: at, len: out.length },
      { addr: reply, len: room, write: true },
    ]);
    machine.driver.kick(machine.controlQueue);
    return hex(machine.read(reply, room));
  }

  test('each command sets its own direction', () => {
    const machine = make();
    machine.command(6, 0, [...le32(3), ...le32(30)]);
    machine.command(6, 1, [...le32(4), ...le32(40)]);
    const [received, sent] = [0, 1].map((queue) => query(machine, [6, 3, queue, 0], 9));
    expect([received, sent]).toEqual(['04000000280000' + '0000', '030000001e0000' + '0000']);
  });

  test('is told with four bytes of question and nine of answer, and not with fewer', () => {
    const machine = make();
    expect(query(machine, [6, 3, 0, 0], 9)).toBe('000000000000000000');
    expect(query(machine, [6, 3, 0], 9)).toBe('eeeeeeeeeeeeeeee01');
    expect(query(machine, [6, 3, 0, 0], 8)).toBe('eeeeeeeeeeeeee01');
    expect(query(machine, [6, 3, 0, 0], 10)).toBe('0000000000000000ee00');
  });
});

describe('a driver that adds a command at each interrupt', () => {
  function endless(more: number) {
    const deferred: (() => void)[] = [];
    const machine = make({ defer: (proceed) => deferred.push(proceed) });
    const control = machine.controlQueue;
    let left = more;
    let commands = 0;
    const add = (): void => {
      machine.add(control, [
        { addr: machine.put(Uint8Array.of(0, 0, 1)), len: 3 },
        { addr: machine.alloc(1), len: 1, write: true },
      ]);
    };
    machine.wire.listen = (queue) => {
      if (queue !== control) return;
      commands += machine.used(control).length;
      if (left-- > 0) add();
    };
    add();
    machine.driver.kick(control);
    const turn = (): void => {
      for (const proceed of deferred.splice(0)) proceed();
    };
    return { machine, deferred, turn, control, add, commands: () => commands };
  }

  test('two rings full of them in one go, the rest later, once', () => {
    const { deferred, turn, commands, machine } = endless(1000);
    const run = 2 * machine.ring(machine.controlQueue).size;
    expect([commands(), deferred.length]).toEqual([run, 1]);
    machine.driver.kick(machine.controlQueue);
    // a kick meanwhile is a run of its own, and asks for no other
    expect([commands(), deferred.length]).toEqual([2 * run, 1]);
    while (deferred.length > 0) turn();
    expect(commands()).toBe(1001);
  });

  test('one that stops has no later run', () => {
    const { deferred, commands } = endless(5);
    expect([commands(), deferred.length]).toEqual([6, 0]);
  });

  test('after a reset the later run does nothing', () => {
    const { machine, turn, commands } = endless(1000);
    const before = commands();
    machine.live.reset();
    turn();
    expect(commands()).toBe(before);
    machine.start();
    turn();
    expect(commands()).toBe(before);
  });
});

test('what breaks the device says how many bytes there were', () => {
  const machine = make();
  const at = machine.alloc(64);
  machine.add(machine.controlQueue, [{ addr: at, len: 7 }]);
  machine.driver.kick(machine.controlQueue);
  expect(machine.events).toMatchObject([{ name: 'fault', facts: { out: 7, in: 0 } }]);
});

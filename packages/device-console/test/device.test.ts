import { HostError, isHostError } from '@virtkit/core';
import { ConsoleDevice, type PortOptions } from '@virtkit/device-console';
import { describe, expect, test } from 'vitest';
import { ascii, EVENT, Line, Machine } from './machine.ts';

/** A console and two ports, of which one has a name. */
function three(): { lines: [Line, Line, Line]; ports: PortOptions[] } {
  const lines: [Line, Line, Line] = [new Line(), new Line(), new Line()];
  const [backend, agent, raw] = lines;
  return {
    lines,
    ports: [
      { console: true, backend },
      { name: 'org.example.agent', backend: agent },
      { id: 4, backend: raw, open: false },
    ],
  };
}

/** Without MULTIPORT: one console. */
function single(
  options: object = {},
  machine: object = {},
): { m: Machine; line: Line; later: (() => void)[] } {
  const line = new Line();
  const later: (() => void)[] = [];
  const m = new Machine(
    {
      maxPorts: 1,
      ports: [{ console: true, backend: line, ...options }],
      defer: (proceed) => later.push(proceed),
    },
    { without: [1], ...machine },
  );
  return { m, line, later };
}

describe('a console that is the only port', () => {
  test('takes what the guest writes', () => {
    const { m, line } = single();
    m.write(1, ascii('hello'));
    m.write(1, ascii(', world\n'), 1, 3);
    expect(line.text).toBe('hello, world\n');
    expect(m.used(1)).toHaveLength(2);
  });

  test('gives the guest what is sent, as far as there is room, and says when there is more', () => {
    const { m, line } = single();
    expect(line.send('too early')).toBe(0);
    m.giveRoom(0, 4, 3);
    expect(line.send('keyboard')).toBe(7);
    expect(m.received(0)).toBe('keyboar');
    expect(line.send('d')).toBe(0);
    line.diary.length = 0;
    m.giveRoom(0, 10);
    expect(line.diary).toEqual(['writable']);
    // asked once, told once
    m.giveRoom(0, 10);
    expect(line.diary).toEqual(['writable']);
    expect(line.send('d!')).toBe(2);
    expect(m.received(0)).toBe('d!');
  });

  test('is open as long as the driver runs', () => {
    const { m, line } = single();
    expect(line.diary).toEqual(['open']);
    expect(line.port?.guestConnected).toBe(true);
    m.live.reset();
    expect(line.diary).toEqual(['open', 'closed']);
    m.giveRoom(0, 5);
    expect(line.send('x')).toBe(0);
  });

  test('of a big-endian guest', () => {
    const { m } = single({}, { legacy: true, endian: 'big' });
    expect(m.driver.config.read(4, 4, true)).toBe(1);
    expect(m.live.capture().device.maxNrPorts).toBe(0x0100_0000);
  });
});

describe('a back end that takes a part', () => {
  test('gets the rest when it is ready, from the byte where it stopped', () => {
    const { m, line } = single();
    line.takes.push(4, 0, 1);
    m.write(1, ascii('abcdefgh'), 3, 2);
    m.write(1, ascii('ijk'));
    expect(line.text).toBe('abc');
    expect(m.used(1)).toEqual([]);
    line.port?.ready();
    expect(line.text).toBe('abcd');
    line.takes.push(1, 2);
    line.port?.ready();
    expect(line.text).toBe('abcdefg');
    line.port?.ready();
    expect(line.text).toBe('abcdefghijk');
    expect(m.used(1)).toHaveLength(2);
  });

  test('is not asked again by kicks', () => {
    const { m, line } = single();
    line.takes.push(0);
    m.write(1, ascii('abc'));
    for (let i = 0; i < 10; i++) m.write(1, ascii('d'));
    expect(line.text).toBe('');
    expect(line.takes).toEqual([]);
  });

  test('may say that it is ready from inside, for ever, and others have their turn', () => {
    const { m, line, later } = single();
    let calls = 0;
    line.write = () => {
      calls++;
      line.port?.ready();
      return 0;
    };
    m.write(1, ascii('abc'));
    expect([calls, later.length]).toEqual([1, 1]);
    later.shift()?.();
    expect([calls, later.length]).toEqual([2, 1]);
  });

  test.each([-1, 4, 1.5, Number.NaN])('that takes %s of 3 bytes is a mistake of the program', (count) => {
    const { m, line } = single();
    line.write = () => count;
    expect(() => m.write(1, ascii('abc'))).toThrow(HostError);
    Object.assign(line, { write: Line.prototype.write });
    line.port?.ready();
    expect(line.text).toBe('abc');
  });

  test('that throws gets the same bytes again', () => {
    const { m, line } = single();
    line.write = () => {
      throw new Error('the window is gone');
    };
    expect(() => m.write(1, ascii('abc'))).toThrow('the window is gone');
    Object.assign(line, { write: Line.prototype.write });
    m.write(1, ascii('def'));
    expect(line.text).toBe('abcdef');
  });
});

describe('a guest that writes without end', () => {
  test('a buffer of more than a MiB is given in turns, 64 KiB at a time', () => {
    const { m, line, later } = single();
    const sizes: number[] = [];
    line.write = (_bytes, start, end) => {
      sizes.push(end - start);
      return end - start;
    };
    // the same piece of memory, again and again
    const at = m.alloc(1 << 18);
    m.add(
      1,
      Array.from({ length: 10 }, () => ({ addr: at, len: 1 << 18 })),
    );
    m.kick(1);
    expect(Math.max(...sizes)).toBe(65_536);
    expect(sizes).toHaveLength(16);
    expect(m.used(1)).toEqual([]);
    while (later.length > 0) later.shift()?.();
    expect(sizes).toHaveLength(40);
    expect(m.used(1)).toHaveLength(1);
  });

  test('a driver on another thread that is as fast as the back end', () => {
    const { m, line, later } = single();
    let count = 0;
    line.write = (_bytes, start, end) => {
      count++;
      m.used(1);
      m.add(1, [{ addr: m.put(ascii('x')), len: 1 }]);
      return end - start;
    };
    m.write(1, ascii('x'));
    expect([count, later.length]).toEqual([128, 1]);
    later.shift()?.();
    expect([count, later.length]).toEqual([256, 1]);
  });

  test('buffers without room are not searched through for ever', () => {
    const { m, line } = single();
    for (let i = 0; i < 100; i++) m.add(0, [{ addr: m.alloc(4), len: 4 }]);
    m.kick(0);
    expect(line.send('x')).toBe(0);
    expect(m.used(0)).toHaveLength(100);
  });
});

describe('several ports', () => {
  test('the driver is told of each, its kind, its name, and whether the host has it open', () => {
    const { ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.giveControl(32);
    m.say(0, EVENT.deviceReady);
    expect(m.messages()).toEqual([
      [0, EVENT.portAdd, 1],
      [1, EVENT.portAdd, 1],
      [4, EVENT.portAdd, 1],
    ]);
    for (const id of [0, 1, 4]) m.say(id, EVENT.portReady);
    expect(m.messages()).toEqual([
      [0, EVENT.consolePort, 1],
      [0, EVENT.portOpen, 1],
      [1, EVENT.portName, 1, ...ascii('org.example.agent')],
      [1, EVENT.portOpen, 1],
    ]);
  });

  test('is told once, though it says twice that it is ready', () => {
    const { ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.giveControl(32);
    m.say(0, EVENT.deviceReady);
    m.say(0, EVENT.deviceReady);
    expect(m.messages()).toHaveLength(3);
    m.start();
    m.giveControl(32);
    m.say(0, EVENT.deviceReady);
    expect(m.messages()).toHaveLength(3);
  });

  test('each has its own queues', () => {
    const { lines, ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.bringUp();
    m.write(1, ascii('zero'));
    m.write(5, ascii('one'));
    m.write(11, ascii('four'));
    expect(lines.map(({ text }) => text)).toEqual(['zero', 'one', '']);
    m.giveRoom(4, 10);
    expect(lines[1].send('to one')).toBe(6);
    expect(m.received(4)).toBe('to one');
    // ports 2 and 3 there are not: what is written there comes back
    m.write(7, ascii('nobody'));
    expect(m.used(7)).toHaveLength(1);
  });

  test('are open at the guest’s end when it says so', () => {
    const { lines, ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.giveRoom(4, 10, 10);
    expect(lines[1].send('x')).toBe(0);
    m.say(1, EVENT.portOpen);
    expect(lines[1].diary).toEqual(['open', 'writable']);
    expect(lines[1].send('x')).toBe(1);
    m.say(1, EVENT.portOpen, 0);
    expect(lines[1].diary).toEqual(['open', 'writable', 'closed']);
    expect(lines[1].send('x')).toBe(0);
  });

  test('are opened and closed at the host’s end', () => {
    const { lines, ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.bringUp();
    lines[2].port?.open();
    expect(m.messages()).toEqual([[4, EVENT.portOpen, 1]]);
    m.write(11, ascii('heard'));
    lines[2].takes.push(2);
    m.write(11, ascii('thrown away'));
    m.write(11, ascii('too'));
    lines[2].port?.close();
    expect(m.messages()).toEqual([[4, EVENT.portOpen, 0]]);
    expect(lines[2].text).toBe('heardth');
    expect(m.used(11)).toHaveLength(3);
    lines[2].port?.close();
    lines[2].port?.open();
    m.write(11, ascii('!'));
    expect(lines[2].text).toBe('heardth!');
  });

  test('come and go while the driver runs', () => {
    const { ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.bringUp();
    const line = new Line();
    const port = m.device.plug({ backend: line, name: 'late' });
    expect([port.id, port.name]).toEqual([2, 'late']);
    expect(m.messages()).toEqual([[2, EVENT.portAdd, 1]]);
    m.say(2, EVENT.portReady);
    expect(m.messages()).toEqual([
      [2, EVENT.portName, 1, ...ascii('late')],
      [2, EVENT.portOpen, 1],
    ]);
    m.say(2, EVENT.portOpen);
    line.takes.push(1);
    m.write(7, ascii('half'));
    m.device.unplug(2);
    expect(m.messages()).toEqual([[2, EVENT.portRemove, 1]]);
    expect(m.used(7)).toHaveLength(1);
    expect(line.diary).toEqual(['open', 'closed']);
    // its handle does nothing any more
    port.ready();
    port.open();
    port.close();
    expect(port.send(ascii('x'))).toBe(0);
    expect(m.messages()).toEqual([]);
    expect(() => m.device.port(2)).toThrow(/port 2/);
  });

  test('a driver that has never heard of a port is not told that it is gone', () => {
    const { ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.giveControl(32);
    m.device.unplug(1);
    m.say(0, EVENT.deviceReady);
    expect(m.messages().map(([id]) => id)).toEqual([0, 4]);
  });
});

describe('control messages', () => {
  test('for a driver without buffers wait, each once, however often it asks', () => {
    const { lines, ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.say(0, EVENT.deviceReady);
    for (let i = 0; i < 20; i++) {
      m.say(0, EVENT.portReady);
      lines[2].port?.open();
      lines[2].port?.close();
    }
    m.used(3);
    m.giveControl(2);
    expect(m.messages()).toEqual([
      [0, EVENT.portAdd, 1],
      [0, EVENT.consolePort, 1],
    ]);
    m.giveControl(20);
    expect(m.messages()).toEqual([
      [0, EVENT.portOpen, 1],
      [1, EVENT.portAdd, 1],
      [4, EVENT.portAdd, 1],
    ]);
  });

  test('that make no sense are nothing', () => {
    const { lines, ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.giveControl(8);
    m.write(3, ascii('short'));
    m.say(99, EVENT.portReady);
    m.say(0xffff_ffff, EVENT.portOpen);
    m.say(3, EVENT.portOpen);
    m.say(1, 77);
    m.say(1, EVENT.portAdd);
    m.say(1, EVENT.portRemove);
    m.add(3, [{ addr: m.alloc(8), len: 8, write: true }]);
    m.kick(3);
    expect(m.used(3)).toHaveLength(8);
    expect(m.messages()).toEqual([]);
    expect(lines.flatMap(({ diary }) => diary)).toEqual([]);
    expect(m.faults).toEqual([]);
  });

  test('that a driver says of its own failure are told', () => {
    const { ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    m.say(0, EVENT.deviceReady, 0);
    m.say(1, EVENT.portReady, 0);
    expect(m.events.map(({ name, facts }) => [name, facts])).toEqual([
      ['console-driver-failed', {}],
      ['console-port-failed', { port: 1 }],
    ]);
  });

  test('in segments are read as they are', () => {
    const { lines, ports } = three();
    const m = new Machine({ ports, maxPorts: 5 });
    const bytes = Uint8Array.of(1, 0, 0, 0, EVENT.portOpen, 0, 1, 0, 99, 99);
    m.write(3, bytes, 1, 4, 2);
    expect(lines[1].diary).toEqual(['open']);
  });
});

describe('sizes', () => {
  const backend = new Line();

  test('are in the configuration for port 0, and a change is told', () => {
    const { m, line } = single({ size: { columns: 80, rows: 25 } });
    expect([m.driver.config.read(0, 2), m.driver.config.read(2, 2)]).toEqual([80, 25]);
    const { generation } = m.driver.config;
    line.port?.resize(132, 43);
    expect([m.driver.config.read(0, 2), m.driver.config.read(2, 2)]).toEqual([132, 43]);
    expect(m.driver.config.generation).toBe(generation + 1);
    expect(m.wire.notified).toContain(-1);
  });

  test.each([
    ['columns-first', [100, 0, 50, 0]],
    ['rows-first', [50, 0, 100, 0]],
  ] as const)('are told by message where there are several ports: %s', (resizeOrder, tail) => {
    const size = { columns: 80, rows: 25 };
    const other = new Line();
    const m = new Machine({
      ports: [
        { console: true, backend: new Line() },
        { console: true, backend: other, size },
      ],
      resizeOrder,
    });
    const said = m.bringUp();
    expect(said.filter(([, event]) => event === EVENT.resize)).toHaveLength(1);
    other.port?.resize(100, 50);
    expect(m.messages()).toEqual([[1, EVENT.resize, 0, ...tail]]);
  });

  test('are not offered without need, as QEMU', () => {
    expect(new ConsoleDevice({ ports: [{ console: true, backend }] }).features & 1n).toBe(0n);
    expect(new ConsoleDevice({ sizes: true }).features & 1n).toBe(1n);
  });
});

describe('an emergency write', () => {
  test('works before there is a driver, and reaches all consoles', () => {
    const { lines, ports } = three();
    const second = new Line();
    const m = new Machine(
      { ports: [...ports, { console: true, backend: second }], maxPorts: 6 },
      { idle: true },
    );
    for (const character of ascii('panic')) m.driver.config.write(8, 4, character);
    m.driver.config.write(8, 1, 0x21);
    // nothing is left behind for the next write to any field
    m.driver.config.write(0, 2, 7);
    expect(lines.map(({ text }) => text)).toEqual(['panic!', '', '']);
    expect(second.text).toBe('panic!');
    expect(m.driver.config.read(8, 4)).toBe(0);
  });

  test('is not there where it is not offered', () => {
    const line = new Line();
    const m = new Machine({ emergencyWrite: false, ports: [{ console: true, backend: line }] });
    expect(m.driver.config.length).toBe(8);
    m.driver.config.write(8, 4, 0x41);
    m.driver.config.write(4, 4, 0x41);
    expect(line.text).toBe('');
  });
});

describe('options and calls that cannot be', () => {
  const backend = new Line();
  test.each<[RegExp, () => unknown]>([
    [/^maxPorts/, () => new ConsoleDevice({ maxPorts: 0 })],
    [/^maxPorts/, () => new ConsoleDevice({ maxPorts: 512 })],
    [/^maxPorts/, () => new ConsoleDevice({ maxPorts: 1, ports: [{ backend }] })],
    [/^id/, () => new ConsoleDevice({ ports: [{ backend, id: 0 }] })],
    [/^id/, () => new ConsoleDevice({ ports: [{ backend, id: 31 }] })],
    [
      /^id/,
      () =>
        new ConsoleDevice({
          ports: [
            { backend, id: 3 },
            { backend, id: 3 },
          ],
        }),
    ],
    [
      /^name/,
      () =>
        new ConsoleDevice({
          ports: [
            { backend, name: 'a' },
            { backend, name: 'a' },
          ],
        }),
    ],
    [/^name/, () => new ConsoleDevice({ ports: [{ backend, name: '' }] })],
    [/^name/, () => new ConsoleDevice({ ports: [{ backend, name: 'a\0b' }] })],
    [/^name/, () => new ConsoleDevice({ ports: [{ backend, name: 'ä'.repeat(600) }] })],
    [/^size/, () => new ConsoleDevice({ ports: [{ backend, size: { columns: 1, rows: 1 } }] })],
    [
      /^size\.rows/,
      () => new ConsoleDevice({ ports: [{ backend, console: true, size: { columns: 1, rows: -1 } }] }),
    ],
    [/^resize/, () => new ConsoleDevice({ ports: [{ backend }] }).port(1).resize(80, 25)],
    [/^bytes/, () => new ConsoleDevice({ ports: [{ backend }] }).port(1).send(ascii('abc'), 2, 4)],
    [/^port 7/, () => new ConsoleDevice().unplug(7)],
    [/^the console is not part/, () => new ConsoleDevice().capture()],
  ])('%s', (message, act) => {
    let thrown: unknown;
    try {
      act();
    } catch (error) {
      thrown = error;
    }
    expect(isHostError(thrown)).toBe(true);
    expect((thrown as Error).message).toMatch(message);
  });
});

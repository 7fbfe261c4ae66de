// Machines that are stopped, saved and restored elsewhere, with a write that is half done.

import { isHostError, type VirtioState, virtioDevice } from '@virtkit/core';
import { type ConsoleState, virtioConsole } from '@virtkit/device-console';
import type { BareParts } from '@virtkit/lab/bare-machine.ts';
import { isStateError } from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ascii, EVENT, Line, Machine } from './machine.ts';

type State = VirtioState<BareParts, ConsoleState>;

function portsOf(lines: readonly Line[]) {
  return lines.map((backend, id) => ({ id, backend, console: id === 0 }));
}

/** A machine whose port 1 has taken so many bytes of what its guest wrote. */
function halfWritten(taken: number, packed = false): { m: Machine; lines: [Line, Line] } {
  const lines: [Line, Line] = [new Line(), new Line()];
  const m = new Machine({ ports: portsOf(lines), maxPorts: 2 }, { rings: { packed } });
  m.bringUp();
  lines[1].takes.push(...spread(taken), 0);
  m.write(5, ascii('abcdefgh'), 3, 1);
  m.write(5, ascii('ijk'));
  return { m, lines };
}

/** What has to be taken of each segment for so many bytes. */
function spread(taken: number): number[] {
  const takes: number[] = [];
  let left = taken;
  for (const segment of [3, 1, 4]) {
    if (left < segment) return [...takes, left];
    takes.push(segment);
    left -= segment;
  }
  return takes;
}

/** The same machine elsewhere. */
function moved(m: Machine, lines: readonly Line[], state: State, packed = false): Machine {
  const other = new Machine(
    { ports: portsOf(lines), maxPorts: 2 },
    { idle: true, ram: m.ram.slice(), rings: { packed } },
  );
  other.live.restore(state);
  return other;
}

describe('a half-written buffer', () => {
  test.each([0, 2, 3, 4, 7])('goes on behind byte %i, as it went out of QEMU', (taken) => {
    for (const packed of [false, true]) {
      const { m, lines } = halfWritten(taken, packed);
      expect(lines[1].text).toBe('abcdefgh'.slice(0, taken));
      m.live.pause();
      const state = m.live.capture();
      const { buffer } = state.device.ports[1] ?? {};
      const segment = taken < 3 ? 0 : taken < 4 ? 1 : 2;
      const start = [0, 3, 4][segment] ?? 0;
      expect(buffer).toMatchObject({ iovIdx: segment, iovOffset: BigInt(taken - start) });
      const codec = virtioDevice(m.wire.layer, virtioConsole);
      const there: [Line, Line] = [new Line(), new Line()];
      const other = moved(m, there, codec.load(codec.encode(state)), packed);
      expect(other.live.capture().device).toEqual(state.device);
      expect(there[1].text).toBe('');
      other.live.resume();
      expect(lines[1].text + there[1].text).toBe('abcdefghijk');
      expect(there[1].diary).toEqual(['open']);
    }
  });

  test('of a device that was reset is not given back', () => {
    const { m, lines } = halfWritten(2);
    m.live.reset();
    lines[1].port?.ready();
    expect(lines[1].text).toBe('ab');
    expect(m.live.capture().device.ports.every(({ buffer }) => buffer === null)).toBe(true);
  });

  test('of a driver that withdraws DRIVER_OK is dropped', () => {
    const { m, lines } = halfWritten(2);
    m.driver.setStatus(11);
    lines[1].port?.ready();
    expect(lines[1].text).toBe('ab');
    expect(m.live.queue(5)?.inFlight).toBe(0);
  });

  test('of a queue that is reset is dropped, and the queue is whole afterwards', () => {
    const { m, lines } = halfWritten(2);
    lines[1].takes.length = 0;
    m.driver.queue(5)?.reset();
    m.setUpQueue(5);
    m.write(5, ascii('new'));
    expect(lines[1].text).toBe('abnew');
  });

  test('of a port that was throttled: a broken device keeps it for the next save', () => {
    const { m } = halfWritten(2);
    m.driver.fault('for the test');
    const state = m.live.capture();
    const there: [Line, Line] = [new Line(), new Line()];
    const other = moved(m, there, state);
    expect(other.live.capture().device).toEqual(state.device);
    other.live.resume();
    expect(there[1].text).toBe('');
  });

  test('cannot be saved while the back end takes of it', () => {
    const { m, lines } = halfWritten(0);
    let thrown: unknown;
    lines[1].write = (_bytes, start, end) => {
      try {
        m.live.capture();
      } catch (error) {
        thrown = error;
      }
      return end - start;
    };
    lines[1].port?.ready();
    expect(isHostError(thrown)).toBe(true);
  });
});

test('what is written and sent arrives once and in order, wherever the machine is cut', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          write: fc.uint8Array({ minLength: 1, maxLength: 40 }),
          cut: fc.integer({ min: 1, max: 39 }),
          takes: fc.array(fc.nat(20), { maxLength: 3 }),
          move: fc.boolean(),
        }),
        { minLength: 1, maxLength: 8, size: 'max' },
      ),
      fc.boolean(),
      (steps, packed) => {
        let lines: [Line, Line] = [new Line(), new Line()];
        let m = new Machine({ ports: portsOf(lines), maxPorts: 2 }, { rings: { packed } });
        m.bringUp();
        let out = '';
        for (const { write, cut, takes, move } of steps) {
          lines[1].takes.push(...takes);
          // a driver's hand on the rings is not moved: it writes before
          if (m.options.idle !== true) m.write(5, write, ...(cut < write.length ? [cut] : []));
          if (!move) {
            lines[1].port?.ready();
            continue;
          }
          out += lines[1].text;
          const state = m.live.capture();
          lines = [new Line(), new Line()];
          m = moved(m, lines, state, packed);
          m.live.resume();
        }
        lines[1].takes.length = 0;
        lines[1].port?.ready();
        out += lines[1].text;
        const first = steps.findIndex(({ move }) => move);
        const written = (first < 0 ? steps : steps.slice(0, first + 1)).map(({ write }) => write);
        expect(out).toBe(written.map((bytes) => String.fromCharCode(...bytes)).join(''));
      },
    ),
    { numRuns: 40 },
  );
});

describe('the host’s end', () => {
  test('that is another one where the machine goes on: the driver is told', () => {
    const { m } = halfWritten(8);
    m.live.pause();
    const state = m.live.capture();
    const lines = [new Line(), new Line()];
    const ports = portsOf(lines).map((port) => ({ ...port, open: port.id === 0 }));
    const other = new Machine({ ports, maxPorts: 2 }, { idle: true, ram: m.ram.slice() });
    other.live.restore(state);
    // until it is told, it is what it was told last
    expect(other.live.capture().device).toEqual(state.device);
    other.live.resume();
    expect(other.live.capture().device.ports.map(({ hostConnected }) => hostConnected)).toEqual([1, 0]);
    expect(lines[0]?.port?.hostConnected).toBe(true);
  });

  test('that closes while the driver has no buffer: the state says what the driver was told', () => {
    const lines = [new Line(), new Line()];
    const m = new Machine({ ports: portsOf(lines), maxPorts: 2 });
    m.giveControl(7);
    m.say(0, EVENT.deviceReady);
    for (const id of [0, 1]) m.say(id, EVENT.portReady);
    expect(m.messages()).toHaveLength(5);
    // 7 buffers, 5 messages: two are left
    lines[1]?.port?.close();
    lines[1]?.port?.open();
    lines[1]?.port?.close();
    const { ports } = m.live.capture().device;
    expect(ports.map(({ hostConnected }) => hostConnected)).toEqual([1, 1]);
    m.giveControl(8);
    expect(m.live.capture().device.ports.map(({ hostConnected }) => hostConnected)).toEqual([1, 0]);
  });
});

describe('a state that does not fit', () => {
  const { m } = halfWritten(2);
  const good = m.live.capture();
  const other = (): Machine =>
    new Machine(
      { ports: portsOf([new Line(), new Line()]), maxPorts: 2 },
      { idle: true, ram: m.ram.slice() },
    );
  const [first, second] = good.device.ports;
  const buffer = second?.buffer;
  if (first === undefined || second === undefined || buffer == null)
    throw new Error('no half-written buffer');
  const withBuffer = (change: object): ConsoleState => ({
    ...good.device,
    ports: [first, { ...second, buffer: { ...buffer, ...change } }],
  });
  const nowhere = { ...buffer.element, out: [{ addr: 1n << 40n, len: 8n }] };

  test.each<[string, ConsoleState, string]>([
    ['other ports', { ...good.device, portsMap: [7] }, 'ports'],
    ['more words of ports', { ...good.device, portsMap: [3, 0] }, 'ports'],
    ['a port that is not there', { ...good.device, ports: [first, { ...second, id: 2 }] }, 'port-unknown'],
    ['a segment that there is not', withBuffer({ iovIdx: 3 }), 'port-buffer'],
    ['a byte behind the segment', withBuffer({ iovOffset: 3n }), 'port-buffer'],
    ['a byte far behind it', withBuffer({ iovOffset: (1n << 64n) - 1n }), 'port-buffer'],
    ['a buffer that is not in memory', withBuffer({ element: nowhere, iovIdx: 0 }), 'request-memory'],
    [
      'a buffer that the ring has not',
      { ...good.device, ports: [first, { ...second, buffer: null }] },
      'request-count',
    ],
    ['the same of the console', { ...good.device, ports: [{ ...first, buffer }, second] }, 'request-count'],
  ])('%s: refused, and nothing has changed', (_what, device, code) => {
    const target = other();
    const before = target.live.capture();
    const state = { ...good, device };
    expect(target.live.check(state).find(({ severity }) => severity === 'error')?.code).toBe(code);
    let thrown: unknown;
    try {
      target.live.restore(state);
    } catch (error) {
      thrown = error;
    }
    expect(isStateError(thrown)).toBe(true);
    expect(target.live.capture()).toEqual(before);
  });
});

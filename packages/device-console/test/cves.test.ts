// Known attacks on QEMU's console device, against ours. `pnpm cves` lists them all.
import { describe, expect, test } from 'vitest';
import { ascii, EVENT, Line, Machine } from './machine.ts';

describe('CVE-2015-5745: a control message for a buffer that is too small for it', () => {
  test.each([1, 3, 8, 10])('%i bytes: no byte behind them is written', (room) => {
    const name = 'a name that is longer than the buffer';
    const m = new Machine({ ports: [{ name, backend: new Line() }] });
    const at = m.alloc(256);
    m.ram.fill(0xdd, at, at + 256);
    for (let i = 0; i < 4; i++) m.add(2, [{ addr: at + 64 * i, len: room, write: true }]);
    m.kick(2);
    m.say(0, EVENT.deviceReady);
    m.say(1, EVENT.portReady);
    // add, name, open
    expect(m.used(2).map(({ len }) => len)).toEqual([Math.min(room, 8), room, Math.min(room, 8)]);
    for (let i = 0; i < 4; i++) {
      const behind = m.ram.subarray(at + 64 * i + room, at + 64 * (i + 1));
      expect(behind.every((byte) => byte === 0xdd)).toBe(true);
    }
    expect(m.faults).toEqual([]);
  });

  test('in a buffer of several pieces the message goes on in the next', () => {
    const m = new Machine({ ports: [{ backend: new Line() }] });
    const [a, b] = [m.alloc(16), m.alloc(16)];
    m.add(2, [
      { addr: a, len: 3, write: true },
      { addr: b, len: 9, write: true },
    ]);
    m.kick(2);
    m.say(0, EVENT.deviceReady);
    expect([...m.ram.subarray(a, a + 3), ...m.ram.subarray(b, b + 5)]).toEqual([
      1,
      0,
      0,
      0,
      EVENT.portAdd,
      0,
      1,
      0,
    ]);
  });
});

describe('CVE-2024-3446: the guest has the device write into its own registers', () => {
  test('a kick or a reset out of an interrupt or a back end leaves no buffer to be given back twice', () => {
    const line = new Line();
    const m = new Machine({ ports: [{ backend: line }], maxPorts: 2 });
    m.bringUp();
    m.wire.listen = (queue) => {
      if (queue >= 0) m.driver.kick(queue);
    };
    m.write(5, ascii('abc'));
    expect(line.text).toBe('abc');
    line.write = (_bytes, start, end) => {
      m.wire.listen = undefined;
      m.live.reset();
      m.start();
      return end - start;
    };
    m.write(5, ascii('def'));
    expect(m.used(5)).toEqual([]);
    Object.assign(line, { write: Line.prototype.write });
    m.write(5, ascii('ghi'));
    expect(line.text).toBe('abcghi');
    expect(m.used(5)).toHaveLength(1);
    expect(m.faults).toEqual([]);
  });
});

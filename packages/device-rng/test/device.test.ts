import { HostError } from '@virtkit/core';
import { RngDevice, webCrypto } from '@virtkit/device-rng';
import { describe, expect, test } from 'vitest';
import { Clock, Machine, SlowSource, settled } from './machine.ts';

/** Fills with 1, 2, 3, … in turn. */
function counting(): { fill(target: Uint8Array): number; asked: number[] } {
  const asked: number[] = [];
  return {
    asked,
    fill: (target) => {
      asked.push(target.length);
      target.fill(asked.length);
      return target.length;
    },
  };
}

describe('a request', () => {
  test('is filled with what the back end gives', () => {
    const source = counting();
    const m = new Machine({ backend: source });
    const [first, second] = [m.ask(5), m.ask(64)];
    m.kick();
    expect(m.lengths()).toEqual([5, 64]);
    expect(m.bytes(first, 5)).toEqual([1, 1, 1, 1, 1]);
    expect(new Set(m.bytes(second, 64))).toEqual(new Set([2]));
    expect(source.asked).toEqual([5, 64]);
    expect(m.wire.notified).toEqual([0]);
  });

  test('of several buffers is filled across them, and no further', () => {
    const m = new Machine({ backend: counting() });
    const [a, b] = [m.alloc(16), m.alloc(16)];
    m.add(0, [
      { addr: a, len: 3, write: true },
      { addr: b, len: 4, write: true },
    ]);
    m.kick();
    expect(m.lengths()).toEqual([7]);
    expect([...m.bytes(a, 4), ...m.bytes(b, 5)]).toEqual([1, 1, 1, 0, 1, 1, 1, 1, 0]);
  });

  test('is given back with fewer bytes where there are fewer', () => {
    const m = new Machine({ backend: { fill: (target) => (target.fill(7).length > 9 ? 9 : 1) } });
    const at = m.ask(20);
    m.kick();
    expect(m.lengths()).toEqual([9]);
    expect(m.bytes(at, 20)).toEqual([...Array<number>(9).fill(7), ...Array<number>(11).fill(0xdd)]);
  });

  test('for more than 64 KiB gets 64 KiB', () => {
    const source = counting();
    const m = new Machine({ backend: source });
    m.ask(200_000);
    m.kick();
    expect(m.lengths()).toEqual([65_536]);
    expect(source.asked).toEqual([65_536]);
  });

  test('that no byte fits into comes back, and does not hold up those behind it', () => {
    const m = new Machine({ backend: counting() });
    m.add(0, [{ addr: m.alloc(8), len: 8 }]);
    m.ask(8);
    m.kick();
    expect(m.lengths()).toEqual([0, 8]);
    expect(m.faults).toEqual([]);
  });

  test('that was kicked before DRIVER_OK is served with it', () => {
    const source = counting();
    const m = new Machine({ backend: source });
    m.start();
    m.driver.setStatus(11);
    m.ask(8);
    m.kick();
    expect(source.asked).toEqual([]);
    m.driver.setStatus(15);
    expect(m.lengths()).toEqual([8]);
  });

  test('comes from the platform', () => {
    const m = new Machine({ backend: webCrypto(globalThis.crypto) });
    const at = m.ask(65_536);
    m.kick();
    expect(m.lengths()).toEqual([65_536]);
    // the chance that a value is missing is 1 in 10^108
    expect(new Set(m.bytes(at, 65_536)).size).toBe(256);
  });
});

test('what the guest has is kept nowhere else', () => {
  const targets = new Set<Uint8Array>();
  const m = new Machine({ backend: { fill: (target) => targets.add(target) && target.fill(9).length } });
  m.ask(32);
  m.kick();
  expect(m.lengths()).toEqual([32]);
  expect([...targets].map((target) => target.every((byte) => byte === 0))).toEqual([true]);
});

test('a driver that is as fast as the device does not keep it busy for ever', async () => {
  let given = 0;
  const endless: Machine = new Machine({
    backend: {
      fill: (target) => {
        given++;
        // a processor on another thread, say: there is a new request for each that came back
        endless.used(0);
        endless.ask(4);
        return target.length;
      },
    },
  });
  endless.ask(4);
  endless.kick();
  expect(given).toBe(8);
  // the rest comes when timers had their turn
  await new Promise((resolve) => setTimeout(resolve, 0));
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(given).toBeGreaterThan(8);
  endless.live.pause();
});

describe('a back end that takes longer', () => {
  test('is asked for one thing at a time, and the request stays in the ring', async () => {
    const source = new SlowSource();
    const m = new Machine({ backend: source });
    const [first, second] = [m.ask(4), m.ask(6)];
    m.kick();
    m.kick();
    expect(source.asked.map(({ target }) => target.length)).toEqual([4]);
    expect(m.live.queue(0)?.inFlight).toBe(0);
    await source.answer(5);
    expect(m.lengths()).toEqual([4]);
    await source.answer(6);
    expect(m.lengths()).toEqual([6]);
    expect([...m.bytes(first, 4), ...m.bytes(second, 6)]).toEqual([5, 5, 5, 5, 6, 6, 6, 6, 6, 6]);
  });

  test('serves who waits when it answers: after a reset that is another request', async () => {
    const source = new SlowSource();
    const m = new Machine({ backend: source });
    const old = m.ask(16);
    m.kick();
    m.start();
    const at = m.ask(5);
    m.kick();
    expect(source.asked).toHaveLength(1);
    await source.answer(3);
    expect(m.lengths()).toEqual([5]);
    expect(m.bytes(at, 5)).toEqual([3, 3, 3, 3, 3]);
    expect(m.bytes(old, 16)).toEqual(Array<number>(16).fill(0xdd));
  });

  test('answers for nothing where a reset has left no request', async () => {
    const source = new SlowSource();
    const m = new Machine({ backend: source });
    m.ask(16);
    m.kick();
    const { target } = source.asked[0] ?? {};
    m.live.reset();
    await source.answer(3);
    expect(target?.every((byte) => byte === 0)).toBe(true);
    expect(m.driver.isr).toBe(0);
    m.start();
    m.ask(2);
    m.kick();
    await source.answer(4);
    expect(m.lengths()).toEqual([2]);
  });

  test('is not asked again by a guest that resets and resets', () => {
    const source = new SlowSource();
    const m = new Machine({ backend: source });
    for (let i = 0; i < 100; i++) {
      m.start();
      m.ask(16);
      m.kick();
    }
    expect(source.asked).toHaveLength(1);
  });

  test('answers a stopped machine in vain, and is asked anew', async () => {
    const source = new SlowSource();
    const m = new Machine({ backend: source });
    const at = m.ask(4);
    m.kick();
    m.live.pause();
    await source.answer(5);
    expect(m.lengths()).toEqual([]);
    expect(m.bytes(at, 4)).toEqual([0xdd, 0xdd, 0xdd, 0xdd]);
    m.live.resume();
    await source.answer(6);
    expect(m.bytes(at, 4)).toEqual([6, 6, 6, 6]);
  });

  test('is idle when it has answered', async () => {
    const source = new SlowSource();
    const m = new Machine({ backend: source });
    await m.device.idle();
    m.ask(4);
    m.kick();
    let idle = false;
    const waited = m.device.idle().then(() => {
      idle = true;
    });
    await settled();
    expect(idle).toBe(false);
    m.live.pause();
    await source.answer(5);
    await waited;
    expect(idle).toBe(true);
  });
});

describe('a move', () => {
  test('leaves the request in the ring, and the other side asks its own back end', async () => {
    const [here, there] = [new SlowSource(), new SlowSource()];
    const m = new Machine({ backend: here });
    const at = m.ask(4);
    m.kick();
    m.live.pause();
    const state = m.live.capture();
    expect(state.device).toEqual({});
    const other = new Machine({ backend: there }, { idle: true, ram: m.ram.slice() });
    other.live.restore(state);
    await here.answer(5);
    other.live.resume();
    await there.answer(6);
    expect([...other.ram.subarray(at, at + 4)]).toEqual([6, 6, 6, 6]);
    expect([...m.ram.subarray(at, at + 4)]).toEqual([0xdd, 0xdd, 0xdd, 0xdd]);
  });

  test('is not possible from inside of the back end', () => {
    let thrown: unknown;
    const m: Machine = new Machine({
      backend: {
        fill: (target) => {
          try {
            m.live.capture();
          } catch (error) {
            thrown = error;
          }
          return target.length;
        },
      },
    });
    m.ask(4);
    m.kick();
    expect(thrown).toBeInstanceOf(HostError);
    expect(m.lengths()).toEqual([4]);
  });

  test('a reset from inside of the back end leaves its chain alone', () => {
    let resets = 0;
    const m: Machine = new Machine({
      backend: {
        fill: (target) => {
          if (resets++ === 0) m.start();
          return target.length;
        },
      },
    });
    m.ask(4);
    m.kick();
    expect(m.lengths()).toEqual([]);
    m.ask(4);
    m.kick();
    expect(m.lengths()).toEqual([4]);
    expect(m.faults).toEqual([]);
  });
});

describe('a limit', () => {
  test('ends what a guest gets in a period, as QEMU max-bytes and period', () => {
    const clock = new Clock();
    const m = new Machine({ backend: counting(), maxBytes: 10, period: 500, after: clock.after });
    m.ask(8);
    m.ask(8);
    m.ask(8);
    m.kick();
    // QEMU: the second is filled as far as the quota goes
    expect(m.lengths()).toEqual([8, 2]);
    m.kick();
    m.kick();
    expect(m.lengths()).toEqual([]);
    expect(clock.calls).toHaveLength(1);
    expect(clock.next()).toBe(500);
    expect(m.lengths()).toEqual([8]);
  });

  test('of 0 bytes gives nothing', () => {
    const clock = new Clock();
    const source = counting();
    const m = new Machine({ backend: source, maxBytes: 0, after: clock.after });
    m.ask(8);
    m.kick();
    expect(clock.next()).toBe(65_536);
    expect([m.lengths(), source.asked]).toEqual([[], []]);
  });

  test('whose period ends while the machine is stopped', () => {
    const clock = new Clock();
    const m = new Machine({ backend: counting(), maxBytes: 4, after: clock.after });
    m.ask(4);
    m.ask(4);
    m.kick();
    m.live.pause();
    clock.next();
    expect(m.lengths()).toEqual([4]);
    m.live.resume();
    expect(m.lengths()).toEqual([4]);
  });

  test('has one timer at most, whatever the guest does', () => {
    const clock = new Clock();
    const m = new Machine({ backend: counting(), maxBytes: 16, after: clock.after });
    for (let i = 0; i < 50; i++) {
      m.start();
      m.ask(1);
      m.kick();
    }
    expect(clock.calls).toHaveLength(1);
  });
});

describe('a back end that fails', () => {
  const failing: readonly (readonly [string, () => number])[] = [
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
    ['has nothing', () => 0],
    ['says that it filled more than it was given', () => 5],
    ['says less than nothing', () => -1],
    ['says no whole number', () => 1.5],
    ['says no number', () => Number.NaN],
  ];

  test.each(failing)('%s: told once, and asked again after a while', (_what, fill) => {
    const clock = new Clock();
    let asked = 0;
    const backend = {
      fill: () => {
        asked++;
        return fill();
      },
    };
    const m = new Machine({ backend, after: clock.after, retryMs: 70 });
    const at = m.ask(4);
    m.kick();
    m.kick();
    expect(asked).toBe(1);
    expect(clock.next()).toBe(70);
    expect(asked).toBe(2);
    expect(clock.calls).toHaveLength(1);
    expect(m.events.map(({ name }) => name)).toEqual(['entropy-failed']);
    expect(m.bytes(at, 4)).toEqual([0xdd, 0xdd, 0xdd, 0xdd]);
    expect(m.live.queue(0)?.inFlight).toBe(0);
  });

  test('later: the same, and it goes on when it works again', async () => {
    const clock = new Clock();
    const source = new SlowSource();
    const m = new Machine({ backend: source, after: clock.after });
    m.ask(4);
    m.kick();
    await source.fail('gone');
    expect(m.events.map(({ name, facts }) => [name, facts])).toEqual([
      ['entropy-failed', { reason: 'gone' }],
    ]);
    clock.next();
    await source.answer(1);
    expect(m.lengths()).toEqual([4]);
    m.ask(4);
    m.kick();
    await source.answer(1, 77);
    expect(m.events).toHaveLength(2);
    expect(m.lengths()).toEqual([]);
  });
});

describe('options', () => {
  const backend = counting();
  test.each([
    ['maxBytes', { backend, maxBytes: -1 }],
    ['maxBytes', { backend, maxBytes: 2 ** 53 }],
    ['period', { backend, period: 0 }],
    ['period', { backend, period: 2 ** 31 }],
    ['retryMs', { backend, retryMs: 0.5 }],
    ['backend', { backend: {} as typeof backend }],
  ])('%s is named where it is wrong', (name, options) => {
    expect(() => new RngDevice(options)).toThrow(new RegExp(`^${name}: `));
  });
});

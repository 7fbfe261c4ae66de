// What a live device takes over from a saved state, what it refuses, and that a refusal changes nothing.
import { isStateError } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import type { RequestInFlight } from '../../src/contract/device-model.ts';
import type { VirtioState } from '../../src/contract/state.ts';
import { FEATURE } from '../../src/spec.ts';
import { Echo, EchoMachine, type Wire } from './echo.ts';

type State = VirtioState<Wire, null>;
type Options = NonNullable<ConstructorParameters<typeof EchoMachine>[0]>;

/** Keeps chains, with four bytes of configuration, and says what of a state is in flight. */
class Keeper extends Echo {
  override slow = true;
  override readonly features: bigint = 1n;
  override readonly configLength: number = 4;
  inFlight: readonly RequestInFlight[] = [];
  requestsInFlight(): readonly RequestInFlight[] {
    return this.inFlight;
  }
}

const request = (queue: number, index: number, ndescs?: number): RequestInFlight => ({
  queue,
  element: { index, out: [], in: [] },
  path: `device.requests[${index}]`,
  ...(ndescs !== undefined && { ndescs }),
});

/** A device that runs, with `taken` chains of queue 0 in flight; its memory is the guest's. */
function running(taken: number, options: Options = {}, features: readonly number[] = []): EchoMachine {
  const machine = new EchoMachine({ echo: new Keeper(), ...options });
  machine.start(features);
  for (let i = 0; i < taken; i++) machine.offer(0);
  machine.core.kick(0);
  return machine;
}

/** Another device over the memory of the first. */
function another(from: EchoMachine, options: Options = {}): EchoMachine {
  const machine = new EchoMachine({ echo: new Keeper(), ...options });
  machine.bytes.set(from.bytes);
  return machine;
}

const codes = (machine: EchoMachine, state: State) =>
  machine.live.check(state).map(({ layer, code, severity }) => [layer, code, severity]);

describe('what is taken over', () => {
  test('everything that a save has: the next save is the same', () => {
    const from = running(0);
    const { live, core, driver } = from;
    core.selectQueue(1);
    core.interrupt(0);
    core.config.bytes.set([1, 2, 3, 4]);
    driver.setDisabled(true);
    const state = live.capture();
    const to = another(from);
    to.live.restore(state);
    expect(to.live.capture()).toEqual(state);
    expect([to.live.paused, to.live.running]).toEqual([true, false]);
  });

  test('a ring goes on where it stood: what is taken comes back, what waits is taken', () => {
    const from = running(2);
    const state = from.live.capture();
    from.offer(0);
    const echo = new Keeper();
    echo.inFlight = [request(0, 0), request(0, 1)];
    const to = another(from, { echo });
    to.live.restore(state);
    to.live.resume();
    expect(echo.kept.map(({ index }) => index)).toEqual([2]);
    const ring = to.live.queue(0);
    expect(ring?.inFlight).toBe(3);
    echo.answer();
    expect([to.used(0), ring?.inFlight]).toEqual([1, 2]);
  });

  test('what the device had before is gone: its queues, its flags, its requests', () => {
    const state = new EchoMachine().live.capture();
    const to = running(3, { echo: Object.assign(new Echo(), { slow: true }) });
    to.core.fault('test');
    to.driver.setDisabled(true);
    to.live.restore(state);
    const { live, core } = to;
    expect(to.echo.kept).toEqual([]);
    expect([live.status, live.broken, live.disabled, core.started, live.features]).toEqual([
      0,
      false,
      false,
      false,
      0n,
    ]);
    expect(live.capture()).toEqual(state);
    expect(live.queue(0)?.format).toBeUndefined();
  });

  test('a queue that the state does not have is as a fresh one', () => {
    const fresh = new EchoMachine().live.capture();
    const to = running(2, { echo: Object.assign(new Echo(), { slow: true }) });
    to.live.restore({ ...fresh, queues: fresh.queues.slice(0, 1) });
    expect(to.core.queues.slots[1]).toMatchObject({ num: 8, desc: 0n, avail: 0n, used: 0n });
    expect(to.core.queues.slots[1]?.indices).toMatchObject({ lastAvailIdx: 0, usedIdx: 0, inuse: 0 });
  });

  test('the size that a ring was made with is the state’s, where it says one', () => {
    const { live, core } = new EchoMachine();
    const state = live.capture();
    live.restore({ ...state, subsections: { ...state.subsections, ringsize: [4, 0] } });
    expect(core.queues.slots.slice(0, 2).map(({ numDefault }) => numDefault)).toEqual([4, 8]);
    live.reset();
    expect([live.queue(0)?.size, live.queue(1)?.size]).toEqual([4, 8]);
  });

  test('of the configuration what both have, and a word about the rest', () => {
    const state = new EchoMachine({ echo: new Keeper() }).live.capture();
    for (const config of [Uint8Array.of(7, 8), Uint8Array.of(7, 8, 9, 10, 11, 12)]) {
      const to = new EchoMachine({ echo: new Keeper() });
      to.core.config.bytes.fill(1);
      expect(to.live.check({ ...state, config })).toEqual([
        {
          layer: 'core',
          code: 'config-length',
          severity: 'warning',
          path: 'config',
          reason: `${config.length} bytes of configuration space, and this device has 4`,
          facts: { found: config.length, expected: 4 },
        },
      ]);
      to.live.restore({ ...state, config });
      expect([...to.core.config.bytes]).toEqual(config.length === 2 ? [7, 8, 1, 1] : [7, 8, 9, 10]);
    }
  });

  test('a fresh state of the same device: nothing to say', () => {
    const { live } = new EchoMachine({ echo: new Keeper() });
    expect(live.check(live.capture())).toEqual([]);
  });

  test('transport and device are told in this order, with status and features in place and before the queues', () => {
    const log: string[] = [];
    class Told extends Echo {
      override reset(): void {
        super.reset();
        log.push('reset');
      }
      apply(): void {
        log.push(`device ${to.live.queue(0)?.inFlight}`);
      }
    }
    const from = running(0);
    const to = another(from, {
      echo: new Told(),
      wire: {
        apply: () =>
          log.push(
            `transport ${to.live.status} ${to.live.has(FEATURE.VERSION_1)} ${to.core.queues.slots[0]?.desc}`,
          ),
      },
    });
    log.length = 0;
    to.live.restore({ ...from.live.capture(), config: new Uint8Array(0) });
    expect(log).toEqual(['reset', 'transport 15 true 0', 'device 0']);
  });

  test('a device type that makes queues hears how many, once its features are in place', () => {
    const log: unknown[] = [];
    class Many extends Echo {
      prepareQueues(count: number): void {
        log.push(count);
      }
      setFeatures(): void {
        log.push('features');
      }
    }
    const { live } = new EchoMachine({ echo: new Many() });
    const state = live.capture();
    const [queue] = state.queues;
    if (queue === undefined) throw new Error('a queue expected');
    log.length = 0;
    live.restore({ ...state, queues: [queue, queue, queue] });
    expect(log).toEqual(['features', 3]);
  });
});

describe('legacy drivers', () => {
  const options: Options = { version1: false };

  function legacy(endian: 'little' | 'big', targetEndian: 'little' | 'big' = 'little'): EchoMachine {
    const machine = new EchoMachine({
      ...options,
      targetEndian,
      echo: Object.assign(new Echo(), { slow: true }),
    });
    machine.core.reset(endian);
    machine.core.setFeatures(0n);
    machine.driver.queue(0)?.setAddress(0x1000n);
    machine.core.setStatus(7);
    return machine;
  }

  test.each(['little', 'big'] as const)(
    '%s-endian: rings lie behind the table, and are read as the guest writes them',
    (endian) => {
      const from = legacy(endian);
      const little = endian === 'little';
      // avail behind eight descriptors, used on the next page
      from.view.setUint16(0x1080 + 2, 5, little);
      from.view.setUint16(0x2000 + 2, 3, little);
      const captured = from.live.capture();
      const state: State = {
        ...captured,
        queues: captured.queues.map((queue, i) => (i === 0 ? { ...queue, lastAvailIdx: 5 } : queue)),
      };
      const to = another(from, { ...options, echo: new Echo() });
      to.live.restore(state);
      const [slot] = to.core.queues.slots;
      expect(slot).toMatchObject({ desc: 0x1000n, avail: 0x1080n, used: 0x2000n });
      expect(slot?.indices).toMatchObject({ lastAvailIdx: 5, usedIdx: 3, inuse: 2 });
      expect(to.core.deviceEndian).toBe(endian);
      expect(to.live.capture()).toEqual(state);
    },
  );

  test('a byte order that is not said is the machine’s', () => {
    for (const targetEndian of ['little', 'big'] as const) {
      const state = legacy(targetEndian, targetEndian).live.capture();
      expect(state.subsections.deviceEndian).toBeUndefined();
      const to = new EchoMachine({ ...options, targetEndian });
      to.live.restore(state);
      expect(to.core.deviceEndian).toBe(targetEndian);
    }
  });

  test('one that is said is not the machine’s', () => {
    for (const [endian, targetEndian] of [
      ['little', 'big'],
      ['big', 'little'],
    ] as const) {
      const state = legacy(endian, targetEndian).live.capture();
      expect(state.subsections.deviceEndian).toBe(endian === 'big' ? 2 : 1);
      const to = new EchoMachine({ ...options, targetEndian });
      to.live.restore(state);
      expect(to.core.deviceEndian).toBe(endian);
    }
  });

  test('the used ring is aligned as the machine aligns, or as the state says', () => {
    const state = legacy('little').live.capture();
    const [first, ...others] = state.queues;
    if (first === undefined) throw new Error('no queue');
    const usedAt = (align: number | undefined, queue: typeof first): bigint | undefined => {
      const to = new EchoMachine({ ...options, ...(align !== undefined && { align }) });
      to.live.restore({ ...state, queues: [queue, ...others] });
      return to.core.queues.slots[0]?.used;
    };
    expect([
      usedAt(undefined, first),
      usedAt(0x4000, first),
      usedAt(0x4000, { ...first, align: 0x200 }),
    ]).toEqual([0x2000n, 0x4000n, 0x1200n]);
  });

  test('one that has not started yet starts with its first kick; one that has, or is modern, does not need it', () => {
    const kicks = (status: number, from: Options): boolean => {
      const machine = new EchoMachine(from);
      const { live, core } = machine;
      if (from.version1 !== false) core.setFeatures(1n << BigInt(FEATURE.VERSION_1));
      core.setStatus(status);
      const state = live.capture();
      const to = new EchoMachine(from);
      to.live.restore(state);
      return to.core.startOnKick;
    };
    expect([kicks(3, options), kicks(7, options), kicks(3, {}), kicks(15, {})]).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  test('addresses of rings that a state has all the same do not count', () => {
    const state = legacy('little').live.capture();
    const to = new EchoMachine(options);
    to.live.restore({
      ...state,
      subsections: { ...state.subsections, virtqueues: [{ avail: 1n, used: 2n }] },
    });
    expect(to.core.queues.slots[0]).toMatchObject({ avail: 0x1080n, used: 0x2000n });
  });
});

describe('what is refused', () => {
  test('features that are not offered, by name', () => {
    const { live } = new EchoMachine({ echo: new Keeper(), rings: { eventIdx: false } });
    const state = live.capture();
    const features = (1n << 29n) | (1n << 50n) | 1n;
    expect(
      live.check({
        ...state,
        guestFeatures: 0x2000_0001,
        subsections: { ...state.subsections, features64: features },
      }),
    ).toEqual([
      {
        layer: 'core',
        code: 'features',
        severity: 'error',
        path: 'subsections.features64',
        reason: `Features 0x4000020000001 unsupported. Allowed features: 0x${live.offeredFeatures.toString(16)}; not offered: VIRTIO_RING_F_EVENT_IDX, bit 50`,
        facts: { features, allowed: live.offeredFeatures, missing: features - 1n },
      },
    ]);
    const { features64: _, ...sub } = state.subsections;
    expect(live.check({ ...state, guestFeatures: 2, subsections: sub })).toMatchObject([
      { code: 'features', path: 'guestFeatures', facts: { missing: 2n } },
    ]);
  });

  test('more queues than the device has, unless it makes as many as there are', () => {
    const machine = new EchoMachine();
    const { live } = machine;
    const state = live.capture();
    const [queue] = state.queues;
    if (queue === undefined) throw new Error('a queue expected');
    expect(live.check({ ...state, queues: [queue] })).toEqual([]);
    expect(live.check({ ...state, queues: [queue, queue, queue] })).toEqual([
      {
        layer: 'core',
        code: 'queue-count',
        severity: 'error',
        path: 'queues',
        reason: '3 queues, and this device has 2',
        facts: { found: 3, limit: 2 },
      },
    ]);
    Object.assign(machine.echo, { prepareQueues: () => {} });
    expect(live.check({ ...state, queues: [queue, queue, queue] })).toEqual([]);
  });

  test('a queue without entries, behind which the next save would lose what there is', () => {
    const { live } = new EchoMachine();
    const state = live.capture();
    const [first, second] = state.queues;
    if (first === undefined || second === undefined) throw new Error('two queues expected');
    const queues = [{ ...first, num: 0 }, second];
    expect(live.check({ ...state, queues })).toMatchObject([
      { code: 'queue-size', severity: 'error', path: 'queues[0].num', facts: { queue: 0, queues: 2 } },
    ]);
    expect(() => live.restore({ ...state, queues })).toThrow('queue 0 of 2 has no entries');
  });

  test('what the state promises itself comes first, and alone', () => {
    const { live } = new EchoMachine({ wire: { check: () => expect.unreachable() } });
    const state = live.capture();
    expect(codes({ live } as EchoMachine, { ...state, queueSel: 1024, config: new Uint8Array(9) })).toEqual([
      ['core', 'queue-sel', 'error'],
    ]);
    // a warning does not stop the others
    const machine = new EchoMachine();
    expect(codes(machine, { ...state, isr: 4, config: new Uint8Array(9) })).toEqual([
      ['core', 'isr', 'warning'],
      ['core', 'config-length', 'warning'],
    ]);
  });

  test('what transport and device say is theirs; rings are looked at when nothing was an error', () => {
    const own = (severity: 'error' | 'warning') => ({
      code: 'own',
      severity,
      path: '',
      reason: 'no',
      facts: {},
    });
    for (const severity of ['warning', 'error'] as const) {
      const from = running(2);
      const state = from.live.capture();
      const to = another(from, { wire: { check: (_, report) => report(own(severity)) } });
      to.live.model.check = (_, report) => report(own('warning'));
      expect(codes(to, state)).toEqual([
        ['transport', 'own', severity],
        ['device', 'own', 'warning'],
        // two chains are in flight and the device lists none
        ...(severity === 'warning' ? [['core', 'request-count', 'error']] : []),
      ]);
    }
  });

  test('the error that is thrown is the first one, with its place; nothing has changed', () => {
    const from = running(2);
    const bad = from.live.capture();
    const to = running(2);
    const before = to.live.capture();
    const { kept } = to.echo;
    let thrown: unknown;
    try {
      to.live.restore({ ...bad, isr: 4 });
    } catch (error) {
      thrown = error;
    }
    if (!isStateError(thrown)) throw new Error('a StateError expected');
    expect(thrown).toMatchObject({ code: 'request-count', layer: 'core', path: 'queues[0]' });
    expect([thrown.facts['inuse'], thrown.facts['listed']]).toEqual([2, 0]);
    expect(to.live.capture()).toEqual(before);
    expect([to.live.paused, kept.length]).toEqual([false, 2]);
    to.echo.answer();
    expect(to.used(0)).toBe(2);
  });
});

describe('requests in flight', () => {
  const findings = (echo: Echo, state: State, from: EchoMachine, withheld?: readonly RequestInFlight[]) =>
    another(from, { echo })
      .live.check(state, withheld === undefined ? {} : { withheld })
      .map(({ code }) => code);

  function keeper(...requests: readonly RequestInFlight[]): Keeper {
    return Object.assign(new Keeper(), { inFlight: requests });
  }

  test('each queue’s are compared with its own ring; those that are withheld count', () => {
    const from = running(2);
    from.offer(1);
    from.core.kick(1);
    const state = from.live.capture();
    const [a, b, c] = [request(0, 0), request(0, 1), request(1, 2)];
    expect(findings(keeper(a, b, c), state, from)).toEqual([]);
    expect(findings(keeper(c, b, a), state, from)).toEqual([]);
    expect(findings(keeper(a, b), state, from)).toEqual(['request-count']);
    expect(findings(keeper(a, c), state, from, [b])).toEqual([]);
    expect(findings(keeper(), state, from, [a, b, c])).toEqual([]);
    expect(findings(keeper(), state, from)).toEqual(['request-count', 'request-count']);
    expect(findings(keeper(a, b, a, c), state, from)).toEqual(['request-twice']);
  });

  test('not of a device type that keeps none, nor of a broken device, nor of a queue that is not set up', () => {
    const from = running(2);
    const state = from.live.capture();
    expect(findings(Object.assign(new Echo(), { features: 1n, configLength: 4 }), state, from)).toEqual([]);
    const { subsections: sub } = state;
    expect(
      findings(keeper(), { ...state, status: 0x4f, subsections: { ...sub, broken: true } }, from),
    ).toEqual([]);
    expect(findings(keeper(), { ...state, subsections: { ...sub, broken: false } }, from)).toEqual([
      'request-count',
    ]);
    expect(
      findings(keeper(request(1, 3)), new EchoMachine({ echo: new Keeper() }).live.capture(), from),
    ).toEqual([]);
  });

  test('packed rings: slots, from the subsection of their own', () => {
    const options: Options = { rings: { packed: true, inOrder: true } };
    const from = new EchoMachine({ echo: new Keeper(), ...options });
    from.start([FEATURE.RING_PACKED, FEATURE.IN_ORDER]);
    const fresh = from.live.capture();
    const entry = {
      lastAvailIdx: 2,
      lastAvailWrapCounter: true,
      usedIdx: 0,
      usedWrapCounter: true,
      inuse: 2,
    };
    // ids of the two slots
    from.view.setUint16(0x1000 + 12, 5, true);
    from.view.setUint16(0x1010 + 12, 6, true);
    const state: State = {
      ...fresh,
      queues: fresh.queues.map((queue, i) => (i === 0 ? { ...queue, lastAvailIdx: 2 } : queue)),
      subsections: { ...fresh.subsections, packedVirtqueues: [entry] },
    };
    const of = (...requests: readonly RequestInFlight[]) => {
      const to = another(from, { ...options, echo: keeper(...requests) });
      return to.live.check(state).map(({ code }) => code);
    };
    expect(of(request(0, 6), request(0, 5))).toEqual([]);
    // as many slots, and the ring has them as two chains
    expect(of(request(0, 6, 2))).toEqual(['request-order']);
    expect(of(request(0, 6))).toEqual(['request-count']);
    expect(of(request(0, 6), request(0, 7))).toEqual(['request-order']);
  });

  test('split rings in order: none but those that the ring gives back next', () => {
    const options: Options = { rings: { inOrder: true } };
    const from = running(2, options, [FEATURE.IN_ORDER]);
    const state = from.live.capture();
    const to = another(from, { ...options, echo: keeper(request(0, 0), request(0, 5)) });
    expect(to.live.check(state).map(({ code }) => code)).toEqual(['request-order']);
  });
});

describe('where a ring stands', () => {
  test('packed: slots and wrap counters as the subsection has them; without an entry, as a fresh ring', () => {
    const options: Options = { rings: { packed: true }, echo: new Echo() };
    const from = new EchoMachine(options);
    from.start([FEATURE.RING_PACKED]);
    const fresh = from.live.capture();
    const entry = {
      lastAvailIdx: 6,
      lastAvailWrapCounter: false,
      usedIdx: 4,
      usedWrapCounter: false,
      inuse: 2,
    };
    const to = new EchoMachine({ rings: { packed: true } });
    to.live.restore({
      ...fresh,
      queues: fresh.queues.map((queue, i) => (i === 1 ? { ...queue, lastAvailIdx: 3 } : queue)),
      subsections: { ...fresh.subsections, packedVirtqueues: [entry] },
    });
    expect(to.live.queue(0)?.format).toBe('packed');
    expect(to.core.queues.slots[0]?.indices).toMatchObject({
      lastAvailIdx: 6,
      lastAvailWrap: false,
      usedIdx: 4,
      usedWrap: false,
      inuse: 2,
    });
    expect(to.core.queues.slots[1]?.indices).toMatchObject({
      lastAvailIdx: 3,
      lastAvailWrap: true,
      usedIdx: 0,
      usedWrap: true,
      inuse: 0,
    });
  });

  test('more available than a split ring holds: the load is accepted, the device is broken, and says it once', () => {
    const from = running(0);
    const state = from.live.capture();
    from.view.setUint16(0x2002, 9, true);
    const to = another(from);
    expect(to.live.check(state)).toEqual([
      {
        layer: 'core',
        code: 'queue-index',
        severity: 'warning',
        path: 'queues[0].lastAvailIdx',
        reason: 'VQ 0 size 0x8 Guest index 0x9 inconsistent with Host index 0x0: delta 0x9',
        facts: { availIdx: 9, lastAvailIdx: 0, size: 8, delta: 9 },
      },
    ]);
    to.live.restore(state);
    expect(to.events.map(({ name, reason }) => [name, reason])).toEqual([
      ['fault', 'VQ 0 size 0x8 Guest index 0x9 inconsistent with Host index 0x0: delta 0x9'],
    ]);
    expect([to.live.broken, to.live.queue(0)?.format, to.live.queue(1)?.format]).toEqual([
      true,
      undefined,
      undefined,
    ]);
    expect(to.core.queues.slots[0]?.indices).toMatchObject({ lastAvailIdx: 0, usedIdx: 0, inuse: 0 });
    // NEEDS_RESET, and the driver hears of it: the transport was in place
    expect([to.live.status & 0x40, to.interrupts]).toEqual([0x40, 1]);
  });

  test('a queue that is not set up is not looked for in guest memory', () => {
    const state = new EchoMachine().live.capture();
    const to = new EchoMachine();
    // at address 0 there is what would be a ring that makes no sense
    to.bytes.fill(0x77);
    expect(to.live.check(state)).toEqual([]);
    to.live.restore(state);
    for (const { indices } of to.core.queues.slots)
      expect(indices).toEqual({
        lastAvailIdx: 0,
        lastAvailWrap: true,
        usedIdx: 0,
        usedWrap: true,
        inuse: 0,
      });
    expect([to.live.broken, to.live.queue(0)?.format, to.events]).toEqual([false, undefined, []]);
  });

  test('of a ring that makes no sense nothing but its place is taken over', () => {
    const from = running(0);
    const captured = from.live.capture();
    from.view.setUint16(0x2002, 99, true);
    from.view.setUint16(0x3002, 3, true);
    const to = another(from);
    to.live.restore({
      ...captured,
      queues: captured.queues.map((queue, i) => (i === 0 ? { ...queue, lastAvailIdx: 5 } : queue)),
    });
    expect(to.live.broken).toBe(true);
    expect(to.core.queues.slots[0]?.indices).toMatchObject({ lastAvailIdx: 5, usedIdx: 0, inuse: 0 });
  });

  test('flags that a state does not have are off', () => {
    const from = running(0);
    const { started, disabled, ...subsections } = from.live.capture().subsections;
    expect([started, disabled]).not.toContain(false);
    const to = running(0);
    to.driver.setDisabled(true);
    to.live.restore({ ...from.live.capture(), subsections });
    expect([to.core.started, to.live.disabled]).toEqual([false, false]);
  });

  test('what is used up beyond what was taken is refused', () => {
    const from = running(0);
    const state = from.live.capture();
    from.view.setUint16(0x3002, 1, true);
    expect(another(from).live.check(state)).toMatchObject([
      { code: 'queue-index', severity: 'error', facts: { inuse: 0xffff } },
    ]);
    expect(() => another(from).live.restore(state)).toThrow('used_idx 0x1');
  });

  test('a packed ring is not measured with the indices of a split one', () => {
    const options: Options = { rings: { packed: true }, echo: new Echo() };
    const from = new EchoMachine(options);
    from.start([FEATURE.RING_PACKED]);
    from.view.setUint16(0x2002, 99, true);
    const to = new EchoMachine({ rings: { packed: true } });
    to.bytes.set(from.bytes);
    const state = from.live.capture();
    expect(to.live.check(state)).toEqual([]);
    to.live.restore(state);
    expect([to.live.broken, to.live.queue(0)?.format]).toEqual([false, 'packed']);
  });

  test('a device that was broken stays broken, and no ring is made', () => {
    const from = running(0);
    from.core.fault('test');
    const state = from.live.capture();
    const to = another(from);
    to.live.restore(state);
    expect([to.live.broken, to.live.queue(0)?.format, to.events]).toEqual([true, undefined, []]);
  });
});

describe.each([false, true])('a queue that its driver took back (packed: %s)', (packed) => {
  const options = { rings: { packed: true } };
  const features = packed ? [FEATURE.RING_PACKED] : [];

  function takenBack(inFlight: number): EchoMachine {
    const from = new EchoMachine({ ...options, echo: Object.assign(new Echo(), { slow: true }) });
    from.start(features);
    for (let n = 0; n < 5; n++) {
      if (packed) from.offerPacked(0);
      else from.offer(0);
      from.core.kick(0);
      if (n < 5 - inFlight) from.echo.answer();
    }
    expect(from.live.queue(0)?.inFlight).toBe(inFlight);
    from.driver.queue(0)?.setAddresses(0n, 0n, 0n);
    return from;
  }

  test.each([0, 2])(
    'with %d requests in flight: what is saved is restored, and saved the same',
    (inFlight) => {
      const state = takenBack(inFlight).live.capture();
      const to = new EchoMachine(options);
      expect(to.live.check(state)).toEqual([]);
      to.live.restore(state);
      expect(to.live.capture()).toEqual(state);
    },
  );
});

// A driver on another processor: it adds to a ring at any moment of what the device does, and kicks only if the ring says that the
// device wants to hear of it. Whatever the moment, neither side may be left waiting for the other.
import type { NetPort } from '@virtkit/device-net';
import { describe, expect, test } from 'vitest';
import { frame, Machine, type MachineOptions } from './machine.ts';

const MERGEABLE = 15;
const EVENT_IDX = 29;

/** Would a driver kick that has just added one chain of one descriptor? Virtio 1.3 §2.7.10, §2.8.10 */
function wantsKick(machine: Machine, queue: number): boolean {
  const { view } = machine;
  const ring = machine.ring(queue);
  const eventIdx = machine.live.has(EVENT_IDX);
  if (!machine.packed) {
    if (!eventIdx) return (view.getUint16(ring.used, true) & 1) === 0;
    return ((ring.availIdx - view.getUint16(ring.used + 4 + 8 * ring.size, true) - 1) & 0xffff) < 1;
  }
  const flags = view.getUint16(ring.used + 2, true) & 3;
  if (flags !== 2) return flags === 0;
  const offWrap = view.getUint16(ring.used, true);
  const place = (offWrap & 0x7fff) - (offWrap >> 15 === (ring.wrap ? 1 : 0) ? 0 : ring.size);
  return ((ring.availIdx - place - 1) & 0xffff) < 1;
}

/** The driver of one queue, and the moments at which it can act: before each call of the device to the ring. */
class Driver {
  readonly machine: Machine;
  readonly queue: number;
  /** Calls of the device to the ring so far. */
  moments = 0;
  act: ((moment: number) => void) | undefined;
  #kick = false;

  constructor(machine: Machine, queue: number) {
    this.machine = machine;
    this.queue = queue;
    const ring = machine.host.queue(queue);
    if (ring === undefined) throw new Error(`no queue ${queue}`);
    const { pop, isEmpty, setNotification } = ring;
    ring.pop = () => {
      this.#moment();
      return pop.call(ring);
    };
    ring.isEmpty = () => {
      this.#moment();
      return isEmpty.call(ring);
    };
    ring.setNotification = (wanted) => {
      this.#moment();
      setNotification.call(ring, wanted);
    };
  }

  #moment(): void {
    const moment = this.moments++;
    const { act } = this;
    this.act = undefined;
    act?.(moment);
    this.act = act;
  }

  add(length: number): void {
    const { machine, queue } = this;
    const write = queue === 0;
    if (queue === machine.controlQueue) {
      const command = machine.put(Uint8Array.of(0, 0, 1));
      machine.add(queue, [
        { addr: command, len: 3 },
        { addr: machine.alloc(1), len: 1, write: true },
      ]);
    } else machine.add(queue, [{ addr: machine.alloc(length), len: length, write }]);
    this.#kick ||= wantsKick(machine, queue);
  }

  /** The kick arrives when the device has finished what it does. */
  deliverKick(): boolean {
    const kick = this.#kick;
    this.#kick = false;
    if (kick) this.machine.driver.kick(this.queue);
    return kick;
  }
}

const later: (() => void)[] = [];
const FORMS: readonly (readonly [string, MachineOptions])[] = [
  ['split', { without: [EVENT_IDX] }],
  ['split with EVENT_IDX', {}],
  ['split, not mergeable', { without: [MERGEABLE] }],
  ['packed', { rings: { packed: true }, without: [EVENT_IDX] }],
  ['packed with EVENT_IDX', { rings: { packed: true } }],
];

function make(options: MachineOptions): Machine {
  later.length = 0;
  return new Machine({ ...options, net: { defer: (proceed) => later.push(proceed) } });
}

/** Until nothing is due any more. */
function settle(driver: Driver): void {
  while (driver.deliverKick() || later.length > 0) for (const proceed of later.splice(0)) proceed();
}

describe.each(FORMS)('%s: one buffer, at each moment', (_name, options) => {
  /** Runs something with a driver that adds a buffer before the ring is called for the n-th time, for every n. */
  function atEachMoment(
    run: (driver: Driver, at: number) => void,
    queueOf: (machine: Machine) => number,
  ): number {
    for (let at = 0; ; at++) {
      const machine = make(options);
      const driver = new Driver(machine, queueOf(machine));
      let acted = false;
      driver.act = (moment) => {
        if (moment !== at) return;
        acted = true;
        driver.add(2048);
      };
      run(driver, at);
      if (!acted) return at;
    }
  }

  /** A back end with a frame that waits for the card, as {@link NetPort} says that it may. */
  function backend(machine: Machine, asks: boolean): { readonly waiting: () => boolean; offer(): void } {
    const port: NetPort = machine.card;
    let waiting = true;
    const offer = (): void => {
      if (!waiting || (asks && !port.canReceive())) return;
      if (port.receive(frame(60))) waiting = false;
    };
    machine.sink.onRxReady = offer;
    return { waiting: () => waiting, offer };
  }

  test.each([
    ['asks before', true],
    ['does not ask', false],
  ])('a frame whose back end %s', (_asks, asks) => {
    const moments = atEachMoment(
      (driver, at) => {
        // the frame before has found the last buffer, and kicks are not wanted since
        const { act } = driver;
        driver.act = undefined;
        driver.add(2048);
        expect(driver.machine.card.receive(frame(60))).toBe(true);
        expect(driver.machine.used(0)).toHaveLength(1);
        driver.deliverKick();
        driver.moments = 0;
        driver.act = act;
        const { waiting, offer } = backend(driver.machine, asks);
        offer();
        settle(driver);
        expect(waiting(), `a buffer at moment ${at}`).toBe(driver.machine.used(0).length === 0);
        if (driver.moments > at) expect(waiting(), `a buffer at moment ${at}`).toBe(false);
      },
      () => 0,
    );
    expect(moments).toBeGreaterThan(1);
  });

  test.each([
    ['up', true],
    ['down', false],
  ])('a packet, and the link is %s', (_link, up) => {
    const moments = atEachMoment(
      (driver, at) => {
        const { machine } = driver;
        if (!up) machine.card.setLink(false);
        driver.add(80);
        settle(driver);
        expect(machine.used(1), `a packet at moment ${at}`).toHaveLength(driver.moments > at ? 2 : 1);
      },
      () => 1,
    );
    expect(moments).toBeGreaterThan(1);
  });

  test('a command', () => {
    const moments = atEachMoment(
      (driver, at) => {
        const { machine, queue } = driver;
        driver.add(0);
        settle(driver);
        expect(machine.used(queue), `a command at moment ${at}`).toHaveLength(driver.moments > at ? 2 : 1);
      },
      (machine) => machine.controlQueue,
    );
    expect(moments).toBeGreaterThan(1);
  });
});

describe.each(FORMS)('%s: a driver that adds as fast as the device takes', (_name, options) => {
  test.each([
    ['packets', 1, true],
    ['packets, and the link is down', 1, false],
    ['commands', 2, true],
  ])('%s: the device lets others run, and takes all', (_what, queue, up) => {
    const machine = make(options);
    const driver = new Driver(machine, queue);
    if (!up) machine.card.setLink(false);
    const { size } = machine.ring(queue);
    const wanted = 20 * size;
    let added = 0;
    let done = 0;
    const add = (): void => {
      if (added === wanted) return;
      driver.add(80);
      added++;
    };
    driver.act = () => {
      done += machine.used(queue).length;
      while (added < wanted && added - done < size / 4) add();
    };
    add();
    expect(driver.deliverKick()).toBe(true);
    done += machine.used(queue).length;
    expect(done).toBeLessThanOrEqual(16 * 256);
    expect(done).toBeLessThan(wanted);
    settle(driver);
    done += machine.used(queue).length;
    expect([added, done]).toEqual([wanted, wanted]);
  });
});

describe.each(FORMS)('%s: with several packets in the ring', (_name, options) => {
  /** Three packets, and something that throws at the first of them. */
  function broken(throwsIn: 'back end' | 'interrupt'): { machine: Machine; driver: Driver } {
    const machine = new Machine(options);
    const driver = new Driver(machine, 1);
    const fail = (): void => {
      machine.sink.onSend = undefined;
      machine.wire.listen = undefined;
      throw new Error('cable on fire');
    };
    if (throwsIn === 'back end') machine.sink.onSend = fail;
    else machine.wire.listen = fail;
    for (let i = 0; i < 3; i++) driver.add(80);
    expect(() => driver.deliverKick()).toThrow('cable on fire');
    return { machine, driver };
  }

  test.each(['back end', 'interrupt'] as const)(
    '%s that throws: the driver is asked for kicks again',
    (where) => {
      const { machine, driver } = broken(where);
      driver.add(80);
      expect(driver.deliverKick()).toBe(true);
      expect(machine.used(1)).toHaveLength(4);
    },
  );

  test.each(['back end', 'interrupt'] as const)('%s that throws: all that is in the ring is due', (where) => {
    const { machine } = broken(where);
    expect(machine.live.capture().device.txWaiting).toBe(1);
    machine.card.txReady();
    expect(machine.used(1)).toHaveLength(3);
    expect(machine.live.capture().device.txWaiting).toBe(0);
  });

  test('a back end that throws again and again costs no packet', () => {
    const { machine, driver } = broken('back end');
    let throws = 5;
    machine.sink.onSend = () => {
      if (throws-- > 0) throw new Error('still on fire');
    };
    for (let i = 0; i < 5; i++) {
      driver.add(80);
      expect(() => driver.deliverKick()).toThrow('still on fire');
    }
    driver.add(80);
    expect(driver.deliverKick()).toBe(true);
    expect(machine.used(1)).toHaveLength(9);
  });
});

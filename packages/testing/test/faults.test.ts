// Devices that misbehave on purpose: the language, and what a driver sees of each fault.
import { type DeviceEvent, isHostError, type LiveDevice, MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { RngDevice } from '@virtkit/device-rng';
import { PciFunction } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { faultyDevice, faultyDisk, parseFaults } from '../src/faults.ts';
import { BlkDriver, DriverError, GuestRam, PciBus, PciModernDriver, type RingWishes } from '../src/index.ts';

const DISK_BYTES = 1 << 20;

/** A disk with faults, its driver, and a clock that the test turns. */
function machine(spec: string, rings: RingWishes = {}) {
  const ram = new GuestRam(new Uint8Array(2 << 20));
  const bus = new PciBus();
  const memory = new MappedMemory([{ gpa: 0, bytes: ram.bytes }]);
  const content = new Uint8Array(DISK_BYTES);
  const plan = parseFaults(spec);
  const disk = new BlkDevice({ backend: faultyDisk(memoryDisk(content), plan) });
  const timers: { readonly at: number; readonly run: () => void }[] = [];
  let now = 0;
  let live: LiveDevice | undefined;
  const events: DeviceEvent[] = [];
  const model = faultyDevice(disk, plan, {
    device: () => {
      if (live === undefined) throw new Error('no device yet');
      return live;
    },
    after: (milliseconds, run) => timers.push({ at: now + milliseconds, run }),
  });
  const pciFunction = new PciFunction(model, {
    memory,
    rings: { packed: true },
    sendMsi: (address, data) => bus.send(address, data),
    onEvent: (event) => events.push(event),
  });
  const { device } = pciFunction;
  live = device;
  bus.plug(3, pciFunction);
  const driver = new BlkDriver({ transport: new PciModernDriver(() => bus, { slot: 3 }), ram, rings });
  driver.probe();
  driver.start();
  return {
    content,
    device,
    driver,
    events,
    /** Lets time pass. */
    pass(milliseconds: number): void {
      now += milliseconds;
      for (const timer of timers.splice(0)) {
        if (timer.at <= now) timer.run();
        else timers.push(timer);
      }
      driver.service();
    },
  };
}

const filled = (value: number, bytes = 512): Uint8Array => new Uint8Array(bytes).fill(value);

describe('the language', () => {
  test('has a value, a request, a queue and a moment for each fault', () => {
    expect(
      parseFaults(' delay=10..50ms:read#2@*7; length=-4@3-5;torn=100@2.5%; never@9- ;seed=42;stuck@1'),
    ).toEqual({
      seed: 42,
      faults: [
        {
          kind: 'delay',
          value: [10, 50],
          relative: false,
          request: 'read',
          queue: 2,
          when: { kind: 'every', count: 7 },
        },
        { kind: 'length', value: [-4, -4], relative: true, when: { kind: 'range', first: 3, last: 5 } },
        { kind: 'torn', value: [100, 100], relative: false, when: { kind: 'chance', percent: 2.5 } },
        {
          kind: 'never',
          value: [0, 0],
          relative: false,
          when: { kind: 'range', first: 9, last: Number.POSITIVE_INFINITY },
        },
        { kind: 'stuck', value: [0, 0], relative: false, when: { kind: 'range', first: 1, last: 1 } },
      ],
    });
  });

  test.each([
    ['', "'' has no fault"],
    ['seed=3', "'seed=3' has no fault"],
    ['seed=4294967296; error', "'4294967296' is no whole number from 0 to 4294967295"],
    ['slow=3', "fault 'slow=3': one of delay, error"],
    ['constructor', "fault 'constructor': one of delay, error"],
    ['delay', "fault 'delay': delay=NUMBER expected"],
    ['delay=50..10', "fault 'delay=50..10': '10' is no whole number from 50 to"],
    ['error=5', 'error has no value'],
    ['error:erase', "read, write or flush expected behind ':'"],
    ['reorder=1', "'1' is no whole number from 2 to 1024"],
    ['error#1024', "'1024' is no whole number from 0 to 1023"],
    ['error@0', "'0' is no whole number from 1"],
    ['error@5-3', "'3' is no whole number from 5"],
    ['error@101%', 'a request (@3), some (@3-5, @3-)'],
    ['torn:read', 'only writes are torn'],
    ['flip:write', "of a disk's requests only reads bring bytes"],
    ['torn#1', "a disk's back end knows no queues"],
    [Array.from({ length: 65 }, () => 'error').join(';'), '65 faults, at most 64'],
  ])('%s is refused', (text, says) => {
    expect(() => parseFaults(text)).toThrow(says);
    expect(isHostError(errorOf(() => parseFaults(text)))).toBe(true);
  });

  test('a plan that does not fit its device is refused', () => {
    const rng = new RngDevice({ backend: { fill: (bytes) => bytes.length } });
    expect(() => faultyDevice(rng, parseFaults('error:read'))).toThrow('virtio-rng has no such requests');
    expect(() => faultyDevice(rng, parseFaults('bad-id'))).toThrow('the option device is needed');
  });
});

function errorOf(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}

describe.each([{}, { packed: true }, { eventIdx: true }])('a driver (%o)', (rings) => {
  const requests = (driver: BlkDriver, count: number) =>
    Array.from({ length: count }, (_, n) => driver.write(n, filled(n + 1)));

  test('gets answers late, when their time has come', () => {
    const { driver, pass } = machine('delay=100@2', rings);
    const writes = requests(driver, 3);
    pass(99);
    expect(writes.map(({ status }) => status)).toEqual([0, undefined, 0]);
    pass(1);
    expect(writes.map(({ status }) => status)).toEqual([0, 0, 0]);
  });

  test('gets errors, of the requests that are meant, and nothing is done', () => {
    const { content, driver, events, pass } = machine('error:write@2-3', rings);
    const read = driver.read(0, 1);
    const writes = requests(driver, 4);
    pass(0);
    expect([read, ...writes].map(({ status }) => status)).toEqual([0, 0, 1, 1, 0]);
    expect([0, 1, 2, 3].map((n) => content[512 * n])).toEqual([1, 0, 0, 4]);
    expect(events).toEqual([
      {
        name: 'fault-injected',
        device: 'virtio-blk',
        facts: { kind: 'error', queue: 0, count: 2, request: 'write' },
      },
      {
        name: 'fault-injected',
        device: 'virtio-blk',
        facts: { kind: 'error', queue: 0, count: 3, request: 'write' },
      },
    ]);
  });

  test('never gets an answer, until it resets its device', () => {
    const { device, driver, pass } = machine('never@2', rings);
    const writes = requests(driver, 3);
    pass(1e9);
    expect(writes.map(({ status }) => status)).toEqual([0, undefined, 0]);
    expect(device.queue(0)?.inFlight).toBe(1);
    expect(() => device.capture()).toThrow('holds 1 answers of queue 0 back');
    driver.start();
    const again = requests(driver, 3);
    pass(0);
    expect(again.map(({ status }) => status)).toEqual([0, 0, 0]);
    expect(device.queue(0)?.inFlight).toBe(0);
  });

  test('gets answers in another order, also when there are too few to change places', () => {
    const { driver, pass } = machine('reorder=4; seed=3', rings);
    const writes = requests(driver, 6);
    pass(0);
    const [first, second, third, fourth, ...rest] = writes;
    expect([first, second, third, fourth].map((each) => each?.order).sort()).toEqual([0, 1, 2, 3]);
    expect(fourth?.order).toBe(0);
    expect(rest.map(({ status }) => status)).toEqual([undefined, undefined]);
    pass(50);
    expect(rest.map(({ status, order }) => [status, order])).toEqual([
      [0, 5],
      [0, 4],
    ]);
  });

  test('hears nothing of an answer that is there, and finds it at the next one', () => {
    const { driver, pass } = machine('lost-interrupt@1', rings);
    const first = driver.write(0, filled(1));
    const before = driver.virtio.interrupts;
    pass(0);
    expect([driver.virtio.interrupts - before, first.status]).toEqual([0, undefined]);
    const second = driver.write(1, filled(2));
    pass(0);
    expect([first.status, second.status]).toEqual([0, 0]);
  });

  test('is told wrong lengths', () => {
    const { driver, pass } = machine('length=7@1; length=-1000@2; length=+100@4', rings);
    const reads = Array.from({ length: 3 }, () => driver.read(0, 1));
    pass(0);
    expect(reads.map(({ status, written }) => [status, written])).toEqual([
      [0, 7],
      [0, 0],
      [0, 513],
    ]);
    driver.read(0, 1);
    expect(() => pass(0)).toThrow('613 bytes written to buffer');
  });

  test('finds a device that needs a reset, and one that takes nothing more', () => {
    for (const kind of ['needs-reset', 'stuck']) {
      const { device, driver, pass } = machine(`${kind}@2`, rings);
      const first = driver.write(0, filled(1));
      pass(0);
      const second = driver.write(1, filled(2));
      pass(1000);
      expect([first.status, second.status]).toEqual([0, undefined]);
      expect(device.broken).toBe(kind === 'needs-reset');
      driver.start();
      const third = driver.write(2, filled(3));
      pass(0);
      expect(third.status).toBe(0);
    }
  });

  test('finds a ring that makes no sense', () => {
    const { driver, pass } = machine('bad-id@2', rings);
    const first = driver.write(0, filled(1));
    pass(0);
    expect(first.status).toBe(0);
    driver.write(1, filled(2));
    expect(() => pass(0)).toThrow(DriverError);
    const index = machine('bad-index@2', rings);
    index.driver.write(0, filled(1));
    index.pass(0);
    index.driver.write(1, filled(2));
    expect(() => index.pass(0)).toThrow(DriverError);
  });

  test('writes what arrives only in part, and reads a bit that is wrong', () => {
    const { content, driver, pass } = machine('torn=200@2; flip@1', rings);
    const writes = requests(driver, 2);
    pass(0);
    expect(writes.map(({ status }) => status)).toEqual([0, 0]);
    expect([content[512], content[711], content[712]]).toEqual([2, 2, 0]);
    const read = driver.read(0, 1);
    const again = driver.read(0, 1);
    pass(0);
    const different = (bytes: Uint8Array): number => bytes.filter((byte) => byte !== 1).length;
    expect([different(read.data), different(again.data)]).toEqual([1, 0]);
  });
});

test('the same plan does the same again, and another seed something else', () => {
  const run = (seed: number): (number | undefined)[] => {
    const { driver, pass } = machine(`error@30%; delay=1..1000@20%; seed=${seed}`);
    const statuses = [0, 1, 2, 3].flatMap(() => {
      const writes = Array.from({ length: 16 }, (_, n) => driver.write(n, filled(n)));
      pass(500);
      return writes;
    });
    return statuses.map(({ status }) => status);
  };
  expect(run(1)).toEqual(run(1));
  expect(new Set(run(1)).size).toBe(3);
  expect(run(2)).not.toEqual(run(1));
});

test('what falls due while the machine is stopped comes when it goes on', () => {
  const { device, driver, pass } = machine('delay=10');
  const write = driver.write(0, filled(1));
  device.pause();
  pass(20);
  expect(write.status).toBeUndefined();
  device.resume();
  pass(0);
  expect(write.status).toBe(0);
});

// What a save of a live device has: the common fields, and of each subsection whether QEMU would have written it.
import { describe, expect, test } from 'vitest';
import { FEATURE } from '../../src/spec.ts';
import { Echo, EchoMachine, wireLayer } from './echo.ts';

class Wide extends Echo {
  override readonly features = (1n << 70n) | 1n;
  override readonly configLength = 4;
}

type Options = ConstructorParameters<typeof EchoMachine>[0];

const legacy: Options = {
  version1: false,
  rings: { ringReset: false },
};
const bits = (...list: readonly number[]): bigint => list.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

/** The subsections of a device after `act`. */
function subsections(options: Options, act: (machine: EchoMachine) => void = () => {}) {
  const machine = new EchoMachine(options);
  act(machine);
  return machine.live.capture().subsections;
}

test('the common fields, and a line for each queue up to the first that does not exist', () => {
  const machine = new EchoMachine({
    echo: new Wide(),
    wire: { captureQueue: () => null },
  });
  const { live, core } = machine;
  machine.start([0]);
  core.config.bytes.set([1, 2, 3, 4]);
  core.selectQueue(1);
  for (let i = 0; i < 3; i++) machine.offer(1);
  core.kick(1);
  const state = live.capture();
  expect(state).toMatchObject({
    transport: null,
    status: 15,
    isr: 1,
    queueSel: 1,
    guestFeatures: 1,
    device: null,
  });
  expect(state.config).toEqual(Uint8Array.of(1, 2, 3, 4));
  expect(state.queues).toEqual([
    { num: 8, desc: 0x1000n, lastAvailIdx: 0, transport: null },
    { num: 8, desc: 0x4000n, lastAvailIdx: 3, transport: null },
  ]);
  // a copy: what the guest does afterwards is not in it
  core.config.bytes.fill(9);
  expect(state.config).toEqual(Uint8Array.of(1, 2, 3, 4));
});

test('a queue that does not exist ends the list, whatever is behind it', () => {
  class Gap extends Echo {
    override readonly queueSizes = [8, 0, 8];
  }
  expect(new EchoMachine({ echo: new Gap() }).live.capture().queues).toHaveLength(1);
});

test('the alignment is there where the driver chooses it', () => {
  const layer = { ...wireLayer, hasVariableVringAlignment: true };
  const machine = new EchoMachine({ wire: { layer }, align: 64 });
  expect(machine.live.capture().queues.map(({ align }) => align)).toEqual([64, 64]);
});

describe('subsections', () => {
  test('of a fresh modern device: features and addresses, empty', () => {
    expect(subsections({})).toEqual({ features64: 0n, virtqueues: [] });
  });

  test('of a legacy device: none', () => {
    expect(subsections(legacy)).toEqual({});
  });

  test('features: the halves that hold something which is offered', () => {
    const machine = new EchoMachine({ echo: new Wide() });
    expect(machine.live.capture().subsections).toMatchObject({ features64: 0n, features128: 0n });
    machine.core.setFeatures(bits(0, 32, 70));
    const { guestFeatures, subsections: sub } = machine.live.capture();
    expect([guestFeatures, sub.features64, sub.features128]).toEqual([1, bits(0, 32), bits(6)]);
  });

  test('addresses up to the last queue that has one, of either ring', () => {
    const rings = (avail: bigint, used: bigint) =>
      subsections({}, ({ driver }) => driver.queue(1)?.setAddresses(0n, avail, used)).virtqueues;
    const none = { avail: 0n, used: 0n };
    expect(rings(0x5000n, 0x6000n)).toEqual([none, { avail: 0x5000n, used: 0x6000n }]);
    expect(rings(0x5000n, 0n)).toEqual([none, { avail: 0x5000n, used: 0n }]);
    expect(rings(0n, 0x6000n)).toEqual([none, { avail: 0n, used: 0x6000n }]);
    expect(rings(0n, 0n)).toEqual([]);
  });

  test('ring sizes as they were made, once one of them is another', () => {
    const resize = ({ driver }: EchoMachine): void => driver.queue(1)?.setSize(4);
    expect(subsections({}, resize).ringsize).toEqual([8, 8]);
    expect(subsections({ saveRingSize: false }, resize).ringsize).toBeUndefined();
    expect(subsections({ saveRingSize: true }).ringsize).toBeUndefined();
  });

  test.each([
    ['little-endian machine, modern', 'little', {}, 'little', undefined],
    ['big-endian machine, modern', 'big', {}, 'big', 2],
    ['big-endian machine, legacy', 'big', legacy, 'big', undefined],
    ['little-endian machine, legacy, reset by a big-endian CPU', 'little', legacy, 'big', 2],
    ['big-endian machine, legacy, reset by a little-endian CPU', 'big', legacy, 'little', 1],
  ] as const)('byte order, %s', (_, targetEndian, options, endian, expected) => {
    const found = subsections({ ...options, targetEndian }, ({ live, core }) => {
      core.reset(endian);
      core.setFeatures(live.offeredFeatures);
    });
    expect(found.deviceEndian).toBe(expected);
  });

  test('broken, started, disabled: when they are', () => {
    expect(subsections({}, ({ core }) => core.fault('test'))).toMatchObject({ broken: true });
    expect(subsections({}, (machine) => machine.start())).toMatchObject({ started: true });
    expect(subsections({}, ({ driver }) => driver.setDisabled(true))).toMatchObject({ disabled: true });
    const found = subsections({}, (machine) => machine.start());
    expect(Object.keys(found)).toEqual(['features64', 'virtqueues', 'started']);
  });

  test('the transport’s own, when it has some', () => {
    expect(subsections({ wire: { captureExtra: () => null } })).toHaveProperty('extraState', null);
    expect(subsections({})).not.toHaveProperty('extraState');
  });

  test('indices of packed rings, up to the last that is not as after a reset', () => {
    const machine = new EchoMachine({ rings: { packed: true } });
    expect(machine.live.capture().subsections.packedVirtqueues).toEqual([]);
    machine.start([FEATURE.RING_PACKED]);
    const [fresh, slot] = machine.core.queues.slots;
    if (fresh === undefined || slot === undefined) throw new Error('two queues expected');
    const indices = { lastAvailIdx: 0, lastAvailWrap: true, usedIdx: 0, usedWrap: true, inuse: 0 };
    const entry = {
      lastAvailIdx: 0,
      lastAvailWrapCounter: true,
      usedIdx: 0,
      usedWrapCounter: true,
      inuse: 0,
    };
    for (const [changed, saved] of [
      [{ lastAvailIdx: 3 }, { lastAvailIdx: 3 }],
      [{ lastAvailWrap: false }, { lastAvailWrapCounter: false }],
      [{ usedIdx: 2 }, { usedIdx: 2 }],
      [{ usedWrap: false }, { usedWrapCounter: false }],
      [{ inuse: 1 }, { inuse: 1 }],
    ]) {
      slot.ring = undefined;
      slot.indices = { ...indices, ...changed };
      expect(machine.live.capture().subsections.packedVirtqueues).toEqual([entry, { ...entry, ...saved }]);
    }
    slot.indices = indices;
    expect(machine.live.capture().subsections.packedVirtqueues).toEqual([]);
  });
});

import { type Gpa, isModern, negotiated, type VirtioState, virtioDevice } from '@virtkit/core';
import { type BlkState, blk } from '@virtkit/device-blk';
import { isStateError } from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type PciParts, pci } from '../src/index.ts';
import {
  ALL_ON,
  COMMAND,
  changeConfig,
  interrupt,
  MODERN,
  MSIX,
  makeRig,
  offerRequest,
  type Rig,
  type RigOptions,
  ringsOf,
  setEntry,
  setMsix,
  startModern,
  usedIndex,
} from './rig.ts';

const codec = virtioDevice(pci, blk);
type State = VirtioState<PciParts, BlkState>;

/** Through the bytes of a stream. */
function carried(state: State): State {
  return codec.load(codec.encode(state));
}

/** The same machine anew: memory and device as they were, stopped. */
function move(from: Rig, options: RigOptions): Rig {
  const to = makeRig(options);
  const bytes = new Uint8Array(1 << 20);
  from.memory.read(0 as never, bytes);
  to.memory.write(0 as never, bytes);
  to.fn.device.restore(carried(from.fn.device.capture()));
  return to;
}

describe('states that do not fit', () => {
  test.each<[string, RigOptions, RigOptions, string]>([
    ['another number of vectors', { vectors: 3 }, { vectors: 4 }, 'MSI-X capability: table size'],
    ['no vectors', { vectors: 0 }, { vectors: 4 }, 'capabilities pointer'],
    ['a page per queue', { pagePerVq: true }, {}, 'virtio notification capability: length'],
    ['modern into transitional', { mode: 'modern' }, {}, 'device id'],
    ['legacy into transitional', { mode: 'legacy' }, {}, 'capabilities pointer'],
    ['function of several', { multifunction: true }, {}, 'header type'],
    ['another PBA', { vectors: 129 }, { vectors: 128 }, 'MSI-X capability: table size'],
    [
      'machine 9.2 into 7.2',
      { express: true, machine: '9.2' },
      { express: true },
      'PCI Express capability: device capabilities',
    ],
    ['port I/O notification', { modernPioNotify: true }, {}, 'capabilities pointer'],
  ])('%s: refused, with the name of what differs', (_name, theirs, ours, name) => {
    const state = carried(makeRig(theirs).fn.device.capture());
    const { fn } = makeRig(ours);
    startModern(fn);
    const before = fn.device.capture();
    const names = fn.device
      .check(state)
      .filter(({ code }) => code === 'config-space')
      .map(({ facts }) => facts['name']);
    expect(names.join()).toContain(name);
    expect(() => fn.device.restore(state)).toThrow(/Bad config data: i=0x/);
    expect(fn.device.capture()).toEqual(before);
  });

  test('QEMU says the same of the first byte', () => {
    const state = makeRig({ vectors: 3 }).fn.device.capture();
    const [finding] = makeRig({ vectors: 2 }).fn.device.check(state);
    expect(finding).toMatchObject({
      code: 'config-space',
      severity: 'error',
      layer: 'transport',
      path: 'transport.config[0x9a]',
      reason:
        'Bad config data: i=0x9a read: 0x2 device: 0x1 cmask: 0xff wmask: 0x0 w1cmask: 0x0 (MSI-X capability: table size)',
    });
  });

  test('PCI Express into conventional', () => {
    const state = makeRig({ express: true }).fn.device.capture();
    const [finding] = makeRig({ mode: 'modern' }).fn.device.check(state);
    expect(finding).toMatchObject({ code: 'config-space-size', facts: { found: 4096, expected: 256 } });
  });

  test('what may differ: scratch bytes, addresses, ids of the subsystem, interrupt pin and line', () => {
    const { fn } = makeRig();
    const state = fn.device.capture();
    const config = state.transport.config.slice();
    for (const at of [4, 0x0c, 0x0d, 0x10 + 3, 0x2c, 0x2e, 0x3c, 0x3d, 0xf0, 0xff]) config[at] = 0x81;
    const changed = { ...state, transport: { ...state.transport, config } };
    expect(fn.device.check(changed)).toEqual([]);
    fn.device.restore(changed);
    expect(fn.device.capture()).toEqual(changed);
    // a pin that is none does no harm
    startModern(fn);
    interrupt(fn, 0);
    expect(fn.intx).toBe(true);
  });

  test.each([
    ['a level that is none', (s: State) => ({ ...s, transport: { ...s.transport, irqState: [2, 0, 0, 0] } })],
    ['a vector that is not there', (s: State) => ({ ...s, transport: { ...s.transport, configVector: 3 } })],
  ])('%s', (_name, spoil) => {
    const { fn } = makeRig();
    try {
      fn.device.restore(spoil(fn.device.capture()) as State);
      expect.fail('was taken');
    } catch (error) {
      if (!isStateError(error)) throw error;
      expect(error.layer).toBe('transport');
    }
  });
});

describe('interrupts that the guest has not taken', () => {
  test('INTx is asserted again, and the host is told', () => {
    const options = { vectors: 0 };
    const rig = makeRig(options);
    startModern(rig.fn);
    interrupt(rig.fn, 0);
    const moved = move(rig, options);
    expect(moved.line).toEqual([true]);
    expect(moved.fn.configRead(6, 2) & 8).toBe(8);
    expect(moved.fn.barRead(4, 0x1000, 1)).toBe(1);
    expect(moved.line).toEqual([true, false]);
    expect(rig.fn.device.capture().transport.config[6], 'not in the saved status').toBe(0x10);
    // a line that is down is told too: the host may think otherwise
    expect(move(makeRig(options), options).line).toEqual([false]);
  });

  test('a pending vector fires when it is unmasked, with sparse queues', () => {
    const options = { vectors: 5, queues: 4 };
    const rig = makeRig(options);
    startModern(rig.fn, [0, 1, 3]);
    for (let vector = 0; vector < 5; vector++) setEntry(rig.fn, vector, 0xfee00000, vector);
    setMsix(rig.fn, MSIX.ENABLE);
    for (const [queue, vector] of [
      [0, 4],
      [3, 2],
    ] as const) {
      rig.fn.barWrite(4, MODERN.QUEUE_SELECT, 2, queue);
      rig.fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, vector);
    }
    rig.fn.barWrite(1, 16 * 2 + 12, 4, 1);
    interrupt(rig.fn, 3);
    const moved = move(rig, options);
    expect(moved.messages).toEqual([]);
    moved.fn.barWrite(1, 16 * 2 + 12, 4, 0);
    expect(moved.messages).toEqual([[0xfee00000, 2]]);
    interrupt(moved.fn, 0);
    interrupt(moved.fn, 3);
    interrupt(moved.fn, 1);
    expect(moved.messages.map(([, data]) => data)).toEqual([2, 4, 2]);
  });

  test('everything held back by the function mask fires together', () => {
    const rig = makeRig({ vectors: 3 });
    startModern(rig.fn, [0, 1]);
    for (let vector = 0; vector < 3; vector++) setEntry(rig.fn, vector, 0xfee00000, vector);
    setMsix(rig.fn, MSIX.ENABLE | MSIX.FUNCTION_MASK);
    rig.fn.barWrite(4, MODERN.CONFIG_VECTOR, 2, 0);
    rig.fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, 1);
    interrupt(rig.fn, 1);
    changeConfig(rig.fn);
    const moved = move(rig, { vectors: 3 });
    setMsix(moved.fn, MSIX.ENABLE);
    expect(moved.messages.map(([, data]) => data)).toEqual([0, 1]);
  });

  test('a ring that makes no sense after the load breaks the device, and that is told by the saved vector', () => {
    const rig = makeRig({ vectors: 1 });
    startModern(rig.fn);
    setEntry(rig.fn, 0, 0xfee00000, 77);
    setMsix(rig.fn, MSIX.ENABLE);
    rig.fn.barWrite(4, MODERN.CONFIG_VECTOR, 2, 0);
    const state = carried(rig.fn.device.capture());
    const moved = makeRig({ vectors: 1 });
    // the driver's index: 100 requests in a ring of 16
    moved.memory.writeU16(0x11002 as never, 100, true);
    moved.fn.device.restore(state);
    expect(moved.fn.device.broken).toBe(true);
    expect(moved.messages).toEqual([[0xfee00000, 77]]);
  });
});

test('the legacy configuration stays where MSI-X has put it', () => {
  const rig = makeRig({ mode: 'legacy' });
  const capacity = rig.fn.barRead(0, 20, 4);
  setMsix(rig.fn, MSIX.ENABLE);
  const moved = move(rig, { mode: 'legacy' });
  expect(moved.fn.barRead(0, 24, 4)).toBe(capacity);
  setMsix(moved.fn, 0);
  expect(moved.fn.barRead(0, 20, 4)).toBe(capacity);
});

test('a kick that came while the machine was stopped is found when it goes on', () => {
  const rig = makeRig();
  startModern(rig.fn);
  rig.fn.device.pause();
  offerRequest(rig, 0);
  rig.fn.barWrite(4, MODERN.NOTIFY, 2, 0);
  expect(usedIndex(rig, 0)).toBe(0);
  const moved = move(rig, {});
  expect(usedIndex(moved, 0)).toBe(0);
  moved.fn.device.resume();
  expect(usedIndex(moved, 0)).toBe(1);
});

/** A driver that laid its rings out as a modern one, then began to negotiate again and left VERSION_1 out. */
function takeVersion1Back({ fn }: Rig): void {
  fn.barWrite(4, MODERN.STATUS, 1, 1);
  fn.barWrite(4, MODERN.DRIVER_FEATURE_SELECT, 4, 1);
  fn.barWrite(4, MODERN.DRIVER_FEATURE, 4, 0);
}

/** Rings that a load puts elsewhere: without VERSION_1 QEMU computes them from the table's address, whatever they were. */
function ringsAreComputed({ fn }: Rig): boolean {
  const state = fn.device.capture();
  const rings = state.subsections.virtqueues ?? [];
  return (
    !isModern(negotiated(state)) && rings.some(({ avail }, queue) => avail === BigInt(ringsOf(queue).avail))
  );
}

test('rings of a driver that took VERSION_1 back are computed, as QEMU does', () => {
  const rig = makeRig();
  startModern(rig.fn);
  expect(ringsAreComputed(rig)).toBe(false);
  takeVersion1Back(rig);
  expect(ringsAreComputed(rig)).toBe(true);
  const { subsections } = move(rig, {}).fn.device.capture();
  const { desc } = ringsOf(0);
  expect(subsections.virtqueues?.[0]).toEqual({
    avail: BigInt(desc + 16 * 16),
    used: BigInt(desc + 0x1000),
  });
});

test('BARs are mapped again', () => {
  const rig = makeRig();
  rig.fn.configWrite(0x14, 4, 0xfebf0000);
  rig.fn.configWrite(COMMAND, 2, ALL_ON);
  const moved = move(rig, {});
  expect(moved.moved).toMatchObject([{ index: 1, address: 0xfebf0000, enabled: true }]);
});

type Operation = (rig: Rig) => unknown;

/** Modern registers with their width: all but those that a broken device comes from. */
const REGISTERS: readonly (readonly [offset: number, size: number])[] = [
  ...[0, 4, 8, 12, 32, 36, 40, 48].map((offset) => [offset, 4] as const),
  ...[16, 22, 24, 26].map((offset) => [offset, 2] as const),
  [20, 1],
];

/** Something that a driver may do, or that happens to the device. What QEMU does not save is left out. */
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.tuple(fc.constantFrom(...REGISTERS), fc.nat(20)).map(
    ([[offset, size], value]): Operation =>
      ({ fn }) =>
        fn.barWrite(4, offset, size, value),
  ),
  fc.tuple(fc.nat(0x40), fc.constantFrom(1, 2, 4)).map(
    ([offset, size]): Operation =>
      // the generation begins anew after a load
      ({ fn }) =>
        offset <= 21 && offset + size > 21 ? 0 : fn.barRead(4, offset, size),
  ),
  fc.tuple(fc.nat(30), fc.constantFrom(1, 2, 4)).map(
    ([offset, size]): Operation =>
      ({ fn }) =>
        fn.barRead(0, offset, size),
  ),
  fc.tuple(fc.constantFrom(14, 18), fc.nat(7)).map(
    ([offset, value]): Operation =>
      ({ fn }) =>
        fn.barWrite(0, offset, 2, value),
  ),
  fc.tuple(fc.nat(16), fc.oneof(fc.nat(3), fc.constant(0xfee00000))).map(
    ([word, value]): Operation =>
      ({ fn }) =>
        fn.barWrite(1, 4 * word, 4, value),
  ),
  fc.nat(0x820).map(
    (offset): Operation =>
      ({ fn }) =>
        fn.barRead(1, offset & ~3, 4),
  ),
  // switching it off leaves INTx low, and a load raises it again if the ISR was not read: that is better
  fc.constantFrom(0x8000, 0xc000).map(
    (control): Operation =>
      ({ fn }) =>
        setMsix(fn, control),
  ),
  fc.constantFrom(0, 3, 7, 0x407).map(
    (command): Operation =>
      ({ fn }) =>
        fn.configWrite(COMMAND, 2, command),
  ),
  fc.tuple(fc.nat(255), fc.constantFrom(1, 2, 4)).map(
    ([offset, size]): Operation =>
      ({ fn }) =>
        fn.configRead(offset, size),
  ),
  fc.nat(1).map(
    (queue): Operation =>
      ({ fn }) => {
        // what a device without bus mastering signals is not sent, and a load raises the line for it, as in QEMU
        if (!fn.device.disabled && fn.device.queue(queue)?.format !== undefined) interrupt(fn, queue);
      },
  ),
  fc.constant<Operation>(({ fn }) => {
    if (!fn.device.disabled) changeConfig(fn);
  }),
  fc.constant<Operation>(({ fn, memory }) => {
    // a driver begins with rings of its own
    for (const queue of [0, 1])
      for (const at of [ringsOf(queue).avail, ringsOf(queue).used]) memory.writeU32(at as Gpa, 0, true);
    startModern(fn, [0, 1]);
  }),
  fc.nat(1).map(
    (queue): Operation =>
      (rig) => {
        if (rig.fn.device.capture().subsections.started !== true) return;
        offerRequest(rig, queue);
        rig.fn.barWrite(4, MODERN.NOTIFY + 4 * queue, 2, 0);
      },
  ),
  fc.constant<Operation>(({ fn }) => {
    fn.reset();
    fn.configWrite(COMMAND, 2, ALL_ON);
  }),
);

test('a function that was moved goes on as the one that was not', { timeout: 60_000 }, () => {
  // a cache that is off is not switched off by a driver that knows nothing of it: that is not saved
  const options: RigOptions = { vectors: 4, writeCache: false, rings: { eventIdx: false } };
  fc.assert(
    fc.property(
      fc.array(operation, { maxLength: 40 }),
      fc.array(operation, { maxLength: 40 }),
      (before, after) => {
        const rig = makeRig(options);
        for (const step of before) step(rig);
        fc.pre(!ringsAreComputed(rig));
        const twin = move(rig, options);
        twin.fn.device.resume();
        rig.messages.length = 0;
        twin.messages.length = 0;
        for (const [i, step] of after.entries()) {
          expect(step(twin), `step ${i}`).toBe(step(rig));
          expect(twin.fn.intx, `line at step ${i}`).toBe(rig.fn.intx);
        }
        expect(twin.messages).toEqual(rig.messages);
        expect(twin.fn.device.capture()).toEqual(rig.fn.device.capture());
      },
    ),
    { numRuns: 300 },
  );
});

// What the fields of a saved state promise each other, rule by rule, at the last value that is right and the first that is wrong.
import { describe, expect, test } from 'vitest';
import type { Finding } from '../src/contract/finding.ts';
import type { QueueState, VirtioState } from '../src/contract/state.ts';
import { checkVirtio } from '../src/procedure/check.ts';
import { FEATURE } from '../src/spec.ts';
import { echoLayer, type Wire, wireLayer } from './live/echo.ts';

type State = VirtioState<Wire, null>;

const bit = (...bits: readonly number[]): bigint => bits.reduce((sum, one) => sum | (1n << BigInt(one)), 0n);
const MODERN = bit(FEATURE.VERSION_1);
const PACKED = bit(FEATURE.VERSION_1, FEATURE.RING_PACKED);
const NO_QUEUE = { num: 0, desc: 0n, lastAvailIdx: 0, transport: null };
const RINGS = [{ avail: 0x2000n, used: 0x3000n }];

const queueOf = (changes: Partial<QueueState<Wire>>): QueueState<Wire> => ({
  num: 8,
  desc: 0x1000n,
  lastAvailIdx: 0,
  transport: null,
  ...changes,
});

/** A legacy device with a queue that runs. */
function stateOf(changes: Partial<State>): State {
  return {
    transport: null,
    status: 7,
    isr: 0,
    queueSel: 0,
    guestFeatures: 0,
    config: new Uint8Array(0),
    queues: [queueOf({})],
    device: null,
    subsections: {},
    ...changes,
  };
}

/** The same, modern. */
const modern = (changes: Partial<State> = {}): State =>
  stateOf({
    status: 15,
    ...changes,
    subsections: { features64: MODERN, virtqueues: RINGS, ...changes.subsections },
  });

const FRESH = { lastAvailIdx: 0, lastAvailWrapCounter: true, usedIdx: 0, usedWrapCounter: true, inuse: 0 };

/** The same, with a packed ring of `num`. */
const packed = (entry: Partial<typeof FRESH>, queue: Partial<QueueState<Wire>> = {}): State =>
  modern({
    queues: [queueOf(queue)],
    subsections: { features64: PACKED, virtqueues: RINGS, packedVirtqueues: [{ ...FRESH, ...entry }] },
  });

const check = (state: State): Finding[] => checkVirtio(state, { transport: wireLayer, device: echoLayer });

test.each([
  ['legacy, fresh', stateOf({ status: 0, queues: [] })],
  ['legacy, running', stateOf({})],
  ['modern, running', modern()],
  [
    'modern, with no queue set up and no addresses',
    stateOf({ status: 15, queues: [queueOf({ desc: 0n })], subsections: { features64: MODERN } }),
  ],
  ['modern, before DRIVER_OK', modern({ status: 11 })],
  ['modern, before FEATURES_OK', modern({ status: 3 })],
  ['all bits of a status that mean something', modern({ status: 0xcf })],
  ['the last queue selected', stateOf({ queueSel: 1023 })],
  ['both bits of the ISR', stateOf({ isr: 3 })],
  [
    'low features in both places',
    stateOf({ guestFeatures: 0x3000_0001, subsections: { features64: 0x3000_0001n } }),
  ],
  ['features of the high half only', modern({ guestFeatures: 0 })],
  ['a queue that does not exist', stateOf({ queues: [NO_QUEUE] })],
  ['the largest queue', stateOf({ queues: [queueOf({ num: 1024 })] })],
  ['a queue of an odd size that is not set up', stateOf({ queues: [queueOf({ num: 7, desc: 0n })] })],
  ['a packed ring of an odd size', packed({ lastAvailIdx: 6, usedIdx: 6, inuse: 7 }, { num: 7 })],
  ['an alignment of 1', stateOf({ queues: [queueOf({ align: 1 })] })],
  ['an alignment of 4096', stateOf({ queues: [queueOf({ align: 4096 })] })],
  ['a split ring whose index runs free', stateOf({ queues: [queueOf({ lastAvailIdx: 0xffff })] })],
  [
    'a packed ring at its last slot, with its wrap counter',
    packed({ lastAvailIdx: 7 }, { lastAvailIdx: 0x8007 }),
  ],
  ['a packed ring that is all in use', packed({ lastAvailIdx: 7, usedIdx: 7, inuse: 8 })],
  ['a packed ring that is not set up', packed({ lastAvailIdx: 9, usedIdx: 9, inuse: 99 }, { desc: 0n })],
  ['a packed ring that does not exist', packed({}, { num: 0, desc: 0n })],
  [
    'a packed ring without an entry',
    modern({ subsections: { features64: PACKED, virtqueues: RINGS, packedVirtqueues: [] } }),
  ],
  [
    'entries of packed rings where split ones are negotiated',
    modern({
      subsections: { features64: MODERN, virtqueues: RINGS, packedVirtqueues: [{ ...FRESH, usedIdx: 99 }] },
    }),
  ],
  ['little-endian', stateOf({ subsections: { deviceEndian: 1 } })],
  ['big-endian', stateOf({ subsections: { deviceEndian: 2 } })],
  ['the largest ring as a default', stateOf({ subsections: { ringsize: [1024, 0] } })],
  ['broken, legacy', stateOf({ subsections: { broken: true } })],
  ['broken, with NEEDS_RESET', modern({ status: 0x4f, subsections: { features64: MODERN, broken: true } })],
  ['broken: false', modern({ subsections: { features64: MODERN, broken: false } })],
  ['started, legacy, before DRIVER_OK', stateOf({ status: 3, subsections: { started: true } })],
  ['started, modern', modern({ subsections: { features64: MODERN, started: true } })],
  ['started: false', modern({ status: 11, subsections: { features64: MODERN, started: false } })],
])('nothing to say: %s', (_, state) => {
  expect(check(state)).toEqual([]);
});

describe('said, with its place and its values', () => {
  const error = 'error';
  const warning = 'warning';
  test.each<[string, State, Omit<Finding, 'layer'>]>([
    [
      'a queue behind the last one is selected',
      stateOf({ queueSel: 1024 }),
      {
        code: 'queue-sel',
        severity: error,
        path: 'queueSel',
        reason: 'queue 1024 selected, at most 1023 allowed',
        facts: { queueSel: 1024, limit: 1023 },
      },
    ],
    [
      'status bits without a meaning',
      stateOf({ status: 0x37 }),
      {
        code: 'status',
        severity: warning,
        path: 'status',
        reason: '0x37 has bits without a meaning: 0x30',
        facts: { status: 0x37 },
      },
    ],
    [
      'a modern driver that runs without FEATURES_OK',
      modern({ status: 7 }),
      {
        code: 'status',
        severity: warning,
        path: 'status',
        reason: '0x7: DRIVER_OK without FEATURES_OK though VERSION_1 is negotiated',
        facts: { status: 7 },
      },
    ],
    [
      'other bits of the ISR',
      stateOf({ isr: 4 }),
      {
        code: 'isr',
        severity: warning,
        path: 'isr',
        reason: '0x4 has bits other than 1 (queue) and 2 (configuration)',
        facts: { isr: 4 },
      },
    ],
    [
      'two low halves of the features',
      stateOf({ guestFeatures: 1, subsections: { features64: 2n } }),
      {
        code: 'features',
        severity: warning,
        path: 'guestFeatures',
        reason: '0x1 here, 0x2 in the low half of virtio/64bit_features',
        facts: { guestFeatures: 1, features64: 2 },
      },
    ],
    [
      'a queue larger than there can be',
      stateOf({ queues: [queueOf({}), queueOf({ num: 1025, desc: 0n })] }),
      {
        code: 'queue-size',
        severity: error,
        path: 'queues[1].num',
        reason: '1025 entries, 1 to 1024 allowed',
        facts: { num: 1025, limit: 1024 },
      },
    ],
    [
      'a ring without entries',
      stateOf({ queues: [queueOf({ num: 0 })] }),
      {
        code: 'queue-size',
        severity: error,
        path: 'queues[0].num',
        reason: '0 entries, 1 to 1024 allowed',
        facts: { num: 0, limit: 1024 },
      },
    ],
    [
      'a split ring whose size is no power of two',
      stateOf({ queues: [queueOf({ num: 7 })] }),
      {
        code: 'queue-size',
        severity: warning,
        path: 'queues[0].num',
        reason: '7 entries, and the size of a split ring is a power of two',
        facts: { num: 7 },
      },
    ],
    ...[0, 6].map((align): [string, State, Omit<Finding, 'layer'>] => [
      `an alignment of ${align}`,
      stateOf({ queues: [queueOf({ align })] }),
      {
        code: 'queue-align',
        severity: warning,
        path: 'queues[0].align',
        reason: `alignment ${align} is not a power of two`,
        facts: { align },
      },
    ]),
    [
      'an index in a queue that is not set up',
      stateOf({ queues: [queueOf({ desc: 0n, lastAvailIdx: 1 })] }),
      {
        code: 'queue-index',
        severity: error,
        path: 'queues[0].lastAvailIdx',
        reason: 'index 1 in a queue without a descriptor table',
        facts: { lastAvailIdx: 1, desc: 0n },
      },
    ],
    [
      'a slot behind a packed ring',
      packed({}, { lastAvailIdx: 8 }),
      {
        code: 'queue-index',
        severity: warning,
        path: 'queues[0].lastAvailIdx',
        reason: 'slot 8 in a packed ring of 8',
        facts: { lastAvailIdx: 8, num: 8 },
      },
    ],
    ...(['lastAvailIdx', 'usedIdx'] as const).map((key): [string, State, Omit<Finding, 'layer'>] => [
      `${key} behind a packed ring, in its own entry`,
      packed({ [key]: 8 }),
      {
        code: 'queue-index',
        severity: error,
        path: `subsections.packedVirtqueues[0].${key}`,
        reason: 'slot 8 in a packed ring of 8',
        facts: { [key]: 8, num: 8 },
      },
    ]),
    ...(
      [
        [9, warning],
        [15, warning],
        [16, error],
      ] as const
    ).map(([inuse, severity]): [string, State, Omit<Finding, 'layer'>] => [
      `${inuse} of 8 slots in use`,
      packed({ inuse }),
      {
        code: 'queue-inuse',
        severity,
        path: 'subsections.packedVirtqueues[0].inuse',
        reason: `${inuse} slots in use in a packed ring of 8`,
        facts: { inuse, num: 8 },
      },
    ]),
    [
      'packed rings without their entries',
      modern({ subsections: { features64: PACKED, virtqueues: RINGS } }),
      {
        code: 'missing',
        severity: error,
        path: 'subsections.packedVirtqueues',
        reason: 'RING_PACKED is negotiated and virtio/packed_virtqueues is missing',
        facts: {},
      },
    ],
    ...[0, 3].map((deviceEndian): [string, State, Omit<Finding, 'layer'>] => [
      `a byte order of ${deviceEndian}`,
      stateOf({ subsections: { deviceEndian } }),
      {
        code: 'device-endian',
        severity: error,
        path: 'subsections.deviceEndian',
        reason: `${deviceEndian}, 1 (little) or 2 (big) expected`,
        facts: { deviceEndian },
      },
    ]),
    [
      'a modern ring without addresses, though only one of the queues is set up',
      stateOf({
        status: 15,
        queues: [queueOf({ desc: 0n }), queueOf({})],
        subsections: { features64: MODERN },
      }),
      {
        code: 'missing',
        severity: error,
        path: 'subsections.virtqueues',
        reason: 'VERSION_1 is negotiated and virtio/virtqueues (avail and used addresses) is missing',
        facts: {},
      },
    ],
    [
      'a default size larger than there can be',
      stateOf({ subsections: { ringsize: [8, 1025] } }),
      {
        code: 'queue-size',
        severity: error,
        path: 'subsections.ringsize[1]',
        reason: 'default size 1025, at most 1024 allowed',
        facts: { size: 1025, limit: 1024 },
      },
    ],
    [
      'broken without NEEDS_RESET',
      modern({ subsections: { features64: MODERN, broken: true } }),
      {
        code: 'broken',
        severity: warning,
        path: 'subsections.broken',
        reason: 'the device is broken, and NEEDS_RESET is not set in status 0xf',
        facts: { status: 15 },
      },
    ],
    [
      'started without DRIVER_OK',
      modern({ status: 11, subsections: { features64: MODERN, started: true } }),
      {
        code: 'started',
        severity: warning,
        path: 'subsections.started',
        reason: 'the device is started, and DRIVER_OK is not set in status 0xb',
        facts: { status: 11 },
      },
    ],
  ])('%s', (_, state, finding) => {
    expect(check(state)).toEqual([{ ...finding, layer: 'core' }]);
  });

  test('all at once, core’s first, each with the layer that says it', () => {
    const report = { code: 'own', severity: warning, path: 'device', reason: 'mine', facts: {} } as const;
    const findings = checkVirtio(stateOf({ queueSel: 1024, isr: 4 }), {
      transport: { ...wireLayer, check: (_, say) => say(report) },
      device: { ...echoLayer, check: (_, say) => say(report) },
    });
    expect(findings.map(({ layer, code }) => [layer, code])).toEqual([
      ['core', 'queue-sel'],
      ['core', 'isr'],
      ['transport', 'own'],
      ['device', 'own'],
    ]);
  });
});

// How a section's body is read and written: places in errors, layouts that are tried, what may stand behind, and the steps.
import {
  type Field,
  isStateError,
  nodeAt,
  Reader,
  StateError,
  Trace,
  u8,
  u16,
  u32,
  Writer,
} from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import type { DeviceLayer } from '../src/contract/device.ts';
import type { Step } from '../src/contract/step.ts';
import { virtioLengths, virtioLoad } from '../src/procedure/load.ts';
import { virtioSave } from '../src/procedure/save.ts';
import { bus, lamp, lampOnBus, lampState1 as state } from './foreign.ts';

const BASE = 1000;
const body = lampOnBus.encode(state);
const lampLayers = { transport: bus, device: lamp };

function errorOf(run: () => unknown): StateError {
  try {
    run();
  } catch (error) {
    if (isStateError(error)) return error;
    throw error;
  }
  throw new Error('a StateError expected');
}
const place = ({ layer, code, path, offset }: StateError): string =>
  [layer, code, path, offset].filter((part) => part !== undefined).join(' ');

/** A device whose own state is one of these layouts. */
function deviceOf<D>(...layouts: readonly Field<D>[]): DeviceLayer<D> {
  const [first] = layouts;
  return {
    contract: 1,
    name: 'virtio-any',
    version: 1,
    minimum: 1,
    features: {},
    loadDevice: () => layouts,
    saveDevice: () => {
      if (first === undefined) throw new Error('no layout');
      return first;
    },
  };
}

/** A body with these bytes for device, subsections and the rest. */
function bodyWith(...device: readonly number[]): Uint8Array {
  const early = body.subarray(0, 67);
  const bytes = new Uint8Array(early.length + device.length);
  bytes.set(early);
  bytes.set(device, early.length);
  return bytes;
}

describe('a body that is cut', () => {
  test.each([
    [0, 'transport truncated transport.magic 1000'],
    [4, 'transport truncated transport.slot 1004'],
    [9, 'core truncated status 1009'],
    [13, 'core truncated guestFeatures 1013'],
    [24, 'core truncated config 1021'],
    [28, 'core truncated numQueues 1025'],
    [29, 'core truncated queues 1029'],
    [56, 'core truncated queues 1029'],
    [57, 'core truncated queues[1].desc 1056'],
    [66, 'transport truncated queues[1].transport.line 1066'],
    [67, 'device truncated device.brightness 1067'],
    [75, 'device truncated device.schedule[2] 1075'],
    [79, 'core trailing subsections 1078'],
    [109, 'device truncated device.colour 1109'],
    [140, 'core truncated subsections.features64 1140'],
    [173, 'core truncated subsections.extraState.generation 1172'],
  ])('after %s bytes: %s', (length, expected) => {
    expect(place(errorOf(() => lampOnBus.decode(body.subarray(0, length), BASE)))).toBe(expected);
  });
});

describe('the number of queues', () => {
  function withCount(count: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    bytes.set(body.subarray(0, 29));
    new DataView(bytes.buffer).setUint32(25, count);
    return bytes;
  }

  test('1024 at most, said before any is read', () => {
    const error = errorOf(() => lampOnBus.decode(withCount(1025, 100_000), BASE));
    expect([place(error), error.reason]).toEqual([
      'core count numQueues 1025',
      '1025 virtqueues, at most 1024 allowed',
    ]);
    expect(error.facts).toEqual({ count: 1025, limit: 1024 });
    // 23 bytes each, none for the lamp: nothing is wrong with the number
    expect(place(errorOf(() => lampOnBus.decode(withCount(1024, 29 + 1024 * 19), BASE)))).toBe(
      `device truncated device.brightness ${BASE + 29 + 1024 * 19}`,
    );
  });

  test('not more than the bytes that are left have room for', () => {
    const error = errorOf(() => lampOnBus.decode(withCount(3, 29 + 41), BASE));
    expect([place(error), error.reason]).toEqual(['core truncated queues 1029', '42 bytes wanted, 41 left']);
    expect(place(errorOf(() => lampOnBus.decode(withCount(3, 29 + 42), BASE)))).toMatch('queues[2]');
  });
});

describe('several layouts', () => {
  const decode = (device: DeviceLayer<unknown>, bytes: Uint8Array, trace?: Trace) => {
    const input = new Reader(bytes, BASE);
    input.trace = trace;
    return virtioLoad(input, { transport: bus, device });
  };

  test('the first one with which everything can be read up to the end', () => {
    expect(decode(deviceOf<unknown>(u16, u32, u8), bodyWith(1, 2, 3, 4)).device).toBe(0x01020304);
    expect(decode(deviceOf<unknown>(u32, u16), bodyWith(1, 2)).device).toBe(0x0102);
    expect(decode(deviceOf<unknown>(u8, u8), bodyWith(7)).device).toBe(7);
  });

  test('a layout that was given up leaves no trace', () => {
    const trace = new Trace('', BASE);
    decode(deviceOf<unknown>(u32, u8, u16), bodyWith(1, 2), trace);
    expect(trace.root.children.map(({ name }) => name)).toEqual([
      'transport',
      'status',
      'isr',
      'queueSel',
      'guestFeatures',
      'config',
      'numQueues',
      'queues[0]',
      'queues[1]',
      'device',
      'subsections',
    ]);
    expect(nodeAt(trace.root, 'device')).toMatchObject({
      type: 'uint16',
      value: 0x0102,
      start: 1067,
      end: 1069,
    });
    expect(nodeAt(trace.root, 'numQueues')).toMatchObject({
      wire: 'num_queues',
      type: 'uint32',
      value: 2,
      end: 1029,
    });
    expect(nodeAt(trace.root, 'queues[1]')).toMatchObject({
      type: 'virtqueue',
      start: 1048,
      end: 1067,
      value: state.queues[1],
    });
    expect(nodeAt(trace.root, 'subsections')).toMatchObject({
      wire: 'subsections',
      type: 'subsections',
      value: {},
    });
  });

  test('if none will do, the error of the one that came furthest; of several, the first', () => {
    const trailing = (...layouts: readonly Field<unknown>[]) =>
      place(errorOf(() => decode(deviceOf(...layouts), bodyWith(1, 2, 3, 4, 5))));
    expect(trailing(u8, u32, u16)).toBe('core trailing subsections 1071');
    expect(trailing(u32, u8)).toBe('core trailing subsections 1071');
    const failing = (reason: string): Field<unknown> => ({
      ...u8,
      decode: () => {
        throw new StateError('test', reason, {}, { offset: 1069 });
      },
    });
    expect(errorOf(() => decode(deviceOf(failing('first'), failing('second')), bodyWith())).reason).toBe(
      'first',
    );
    const nowhere: Field<unknown> = {
      ...u8,
      decode: () => {
        throw new StateError('test', 'nowhere');
      },
    };
    // an error without a place gets that of the field
    expect(place(errorOf(() => decode(deviceOf(nowhere), bodyWith())))).toBe('device test device 1067');
  });

  test('a device that names none is told so', () => {
    const error = errorOf(() => decode(deviceOf(), bodyWith(1)));
    expect([place(error), error.reason]).toEqual([
      'device layout device 1067',
      'virtio-any names no layout for this state',
    ]);
  });

  test('what is no StateError is a mistake of a layer, and passes', () => {
    const broken: Field<unknown> = {
      ...u8,
      decode: () => {
        throw new TypeError('a bug');
      },
    };
    expect(() => decode(deviceOf<unknown>(broken, u8), bodyWith(1))).toThrow(TypeError);
    expect(() =>
      virtioLengths(new Reader(bodyWith(1)), { transport: bus, device: deviceOf(broken) }),
    ).toThrow(TypeError);
  });
});

describe('what stands behind the last subsection', () => {
  test('belongs to nothing, with how many bytes', () => {
    const error = errorOf(() => lampOnBus.decode(Uint8Array.of(...body, 1, 2, 3), BASE));
    expect([place(error), error.reason]).toEqual([
      `core trailing subsections ${BASE + body.length}`,
      '3 bytes behind the last subsection that belong to nothing',
    ]);
    expect(error.facts).toEqual({ bytes: 3 });
  });

  test('is kept as it is by a device that has fields of its own there, and written again', () => {
    const layers = { transport: bus, device: { ...deviceOf(u8), hasRest: true } };
    const bytes = bodyWith(9, 0xaa, 0xbb);
    const trace = new Trace();
    const input = new Reader(bytes);
    input.trace = trace;
    const loaded = virtioLoad(input, layers);
    expect(loaded).toMatchObject({ device: 9, rest: Uint8Array.of(0xaa, 0xbb) });
    expect(nodeAt(trace.root, 'rest')).toMatchObject({ start: 68, end: 70 });
    const output = new Writer(16);
    virtioSave(output, loaded, layers);
    expect(output.finish()).toEqual(bytes);
    expect(virtioLoad(new Reader(bodyWith(9)), layers)).not.toHaveProperty('rest');
  });
});

describe('how long a body can be, whatever stands behind it', () => {
  const lengths = (device: DeviceLayer<unknown>, bytes: Uint8Array, offset = 0) => {
    const input = new Reader(bytes);
    input.offset = offset;
    return virtioLengths(input, { transport: bus, device });
  };
  const zeros = [0, 0, 0, 0, 0, 0, 0, 0];

  test('one for each layout with which it can be read, each once', () => {
    expect(lengths(deviceOf<unknown>(u8, u32, u16, u8), bodyWith(...zeros))).toEqual([68, 71, 69]);
    expect(lengths(deviceOf<unknown>(u32, u8), bodyWith(1, 2))).toEqual([68]);
    expect(virtioLengths(new Reader(Uint8Array.of(...body, ...zeros)), lampLayers)).toEqual([
      78 + 35 + 35 + 26 + 21,
    ]);
  });

  test('from where the cursor is', () => {
    expect(lengths(deviceOf(u8), Uint8Array.of(1, 2, 3, ...bodyWith(...zeros)), 3)).toEqual([68]);
  });

  test('none if it cannot be read', () => {
    expect(lengths(deviceOf<unknown>(u32, u16), bodyWith(1))).toEqual([]);
    expect(lengths(deviceOf(u8), body.subarray(0, 40))).toEqual([]);
  });

  test('a device with fields of its own behind it says how long they can be, or only the end can tell', () => {
    const device = { ...deviceOf(u8), hasRest: true };
    expect(lengths(device, bodyWith(9, ...zeros))).toBeUndefined();
    const seen: number[][] = [];
    const known: DeviceLayer<unknown> = {
      ...device,
      restLengths: (bytes) => {
        seen.push([...bytes]);
        return [2, 4];
      },
    };
    expect(lengths(known, bodyWith(9, 0xaa, 0xbb))).toEqual([70, 72]);
    expect(seen).toEqual([[0xaa, 0xbb]]);
  });
});

describe('steps', () => {
  const STEPS: readonly string[] = [
    'core virtio_load() 0 0',
    'transport load_config 0 9',
    'core common device fields 9 25',
    'core common virtqueue fields 25 47 0',
    'transport load_queue 47 48 0',
    'core common virtqueue fields 48 66 1',
    'transport load_queue 66 67 1',
    'core notify guest: interrupt level from isr 67 67',
    'device load_device 67 113',
    'core subsection virtio/64bit_features 113 148',
    'core subsection virtio/extra_state 148 174',
    'transport load_extra_state 172 174',
    'core subsection virtio/started 174 195',
    'core sanitize endianness 195 195',
  ];
  const text = ({ column, call, action, start, end, queue }: Step): string =>
    [column, call ?? action, start, end, queue].join(' ').trim();

  test.each([0, 5])(
    'load, of a reader that is at byte %s: ranges count from the body’s first byte',
    (offset) => {
      const steps: Step[] = [];
      const input = new Reader(Uint8Array.of(...new Uint8Array(offset), ...body), BASE);
      input.offset = offset;
      virtioLoad(input, lampLayers, (step) => steps.push(step));
      expect(steps.map(text)).toEqual(['device load 0 0', ...STEPS]);
      expect(new Set(steps.map(({ procedure }) => procedure))).toEqual(new Set(['load']));
      expect(
        steps
          .filter(({ call }) => call?.endsWith('device') || call === 'load_config')
          .map(({ action }) => action),
      ).toEqual(['proxy device and transport-specific device fields', 'device-specific fields']);
    },
  );

  test.each([0, 5])('save, behind %s bytes that are there already: the same ranges', (offset) => {
    const steps: Step[] = [];
    const output = new Writer(16);
    output.raw(new Uint8Array(offset));
    virtioSave(output, state, lampLayers, (step) => steps.push(step));
    const same = STEPS.filter((line) => !/notify|sanitize/.test(line)).map((line) =>
      line.replaceAll('load', 'save'),
    );
    expect(steps.map(text)).toEqual(['device save 0 0', ...same]);
    expect(output.finish().subarray(offset)).toEqual(body);
  });

  test('steps are said in these words', () => {
    const [saved, loaded]: [string[], string[]] = [[], []];
    virtioSave(new Writer(16), state, lampLayers, ({ action }) => saved.push(action));
    virtioLoad(new Reader(body), lampLayers, ({ action }) => loaded.push(action));
    const queue = ['common virtqueue fields', 'transport-specific virtqueue fields'];
    const common = [
      'proxy device and transport-specific device fields',
      'common device fields',
      ...queue,
      ...queue,
    ];
    const late = [
      'device-specific fields',
      'subsection virtio/64bit_features',
      'subsection virtio/extra_state',
      'transport-specific extra state',
      'subsection virtio/started',
    ];
    expect(saved).toEqual([
      'save() through the VMState wrapper of the section',
      'virtio_save()',
      ...common,
      ...late,
    ]);
    expect(loaded).toEqual([
      'load() through the VMState wrapper of the section',
      'virtio_load()',
      ...common,
      'notify guest: interrupt level from isr',
      ...late,
      'sanitize endianness',
    ]);
  });

  test('nobody who listens: no trace is made', () => {
    const output = new Writer(16);
    virtioSave(output, state, lampLayers);
    expect(output.trace).toBeUndefined();
    virtioSave(output, state, lampLayers, () => {});
    expect(output.trace?.root).toMatchObject({ name: '' });
    const input = new Reader(body);
    virtioLoad(input, lampLayers, () => {});
    expect(input.trace?.root).toMatchObject({ name: '' });
  });

  test('subsections are a part of the trace with a name of their own', () => {
    const output = new Writer(16);
    output.trace = new Trace();
    virtioSave(output, state, lampLayers);
    expect(nodeAt(output.trace.root, 'subsections')).toMatchObject({
      name: 'subsections',
      wire: 'subsections',
      type: 'subsections',
    });
  });

  test('the trace that the caller has is the one that is filled, with or without steps', () => {
    for (const onStep of [undefined, () => {}]) {
      const trace = new Trace();
      const output = new Writer(16);
      output.trace = trace;
      virtioSave(output, state, lampLayers, onStep);
      expect(nodeAt(trace.root, 'transport.slot')).toMatchObject({ start: 4, end: 8 });
      expect(nodeAt(trace.root, 'transport')).toMatchObject({ start: 0, end: 9, value: state.transport });
      expect(nodeAt(trace.root, 'device')).toMatchObject({ start: 67, end: 113, value: state.device });
      expect(nodeAt(trace.root, 'subsections')).toMatchObject({
        start: 113,
        end: 195,
        value: state.subsections,
      });
      const input = new Reader(body);
      input.trace = new Trace();
      const { trace: mine } = input;
      virtioLoad(input, lampLayers, onStep);
      expect(input.trace).toBe(mine);
      expect(nodeAt(mine.root, 'transport')).toMatchObject({ start: 0, end: 9, value: state.transport });
    }
    const silent = new Reader(body);
    virtioLoad(silent, lampLayers);
    expect(silent.trace).toBeUndefined();
  });
});

describe('a state that does not fit the wire', () => {
  const [first, second] = state.queues;
  if (first === undefined || second === undefined) throw new Error('two queues expected');
  test.each([
    ['transport value transport.lines', { transport: { ...state.transport, lines: 300 } }],
    ['core value status', { status: 300 }],
    ['core value queues[1].num', { queues: [first, { ...second, num: -1 }] }],
    ['transport value queues[0].transport.line', { queues: [{ ...first, transport: { line: 300 } }] }],
    ['device value device.brightness', { device: { ...state.device, brightness: 300 } }],
    ['core value subsections.extraState.generation', { subsections: { extraState: { generation: 70_000 } } }],
  ])('is refused with its place: %s', (expected, changes) => {
    expect(place(errorOf(() => lampOnBus.encode({ ...state, ...changes })))).toBe(expected);
  });
});

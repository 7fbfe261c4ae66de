import { opaqueDevice, type Step } from '@virtkit/core';
import { isStateError, leaves, nodeAt, Reader, Trace } from '@virtkit/vmstate';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { lampOnBus, lampState1 as state, told } from './foreign.ts';

describe('a transport and a device type from outside', () => {
  const body = lampOnBus.encode(state);

  test('lie where the procedure says', () => {
    const text = (name: string): string => Buffer.from(name).toString('hex');
    const subsection = (name: string, ...fields: readonly string[]): string =>
      ['05', name.length.toString(16).padStart(2, '0'), text(name), '00000001', ...fields].join('');
    expect(Buffer.from(body).toString('hex')).toBe(
      [
        // save_config
        ...['6d796275', '00000005', '01'],
        // common fields
        ...['0f', '01', '0000', '00000001', '00000004', '01020304'],
        // two queues, with save_queue at the end of each
        '00000002',
        ...['00000040', '00001000', '123456789abcd000', '0007', '03'],
        ...['00000020', '00000040', '0000000000000000', '0000', '04'],
        // save_device
        ...['c8', '010001', '010002', '01ffff', '00', subsection('virtio-lamp-device/colour', '00ff8800')],
        subsection('virtio/64bit_features', '0000000000000001'),
        subsection('virtio/extra_state', '0009'),
        subsection('virtio/started', '01'),
      ].join(''),
    );
  });

  test('come back from bytes and from JSON text', () => {
    expect(lampOnBus.load(body)).toEqual(state);
    const json = JSON.parse(JSON.stringify(lampOnBus.toJSON(state)));
    expect(lampOnBus.fromJSON(json)).toEqual(state);
    expect(lampOnBus.encode(lampOnBus.fromJSON(json))).toEqual(body);
  });

  test('give typed state', () => {
    const loaded = lampOnBus.load(body);
    expectTypeOf(loaded.device.schedule).toEqualTypeOf<readonly number[]>();
    expectTypeOf(loaded.device.colour).toEqualTypeOf<number | undefined>();
    expectTypeOf(loaded.transport.slot).toEqualTypeOf<number>();
    expectTypeOf(loaded.queues[0]?.transport.line).toEqualTypeOf<number | undefined>();
    expectTypeOf(loaded.subsections.extraState?.generation).toEqualTypeOf<number | undefined>();
  });

  test('have paths and byte ranges', () => {
    const trace = new Trace('', 100);
    lampOnBus.decode(body, 100, { trace });
    expect(nodeAt(trace.root, 'device.schedule[2]')).toMatchObject({ value: 65535, type: 'uint16' });
    expect(nodeAt(trace.root, 'queues[1].transport.line')).toMatchObject({ value: 4, type: 'uint8' });
    const covered = [...leaves(trace.root)].map(({ node }) => node);
    for (const node of covered) expect(node.end).toBeGreaterThan(node.start);
  });

  test('check, each its own layer', () => {
    const [queue, other] = state.queues;
    if (queue === undefined || other === undefined) throw new Error('two queues expected');
    const wrong = {
      ...state,
      guestFeatures: 0,
      subsections: { ...state.subsections, features64: 0n },
      queues: [queue, { ...other, transport: { line: 8 } }],
    };
    expect(lampOnBus.check(state)).toEqual([]);
    expect(lampOnBus.check(wrong).map(({ layer, code, path }) => [layer, code, path])).toEqual([
      ['transport', 'line', 'queues[1].transport.line'],
      ['device', 'dim', 'device.brightness'],
    ]);
    expect(() => lampOnBus.load(lampOnBus.encode(wrong))).toThrow(
      'transport: queues[1].transport.line: line 8',
    );
  });

  test('tell the steps of both procedures, with the bytes of each', () => {
    const [saved, loaded]: [Step[], Step[]] = [[], []];
    lampOnBus.encode(state, { onStep: (step) => saved.push(step) });
    lampOnBus.decode(body, 0, { onStep: (step) => loaded.push(step) });
    expect(told(saved)).toEqual([
      'device save',
      'core virtio_save()',
      'transport save_config',
      'core common device fields',
      'core common virtqueue fields 0',
      'transport save_queue 0',
      'core common virtqueue fields 1',
      'transport save_queue 1',
      'device save_device',
      'core subsection virtio/64bit_features',
      'core subsection virtio/extra_state',
      'transport save_extra_state',
      'core subsection virtio/started',
    ]);
    expect(told(loaded)).toEqual([
      'device load',
      'core virtio_load()',
      'transport load_config',
      'core common device fields',
      'core common virtqueue fields 0',
      'transport load_queue 0',
      'core common virtqueue fields 1',
      'transport load_queue 1',
      'core notify guest: interrupt level from isr',
      'device load_device',
      'core subsection virtio/64bit_features',
      'core subsection virtio/extra_state',
      'transport load_extra_state',
      'core subsection virtio/started',
      'core sanitize endianness',
    ]);
    // the same bytes, step by step
    const ranges = (steps: readonly Step[]): string[] =>
      steps
        .filter(({ start, end }) => end > start)
        .map(({ call = '', start, end }) => `${call.replace(/^(save|load)/, '')} ${start}..${end}`);
    expect(ranges(saved)).toEqual(ranges(loaded));
  });

  test('are named in errors, wherever the body is cut', () => {
    const codes = new Set<string>();
    for (let length = 0; length < body.length; length++) {
      try {
        lampOnBus.decode(body.subarray(0, length), 1000);
      } catch (error) {
        if (!isStateError(error)) throw error;
        codes.add(`${error.layer} ${error.code}`);
        expect(error.offset).toBeGreaterThanOrEqual(1000);
        expect(error.path).not.toBe('');
      }
    }
    expect([...codes].sort()).toEqual([
      'core trailing',
      'core truncated',
      'device truncated',
      'transport truncated',
    ]);
  });
});

describe('a device that nobody knows', () => {
  const name = Buffer.from('virtio/started', 'latin1');
  /** What core's subsection would look like, written by a guest as often as it likes. */
  const place = Buffer.concat([Uint8Array.of(0x05, name.length), name, Uint8Array.of(0, 0, 0, 1, 1)]);

  test("is looked at in 64 places that look like core's subsections, and no more", () => {
    for (const [count, expected] of [
      [0, 0],
      [1, 1],
      [64, 64],
      [65, 64],
      [5000, 64],
    ] as const) {
      const body = new Uint8Array(Buffer.concat(Array.from({ length: count }, () => place)));
      const tries = [...opaqueDevice('kettle').loadDevice(state, new Reader(body))];
      // and all of the rest, at last
      expect(tries).toHaveLength(expected + 1);
    }
  });
});

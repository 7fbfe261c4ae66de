import {
  type Field,
  isStateError,
  joinPath,
  type Layer,
  type Reader,
  rest,
  StateError,
  Trace,
} from '@virtkit/vmstate';
import type { EarlyState, QueueState, TransportParts, VirtioState } from '../contract/state.ts';
import type { StepObserver } from '../contract/step.ts';
import { QUEUE_MAX } from '../spec.ts';
import { commonFields, coreQueue } from '../state/common.ts';
import { type Layers, subsectionsOf } from './layers.ts';
import { Steps } from './steps.ts';

/** Length in bytes of the smallest queue on the wire: size, address and index, of a transport that adds nothing. */
const QUEUE_BYTES_MIN = 14;

/**
 * The load procedure: the body of a virtio section, from its first byte to its last, in QEMU's order (`virtio_load`).
 * Decodes, and refuses only what cannot be read; whether the values make sense is {@link checkVirtio}'s part.
 *
 * @param input a reader over exactly the body: its end is what tells the layouts of a device apart
 * @throws StateError
 */
export function virtioLoad<T extends TransportParts, D>(
  input: Reader,
  layers: Layers<T, D>,
  onStep?: StepObserver,
): VirtioState<T, D> {
  const steps = new Steps('load', onStep);
  if (steps.wanted) input.trace ??= new Trace('', input.position);
  const origin = input.offset;
  steps.tell('device', 'load() through the VMState wrapper of the section', 0, 0, { call: 'load' });
  const early = loadEarly(input, layers, steps, origin);
  const late = loadLate(input, layers, early, steps, origin);
  steps.tell('core', 'sanitize endianness', input.offset - origin, input.offset - origin);
  return { ...early, ...late };
}

/** Reads everything in front of the device's own state. */
function loadEarly<T extends TransportParts>(
  input: Reader,
  { transport }: Layers<T, unknown>,
  steps: Steps,
  origin: number,
): EarlyState<T> {
  let start = input.offset;
  const done = (): [number, number] => {
    const range: [number, number] = [start - origin, input.offset - origin];
    start = input.offset;
    return range;
  };
  steps.tell('core', 'virtio_load()', 0, 0);
  const config: T['config'] = decodeAs(input, 'transport', 'transport', transport.config);
  steps.tell('transport', 'proxy device and transport-specific device fields', ...done(), {
    call: 'load_config',
  });
  const common = labelled('core', () => commonFields.decode(input, undefined));
  steps.tell('core', 'common device fields', ...done());
  const count = loadQueueCount(input);
  const queues: QueueState<T>[] = [];
  const coreFields = coreQueue(transport.hasVariableVringAlignment);
  const transportFields = transport.queue(config);
  for (let i = 0; i < count; i++) {
    const name = `queues[${i}]`;
    const at = input.position;
    input.trace?.enter(name, name, 'virtqueue', at);
    const core = labelled('core', () => coreFields.decode(input, undefined), name, at);
    steps.tell('core', 'common virtqueue fields', ...done(), { queue: i });
    const own: T['queue'] = labelled(
      'transport',
      () => decodeAs(input, 'transport', 'transport', transportFields),
      name,
      at,
    );
    const [from, to] = done();
    steps.tell('transport', 'transport-specific virtqueue fields', from, to, {
      call: 'load_queue',
      queue: i,
    });
    const queue = { ...core, transport: own };
    input.trace?.leave(input.position, queue);
    queues.push(queue);
  }
  steps.tell('core', 'notify guest: interrupt level from isr', ...done());
  return { transport: config, ...common, queues };
}

function loadQueueCount(input: Reader): number {
  const at = input.position;
  input.trace?.enter('numQueues', 'num_queues', 'uint32', at);
  const count = labelled('core', () => input.u32(), 'numQueues', at);
  input.trace?.leave(input.position, count);
  if (count > QUEUE_MAX) {
    throw new StateError(
      'count',
      `${count} virtqueues, at most ${QUEUE_MAX} allowed`,
      { count, limit: QUEUE_MAX },
      { layer: 'core', path: 'numQueues', offset: at },
    );
  }
  // refused before 1024 of them are looked for
  if (count * QUEUE_BYTES_MIN > input.remaining)
    throw input.truncated(count * QUEUE_BYTES_MIN).within('queues', 'core', at);
  return count;
}

/**
 * Lengths that a body can have which begins where the cursor is, whatever stands behind it: one for each layout with
 * which it can be read; none if it cannot. Undefined where only what stands behind can tell: a device with fields of
 * its own behind the `virtio` field that does not say how long they are.
 */
export function virtioLengths<T extends TransportParts>(
  input: Reader,
  layers: Layers<T, unknown>,
): readonly number[] | undefined {
  const { device, transport } = layers;
  const origin = input.offset;
  if (device.hasRest === true && device.restLengths === undefined) return undefined;
  const lengths = new Set<number>();
  const early = unlessUnreadable(() => loadEarly(input, layers, new Steps('load', undefined), origin));
  if (early === undefined) return [];
  const start = input.offset;
  for (const layout of device.loadDevice(early, input)) {
    unlessUnreadable(() => {
      layout.decode(input, undefined);
      subsectionsOf(transport).decode(input, undefined);
      const behind = device.restLengths?.(input.bytes.subarray(input.offset)) ?? [0];
      for (const length of behind) lengths.add(input.offset - origin + length);
    });
    input.offset = start;
  }
  return [...lengths];
}

function unlessUnreadable<V>(read: () => V): V | undefined {
  try {
    return read();
  } catch (error) {
    if (isStateError(error)) return undefined;
    throw error;
  }
}

type Late<T extends TransportParts, D> = Pick<VirtioState<T, D>, 'device' | 'subsections' | 'rest'>;

/**
 * Reads the device's state and core's subsections. The device may name several layouts; the first with which everything
 * up to the end can be read is taken. If none is, the error of the layout that came furthest is thrown, since it tells
 * most.
 */
function loadLate<T extends TransportParts, D>(
  input: Reader,
  layers: Layers<T, D>,
  early: EarlyState<T>,
  steps: Steps,
  origin: number,
): Late<T, D> {
  const start = input.offset;
  const mark = input.trace?.mark();
  let best: StateError | undefined;
  for (const layout of layers.device.loadDevice(early, input)) {
    try {
      return attempt(input, layers, layout, steps, origin);
    } catch (error) {
      if (!isStateError(error)) throw error;
      if (best === undefined || (error.offset ?? 0) > (best.offset ?? 0)) best = error;
    }
    input.offset = start;
    if (mark !== undefined) input.trace?.rewind(mark);
  }
  throw (
    best ??
    new StateError(
      'layout',
      `${layers.device.name} names no layout for this state`,
      {},
      { layer: 'device', path: 'device', offset: input.position },
    )
  );
}

function attempt<T extends TransportParts, D>(
  input: Reader,
  layers: Layers<T, D>,
  layout: Field<D>,
  steps: Steps,
  origin: number,
): Late<T, D> {
  const start = input.offset;
  const device = decodeAs(input, 'device', 'device', layout);
  const middle = input.offset;
  const at = input.position;
  const node = input.trace?.enter('subsections', 'subsections', 'subsections', at);
  const subsections = labelled(
    'core',
    () => subsectionsOf(layers.transport).decode(input, undefined),
    'subsections',
    at,
  );
  input.trace?.leave(input.position, subsections);
  const behind = input.remaining;
  if (behind > 0 && layers.device.hasRest !== true) {
    throw new StateError(
      'trailing',
      `${behind} bytes behind the last subsection that belong to nothing`,
      { bytes: behind },
      { layer: 'core', path: 'subsections', offset: input.position },
    );
  }
  steps.tell('device', 'device-specific fields', start - origin, middle - origin, { call: 'load_device' });
  steps.subsections(node?.children ?? [], input.base + origin);
  return behind > 0
    ? { device, subsections, rest: decodeAs(input, 'rest', 'device', rest) }
    : { device, subsections };
}

function decodeAs<V>(input: Reader, name: string, layer: Layer, field: Field<V>): V {
  const start = input.position;
  input.trace?.enter(name, name, field.type, start);
  const value = labelled(layer, () => field.decode(input, undefined), name, start);
  input.trace?.leave(input.position, value);
  return value;
}

/** Runs a part of the load; its errors get their layer and the names of the outer fields. */
function labelled<V>(layer: Layer, body: () => V, name = '', start?: number): V {
  try {
    return body();
  } catch (error) {
    if (!isStateError(error)) throw error;
    if (name === '')
      throw new StateError(error.code, error.reason, error.facts, {
        layer: error.layer ?? layer,
        path: joinPath('', error.path),
        offset: error.offset,
      });
    throw error.within(name, layer, start);
  }
}

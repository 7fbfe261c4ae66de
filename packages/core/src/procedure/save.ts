import { type Field, inside, type Layer, Trace, type Writer } from '@virtkit/vmstate';
import type { TransportParts, VirtioState } from '../contract/state.ts';
import type { StepObserver } from '../contract/step.ts';
import { commonFields, coreQueue } from '../state/common.ts';
import { type Layers, subsectionsOf } from './layers.ts';
import { Steps } from './steps.ts';

/**
 * The save procedure: the body of a virtio section in QEMU's order (`virtio_save`).
 *
 * @throws StateError if the state does not fit the wire; what was already written is then of no use
 */
export function virtioSave<T extends TransportParts, D>(
  output: Writer,
  state: VirtioState<T, D>,
  layers: Layers<T, D>,
  onStep?: StepObserver,
): void {
  const { transport, device } = layers;
  const steps = new Steps('save', onStep);
  if (steps.wanted) output.trace ??= new Trace('', output.offset);
  const origin = output.offset;
  let start = origin;
  const done = (): [number, number] => {
    const range: [number, number] = [start - origin, output.offset - origin];
    start = output.offset;
    return range;
  };
  steps.tell('device', 'save() through the VMState wrapper of the section', 0, 0, { call: 'save' });
  steps.tell('core', 'virtio_save()', 0, 0);
  encodeAs(output, 'transport', 'transport', transport.config, state.transport);
  steps.tell('transport', 'proxy device and transport-specific device fields', ...done(), {
    call: 'save_config',
  });
  const { status, isr, queueSel, guestFeatures, config } = state;
  inside('', 'core', () =>
    commonFields.encode(output, { status, isr, queueSel, guestFeatures, config }, undefined),
  );
  steps.tell('core', 'common device fields', ...done());
  saveQueues(output, state, layers, steps, done);
  encodeAs(output, 'device', 'device', device.saveDevice(state.device), state.device);
  steps.tell('device', 'device-specific fields', ...done(), { call: 'save_device' });
  const node = output.trace?.enter('subsections', 'subsections', 'subsections', output.offset);
  inside('subsections', 'core', () => subsectionsOf(transport).encode(output, state.subsections, undefined));
  output.trace?.leave(output.offset, state.subsections);
  steps.subsections(node?.children ?? [], origin);
  if (state.rest !== undefined) output.raw(state.rest);
}

function saveQueues<T extends TransportParts, D>(
  output: Writer,
  state: VirtioState<T, D>,
  { transport }: Layers<T, D>,
  steps: Steps,
  done: () => [number, number],
): void {
  const coreFields = coreQueue(transport.hasVariableVringAlignment);
  const transportFields = transport.queue(state.transport);
  output.u32(state.queues.length);
  for (let i = 0; i < state.queues.length; i++) {
    const queue = state.queues[i];
    if (queue === undefined) continue;
    const name = `queues[${i}]`;
    const { transport: own, ...core } = queue;
    inside(name, 'core', () => coreFields.encode(output, core, undefined));
    steps.tell('core', 'common virtqueue fields', ...done(), { queue: i });
    inside(name, 'transport', () => encodeAs(output, 'transport', 'transport', transportFields, own));
    const [from, to] = done();
    steps.tell('transport', 'transport-specific virtqueue fields', from, to, {
      call: 'save_queue',
      queue: i,
    });
  }
}

function encodeAs<V>(output: Writer, name: string, layer: Layer, field: Field<V>, value: V): void {
  output.trace?.enter(name, name, field.type, output.offset);
  inside(name, layer, () => field.encode(output, value, undefined));
  output.trace?.leave(output.offset, value);
}

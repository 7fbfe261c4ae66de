import {
  inside,
  type Json,
  jsonError,
  Reader,
  rest as restField,
  type Trace,
  Writer,
} from '@virtkit/vmstate';
import type { DeviceIdentity, DeviceLayer } from './contract/device.ts';
import type { Finding } from './contract/finding.ts';
import type { LiveDevice } from './contract/live-device.ts';
import type { QueueState, TransportParts, VirtioState } from './contract/state.ts';
import type { StepObserver } from './contract/step.ts';
import type { TransportIdentity, TransportLayer } from './contract/transport.ts';
import { HostError } from './live/errors.ts';
import { checkVirtio } from './procedure/check.ts';
import { type Layers, subsectionsOf } from './procedure/layers.ts';
import { virtioLengths, virtioLoad } from './procedure/load.ts';
import { virtioSave } from './procedure/save.ts';
import { errorOf } from './report.ts';
import { commonFields, coreQueue } from './state/common.ts';

/** Options of {@link VirtioCodec.decode} and {@link VirtioCodec.encode}: observers of what they read and write. */
export interface CodecOptions {
  /** Function that is called after each step of the procedure. */
  readonly onStep?: StepObserver;
  /** Trace that is filled with the byte range of every field. */
  readonly trace?: Trace;
}

/** The saved state of one device type on one transport: bytes ⇄ plain state ⇄ JSON. */
export interface VirtioCodec<T extends TransportParts, D> extends Layers<T, D> {
  /**
   * Decodes the body of a section.
   *
   * @param body exactly the bytes between section header and footer
   * @param base offset of the body in the whole stream, for errors and traces
   * @throws StateError
   */
  decode(body: Uint8Array, base?: number, options?: CodecOptions): VirtioState<T, D>;
  /**
   * Lengths in bytes that a body can have which begins with `bytes`, whatever stands behind it: an empty list if it
   * cannot be read, undefined if only its end can tell.
   */
  lengths(bytes: Uint8Array): readonly number[] | undefined;
  /** Encodes a state to the body of a section. @throws StateError */
  encode(state: VirtioState<T, D>, options?: CodecOptions): Uint8Array;
  /** Lists what does not fit together in a state. An empty list means that it may be loaded. */
  check(state: VirtioState<T, D>): Finding[];
  /**
   * Decodes a body and checks the state. @throws StateError for a body that cannot be read, and for the first finding
   * that is an error
   */
  load(body: Uint8Array, base?: number, options?: CodecOptions): VirtioState<T, D>;
  /** The state as JSON: 64-bit numbers as `"0x…"`, bytes as hexadecimal digits. */
  toJSON(state: VirtioState<T, D>): Json;
  /**
   * Reads a state from the JSON form that {@link VirtioCodec.toJSON} writes.
   *
   * @throws StateError `json` if the JSON has another shape
   */
  fromJSON(json: Json): VirtioState<T, D>;
}

/** The state of a composed device: `StateOf<typeof blkOnPci>`. */
export type StateOf<C> = C extends VirtioCodec<infer T, infer D> ? VirtioState<T, D> : never;

/**
 * Joins a transport and a device type.
 *
 * ```ts
 * const blkOnPci = virtioDevice(pci, blk);
 * type State = StateOf<typeof blkOnPci>;
 * const state = blkOnPci.decode(body);
 * ```
 */
export function virtioDevice<T extends TransportParts, D>(
  transport: TransportLayer<T>,
  device: DeviceLayer<D>,
): VirtioCodec<T, D> {
  const layers = { transport, device };
  const scratch = new Writer(65_536);
  const decode = (body: Uint8Array, base = 0, options: CodecOptions = {}): VirtioState<T, D> => {
    const input = new Reader(body, base);
    input.trace = options.trace;
    return virtioLoad(input, layers, options.onStep);
  };
  const check = (state: VirtioState<T, D>): Finding[] => checkVirtio(state, layers);
  return {
    ...layers,
    decode,
    lengths: (bytes) => virtioLengths(new Reader(bytes), layers),
    check,
    encode: (state, options = {}) => {
      scratch.reset();
      scratch.trace = options.trace;
      virtioSave(scratch, state, layers, options.onStep);
      return scratch.finish();
    },
    load: (body, base, options) => {
      const state = decode(body, base, options);
      const error = errorOf(check(state));
      if (error !== undefined) throw error;
      return state;
    },
    toJSON: (state) => stateToJson(state, layers),
    fromJSON: (json) => stateFromJson(json, layers),
  };
}

/**
 * Joins the layers of a live device, whatever its type and transport are, to the codec that reads and writes its state
 * as bytes.
 *
 * @throws HostError for a device or a transport that was imported without the format of its state, from an entry
 * `…/live`
 */
export function codecOf<T extends TransportParts, D>(
  live: Pick<LiveDevice<T, D>, 'layers'>,
): VirtioCodec<T, D> {
  const { transport, device } = live.layers;
  if (!hasTransportFormat(transport)) throw withoutFormat(transport.name);
  if (!hasDeviceFormat(device)) throw withoutFormat(device.name);
  return virtioDevice(transport, device);
}

function hasTransportFormat<T extends TransportParts>(
  transport: TransportIdentity<T>,
): transport is TransportLayer<T> {
  return 'config' in transport;
}

function hasDeviceFormat<D>(device: DeviceIdentity<D>): device is DeviceLayer<D> {
  return 'loadDevice' in device;
}

function withoutFormat(name: string): HostError {
  return new HostError(
    `${name}: no bytes can be made of its state, because its package's entry '/live' does not have the format; import from the package itself`,
  );
}

function stateToJson<T extends TransportParts, D>(
  state: VirtioState<T, D>,
  { transport, device }: Layers<T, D>,
): Json {
  const coreFields = coreQueue(transport.hasVariableVringAlignment);
  const queueFields = transport.queue(state.transport);
  return {
    transport: transport.config.toJSON(state.transport),
    ...(commonFields.toJSON(state) as Readonly<Record<string, Json>>),
    queues: state.queues.map((queue) => ({
      ...(coreFields.toJSON(queue) as Readonly<Record<string, Json>>),
      transport: queueFields.toJSON(queue.transport),
    })),
    device: device.saveDevice(state.device).toJSON(state.device),
    subsections: subsectionsOf(transport).toJSON(state.subsections),
    ...(state.rest !== undefined && { rest: restField.toJSON(state.rest) }),
  };
}

function stateFromJson<T extends TransportParts, D>(json: Json, layers: Layers<T, D>): VirtioState<T, D> {
  const { transport, queues, device, subsections, rest, ...common } = asObject(json);
  const config: T['config'] = inside('transport', 'transport', () =>
    layers.transport.config.fromJSON(transport ?? null),
  );
  const early = {
    transport: config,
    ...inside('', 'core', () => commonFields.fromJSON(common)),
    queues: queuesFromJson(queues ?? null, layers.transport, config),
  };
  return {
    ...early,
    device: inside('device', 'device', () => deviceFromJson(layers.device, early, device ?? null)),
    subsections: inside('subsections', 'core', () =>
      subsectionsOf(layers.transport).fromJSON(subsections ?? null),
    ),
    ...(rest !== undefined && { rest: restField.fromJSON(rest) }),
  };
}

/** Reads the device's part of a state from JSON, in the first of the forms named by its layer that takes it. */
function deviceFromJson<D>(
  device: DeviceLayer<D>,
  early: Parameters<DeviceLayer<D>['loadDevice']>[0],
  json: Json,
): D {
  for (const layout of device.loadDevice(early, new Reader(new Uint8Array(0)))) return layout.fromJSON(json);
  throw jsonError(`state of ${device.name}`, json);
}

function queuesFromJson<T extends TransportParts>(
  json: Json,
  transport: TransportLayer<T>,
  config: T['config'],
): QueueState<T>[] {
  if (!Array.isArray(json)) throw jsonError('array of queues', json).within('queues', 'core');
  const coreFields = coreQueue(transport.hasVariableVringAlignment);
  const queueFields = transport.queue(config);
  return json.map((item: Json, index) =>
    inside(`queues[${index}]`, 'core', () => {
      const { transport: own, ...core } = asObject(item);
      return {
        ...coreFields.fromJSON(core),
        transport: inside('transport', 'transport', () => queueFields.fromJSON(own ?? null)),
      };
    }),
  );
}

function asObject(json: Json): Readonly<Record<string, Json>> {
  if (typeof json === 'object' && json !== null && !Array.isArray(json))
    return json as Readonly<Record<string, Json>>;
  throw jsonError('object', json);
}

import { codecOf, type LiveDevice, type TransportParts, type VirtioState } from '@virtkit/core';
import { type DeviceType, typeNamed, type Verdict } from '@virtkit/core/qemu';
import {
  COMMAND,
  decodeVirtio,
  findVirtio,
  type MigrationStream,
  type Registry,
  titleOf,
} from '@virtkit/migration';
import type { Changes } from '@virtkit/migration/rewrite';
import { StateError } from '@virtkit/vmstate';
import { checkFeatures } from '../check/check-features.ts';
import { checkStream } from '../check/check-stream.ts';
import { deviceTypes } from '../device-types.ts';
import { parseTarget, type Target } from '../target.ts';
import { convertState } from './convert-state.ts';

/** Options for states that are written for a QEMU. */
export interface WriteOptions {
  /** Name of the target, `qemu-7.2`, or what {@link parseTarget} made of such a text. */
  readonly target: string | Target;
  /** Machine type of the target: `pc-q35-7.2`. Default: that of {@link target}, else none is known. */
  readonly machine?: string;
  /** Name by which errors call the device; default its type. */
  readonly title?: string;
  /** Device types that are known; default {@link deviceTypes}. */
  readonly types?: readonly DeviceType[];
}

/**
 * Makes states of a device type such that a QEMU version reads them: subsections that it does not know are left out, versions are the
 * ones that it knows, rings that nobody uses have its size. What the guest sees stays.
 *
 * ```ts
 * virtioSection(disk, { path: '0000:00:02.0', convert: stateFor('virtio-blk', { target: 'qemu-7.2' }) });
 * ```
 *
 * @param device name of the device type
 * @returns a function that throws StateError, with the code of the verdict, for a state that this QEMU cannot have
 * @throws StateError `target` for a QEMU that is not known, `device-type` for devices that are not
 */
export function stateFor(
  device: string,
  options: WriteOptions,
): <T extends TransportParts, D>(state: VirtioState<T, D>) => VirtioState<T, D> {
  const target = typeof options.target === 'string' ? parseTarget(options.target) : options.target;
  const { machine = target.machine ?? '', title = device, types = deviceTypes } = options;
  const type = typeNamed(types, device);
  if (type === undefined)
    throw new StateError('device-type', `${device}: what QEMU's versions read of it is not known`, {
      device,
    });
  const to = { qemu: target.qemu, machine, properties: target.properties };
  return <T extends TransportParts, D>(state: VirtioState<T, D>): VirtioState<T, D> => {
    const { state: converted, verdicts } = convertState(title, type, state, to);
    const refused = [...verdicts, ...checkFeatures(title, type, state, target)].find(isFinal);
    if (refused !== undefined) throw asError(refused, target);
    // a conversion changes values, not what kind of state it is
    return converted as VirtioState<T, D>;
  };
}

/**
 * Encodes the body of a live device's section such that a QEMU version reads it.
 * @throws StateError as {@link stateFor}, and its function
 */
export function saveFor<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  options: WriteOptions,
): Uint8Array {
  const convert = stateFor(live.model.layer.name, options);
  return codecOf(live).encode(convert(live.capture()));
}

/** Stream for a target: what speaks against it, and what has to be changed. */
export interface ConvertedStream {
  /** Verdicts over the load, and over what {@link changes} puts right (`convertible`). */
  readonly verdicts: readonly Verdict[];
  /**
   * Changes for a `StreamRewriter` of `@virtkit/migration/rewrite`; undefined: the target cannot load the stream,
   * whatever is changed.
   */
  readonly changes: Changes | undefined;
}

/** Finds the changes with which a target loads a stream, where they change nothing that the guest sees. */
export function convertStream(
  stream: MigrationStream,
  target: Target,
  registry: Registry,
  types: readonly DeviceType[] = deviceTypes,
): ConvertedStream {
  const verdicts = checkStream(stream, target, registry, types);
  if (verdicts.some(isFinal)) return { verdicts, changes: undefined };
  const bodies = new Map<string, Uint8Array>();
  for (const section of stream.sections) {
    const device = findVirtio(section, registry);
    const type = device?.known === true ? typeNamed(types, device.name) : undefined;
    if (device === undefined || type === undefined) continue;
    const machine = target.machine ?? stream.configuration?.name ?? '';
    const to = { qemu: target.qemu, machine, properties: target.properties };
    const converted = convertState(titleOf(device), type, decodeVirtio(device).state, to);
    if (!converted.verdicts.some(({ convertible }) => convertible === true)) continue;
    const { idstr, instanceId } = section.header;
    bodies.set(`${instanceId} ${idstr}`, device.codec.encode(converted.state));
  }
  return {
    verdicts,
    changes: {
      body: ({ idstr, instanceId }) => bodies.get(`${instanceId} ${idstr}`),
      command: (command) => target.qemu.switchoverStart || command !== COMMAND.SWITCHOVER_START,
    },
  };
}

/** Is the verdict a refusal about which nothing can be done in the stream? */
function isFinal({ severity, convertible }: Verdict): boolean {
  return severity === 'refused' && convertible !== true;
}

function asError({ code, path, reason, qemuSays, advice }: Verdict, { qemu }: Target): StateError {
  return new StateError(
    code,
    `QEMU ${qemu.name} does not load this: ${reason}${advice === undefined ? '' : ` (${advice})`}`,
    { target: qemu.name, ...(qemuSays !== undefined && { qemuSays }) },
    { layer: 'device', path },
  );
}

import type { LiveDevice, TransportParts, VirtioState } from '@virtkit/core';
import { virtioDevice } from '@virtkit/core';
import {
  COMMAND,
  decodeVirtio,
  findVirtio,
  type MigrationStream,
  type Registry,
  titleOf,
} from '@virtkit/migration';
import type { Changes } from '@virtkit/visit';
import { StateError } from '@virtkit/vmstate';
import { checkFeatures, checkStream } from './check.ts';
import { isFeatureKind } from './control.ts';
import { type Converted, convertState } from './convert.ts';
import { parseTarget, type Target } from './target.ts';
import type { Verdict } from './verdict.ts';

/** For whom states are written. */
export interface WriteOptions {
  /** `qemu-7.2`, or what {@link parseTarget} made of such a text. */
  readonly target: string | Target;
  /** Machine type there: `pc-q35-7.2`. Default: that of {@link target}, else none is known. */
  readonly machine?: string;
  /** How errors call the device; default its type. */
  readonly title?: string;
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
  const { machine = target.machine ?? '', title = device } = options;
  if (!isFeatureKind(device))
    throw new StateError('device-type', `${device}: what QEMU's versions read of it is not known`, {
      device,
    });
  return <T extends TransportParts, D>(state: VirtioState<T, D>): VirtioState<T, D> => {
    // the layers are the device's own: a conversion changes values, not what kind of state it is
    const plain = state as unknown as Converted['state'];
    const { state: converted, verdicts } = convertState(title, device, plain, target, machine);
    const refused = [...verdicts, ...checkFeatures(title, device, state, target)].find(isFinal);
    if (refused !== undefined) throw asError(refused, target);
    return converted as unknown as VirtioState<T, D>;
  };
}

/**
 * The body of a live device's section such that a QEMU version reads it.
 * @throws StateError as {@link stateFor}, and its function
 */
export function saveFor<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  options: WriteOptions,
): Uint8Array {
  const { layer } = live.model;
  const convert = stateFor(layer.name, options);
  return virtioDevice(live.transport.layer, layer).encode(convert(live.capture()));
}

/** A stream for a target: what speaks against it, and what has to be changed. */
export interface ConvertedStream {
  readonly verdicts: readonly Verdict[];
  /** For a `StreamRewriter` of `@virtkit/visit`; undefined: the target cannot load it, whatever is changed. */
  readonly changes: Changes | undefined;
}

/** What a stream needs so that the target loads it, where that changes nothing that the guest sees. */
export function convertStream(stream: MigrationStream, target: Target, registry: Registry): ConvertedStream {
  const verdicts = checkStream(stream, target, registry);
  if (verdicts.some(isFinal)) return { verdicts, changes: undefined };
  const bodies = new Map<string, Uint8Array>();
  for (const section of stream.sections) {
    const device = findVirtio(section, registry);
    if (device === undefined || !isFeatureKind(device.name)) continue;
    const state = decodeVirtio(device).state as unknown as Converted['state'];
    const machine = target.machine ?? stream.configuration?.name ?? '';
    const converted = convertState(titleOf(device), device.name, state, target, machine);
    if (!converted.verdicts.some(({ convertible }) => convertible === true)) continue;
    const { idstr, instanceId } = section.header;
    bodies.set(`${instanceId} ${idstr}`, device.codec.encode(converted.state as never));
  }
  return {
    verdicts,
    changes: {
      body: ({ idstr, instanceId }) => bodies.get(`${instanceId} ${idstr}`),
      command: (command) => target.qemu.switchoverStart || command !== COMMAND.SWITCHOVER_START,
    },
  };
}

/** Refused, and nothing in the stream can be done about it. */
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

// The target as its management describes it, in place of a command line.
import { parseTarget, type Target, type TargetOptions } from '../target.ts';

/** Machine that a description fully says: what `describeDomain` of `@virtkit/libvirt` makes of a domain's XML. */
export interface DescribedMachine {
  /** Words of the QEMU command line that makes the machine. */
  readonly command: readonly string[];
  /** Sentences about what the description does not say. */
  readonly unknown: readonly string[];
  /** Names of devices that have no address. */
  readonly unplaced: readonly string[];
}

/** Machine that a description says in part: what `describeVmi` and `describeQm` of `@virtkit/libvirt` find. */
export interface OutlinedMachine {
  /** Name of the machine type; undefined: the description does not say. */
  readonly machine: string | undefined;
  /** Number of bytes of the guest's memory, where it is in one block. */
  readonly memoryBytes: number | undefined;
  /** Number of processors that the machine starts with, 1 or more. */
  readonly cpus: number;
  /** Properties of all devices of a type. */
  readonly devices: NonNullable<Target['overrides']>;
  /** Sentences about what the description does not say. */
  readonly unknown: readonly string[];
}

/**
 * Device that stands for those whose places nobody knows: where there is only that, each device is taken to be where it
 * was.
 */
const AS_AT_SOURCE = [{ driver: 'as-at-the-source', properties: new Map<string, string>() }];

/**
 * Makes a target of a machine's description, for a version of QEMU: `target` is what {@link parseTarget} takes.
 *
 * @throws StateError `target`
 */
export function describedTarget(
  target: string,
  description: DescribedMachine,
  options: TargetOptions = {},
): Target {
  const parsed = parseTarget(target, { ...options, commandLine: description.command });
  const { destination } = parsed;
  if (destination === undefined) return parsed;
  const { starts: _one, ...made } = destination;
  const unknown = [...made.unknown, ...description.unknown, ...unplaced(description)];
  const unasked = [...description.unknown];
  if (description.unplaced.length === 0) return { ...parsed, destination: { ...made, unknown, unasked } };
  const { board: _board, ...others } = made;
  return { ...parsed, destination: { ...others, devices: AS_AT_SOURCE, placed: false, unknown, unasked } };
}

function unplaced({ unplaced: ids }: DescribedMachine): string[] {
  if (ids.length === 0) return [];
  const some = ids.slice(0, 5).join(', ');
  return [
    `${ids.length === 1 ? 'a device has' : `${ids.length} devices have`} no address (${some}${ids.length > 5 ? ', …' : ''}): libvirt gives one when the domain is defined; virsh dumpxml NAME shows it`,
  ];
}

/**
 * Makes a target of a machine's outline: what it does not say of devices is as at the source.
 *
 * @throws StateError `target`
 */
export function outlinedTarget(
  target: string,
  outline: OutlinedMachine,
  options: TargetOptions = {},
): Target {
  const { machine, memoryBytes, cpus, devices, unknown } = outline;
  const parsed = parseTarget(target, options);
  return {
    ...parsed,
    ...(machine !== undefined && parsed.machine === undefined && { machine }),
    overrides: [...devices, ...(parsed.overrides ?? [])],
    destination: {
      ...(memoryBytes !== undefined && { memory: { bytes: memoryBytes } }),
      cpus,
      devices: AS_AT_SOURCE,
      placed: false,
      unknown,
    },
  };
}

// The target as its management describes it, in place of a command line.
import { parseTarget, type Target, type TargetOptions } from '@virtkit/compat';
import { describeDomain, type MachineDescription, type MachineOutline } from '@virtkit/libvirt';
import type { MigrationStream } from '@virtkit/migration';
import { isStateError } from '@virtkit/vmstate';
import { UsageError } from './usage.ts';

/**
 * Device that stands for those whose places nobody knows: where there is only that, each device is taken to be where it
 * was.
 */
const AS_AT_SOURCE = [{ driver: 'as-at-the-source', properties: new Map<string, string>() }];

/** Makes the machine of a description, for a version of QEMU. */
export function describedTarget(
  target: string,
  description: MachineDescription,
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
  return { ...parsed, destination: { ...others, devices: AS_AT_SOURCE, unknown, unasked } };
}

function unplaced({ unplaced: ids }: MachineDescription): string[] {
  if (ids.length === 0) return [];
  const some = ids.slice(0, 5).join(', ');
  return [
    `${ids.length === 1 ? 'a device has' : `${ids.length} devices have`} no address (${some}${ids.length > 5 ? ', …' : ''}): libvirt gives one when the domain is defined; virsh dumpxml NAME shows it`,
  ];
}

/** Makes the machine of an outline: what it does not say of devices is as at the source. */
export function outlinedTarget(target: string, outline: MachineOutline, options: TargetOptions = {}): Target {
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
      unknown,
    },
  };
}

/** Reads a description from a file's text. @throws UsageError with the option and the file */
export function readDescription<T>(option: string, file: string, text: string, read: (text: string) => T): T {
  try {
    return read(text);
  } catch (error) {
    if (!isStateError(error)) throw error;
    throw new UsageError(`${option} ${file}: ${error.message}`);
  }
}

/** Description of the machine that a restore starts, from a save file of libvirt. */
export interface Saved {
  readonly description?: MachineDescription;
  /** Sentence that says why the XML in the header could not be read. */
  readonly problem?: string;
}

/**
 * Describes the machine in the header of a libvirt save file; nothing where the stream has no such header, or one that
 * names no devices.
 */
export function savedDescription({ libvirt }: MigrationStream): Saved {
  if (libvirt === undefined || !libvirt.xml.includes('<devices')) return {};
  const text = new TextDecoder().decode(Uint8Array.from(libvirt.xml, (char) => char.charCodeAt(0)));
  try {
    return { description: describeDomain(text) };
  } catch (error) {
    if (!isStateError(error)) throw error;
    return { problem: error.message };
  }
}

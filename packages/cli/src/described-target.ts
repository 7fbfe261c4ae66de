// Descriptions of the target as its management has them, read from files.
import { parseTarget, type Target, type TargetOptions } from '@virtkit/compat';
import { describeDomain, type MachineDescription, type MachineOutline } from '@virtkit/libvirt';
import type { MigrationStream } from '@virtkit/migration';
import { isStateError } from '@virtkit/vmstate';
import { UsageError } from './usage.ts';

/** Tells the architecture of a machine type, which is in the program's name. */
function archOf(machine: string): string {
  return machine.startsWith('s390') ? 's390x' : /^virt(-|$)/.test(machine) ? 'aarch64' : 'x86_64';
}

/** Characters of a machine type's name, which becomes a word of a command line. */
const MACHINE_NAME = /^[\w.+-]+$/;

/**
 * Makes the target of a machine of which there is an outline and no stream: its machine type and its network cards, on
 * which features depend. Their places are not said there, and its disks offer the same whatever the target is.
 *
 * @throws UsageError for an outline without a machine type
 */
export function inventoryTarget(
  target: string,
  { machine, cards, unknown }: MachineOutline,
  options: TargetOptions = {},
): Target {
  if (machine === undefined || !MACHINE_NAME.test(machine))
    throw new UsageError('it does not say which machine type it runs');
  const arch = archOf(machine);
  const words = Array.from({ length: cards }, (_, index) => [
    ...['-netdev', `tap,id=host${index}`, '-device'],
    `virtio-net-${arch === 's390x' ? 'ccw' : 'pci'},netdev=host${index},id=net${index}`,
  ]);
  const commandLine = [`qemu-system-${arch}`, '-machine', machine, '-nodefaults', ...words.flat()];
  const parsed = parseTarget(target, { ...options, commandLine });
  const { destination } = parsed;
  if (destination === undefined) return parsed;
  const { starts: _one, ...made } = destination;
  return { ...parsed, destination: { ...made, unknown: [...made.unknown, ...unknown] } };
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

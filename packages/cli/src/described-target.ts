// Descriptions of the target as its management has them, read from files.
import { describeDomain, type MachineDescription } from '@virtkit/libvirt';
import type { MigrationStream } from '@virtkit/migration';
import { isStateError } from '@virtkit/vmstate';
import { UsageError } from './usage.ts';

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

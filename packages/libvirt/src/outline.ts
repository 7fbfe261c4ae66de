import type { DeviceWords } from './qemu-words.ts';

/**
 * What a description says of a machine that is made by another program's rules: machine, memory, processors, and properties of kinds of
 * devices. The rest of the devices, and their places, are as at the source.
 */
export interface MachineOutline {
  /** The machine's name in its management. */
  readonly name: string;
  /** `pc-q35-9.2`; undefined: the description does not say. */
  readonly machine: string | undefined;
  /** Bytes of the guest's memory, where it is in one block. */
  readonly memoryBytes: number | undefined;
  /** Processors that the machine starts with, 1 or more. */
  readonly cpus: number;
  /** Properties of all devices of a type. */
  readonly devices: readonly DeviceWords[];
  /** What is not said there, one sentence each. With one of them, nothing certain can be said of a load. */
  readonly unknown: readonly string[];
}

/** Most processors that a description may give a machine: more than any QEMU takes. */
const CPUS_MAX = 999_999;

/** So many processors; or one, and a word in `unknown`, where there cannot be so many. */
export function processors(count: number, unknown: string[]): number {
  if (count <= CPUS_MAX) return count;
  unknown.push(`no machine has ${count} processors`);
  return 1;
}

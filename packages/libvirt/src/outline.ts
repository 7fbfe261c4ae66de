import type { DeviceWords } from './qemu-words.ts';

/**
 * Description of a machine that is made by another program's rules: machine, memory, processors, and properties of
 * kinds of devices. The rest of the devices, and their places, are as at the source.
 */
export interface MachineOutline {
  /** Name of the machine in its management. */
  readonly name: string;
  /** Name of the machine type, `pc-q35-9.2`; undefined: the description does not say. */
  readonly machine: string | undefined;
  /** Number of bytes of the guest's memory, where it is in one block. */
  readonly memoryBytes: number | undefined;
  /** Number of processors that the machine starts with, 1 or more. */
  readonly cpus: number;
  /** Number of its virtio network cards, which are on a network of the host. */
  readonly cards: number;
  /** Properties of all devices of a type. */
  readonly devices: readonly DeviceWords[];
  /** Sentences about what the description does not say. With one of them, nothing certain can be said of a load. */
  readonly unknown: readonly string[];
}

/** Largest number of processors that a description may give a machine: more than any QEMU takes. */
const CPUS_MAX = 999_999;

/** Takes a number of processors; or 1, with a sentence in `unknown`, where there cannot be so many. */
export function processors(count: number, unknown: string[]): number {
  if (count <= CPUS_MAX) return count;
  unknown.push(`no machine has ${count} processors`);
  return 1;
}

import type { DeviceWords } from './qemu-words.ts';

/**
 * What a description says of a machine that is made by another program's rules: machine, memory, processors, and properties of kinds of
 * devices. The rest of the devices, and their places, are as at the source.
 */
export interface MachineOutline {
  readonly name: string;
  /** `pc-q35-9.2`; undefined: the description does not say. */
  readonly machine: string | undefined;
  /** Bytes of the guest's memory, where it is in one block. */
  readonly memoryBytes: number | undefined;
  readonly cpus: number;
  /** Properties of all devices of a type. */
  readonly devices: readonly DeviceWords[];
  /** What is not said there, one sentence each. With one of them, nothing certain can be said of a load. */
  readonly unknown: readonly string[];
}

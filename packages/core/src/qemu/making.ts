import type { Endian } from '../contract/device.ts';
import type { MachineOfQemu } from './machine.ts';

/** A device as QEMU's command line describes it. */
export interface QemuDevice {
  /** QEMU's name of the type, with its transport: `virtio-blk-pci`. */
  readonly driver: string;
  /** Properties that are given, as text: `num-queues` → `4`. */
  readonly properties: ReadonlyMap<string, string>;
  /** The place on its bus, with which its sections' names begin: `0000:00:02.0`, `/fe.0.0001`, `virtio-mmio@00000000feb02e00`. */
  readonly place?: string;
  /** Place of the device that this one is inside of, such as the console of a port. */
  readonly within?: string;
  /** The function sits behind a PCI Express port. */
  readonly express?: boolean;
  /** The network that the device is connected to: kind of the back end, its queues, whether packets have virtio headers. */
  readonly network?: { readonly kind: string; readonly queues: number; readonly vnetHeader: boolean };
  /** The drive that the device is connected to is read-only. */
  readonly readOnly?: boolean;
}

/** Facts that decide how a QEMU makes a device. */
export interface Making extends MachineOfQemu {
  /** The device as QEMU's command line names it, with its properties. */
  readonly device: QemuDevice;
  /** True if a property that is not given has QEMU's default; false if it is as it was at the source. */
  readonly complete: boolean;
  /** Byte order of the guest's CPU. */
  readonly endian: Endian;
  /** Number of the machine's CPUs. */
  readonly cpus: number;
}

/** The value that was given, else the default if the description is complete, else undefined: as it was at the source. */
export function chosen<T>({ complete }: Making, given: T | undefined, byDefault: T): T | undefined {
  return given ?? (complete ? byDefault : undefined);
}

/** The options without those that are undefined, so that they do not hide what stands below them when they are spread. */
export function defined<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const kept = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

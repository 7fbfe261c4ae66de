import { compareVersion, type QemuVersion } from './versions.ts';

/** Families of QEMU's machine types that have a version in their names. */
export type MachineFamily = keyof QemuVersion['machines'] | 'virt' | 'pseries';

/** A machine type with a version. */
export interface VersionedMachine {
  /** Which machine it is, without the version. */
  readonly family: MachineFamily;
  /** `7.2` */
  readonly version: string;
}

const FAMILIES: Readonly<Record<string, MachineFamily>> = {
  'pc-q35': 'q35',
  'pc-i440fx': 'pc',
  's390-ccw-virtio': 's390x',
  virt: 'virt',
  pseries: 'pseries',
};

/**
 * Family and version of a machine type's name such as `pc-q35-7.2`. Undefined for machine types without a version, and for names
 * that are not QEMU's own, such as those that distributions give (`pc-q35-rhel9.6.0`).
 */
export function machineVersion(machine: string): VersionedMachine | undefined {
  // the third number and the word were of single machines: pc-q35-4.0.1, pseries-2.12-sxxm
  const [, name = '', version] = /^([a-z0-9-]+?)-(\d+\.\d+)(?:\.\d+|-sxxm)?$/.exec(machine) ?? [];
  const family = Object.hasOwn(FAMILIES, name) ? FAMILIES[name] : undefined;
  return family === undefined || version === undefined ? undefined : { family, version };
}

/** A machine in a version of QEMU: what decides over the defaults of properties. */
export interface MachineOfQemu {
  /** The version of QEMU. */
  readonly qemu: QemuVersion;
  /** Name of the machine type: `pc-q35-7.2`, `microvm`; empty where it is not known. */
  readonly machine: string;
}

/** Is the machine of this version or newer? A machine type without a version in its name is as new as the program. */
export function isSince({ machine, qemu }: MachineOfQemu, version: string): boolean {
  return compareVersion(machineVersion(machine)?.version ?? qemu.name, version) >= 0;
}

/**
 * The machine version with which the default of a property changed, for properties of virtio devices and of the PCI functions
 * around them that are not one device type's. QEMU: `hw_compat_*` in `hw/core/machine.c`.
 */
export const DEFAULT_CHANGED = {
  /** Extended tags of PCI Express are on. */
  'x-pcie-ext-tag': '9.2',
  /** Advanced error reporting has a mask of uncorrectable errors. */
  'x-pcie-err-unc-mask': '8.0',
  /** RING_RESET is offered. */
  queue_reset: '7.2',
  /** Address translation requests are aligned to pages. */
  'x-ats-page-aligned': '5.2',
  /** A PCI function without bus mastering does nothing. */
  'use-disabled-flag': '5.0',
  /** Function level reset of PCI Express is on. */
  'x-pcie-flr-init': '4.2',
  /** "Started" is a flag of its own, beside DRIVER_OK. */
  'use-started': '4.1',
  /** Control registers of PCI Express are writable; `x-pcie-lnkctl-init`, `-pm-init` and `-extcap-init` came with it. */
  'x-pcie-deverr-init': '2.9',
  /** Each queue no longer has a page of notification addresses. */
  'page-per-vq': '2.8',
  /** The modern interface is on; `disable-legacy` is `auto`. */
  'disable-modern': '2.7',
  /** The highest revision of channel I/O is above 0, so that VERSION_1 is offered. */
  max_revision: '2.5',
  /** The modern registers are in the saved state. */
  'migrate-extra': '2.5',
  /** A function may be PCI Express. */
  'x-disable-pcie': '2.5',
  /** ANY_LAYOUT is offered by all device types. */
  any_layout: '2.4',
} as const;

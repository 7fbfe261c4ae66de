import { compareVersion, type QemuVersion } from './versions.ts';

/** Families of QEMU's machine types that have a version in their names. */
export type MachineFamily = keyof QemuVersion['machines'] | 'virt' | 'pseries';

/** A machine type with a version. */
export interface VersionedMachine {
  /** Family of the machine type, which is its name without the version. */
  readonly family: MachineFamily;
  /** Version in the machine type's name: `7.2`. */
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
 * Splits a machine type's name such as `pc-q35-7.2` into family and version. Undefined for machine types without a
 * version, and for names that are not QEMU's own, such as those that distributions give (`pc-q35-rhel9.6.0`).
 */
export function machineVersion(machine: string): VersionedMachine | undefined {
  // the third number and the word were of single machines: pc-q35-4.0.1, pseries-2.12-sxxm
  const [, name = '', version] = /^([a-z0-9-]+?)-(\d+\.\d+)(?:\.\d+|-sxxm)?$/.exec(machine) ?? [];
  const family = Object.hasOwn(FAMILIES, name) ? FAMILIES[name] : undefined;
  return family === undefined || version === undefined ? undefined : { family, version };
}

/** Machine type in a version of QEMU: together they decide over the defaults of properties. */
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
  /** Switch for extended tags of PCI Express, on by default. */
  'x-pcie-ext-tag': '9.2',
  /** Switch for the mask of uncorrectable errors in advanced error reporting, on by default. */
  'x-pcie-err-unc-mask': '8.0',
  /** Switch for the feature RING_RESET, on by default. */
  queue_reset: '7.2',
  /** Switch for address translation requests that are aligned to pages, on by default. */
  'x-ats-page-aligned': '5.2',
  /** Switch that lets a PCI function without bus mastering do nothing, on by default. */
  'use-disabled-flag': '5.0',
  /** Switch for the function level reset of PCI Express, on by default. */
  'x-pcie-flr-init': '4.2',
  /** Switch that makes "started" a flag of its own, beside DRIVER_OK, on by default. */
  'use-started': '4.1',
  /**
   * Switch for writable control registers of PCI Express, on by default; `x-pcie-lnkctl-init`, `-pm-init` and
   * `-extcap-init` came with it.
   */
  'x-pcie-deverr-init': '2.9',
  /** Switch for a page of notification addresses for each queue, off by default. */
  'page-per-vq': '2.8',
  /** Switch against the modern interface, off by default; `disable-legacy` became `auto` with it. */
  'disable-modern': '2.7',
  /** Highest revision of channel I/O, above 0 by default, so that VERSION_1 is offered. */
  max_revision: '2.5',
  /** Switch for modern registers in the saved state, on by default. */
  'migrate-extra': '2.5',
  /** Switch against functions of PCI Express, off by default. */
  'x-disable-pcie': '2.5',
  /** Switch for the feature ANY_LAYOUT, on by default for all device types. */
  any_layout: '2.4',
} as const;

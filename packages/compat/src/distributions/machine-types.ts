import type { DistributionMachine } from './machine-row.ts';
import { RHEL_MACHINES } from './rhel-machines.ts';
import { UBUNTU_MACHINES } from './ubuntu-machines.ts';

/** All machine types of distributions that virtkit knows by name. */
export const DISTRIBUTION_MACHINES: readonly DistributionMachine[] = [...RHEL_MACHINES, ...UBUNTU_MACHINES];

const BY_NAME: ReadonlyMap<string, DistributionMachine> = new Map(
  DISTRIBUTION_MACHINES.map((machine) => [machine.name, machine]),
);

/**
 * Finds the machine type of a distribution that has this name; undefined for QEMU's own, and for names that are not
 * known.
 */
export function distributionMachine(name: string): DistributionMachine | undefined {
  return BY_NAME.get(name);
}

/**
 * Cuts off what Proxmox adds to a name: `pc-q35-9.2+pve1` is `pc-q35-9.2`. Its QEMU cuts that off, so that no stream
 * has it.
 */
export function withoutPve(name: string): string {
  return name.replace(/\+pve\d+$/, '');
}

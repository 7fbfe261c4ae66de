import { type DeviceType, machineVersion } from '@virtkit/core/qemu';
import { hasMachine, isQemuMachine } from '../machines.ts';
import type { Target } from '../target.ts';
import type { MachineDifference } from './machine-row.ts';
import { distributionMachine, withoutPve } from './machine-types.ts';
import { isSincePackage } from './package-version.ts';
import { releaseHas } from './releases.ts';

/** Machine type as the target has it. */
export interface MachineThere {
  /** Name of the machine type at the target: `pc-q35-rhel9.6.0`. */
  readonly name: string;
  /**
   * Name of QEMU's own machine with the same virtio devices, but for what {@link properties} has: `pc-q35-9.1`; else
   * {@link name}.
   */
  readonly upstream: string;
  /** Name for people: `pc-q35-rhel9.6.0, QEMU's pc-q35-9.1`. */
  readonly title: string;
  /** True if it is known what the machine switches on at the target; false: it is taken for the newest one. */
  readonly certain: boolean;
  /** Defaults of the machine itself that are not QEMU's: `hpet` → `off`. */
  readonly options: ReadonlyMap<string, string>;
  /** Properties that devices have by this machine and not by {@link upstream}: `guest_uso4` → `off`. */
  readonly properties: ReadonlyMap<string, string>;
  /** Properties of which it is not known whether the target's package has them. */
  readonly doubtful: readonly MachineDifference[];
}

/** Has the target a machine type of this name? Undefined: not known. */
export function targetHas(name: string, { qemu, release, program }: Target): boolean | undefined {
  if (program !== undefined)
    return program.machines.some((each) => each.name === name || each.alias === name);
  const versioned = machineVersion(name);
  if (versioned !== undefined && !hasMachine(qemu, versioned)) return false;
  if (release !== undefined) return releaseHas(release, name);
  return isQemuMachine(name) ? true : undefined;
}

/** Finds what is known of a machine type at a target. */
export function machineThere(named: string, target: Target): MachineThere {
  const name = withoutPve(named);
  const row = distributionMachine(name);
  const known = row === undefined ? isQemuMachine(name) : row.upstream !== undefined;
  const certain = known && (row === undefined || targetHas(name, target) === true);
  const upstream = certain ? (row?.upstream ?? name) : name;
  const differences = certain ? (row?.differences ?? []) : [];
  const ofDevices = differences.filter((each) => each.of === 'devices');
  const told = toldBy(target, name);
  const version = target.release?.package.replace(/^qemu-kvm-/, '');
  const applies = ({ since }: MachineDifference): boolean | undefined =>
    since === undefined ? true : isSincePackage(version, since);
  return {
    name,
    upstream,
    title: upstream === name ? name : `${name}, QEMU's ${upstream}`,
    certain,
    options: valuesOf(differences.filter((each) => each.of === 'machine')),
    properties: told ?? valuesOf(ofDevices.filter((each) => applies(each) === true)),
    doubtful: told === undefined ? ofDevices.filter((each) => applies(each) === undefined) : [],
  };
}

/**
 * Finds what the target's program itself says that the machine sets of virtio devices; undefined where it was not
 * asked, or cannot say.
 */
function toldBy({ program }: Target, name: string): ReadonlyMap<string, string> | undefined {
  const compat = program?.machines.find((each) => each.name === name)?.compat;
  return compat === undefined
    ? undefined
    : new Map(
        compat
          .filter(({ driver }) => driver.startsWith('virtio-'))
          .map(({ property, value }) => [property, value] as const),
      );
}

function valuesOf(differences: readonly MachineDifference[]): ReadonlyMap<string, string> {
  return new Map(differences.map(({ property, value }) => [property, value]));
}

/** Selects the properties that a device type has, as far as they decide over its features. */
export function propertiesFor(
  type: DeviceType | undefined,
  properties: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  if (properties.size === 0) return properties;
  const own = new Set(Object.values(type?.features ?? {}).map(({ property }) => property));
  return new Map([...properties].filter(([property]) => own.has(property)));
}

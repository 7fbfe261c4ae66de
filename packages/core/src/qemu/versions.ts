/**
 * Description of what one version of QEMU writes and reads of virtio devices, as far as versions differ in what all
 * device types share. What a version changed in one device type stands in the descriptor of that type.
 */
export interface QemuVersion {
  /** Version number: `11.1`. */
  readonly name: string;
  /** The oldest and the newest version of each family of machine types that this QEMU has. s390x drops old ones earlier. */
  readonly machines: {
    readonly pc: readonly [string, string];
    readonly q35: readonly [string, string];
    readonly s390x: readonly [string, string];
  };
  /**
   * True if QEMU reads and writes features above bit 63: `virtio/128bit_features`,
   * `virtio_pci/modern_state/features128`.
   */
  readonly features128: boolean;
  /**
   * True if QEMU refuses queues and ring sizes beyond those that the device was created with, and ignores
   * `virtio/ringsize`.
   */
  readonly checksRingSize: boolean;
  /** True if QEMU knows the command MIG_CMD_SWITCHOVER_START. */
  readonly switchoverStart: boolean;
  /**
   * Sizes in bytes of the RAM blocks that hold the program's own firmware, by machine type and block: another size is
   * refused.
   */
  readonly firmware: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const OLD_MICROVM = { microvm: { 'pc.bios': 0x10000 } };
const NEW_MICROVM = { microvm: { 'pc.bios': 0x20000 } };

/**
 * Rows for the versions in which something changed, oldest first. A version between two of them is as the one before
 * it.
 */
export const VERSIONS: readonly QemuVersion[] = [
  {
    name: '5.2',
    machines: { pc: ['1.4', '5.2'], q35: ['2.4', '5.2'], s390x: ['2.4', '5.2'] },
    features128: false,
    checksRingSize: false,
    switchoverStart: false,
    firmware: OLD_MICROVM,
  },
  {
    name: '7.2',
    machines: { pc: ['1.4', '7.2'], q35: ['2.4', '7.2'], s390x: ['2.4', '7.2'] },
    features128: false,
    checksRingSize: false,
    switchoverStart: false,
    firmware: OLD_MICROVM,
  },
  {
    name: '8.0',
    machines: { pc: ['2.0', '8.0'], q35: ['2.4', '8.0'], s390x: ['2.4', '8.0'] },
    features128: false,
    checksRingSize: false,
    switchoverStart: false,
    firmware: {},
  },
  {
    name: '10.0',
    machines: { pc: ['2.4', '10.0'], q35: ['2.4', '10.0'], s390x: ['2.9', '10.0'] },
    features128: false,
    checksRingSize: false,
    switchoverStart: true,
    firmware: NEW_MICROVM,
  },
  {
    name: '10.2',
    machines: { pc: ['2.6', '10.2'], q35: ['2.6', '10.2'], s390x: ['2.9', '10.2'] },
    features128: true,
    checksRingSize: false,
    switchoverStart: true,
    firmware: NEW_MICROVM,
  },
  {
    name: '11.1',
    machines: { pc: ['5.2', '11.1'], q35: ['5.2', '11.1'], s390x: ['5.2', '11.1'] },
    features128: true,
    checksRingSize: true,
    switchoverStart: true,
    firmware: NEW_MICROVM,
  },
];

/** Last minor number of a major version: from 4.0 on QEMU has three releases a year, x.0, x.1 and x.2. */
const LAST_MINOR = 2;

/**
 * Says why nothing certain is known of a version: it is newer than all that is known, or there is no such release.
 * Undefined for versions that are known, and for those between them.
 */
export function whyUnknown(version: string): string | undefined {
  const newest = VERSIONS.at(-1)?.name ?? '0.0';
  if (compareVersion(version, newest) > 0)
    return `QEMU ${version} is newer than ${newest}, the newest version that virtkit knows: what it changed is not known`;
  if (Number(version.split('.')[1]) > LAST_MINOR)
    return `there is no release ${version} of QEMU that virtkit knows`;
  return undefined;
}

/** Compares two versions such as `9.2` and `10.0` by their numbers: negative if `a` is older, 0 if they are the same, else positive. */
export function compareVersion(a: string, b: string): number {
  const [x = [], y = []] = [a, b].map((text) => text.split('.').map(Number));
  return (x[0] ?? 0) - (y[0] ?? 0) || (x[1] ?? 0) - (y[1] ?? 0);
}

/**
 * Finds the row for a version: its own, or the one before it with its newest machine type. A version that is newer than
 * the table gets the last row, and {@link whyUnknown} says so. Undefined for versions older than the table.
 */
export function versionRow(version: string): QemuVersion | undefined {
  const row = VERSIONS.findLast(({ name }) => compareVersion(name, version) <= 0);
  if (row === undefined || row.name === version) return row;
  const upTo = ([oldest]: readonly [string, string]): readonly [string, string] => [oldest, version];
  const { pc, q35, s390x } = row.machines;
  return { ...row, name: version, machines: { pc: upTo(pc), q35: upTo(q35), s390x: upTo(s390x) } };
}

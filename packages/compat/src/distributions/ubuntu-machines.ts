import type { DistributionMachine } from './machine-row.ts';

const PATCH = "Ubuntu's define-ubuntu-machine-types.patch";
/**
 * Source of newer names: the patch as it was on QEMU 8.2 (noble) and on 10.1 (questing), in copies of Ubuntu's
 * packaging.
 */
const SOURCE = `${PATCH}, as on QEMU 8.2 and 10.1`;

/**
 * Name of a release, and the QEMU version that each family of its machines is; `-`: Ubuntu has no such machine, or it
 * was not seen.
 */
interface UbuntuRow {
  readonly release: string;
  readonly q35: string;
  readonly i440fx: string;
  readonly s390x: string;
  readonly pseries: string;
  /** Variants of the PCs, with a QEMU version where it is another one than that of the plain name. */
  readonly variants: string;
}

/**
 * Machines of Ubuntu. Some are not of the version that the release ships, and some families differ: that is how Ubuntu
 * made them.
 */
const ROWS: readonly UbuntuRow[] = `
release  q35  i440fx s390x pseries variants
trusty   -    2.0    -     -
xenial   2.5  2.5    2.5   2.5
yakkety  2.6  2.6    2.6   2.6
zesty    2.8  2.8    2.8   2.8
artful   2.10 2.10   2.10  2.10
bionic   2.11 2.11   2.11  2.11    hpb
cosmic   2.11 2.12   2.12  2.12    hpb=2.12
disco    3.1  3.1    3.1   3.1     hpb
eoan     4.0  4.0    3.1   4.0     hpb
focal    4.2  4.0    4.2   4.2     hpb
groovy   5.0  5.0    5.0   5.0     hpb
hirsute  5.2  5.2    5.2   5.2     hpb,i440fx-hpb=5.1
impish   6.0  6.0    6.0   6.0     hpb
jammy    6.2  6.2    6.2   6.2     hpb,maxcpus,hpb-maxcpus
kinetic  7.0  7.0    6.2   6.2     hpb
lunar    7.2  7.2    7.2   7.2     hpb
mantic   8.0  8.0    8.0   8.0     hpb,maxcpus,hpb-maxcpus
noble    8.2  8.2    8.2   8.2     v2
oracular 9.0  9.0    9.0   9.0
plucky   9.1  9.2    9.2   9.2
questing 10.1 10.0   10.1  10.1
`
  .trim()
  .split('\n')
  .slice(1)
  .map((line) => {
    const [release = '', q35 = '-', i440fx = '-', s390x = '-', pseries = '-', variants = ''] =
      line.split(/\s+/);
    return { release, q35, i440fx, s390x, pseries, variants };
  });

/** Releases of Ubuntu whose machines have names, oldest first. */
export const UBUNTU_NAMES: readonly string[] = ROWS.map(({ release }) => release);

const PREFIXES = {
  q35: 'pc-q35',
  i440fx: 'pc-i440fx',
  s390x: 's390-ccw-virtio',
  pseries: 'pseries',
} as const;

/** Families that have variants. */
const PCS: readonly ('q35' | 'i440fx')[] = ['q35', 'i440fx'];

function machine(prefix: string, name: string, version: string): DistributionMachine {
  return {
    name: `${prefix}-${name}`,
    vendor: 'Ubuntu',
    upstream: `${prefix}-${version}`,
    // -hpb, -maxcpus and -v2 are about CPUs: their address bits, their number, one of their features
    differences: [],
    source: SOURCE,
  };
}

function machinesOf(row: UbuntuRow): DistributionMachine[] {
  const plain = Object.entries(PREFIXES).flatMap(([family, prefix]) => {
    const version = row[family as keyof typeof PREFIXES];
    return version === '-' ? [] : [machine(prefix, row.release, version)];
  });
  const variants = row.variants.split(',').flatMap((each) => {
    const [, family, variant = '', version] =
      /^(?:(q35|i440fx)-)?([a-z0-9-]+)(?:=([\d.]+))?$/.exec(each) ?? [];
    if (variant === '') return [];
    const families: typeof PCS = family === 'q35' || family === 'i440fx' ? [family] : PCS;
    return families.map((one) => machine(PREFIXES[one], `${row.release}-${variant}`, version ?? row[one]));
  });
  // the variant of one family stands behind that of both, and takes its place
  return [...new Map([...plain, ...variants].map((each) => [each.name, each])).values()];
}

/** Machines that Ubuntu had, and of which the patch says that they were no single version of QEMU's. */
const NOT_TAKEN_APART = 'pc-i440fx-wily pc-q35-wily pc-i440fx-utopic pc-i440fx-vivid pc-i440fx-saucy';

/** Machine types of Ubuntu: QEMU's own, renamed. */
export const UBUNTU_MACHINES: readonly DistributionMachine[] = [
  ...ROWS.flatMap(machinesOf),
  ...NOT_TAKEN_APART.split(' ').map(
    (name): DistributionMachine => ({ name, vendor: 'Ubuntu', differences: [], source: PATCH }),
  ),
];

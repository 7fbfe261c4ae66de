import { compareVersion, machineVersion } from '@virtkit/core/qemu';
import { isQemuMachine } from '../machines.ts';
import { distributionMachine } from './machine-types.ts';
import { UBUNTU_NAMES } from './ubuntu-machines.ts';

/** Release of a distribution, or of KubeVirt, and what it brings along. */
export interface Release {
  /** Name of the release for `--target`: `rhel-9.6`, `kubevirt-1.8`. */
  readonly name: string;
  /** Version of QEMU in the release: `9.1`. */
  readonly qemu: string;
  /** Package of the QEMU, with its version where that is known: `qemu-kvm-9.1.0-15.el9`. */
  readonly package: string;
  /** Distribution whose machine types the release has beside QEMU's own, or instead of them. */
  readonly machines: 'RHEL' | 'Ubuntu' | 'Proxmox' | 'QEMU';
  /** The oldest and newest machine of each family that it has of its own: `{ q35: ['7.6.0', '9.6.0'] }`; for Ubuntu the newest name. */
  readonly own: Readonly<Record<string, readonly [oldest: string, newest: string]>>;
  /**
   * Version of the Linux of the release's hosts, where all of them have that one or a newer one of the same kind:
   * `5.14`.
   */
  readonly kernel?: string;
  /** Source of this row. */
  readonly source: string;
}

const OPENELA = 'SPECS/qemu-kvm.spec of OpenELA';
const KUBEVIRT = 'hack/rpm-deps.sh of the release branch of kubevirt/kubevirt';
const UBUNTU = "Ubuntu's package list";
const DEBIAN = "Debian's package list and release notes";
const PROXMOX = 'debian/changelog of pve-qemu; release notes of Proxmox VE';

/** Newest machines of RHEL that a qemu-kvm has: by major release, from which QEMU on, the newest. */
const NEWEST_RHEL: Readonly<Record<string, readonly (readonly [qemu: string, newest: string])[]>> = {
  el8: [['6.2', '8.6.0']],
  el9: [
    ['6.2', '9.0.0'],
    ['7.2', '9.2.0'],
    ['8.2', '9.4.0'],
    ['9.1', '9.6.0'],
    ['10.1', '9.8.0'],
  ],
  el10: [
    ['9.1', '10.0.0'],
    ['10.1', '10.2.0'],
  ],
};
/** Oldest machine of each family that a major release has. The PC with the older chip set has stayed at one version. */
const OLDEST_RHEL: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  el8: { q35: '7.3.0', i440fx: '7.0.0', s390x: '7.5.0', virt: '8.2.0' },
  el9: { q35: '7.6.0', i440fx: '7.6.0', s390x: '7.6.0', virt: '9.0.0' },
  el10: { q35: '9.0.0', i440fx: '10.0.0', s390x: '9.0.0', virt: '9.0.0' },
};
const I440FX_NEWEST: Readonly<Record<string, string>> = { el8: '7.6.0', el9: '7.6.0', el10: '10.0.0' };
/**
 * Linux of RHEL's major releases. That of RHEL 9 is said to have no UDP segmentation (RHEL-80313), as Linux had it
 * before 6.2.
 */
const RHEL_KERNELS: Readonly<Record<string, string>> = { el8: '4.18', el9: '5.14', el10: '6.12' };

/**
 * Makes the release of a package of qemu-kvm: `9.1.0-20.el9`. Undefined for text of another form, and for a major
 * release that is not known.
 *
 * @param kernel the Linux of its hosts: the distribution's own; null where it runs on others, too, as KubeVirt's does
 */
function rpm(name: string, version: string, source: string, kernel?: null): Release | undefined {
  const [, qemu = '', dist = ''] = /^(\d+\.\d+)\.\d+-\d+\.(?:module\+)?(el\d+)/.exec(version) ?? [];
  const newest = NEWEST_RHEL[dist]?.findLast(([first]) => compareVersion(first, qemu) <= 0)?.[1];
  const oldest = OLDEST_RHEL[dist];
  if (newest === undefined || oldest === undefined) return undefined;
  const linux = kernel === null ? undefined : RHEL_KERNELS[dist];
  return {
    name,
    qemu,
    package: `qemu-kvm-${version}`,
    machines: 'RHEL',
    own: Object.fromEntries(
      Object.entries(oldest).map(([family, first]) => [
        family,
        [first, family === 'i440fx' ? (I440FX_NEWEST[dist] ?? first) : newest],
      ]),
    ),
    ...(linux !== undefined && { kernel: linux }),
    source,
  };
}

/** Packages of qemu-kvm by release of RHEL. Distributions made from RHEL have the same ones. */
const RHEL: Readonly<Record<string, string>> = {
  '8.8': '6.2.0-33.el8',
  '8.9': '6.2.0-40.el8',
  '9.2': '7.2.0-14.el9_2',
  '9.3': '8.0.0-16.el9_3',
  '9.4': '8.2.0-11.el9_4',
  '9.5': '9.0.0-10.el9_5',
  '9.6': '9.1.0-15.el9_6',
  '9.7': '9.1.0-29.el9',
  '9.8': '10.1.0-17.el9',
  '10.0': '9.1.0-15.el10',
  '10.1': '10.0.0-14.el10',
  '10.2': '10.1.0-16.el10',
};
const KIN = ['rhel', 'almalinux', 'rocky', 'oraclelinux', 'openela'];

/** Packages in KubeVirt's launcher image, by its release. Newer ones can be built on CentOS Stream 10 as well. */
const KUBEVIRT_PACKAGES: Readonly<Record<string, string>> = {
  '1.0': '7.2.0-14.el9',
  '1.1': '8.0.0-13.el9',
  '1.2': '8.0.0-13.el9',
  '1.3': '8.2.0-11.el9',
  '1.4': '9.0.0-10.el9',
  '1.5': '9.1.0-12.el9',
  '1.6': '9.1.0-19.el9',
  '1.7': '9.1.0-20.el9',
  '1.8': '10.1.0-10.el9',
  '1.9': '10.1.0-20.el9',
};

/** Packages that CentOS Stream, which has no releases, had in September 2026. */
const STREAM_PACKAGES: Readonly<Record<string, string>> = { '9': '10.1.0-20.el9', '10': '10.1.0-25.el10' };

type Simple = readonly [
  name: string,
  qemu: string,
  machines: Release['machines'],
  newest: string,
  kernel: string,
];

/** Releases whose machines are QEMU's own, with or beside others. The kernel is the oldest one that the release came with. */
const OTHERS: readonly Simple[] = [
  ['ubuntu-22.04', '6.2', 'Ubuntu', 'jammy', ''],
  ['ubuntu-24.04', '8.2', 'Ubuntu', 'noble', '6.8'],
  ['ubuntu-25.04', '9.2', 'Ubuntu', 'plucky', '6.14'],
  ['ubuntu-25.10', '10.1', 'Ubuntu', 'questing', '6.17'],
  ['debian-11', '5.2', 'QEMU', '', '5.10'],
  ['debian-12', '7.2', 'QEMU', '', '6.1'],
  ['debian-13', '10.0', 'QEMU', '', '6.12'],
  ['proxmox-7', '7.2', 'Proxmox', '', ''],
  ['proxmox-8', '9.2', 'Proxmox', '', '6.2'],
  ['proxmox-9', '11.0', 'Proxmox', '', '6.14'],
];

function simple([name, qemu, machines, newest, kernel]: Simple): Release {
  return {
    name,
    qemu,
    package: machines === 'Proxmox' ? `pve-qemu-kvm ${qemu}` : `qemu ${qemu}`,
    machines,
    own: machines === 'Ubuntu' ? { ubuntu: ['', newest] } : {},
    ...(kernel !== '' && { kernel }),
    source: machines === 'Proxmox' ? PROXMOX : machines === 'Ubuntu' ? UBUNTU : DEBIAN,
  };
}

function named(
  text: string,
  major: string,
  packages: Readonly<Record<string, string>>,
  source: string,
  kernel?: null,
) {
  return Object.entries(packages).flatMap(([version, package_]) => {
    const release = rpm(`${text}-${version}`, package_, `${source} (${major})`, kernel);
    return release === undefined ? [] : [release];
  });
}

/** The releases that {@link releaseNamed} knows, beside packages. */
export const RELEASES: readonly Release[] = [
  ...KIN.flatMap((kin) => named(kin, 'qemu-kvm', RHEL, OPENELA)),
  ...named('centos-stream', 'qemu-kvm', STREAM_PACKAGES, KUBEVIRT),
  ...named('kubevirt', 'qemu-kvm-core', KUBEVIRT_PACKAGES, KUBEVIRT, null),
  ...OTHERS.map(simple),
];

const BY_NAME: ReadonlyMap<string, Release> = new Map(RELEASES.map((release) => [release.name, release]));

/**
 * Finds the release of this name; or what a package of qemu-kvm has, where the name is that of one:
 * `qemu-kvm-9.1.0-20.el9`. Undefined for other names.
 */
export function releaseNamed(name: string): Release | undefined {
  const version = /^qemu-kvm-(?:core-)?(\d.*)$/.exec(name)?.[1];
  return BY_NAME.get(name) ?? (version === undefined ? undefined : rpm(name, version, 'its version', null));
}

/** Does a release have a machine type of this name? Undefined: not known. */
export function releaseHas(release: Release, name: string): boolean | undefined {
  const row = distributionMachine(name);
  if (row === undefined) {
    if (!isQemuMachine(name)) return undefined;
    // RHEL has QEMU's own with a version taken out; what it has of the others was not looked at
    return release.machines === 'RHEL' ? (machineVersion(name) === undefined ? undefined : false) : true;
  }
  if (row.vendor !== release.machines) return false;
  if (row.vendor === 'Ubuntu') {
    const index = (each: string): number => UBUNTU_NAMES.indexOf(each);
    const own = /-([a-z]+)(?:-(?:hpb|maxcpus|hpb-maxcpus|v2|sxxm))?$/.exec(name)?.[1] ?? '';
    return index(own) < 0 ? undefined : index(own) <= index(release.own['ubuntu']?.[1] ?? '');
  }
  const [, prefix = '', version = ''] = /^(.*)-rhel(.*)$/.exec(name) ?? [];
  const range = release.own[RHEL_FAMILIES.get(prefix) ?? ''];
  if (range === undefined) return undefined;
  return compareVersion(version, range[0]) >= 0 && compareVersion(version, range[1]) <= 0;
}

const RHEL_FAMILIES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'pc-q35': 'q35',
    'pc-i440fx': 'i440fx',
    's390-ccw-virtio': 's390x',
    virt: 'virt',
  }),
);

/**
 * Finds the machine type that a name without a version stands for in a release: `q35`. Undefined: as in QEMU itself, or
 * not known.
 */
export function releaseAlias(release: Release, prefix: string): string | undefined {
  if (release.machines !== 'RHEL') return undefined;
  const newest = release.own[RHEL_FAMILIES.get(prefix) ?? '']?.[1];
  return newest === undefined ? undefined : `${prefix}-rhel${newest}`;
}

import type { DistributionMachine, MachineDifference, PackageSince } from './machine-row.ts';

const GENERAL = 'qemu-kvm of OpenELA: "Machine type related general changes" (hw_compat_rhel_*)';
const X86 = 'qemu-kvm of OpenELA: "Add downstream x86_64 versioned pc & q35 machine types"';
const ARM = 'qemu-kvm of OpenELA: "Add downstream aarch64 versioned virt machine types"';
const S390X = 'qemu-kvm of OpenELA: "Add downstream s390x versioned s390-ccw-virtio machine types"';
const NO_USO =
  'qemu-kvm of OpenELA: "disable USO for virt-rhel9.6" (RHEL-80313), in 9.1.0-20.el9; "disable USO for RHEL9" (RHEL-40950), in 9.1.0-15.el10';

/**
 * Difference of RHEL 9's and older machines: UDP segmentation is off, from a certain package on and under the same
 * name. So two packages make different cards for `pc-q35-rhel9.6.0`.
 */
function withoutUso(since: readonly PackageSince[]): readonly MachineDifference[] {
  return ['host_uso', 'guest_uso4', 'guest_uso6'].map((property) => ({
    of: 'devices',
    property,
    value: 'off',
    since,
    source: NO_USO,
  }));
}

const USO_OFF_SINCE: readonly PackageSince[] = [
  { dist: 'el9', package: '9.1.0-20' },
  { dist: 'el10', package: '9.1.0-15', beforeUnknown: true },
];
/**
 * First packages in which UDP segmentation is off on `virt`. The patches of 10.1.0-17.el9 do not name `virt` again:
 * what its packages do is not certain.
 */
const USO_OFF_SINCE_VIRT: readonly PackageSince[] = [
  { dist: 'el9', package: '9.1.0-20', unknownFrom: '10.1.0' },
  { dist: 'el10', package: '9.1.0-15', beforeUnknown: true },
];

/** Difference of RHEL's PCs, which have no HPET unless it is asked for. */
const WITHOUT_HPET: MachineDifference = {
  of: 'machine',
  property: 'hpet',
  value: 'off',
  source: `${X86}: default_machine_opts`,
};

/**
 * Machines of RHEL, newest first: their version, QEMU's own version with the same virtio devices, and the families that
 * have it. Read from which `hw_compat_rhel_*` each applies, and from which of QEMU's own `hw_compat_*` those were
 * copied.
 */
const VERSIONS: readonly (readonly [rhel: string, upstream: string, families: string])[] = [
  ['10.2.0', '10.1', 'q35 s390x virt'],
  ['10.0.0', '9.1', 'q35 i440fx s390x virt'],
  ['9.8.0', '10.1', 'q35 s390x virt'],
  ['9.6.0', '9.1', 'q35 s390x virt'],
  ['9.4.0', '8.2', 'q35 s390x virt'],
  ['9.2.0', '7.2', 'q35 s390x virt'],
  ['9.0.0', '6.2', 'q35 s390x virt'],
  ['8.6.0', '6.2', 'q35 s390x virt'],
  ['8.5.0', '6.0', 'q35 s390x virt'],
  ['8.4.0', '5.2', 'q35 s390x virt'],
  ['8.3.0', '5.1', 'q35 virt'],
  ['8.2.0', '4.2', 'q35 s390x virt'],
  ['8.1.0', '4.1', 'q35'],
  ['8.0.0', '3.1', 'q35'],
  ['7.6.0', '2.12', 'q35 i440fx s390x'],
  ['7.5.0', '2.11', 'q35 i440fx'],
];

const FAMILIES: Readonly<Record<string, { readonly prefix: string; readonly source: string }>> = {
  q35: { prefix: 'pc-q35', source: X86 },
  i440fx: { prefix: 'pc-i440fx', source: X86 },
  s390x: { prefix: 's390-ccw-virtio', source: S390X },
  virt: { prefix: 'virt', source: ARM },
};

function differencesOf(family: string, version: string): readonly MachineDifference[] {
  const ofRhel10 = version.startsWith('10.');
  const hpet = family === 'q35' || (family === 'i440fx' && !ofRhel10) ? [WITHOUT_HPET] : [];
  if (ofRhel10) return hpet;
  return [...hpet, ...withoutUso(family === 'virt' ? USO_OFF_SINCE_VIRT : USO_OFF_SINCE)];
}

/**
 * Names of machines whose compat properties are a mixture of several of QEMU's own versions, and that nobody has taken
 * apart here.
 */
const NOT_TAKEN_APART =
  'pc-q35-rhel7.4.0 pc-q35-rhel7.3.0 pc-i440fx-rhel7.4.0 pc-i440fx-rhel7.3.0 pc-i440fx-rhel7.2.0 pc-i440fx-rhel7.1.0 pc-i440fx-rhel7.0.0 s390-ccw-virtio-rhel7.5.0 pseries-rhel8.6.0 pseries-rhel8.5.0 pseries-rhel8.4.0 pseries-rhel8.3.0 pseries-rhel8.2.0 pseries-rhel8.1.0 pseries-rhel8.0.0 pseries-rhel7.6.0';

/** Machine types of RHEL, and so of AlmaLinux, CentOS Stream, Oracle Linux, Rocky Linux and KubeVirt. */
export const RHEL_MACHINES: readonly DistributionMachine[] = [
  ...VERSIONS.flatMap(([version, upstream, families]) =>
    families.split(' ').flatMap((family): DistributionMachine[] => {
      const { prefix = '', source = '' } = FAMILIES[family] ?? {};
      return [
        {
          name: `${prefix}-rhel${version}`,
          vendor: 'RHEL',
          upstream: `${prefix}-${upstream}`,
          differences: differencesOf(family, version),
          source: `${source}; ${GENERAL}`,
        },
      ];
    }),
  ),
  ...NOT_TAKEN_APART.split(' ').map(
    (name): DistributionMachine => ({ name, vendor: 'RHEL', differences: [], source: GENERAL }),
  ),
];

import {
  type DeviceType,
  type Explanation,
  type FeatureControl,
  group,
  type LogContext,
  type MessageRule,
  typeNamed,
} from '@virtkit/core/qemu';
import { DISTRIBUTION_MACHINES } from '../distributions/machine-types.ts';
import { bitsOf, featureControl, guessDevice } from '../features/feature-control.ts';

/**
 * Rules for messages about features that were negotiated and are not offered: `Features 0x… unsupported. Allowed
 * features: 0x…`
 */
export const featureMessages = (types: readonly DeviceType[]): readonly MessageRule[] => [
  {
    // up to 128 bits: what is longer no QEMU writes, and each bit would be a line of the answer
    pattern: /Features (0x[0-9a-f]{1,32}) unsupported\. Allowed features: (0x[0-9a-f]{1,32})(?![0-9a-f])/i,
    explain: (match, context) => unsupported(group(match, 1), group(match, 2), context, types),
  },
  {
    pattern: /VIRTIO_F_IOMMU_PLATFORM was supported by neither legacy nor transitional device/,
    explain: () => ({
      code: 'iommu-platform',
      role: 'cause',
      meaning:
        'iommu_platform=on was given to a device that also has the legacy interface, and legacy drivers cannot honour it.',
      advice: ['Add disable-legacy=on (and the same on the source).', 'Or leave iommu_platform off.'],
      facts: { bit: 33 },
    }),
  },
];

/** Advice for features that several kinds of device have. */
const WHICH = 'Which device it is, the lines behind this one say: with them the features have names.';

function unsupported(
  guest: string,
  allowed: string,
  context: LogContext,
  types: readonly DeviceType[],
): Omit<Explanation, 'line'> {
  const [features, host] = [BigInt(guest), BigInt(allowed)];
  const type = typeOf(features, host, context, types);
  const device = type?.layer.name;
  const missing = bitsOf(features & ~host).map((bit) => featureControl(bit, type));
  const facts = { features: guest, allowed, ...(device !== undefined && { device }) };
  if (missing.length === 0) return { ...masked, facts, features: [] };
  const names = listed(missing.map(labelOf));
  const uso = missing.every(({ name }) => USO.includes(name)) ? offloads(context) : undefined;
  return {
    code: 'features',
    role: 'cause',
    meaning: `The guest runs with ${names}, which this ${device ?? context.other ?? 'device'} does not offer. ${uso?.meaning ?? 'A guest cannot give up a feature without a reset of its driver, so QEMU refuses the state.'}`,
    advice: uso?.advice ?? [
      cureFor(missing),
      ...missing.map(adviceFor),
      ...(device === undefined && context.other === undefined ? [WHICH] : []),
    ],
    facts,
    features: missing,
  };
}

const masked = {
  code: 'features-masked',
  role: 'cause',
  meaning:
    'The guest has negotiated features that this QEMU does not offer. QEMU 10.2 and later print the set after removing them, so the two numbers look compatible; the missing bits are not in this line.',
  advice: [
    'Compare the properties of that device and the kernels of the hosts (offloads of a network card come from its tap); virtkit check FILE --target names the features that the destination lacks.',
    'Compare with the stream: virtkit inspect FILE shows the negotiated features by name.',
  ],
} as const;

/** The features of UDP segmentation offload, which a host offers or not. */
const USO: readonly string[] = [
  'VIRTIO_NET_F_GUEST_USO4',
  'VIRTIO_NET_F_GUEST_USO6',
  'VIRTIO_NET_F_HOST_USO',
];

/**
 * Says what to do about a missing UDP segmentation offload: the name of the machine type decides nothing, since QEMU
 * has compared it before. RHEL's QEMU switched it off under the same name (RHEL-80313, KubeVirt issue 16386).
 */
function offloads({ program, machine }: LogContext): Pick<Explanation, 'meaning' | 'advice'> {
  const host = 'Hosts with Linux 6.2 or later offer it (tun, QEMU 8.2 or later), older ones do not.';
  const rhel = program === 'qemu-kvm' || /rhel/.test(machine ?? '');
  const packages = packagesWithout('host_uso');
  const restart =
    'Shut each such VM down and start it once on the new version (KubeVirt: virtctl stop and start; a reboot inside of the guest is not enough): it negotiates without USO then, and can be moved again.';
  if (rhel)
    return {
      meaning: `This is UDP segmentation offload (USO). ${host} And ${packages} and later (KubeVirt 1.7 and later) switched it off for RHEL's machine types under the same name, so a VM that an earlier qemu-kvm started on such a host cannot be moved to them. The machine type is the same on both sides and no help.`,
      advice: [
        restart,
        'Until then keep these VMs on the old qemu-kvm (KubeVirt: virt-launcher pods of the old version, without LiveMigrate in workloadUpdateStrategy): among themselves they can be moved.',
        'Without a restart only a qemu-kvm at the destination that still offers USO for this machine type takes them, on a host with Linux 6.2 or later.',
        'Before the next upgrade: virtkit check says of each VM whether the new version takes it.',
      ],
    };
  return {
    meaning: `This is UDP segmentation offload (USO). ${host} The machine type has the same name on both sides (QEMU compares that first) and is no help.`,
    advice: [
      'Move the VM to a host with Linux 6.2 or later and QEMU 8.2 or later, as the source has; or shut it down and start it with host_uso=off,guest_uso4=off,guest_uso6=off on its network card.',
      `If the destination is RHEL, CentOS Stream or KubeVirt: ${packages} and later switched USO off for RHEL's machine types under the same name. ${restart}`,
    ],
  };
}

/**
 * Names the first packages of RHEL's QEMU whose machine types have a property off that earlier ones of the same name
 * had on.
 */
function packagesWithout(property: string): string {
  const since = DISTRIBUTION_MACHINES.flatMap(({ differences }) => differences).flatMap((difference) =>
    difference.property === property ? (difference.since ?? []) : [],
  );
  return listed([...new Set(since.map(({ dist, package: name }) => `qemu-kvm-${name}.${dist}`))]);
}

/** Says in one sentence what to do about features that are missing. */
function cureFor(missing: readonly FeatureControl[]): string {
  const properties = [...new Set(missing.flatMap(({ property }) => property ?? []))];
  if (properties.length === 0)
    return `Give the destination what the source has: ${listed(missing.map(labelOf))}.`;
  const xml = [...new Set(properties.flatMap((property) => LIBVIRT[property] ?? []))].join('');
  const host = missing.some(({ needs }) => needs !== undefined)
    ? ', and see that its host offers it as the source does'
    : '';
  return `Switch ${listed(properties)} on for that device at the destination${xml === '' ? '' : ` (libvirt: ${xml})`}${host}; or shut the VM down and start it as the destination has it. The machine type has the same name on both sides (QEMU compares that first).`;
}

/** Ways in which libvirt's XML sets a property, by its name. */
const LIBVIRT: Readonly<Record<string, string>> = {
  event_idx: "<driver event_idx='on'/>",
  packed: "<driver packed='on'/>",
  iommu_platform: "<driver iommu='on'/>",
  ats: "<driver ats='on'/>",
  mrg_rxbuf: "<driver><host mrg_rxbuf='on'/></driver>",
  csum: "<driver><host csum='on'/></driver>",
  guest_csum: "<driver><guest csum='on'/></driver>",
  host_ufo: "<driver><host ufo='on'/></driver>",
  guest_ufo: "<driver><guest ufo='on'/></driver>",
  host_tso4: "<driver><host tso4='on'/></driver>",
  guest_tso4: "<driver><guest tso4='on'/></driver>",
  host_tso6: "<driver><host tso6='on'/></driver>",
  guest_tso6: "<driver><guest tso6='on'/></driver>",
};

/**
 * Finds the device type that the log names, else the one that has such features; undefined if the log names one that is
 * not known.
 */
function typeOf(
  features: bigint,
  host: bigint,
  { device, other }: LogContext,
  types: readonly DeviceType[],
): DeviceType | undefined {
  if (device !== undefined) return typeNamed(types, device);
  return other === undefined ? guessDevice(features, host, types) : undefined;
}

/** Writes a list as `a, b and c`. */
function listed(items: readonly string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}

/** Writes the label of a feature: `VIRTIO_NET_F_MRG_RXBUF (bit 15)`, or `bit 2` for what has no name. */
function labelOf({ bit, name }: FeatureControl): string {
  return name === `bit ${bit}` ? name : `${name} (bit ${bit})`;
}

function adviceFor(control: FeatureControl): string {
  const { property, machine, needs, qemu } = control;
  const label = labelOf(control);
  if (property === undefined)
    return `${label}: ${needs === undefined ? 'no property of QEMU switches it' : `depends on ${needs}`}.`;
  const since =
    machine === undefined
      ? ''
      : ` It is on by default from machine version ${machine} on; distributions may differ under a name of their own.`;
  const wants = needs === undefined ? '' : ` It needs ${needs}: compare the hosts.`;
  const known = qemu === undefined ? '' : ` QEMU before ${qemu} does not have it.`;
  return `${label}: property ${property} of the device is off at the destination, or was forced on at the source.${since}${wants}${known}`;
}

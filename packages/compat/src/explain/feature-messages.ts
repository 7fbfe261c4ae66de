import {
  type DeviceType,
  type Explanation,
  type FeatureControl,
  group,
  type LogContext,
  type MessageRule,
  typeNamed,
} from '@virtkit/core/qemu';
import { bitsOf, featureControl, guessDevice } from '../features/feature-control.ts';

/** Messages about features that were negotiated and are not offered: `Features 0x… unsupported. Allowed features: 0x…` */
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
  if (missing.length === 0) {
    return {
      code: 'features-masked',
      role: 'cause',
      meaning:
        'The guest has negotiated features that this QEMU does not offer. QEMU 10.2 and later print the set after removing them, so the two numbers look compatible; the missing bits are not in this line.',
      advice: [
        'Compare with the stream: virtkit inspect FILE shows the negotiated features by name.',
        'virtkit check FILE --target names the ones that the destination lacks.',
      ],
      facts,
      features: [],
    };
  }
  const names = listed(missing.map(labelOf));
  return {
    code: 'features',
    role: 'cause',
    meaning: `The guest runs with ${names}, which this ${device ?? context.other ?? 'device'} does not offer. A guest cannot give up a feature without a reset of its driver, so QEMU refuses the state.`,
    advice: [
      ...missing.map(adviceFor),
      ...(device === undefined && context.other === undefined ? [WHICH] : []),
    ],
    facts,
    features: missing,
  };
}

/** The device type that the log names, else the one that has such features; undefined if the log names one that is not known. */
function typeOf(
  features: bigint,
  host: bigint,
  { device, other }: LogContext,
  types: readonly DeviceType[],
): DeviceType | undefined {
  if (device !== undefined) return typeNamed(types, device);
  return other === undefined ? guessDevice(features, host, types) : undefined;
}

/** `a, b and c` */
function listed(items: readonly string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}

/** `VIRTIO_NET_F_MRG_RXBUF (bit 15)`, or `bit 2` for what has no name. */
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
      : ` It is on by default from machine version ${machine} on: use the same machine type on both sides.`;
  const wants = needs === undefined ? '' : ` It needs ${needs}: compare the hosts.`;
  const known = qemu === undefined ? '' : ` QEMU before ${qemu} does not have it.`;
  return `${label}: property ${property} of the device is off at the destination, or was forced on at the source.${since}${wants}${known}`;
}

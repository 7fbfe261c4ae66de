import { type DeviceType, type EqualField, group, type MessageRule } from '@virtkit/core/qemu';
import { pciByte } from '../pci-byte.ts';

/** Messages about fields of the devices and transports, and about their vmsds. */
export const stateMessages = (types: readonly DeviceType[]): readonly MessageRule[] => [
  {
    pattern:
      /(?<!\w)\w{1,80}: Bad config data: i=(0x[0-9a-f]+) read: ([0-9a-f]+) device: ([0-9a-f]+) cmask: ([0-9a-f]+) wmask: ([0-9a-f]+) w1cmask: ?([0-9a-f]+)/i,
    explain: (match) => {
      const at = Number(group(match, 1));
      const [read, device] = [group(match, 2), group(match, 3)];
      const readings = pciByte(at);
      const names = readings.map(({ layout, name }) =>
        layout === 'header' ? name : `${name} (${layout} slot)`,
      );
      return {
        code: 'pci-config',
        role: 'cause',
        meaning: `Byte ${group(match, 1)} of the PCI configuration space is 0x${read} in the stream and 0x${device} in the device at the destination, and no driver can change it. In a virtio function that byte is: ${names.join('; or ') || 'nothing that QEMU puts there'}.`,
        advice: readings
          .flatMap(({ name, decidedBy }) =>
            decidedBy === undefined ? [] : [`${name}: compare ${decidedBy}.`],
          )
          .concat([
            'Give the device the same properties and the same slot on both sides. The machine type has the same name on both (QEMU compares that first); QEMU packages may differ in what they make of it.',
          ]),
        facts: {
          byte: at,
          stream: Number.parseInt(read, 16),
          device: Number.parseInt(device, 16),
          cmask: Number.parseInt(group(match, 4), 16),
        },
      };
    },
  },
  {
    pattern: /^([0-9a-f]+) != ([0-9a-f]+)$/,
    explain: (match, { field }) => {
      const [local, received] = [group(match, 1), group(match, 2)];
      const { differs, advice = ['Use the same device properties on both sides.'] } = fieldNamed(
        types,
        field,
      );
      return {
        code: 'not-equal',
        role: 'cause',
        meaning: `${differs}: 0x${local} at the destination, 0x${received} in the stream.`,
        advice,
        facts: {
          local: Number.parseInt(local, 16),
          received: Number.parseInt(received, 16),
          ...(field !== undefined && { field }),
        },
      };
    },
  },
  {
    pattern: /irq state (-?\d+): must be 0 or 1/,
    explain: (match) => ({
      code: 'irq-state',
      role: 'cause',
      meaning: `The interrupt level in the PCI state is ${group(match, 1)}. Most likely configuration space has another size on the two sides (256 bytes, or 4096 in a PCI Express slot), and this was read at the wrong place.`,
      advice: [
        'Put the device into the same kind of slot on both sides (root bus or root port). QEMU before 10.2 also has x-disable-pcie: compare it.',
      ],
      facts: { level: Number(group(match, 1)) },
    }),
  },
  {
    pattern:
      /(?<![\w/-])([\w/-]+): incoming version_id (\d+) is too (new|old) for local (?:minimum )?version_id\s+(\d+)/,
    explain: (match) => {
      const [name, received, direction, local] = [1, 2, 3, 4].map((index) => group(match, index));
      return {
        code: 'vmsd-version',
        role: 'cause',
        meaning: `"${name}" comes in version ${received}, and this QEMU knows ${direction === 'new' ? 'up to' : 'from'} version ${local}.`,
        advice: ['Migrate to a QEMU that is not older than the source, with the same machine type.'],
        facts: { vmsd: name ?? '', received: Number(received), local: Number(local) },
      };
    },
  },
  {
    pattern: /VM subsection '([^']+)' in '([^']+)' does not exist/,
    explain: (match) => ({
      code: 'subsection',
      role: 'cause',
      meaning: `The stream has the subsection "${group(match, 1)}", which this QEMU does not know.${subsectionHint(group(match, 1))}`,
      advice: [
        'Use the same machine type on both sides, and a destination that is not older.',
        'virtkit convert IN OUT --to QEMU drops subsections that say nothing.',
      ],
      facts: { subsection: group(match, 1), vmsd: group(match, 2) },
    }),
  },
  {
    pattern: /Input validation failed: ([\w-]+)\/(\w+)/,
    explain: (match) => ({
      code: 'validation',
      role: 'cause',
      meaning: `The field "${group(match, 2)}" of "${group(match, 1)}" has a value that the destination does not accept.`,
      advice: ['Check the file: virtkit verify FILE.'],
      facts: { vmsd: group(match, 1), field: group(match, 2) },
    }),
  },
  {
    pattern: /Invalid value (-?\d+) expecting positive value <= (-?\d+)/,
    explain: (match) => ({
      code: 'range',
      role: 'cause',
      meaning: `A field has the value ${group(match, 1)}; 0 to ${group(match, 2)} is possible.`,
      advice: ['Check the file: virtkit verify FILE.'],
      facts: { value: Number(group(match, 1)), limit: Number(group(match, 2)) },
    }),
  },
];

/**
 * Finds what QEMU compares in a field of this name. The name comes out of a log: it may be one that every object has.
 */
function fieldNamed(types: readonly DeviceType[], field = ''): EqualField {
  if (field === 'devno') return { differs: 'The device numbers differ' };
  for (const { equalFields = {} } of types) {
    const known = Object.hasOwn(equalFields, field) ? equalFields[field] : undefined;
    if (known !== undefined) return known;
  }
  return {
    differs: `A field that must be equal on both sides differs${field === '' ? '' : ` (${field})`}`,
  };
}

function subsectionHint(name: string): string {
  if (name.endsWith('128bit_features') || name.endsWith('features128'))
    return ' It came with QEMU 10.2, for features above bit 63 (host_tunnel, guest_tunnel and their _csum).';
  return '';
}

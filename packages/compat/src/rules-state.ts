import { pciByte } from './pci-byte.ts';
import { group, type Rule } from './rules.ts';

/** Fields of the devices, transports and their vmsds. */
export const stateRules: readonly Rule[] = [
  {
    pattern:
      /get_pci_config_device: Bad config data: i=(0x[0-9a-f]+) read: ([0-9a-f]+) device: ([0-9a-f]+) cmask: ([0-9a-f]+) wmask: ([0-9a-f]+) w1cmask: ?([0-9a-f]+)/i,
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
            'Use the same machine type and the same device properties on both sides, and the same slot.',
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
    pattern: /Property '([\w-]+)' (size )?changed from (\w+) to (\w+)/,
    explain: (match) => {
      const [property, source, destination] = [group(match, 1), group(match, 3), group(match, 4)];
      const what = `${property}${group(match, 2) === '' ? '' : "'s size"}`;
      return {
        code: 'memory-device',
        role: 'cause',
        meaning: `The virtio-mem device is another one: its ${what} is ${source} in the stream, and ${destination} at the destination.`,
        advice: [`Give the destination the same ${property} (and the memory backend the same size).`],
        facts: { property, stream: source, local: destination },
      };
    },
  },
  {
    pattern: /^([0-9a-f]+) != ([0-9a-f]+)$/,
    explain: (match, { field }) => {
      const [local, received] = [group(match, 1), group(match, 2)];
      const what =
        field === 'max_queue_pairs'
          ? 'The numbers of queue pairs differ'
          : field === 'devno'
            ? 'The device numbers differ'
            : field === 'parent_obj'
              ? "The numbers of the GPU's outputs (max_outputs) differ"
              : `A field that must be equal on both sides differs${field === undefined ? '' : ` (${field})`}`;
      return {
        code: 'not-equal',
        role: 'cause',
        meaning: `${what}: 0x${local} at the destination, 0x${received} in the stream.`,
        advice:
          field === 'max_queue_pairs'
            ? [
                'Give the back end as many queues as at the source (tap: queues=N), with mq=on and the same vectors.',
              ]
            : ['Use the same device properties on both sides.'],
        facts: {
          local: Number.parseInt(local, 16),
          received: Number.parseInt(received, 16),
          ...(field !== undefined && { field }),
        },
      };
    },
  },
  {
    pattern: /virtio-net: saved image requires vnet_hdr=on/,
    explain: () => ({
      code: 'vnet-header',
      role: 'cause',
      meaning:
        "The source's back end put a virtio-net header in front of packets, and the one at the destination cannot.",
      advice: ['Use the same kind of back end on both sides (tap with vnet_hdr=on).'],
      facts: {},
    }),
  },
  {
    pattern: /virtio-net: saved image requires TUN_F_UFO support/,
    explain: () => ({
      code: 'ufo',
      role: 'cause',
      meaning: "The source's tap did UDP fragmentation offload, and the kernel at the destination does not.",
      advice: [
        'Switch guest_ufo and host_ufo off on both sides, or use a kernel with TUN_F_UFO at the destination.',
      ],
      facts: {},
    }),
  },
  {
    pattern: /virtio-net: curr_queue_pairs ([0-9a-f]+) > max_queue_pairs ([0-9a-f]+)/,
    explain: (match) => ({
      code: 'queue-pairs',
      role: 'cause',
      meaning: `The guest uses ${Number.parseInt(group(match, 1), 16)} queue pairs, and the destination has ${Number.parseInt(group(match, 2), 16)}.`,
      advice: ['Give the back end as many queues as at the source (tap: queues=N) with mq=on.'],
      facts: { current: Number.parseInt(group(match, 1), 16), limit: Number.parseInt(group(match, 2), 16) },
    }),
  },
  {
    pattern: /virtio-net: saved image has invalid RSS indirections_len: (\d+)/,
    explain: (match) => ({
      code: 'rss',
      role: 'cause',
      meaning: `The RSS table has ${group(match, 1)} entries; a power of two up to 128 is possible. QEMU before 10.0.13 did not check this.`,
      advice: ['Check the file: virtkit verify FILE.', 'Switch RSS off in the guest before migrating.'],
      facts: { length: Number(group(match, 1)) },
    }),
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
      const rss = name === 'virtio-net-device/rss';
      return {
        code: 'vmsd-version',
        role: 'cause',
        meaning: `"${name}" comes in version ${received}, and this QEMU knows ${direction === 'new' ? 'up to' : 'from'} version ${local}.${rss ? ' Version 2 is written by QEMU 10.2 and later, whatever the machine type.' : ''}`,
        advice: rss
          ? [
              'virtkit convert IN OUT --to qemu-10.0 writes version 1.',
              'Or switch RSS off in the guest before migrating.',
            ]
          : ['Migrate to a QEMU that is not older than the source, with the same machine type.'],
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

function subsectionHint(name: string): string {
  if (name.endsWith('128bit_features') || name.endsWith('features128'))
    return ' It came with QEMU 10.2, for features above bit 63 (host_tunnel, guest_tunnel and their _csum).';
  return '';
}

import { driverMistake, group, type MessageRule } from '@virtkit/core/qemu';

const hexOf = (text: string): number => Number.parseInt(text, 16);

/** QEMU's messages about network cards. */
export const netMessages: readonly MessageRule[] = [
  driverMistake(
    /(virtio-net (?:header not in first element|header incorrect|receive queue contains no in buffers|unexpected empty queue.*|ctrl missing headers))/,
  ),
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
    explain: (match) => {
      const [current, limit] = [hexOf(group(match, 1)), hexOf(group(match, 2))];
      return {
        code: 'queue-pairs',
        role: 'cause',
        meaning: `The guest uses ${current} queue pairs, and the destination has ${limit}.`,
        advice: ['Give the back end as many queues as at the source (tap: queues=N) with mq=on.'],
        facts: { current, limit },
      };
    },
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
    pattern:
      /(virtio-net-device\/rss): incoming version_id (\d+) is too (new|old) for local (?:minimum )?version_id\s+(\d+)/,
    explain: (match) => {
      const [vmsd, received, direction, local] = [1, 2, 3, 4].map((index) => group(match, index));
      return {
        code: 'vmsd-version',
        role: 'cause',
        meaning: `"${vmsd}" comes in version ${received}, and this QEMU knows ${direction === 'new' ? 'up to' : 'from'} version ${local}. Version 2 is written by QEMU 10.2 and later, whatever the machine type.`,
        advice: [
          'virtkit convert IN OUT --to qemu-10.0 writes version 1.',
          'Or switch RSS off in the guest before migrating.',
        ],
        facts: { vmsd: vmsd ?? '', received: Number(received), local: Number(local) },
      };
    },
  },
];

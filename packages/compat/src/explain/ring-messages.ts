import { driverMistake, group, type MessageRule } from '@virtkit/core/qemu';

const MEMORY_ADVICE = [
  'The guest memory that was loaded is not the one that the device state belongs to: check that RAM and devices are of one and the same migration (shared memory files, snapshots of disk and RAM).',
  'If only this device is affected, its guest driver or an earlier QEMU corrupted the ring: reset the device in the guest before migrating.',
];

/** Messages about virtqueues: indices, sizes, addresses; and what a guest does wrong in them. */
export const ringMessages: readonly MessageRule[] = [
  {
    pattern:
      /VQ (\d+) size (0x[0-9a-f]+) Guest index (0x[0-9a-f]+) inconsistent with Host index (0x[0-9a-f]+): delta (0x[0-9a-f]+)/i,
    explain: (match) => {
      const [queue, size, guest, host, delta] = [1, 2, 3, 4, 5].map((index) => Number(group(match, index)));
      return {
        code: 'ring-index',
        role: 'cause',
        meaning: `Queue ${queue} has ${size} entries. The guest's avail index in memory is ${guest}, the device had come to ${host}: ${delta} requests would be waiting, more than the ring holds. The load goes on, but the device is broken until its driver resets it.`,
        advice: MEMORY_ADVICE,
        facts: {
          queue: queue ?? 0,
          size: size ?? 0,
          availIdx: guest ?? 0,
          lastAvailIdx: host ?? 0,
          delta: delta ?? 0,
        },
      };
    },
  },
  {
    pattern: /VQ (\d+) size (0x[0-9a-f]+) < last_avail_idx (0x[0-9a-f]+) - used_idx (0x[0-9a-f]+)/i,
    explain: (match) => {
      const [queue, size, last, used] = [1, 2, 3, 4].map((index) => Number(group(match, index)));
      return {
        code: 'ring-inuse',
        role: 'cause',
        meaning: `Queue ${queue} has ${size} entries, but ${((last ?? 0) - (used ?? 0)) & 0xffff} requests would be in flight: the device took them up to index ${last}, the used index in guest memory is ${used}. QEMU refuses the state.`,
        advice: MEMORY_ADVICE,
        facts: { queue: queue ?? 0, size: size ?? 0, lastAvailIdx: last ?? 0, usedIdx: used ?? 0 },
      };
    },
  },
  {
    pattern: /VQ (\d+) address 0x0 inconsistent with Host index (0x[0-9a-f]+)/i,
    explain: (match) => ({
      code: 'ring-address',
      role: 'cause',
      meaning: `Queue ${group(match, 1)} has no descriptor table and yet has taken requests (index ${Number(group(match, 2))}). No QEMU writes that: the stream is damaged or was changed.`,
      advice: ['Check the file that was loaded: virtkit verify FILE.'],
      facts: { queue: Number(group(match, 1)), lastAvailIdx: Number(group(match, 2)) },
    }),
  },
  {
    pattern: /VQ (\d+) vring\.num (\d+) exceeds allocated max (\d+)/,
    explain: (match) => {
      const [queue, num, limit] = [1, 2, 3].map((index) => Number(group(match, index)));
      return {
        code: 'ring-size',
        role: 'cause',
        meaning:
          limit === 0
            ? `The stream has a queue ${queue} of ${num} entries, and the device at the destination has no such queue.`
            : `Queue ${queue} has ${num} entries in the stream, and the destination allocated ${limit}. QEMU 11.1 checks this; earlier ones load it.`,
        advice:
          limit === 0
            ? ['Give the destination as many queues: num-queues (blk), queues of the back end and mq (net).']
            : [
                'If the source is QEMU 10.0.13 (it creates every queue with 1024 entries): virtkit convert IN OUT --to qemu-11.1 rewrites the queues that the driver has not set up; a queue of 1024 entries in use needs queue-size=1024 (blk) or rx_queue_size=1024 (net) at the destination.',
                'Else use the same queue-size, rx_queue_size and tx_queue_size on both sides.',
              ],
        facts: { queue: queue ?? 0, num: num ?? 0, limit: limit ?? 0 },
      };
    },
  },
  {
    pattern: /Invalid number of virtqueues: (0x[0-9a-f]+)/i,
    explain: (match) => ({
      code: 'queue-count',
      role: 'cause',
      meaning: `The stream claims ${Number(group(match, 1))} queues; at most 1024 are possible. What was read in front of this number had another length than the destination expected.`,
      advice: [
        'Compare what decides over the length of the transport part: vectors (MSI-X), PCI Express slot or not.',
        'Check the file: virtkit verify FILE.',
      ],
      facts: { count: Number(group(match, 1)) },
    }),
  },
  {
    pattern: /(?:Cannot map|Failed to map) (desc|used|avail|descriptor ring|used ring|avalaible ring)/,
    explain: (match) => ({
      code: 'ring-unmapped',
      role: 'cause',
      meaning: `The ${group(match, 1)} of a queue is not in guest memory. The device is broken until its driver resets it.`,
      advice: [
        'Give the destination the same memory size and layout (m, maxmem, memory devices).',
        ...MEMORY_ADVICE,
      ],
      facts: { part: group(match, 1) },
    }),
  },
  driverMistake(
    /(Guest moved used index from \d+ to \d+|Guest says index \d+ is available|Looped descriptor|Desc next is \d+|Invalid size for indirect buffer table|Invalid indirect buffer table|zero sized buffers are not allowed|Incorrect order for descriptors|virtio: too many write descriptors in indirect table|Virtqueue size exceeded|virtio: bogus descriptor or out of resources)/,
  ),
  {
    pattern: /virtio: unexpected memory split|virtio: error trying to map MMIO memory/,
    explain: () => ({
      code: 'request-memory',
      role: 'cause',
      meaning:
        'A request in flight refers to memory that is not in one piece of guest RAM. Mostly the request was read at the wrong place: a device that offers packed rings writes the number of slots in front of a request and looks for it behind, so QEMU cannot load its own requests in flight; or num-queues differs.',
      advice: [
        'With packed=on: let the requests finish before migrating, or rewrite the stream: virtkit convert IN OUT.',
        'Use the same packed and num-queues on both sides.',
        'Give the destination the same memory.',
      ],
      facts: {},
    }),
  },
];

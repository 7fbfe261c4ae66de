import { driverMistake, group, type MessageRule } from '@virtkit/core/qemu';

/** QEMU's messages about block devices. */
export const blkMessages: readonly MessageRule[] = [
  driverMistake(
    /(virtio-blk (?:missing headers|request outhdr too short|request inhdr too short|discard\/write_zeroes header too short))/,
  ),
  {
    pattern: /Invalid virtqueue index in request list: (0x[0-9a-f]+|\d+)/i,
    explain: (match) => ({
      code: 'request-queue',
      role: 'cause',
      meaning: `A request that waits to be tried again says it is of queue ${Number(group(match, 1))}, which the destination does not have. With one queue QEMU writes no queue number in front of a request, so that different num-queues on the two sides also read it at the wrong place.`,
      advice: [
        'Use the same num-queues on both sides.',
        'Or let the requests finish before migrating (the drive had an I/O error and the VM stopped for it).',
      ],
      facts: { queue: Number(group(match, 1)) },
    }),
  },
];

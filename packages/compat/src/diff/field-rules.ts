import type { FieldRule } from '@virtkit/core/qemu';
import type { Json } from '@virtkit/vmstate';

const always = (): boolean => true;
const number = (value: Json | undefined): number => (typeof value === 'number' ? value : 0);
const more = (a: Json | undefined, b: Json | undefined): boolean => number(a) > number(b);
const onlyInA = (a: Json | undefined, b: Json | undefined): boolean => a !== undefined && b === undefined;

/**
 * Rules for what differences mean in the fields that all virtio devices have. Without a rule, a field is guest state.
 */
export const fieldRules: readonly FieldRule[] = [
  {
    pattern: /^transport\.msixTable\.length$/,
    weight: 'refused',
    reason:
      'the number of MSI-X vectors must be the same (property vectors, or num-queues and queues that it follows)',
    when: always,
  },
  {
    pattern: /^transport\.config\.length$/,
    weight: 'refused',
    reason:
      'conventional and PCI Express functions have configuration spaces of another size (slot; before QEMU 10.2 also x-disable-pcie)',
    when: always,
  },
  {
    pattern: /^transport\.sch\.(cssid|ssid|devno)$/,
    weight: 'refused',
    reason: 'the subchannel must be the same (property devno)',
    when: always,
  },
  { pattern: /^transport\.revision$/, weight: 'state', reason: '', when: always },
  {
    pattern: /^queues\.length$/,
    weight: 'may-refuse',
    reason:
      'QEMU 11.1 and later refuse queues that the destination does not have (num-queues; queues of the back end)',
    when: more,
  },
  {
    pattern: /^queues\[\d+\]\.num$/,
    weight: 'may-refuse',
    reason:
      'QEMU 11.1 and later refuse a ring larger than the destination made it (queue-size, rx_queue_size)',
    when: more,
  },
  {
    pattern: /^subsections\.(virtqueues|extraState)\.(present|length)$/,
    weight: 'may-refuse',
    reason: 'the source has the modern interface (disable-modern, force-legacy, max_revision)',
    when: onlyInA,
  },
  {
    pattern: /^subsections\.packedVirtqueues\.length$/,
    weight: 'may-refuse',
    reason: 'one side offers packed rings: requests in flight have another form (property packed)',
    when: (a, b) => (a === undefined) !== (b === undefined),
  },
  {
    pattern: /^subsections\.(features128|extraState\.modernState\.features128)/,
    weight: 'refused',
    reason: 'read by QEMU 10.2 and later (host_tunnel, guest_tunnel and their _csum)',
    when: onlyInA,
  },
];

import type { FieldRule } from '@virtkit/core/qemu';

type Value = Parameters<FieldRule['when']>[0];
const number = (value: Value): number => (typeof value === 'number' ? value : 0);
const always = (): boolean => true;
const more = (a: Value, b: Value): boolean => number(a) > number(b);

/** Rules for what differences in the fields of a card mean for a load. */
export const netDifferences: readonly FieldRule[] = [
  {
    pattern: /^device\.maxQueuePairs$/,
    weight: 'refused',
    reason: 'the number of queue pairs must be the same (queues of the back end)',
    when: always,
  },
  { pattern: /^device\.currQueuePairs$/, weight: 'state', reason: '', when: always },
  {
    pattern: /^device\.hasVnetHdr$/,
    weight: 'refused',
    reason: "the destination's back end has no virtio-net header (use tap with vnet_hdr=on)",
    when: more,
  },
  {
    pattern: /^device\.hasUfo$/,
    weight: 'refused',
    reason: "the destination's back end does no UFO",
    when: more,
  },
  {
    pattern: /^device\.rss\.version$/,
    weight: 'refused',
    reason: 'version 2 is read by QEMU 10.2 and later',
    when: more,
  },
];

import type { RingFeatures } from '@virtkit/core';
import type { RingWishes } from '../driver/virtio.ts';

/** Way to use rings: what the device offers and the driver takes. */
export interface RingMode {
  /** Name of the way in tests. */
  readonly name: string;
  /** Ring features that the device offers. */
  readonly offered: RingFeatures;
  /** Ring features that the driver accepts. */
  readonly wishes: RingWishes;
  /** True if VERSION_1 is needed. */
  readonly modern: boolean;
}

function mode(name: string, wishes: RingWishes): RingMode {
  const { packed, inOrder, notificationData } = wishes;
  return {
    name,
    wishes,
    offered: {
      packed: packed ?? false,
      inOrder: inOrder ?? false,
      notificationData: notificationData ?? false,
    },
    modern: packed === true || inOrder === true || notificationData === true,
  };
}

/** Ring formats and features in the combinations that matter. */
export const RING_MODES: readonly RingMode[] = [
  mode('split', {}),
  mode('split, indirect', { indirect: 'always' }),
  mode('split, event index', { eventIdx: true, indirect: 'mixed' }),
  mode('split, small', { eventIdx: true, size: 8 }),
  mode('split, in order', { inOrder: true, indirect: 'mixed' }),
  mode('split, everything', { inOrder: true, indirect: 'mixed', eventIdx: true, notificationData: true }),
  mode('packed', { packed: true }),
  mode('packed, indirect', { packed: true, indirect: 'always' }),
  mode('packed, event index', { packed: true, eventIdx: true, indirect: 'mixed' }),
  mode('packed, small', { packed: true, eventIdx: true, size: 7 }),
  mode('packed, in order', { packed: true, inOrder: true, indirect: 'mixed' }),
  mode('packed, everything', {
    packed: true,
    inOrder: true,
    indirect: 'mixed',
    eventIdx: true,
    notificationData: true,
  }),
];

import { hasFeature, negotiated, QUEUE_MAX, type TransportParts, type VirtioState } from '@virtkit/core';
import {
  ALWAYS_OFFERED,
  type DeviceType,
  isSince,
  type Making,
  propertyNames,
  type QueueDefaults,
  switchOf,
} from '@virtkit/core/qemu';
import { type BalloonState, balloon } from '../balloon.ts';

const SPEC = 'Virtio 1.3 §5.5.3';
/**
 * Number of entries of a balloon's rings for inflate, deflate and statistics; below, of hints, which is of the largest
 * size, and of reports.
 */
const RING = 128;
const HINTS_RING = QUEUE_MAX;
const REPORTS_RING = 32;
/** Feature bits of a balloon that have a queue of their own. */
const FREE_PAGE_HINT = 3;
const REPORTING = 5;

/** Descriptor of virtio-balloon. */
export const balloonType: DeviceType<BalloonState> = {
  layer: balloon,
  features: {
    1: { needs: ALWAYS_OFFERED, spec: SPEC },
    2: { property: 'deflate-on-oom', offByDefault: true, spec: SPEC },
    3: { property: 'free-page-hint', offByDefault: true, needs: 'an iothread', spec: SPEC },
    4: { property: 'page-poison', machine: '5.1', qemu: '5.1', spec: SPEC },
    5: { property: 'free-page-reporting', offByDefault: true, qemu: '5.1', spec: SPEC },
  },
  qemu: {
    properties: propertyNames(
      'deflate-on-oom free-page-hint free-page-reporting page-poison qemu-4-0-config-size',
    ),
    harmless: propertyNames('guest-stats guest-stats-polling-interval'),
    queueSize,
    queues: ({ device: { properties }, complete }) => {
      if (!complete) return undefined;
      const on = (property: string): boolean => switchOf(properties.get(property)) === true;
      return [
        RING,
        RING,
        RING,
        ...(on('free-page-hint') ? [HINTS_RING] : []),
        ...(on('free-page-reporting') ? [REPORTS_RING] : []),
      ];
    },
    pci: { vectors: vectorsSince },
  },
};

/**
 * Finds the ring size of a queue: inflate, deflate and statistics; then hints and reports, each if it is offered. Of a
 * fourth queue that no driver knows, only a QEMU that makes all queues alike leaves open which it is: the smaller size
 * fits both.
 */
function queueSize(
  index: number,
  state: VirtioState<TransportParts, BalloonState>,
  { properties }: QueueDefaults,
): number {
  if (index < 3) return RING;
  if (index === 4) return REPORTS_RING;
  const features = negotiated(state);
  if (hasFeature(features, FREE_PAGE_HINT) || state.queues.length > 4) return HINTS_RING;
  if (hasFeature(features, REPORTING)) return REPORTS_RING;
  const alike = (state.queues[0]?.num ?? 0) > RING;
  return alike && switchOf(properties.get('free-page-hint')) !== true ? REPORTS_RING : HINTS_RING;
}

/**
 * Number of interrupt vectors of balloons and memory devices: none, and two from machine 10.0 on. QEMU:
 * `hw_compat_9_2`, as 10.0 itself tells its machines
 */
export function vectorsSince(making: Making, before: number | undefined): number | undefined {
  if (!making.complete) return before;
  return isSince(making, '10.0') ? 2 : 0;
}

import { QUEUE_MAX } from '@virtkit/core';
import { type DeviceType, isSince, type Making, numberOf, propertyNames } from '@virtkit/core/qemu';
import { type EmptyState, scsi } from '../empty.ts';

const SPEC = 'Virtio 1.3 §5.6.3';
/** Number of queues that every adapter has: the control and the event queue. */
const FIXED_QUEUES = 2;

/** Descriptor of virtio-scsi. */
export const scsiType: DeviceType<EmptyState> = {
  layer: scsi,
  features: {
    1: { property: 'hotplug', spec: SPEC },
    2: { property: 'param_change', spec: SPEC },
    3: { property: 't10_pi (of vhost-scsi)', spec: SPEC },
  },
  qemu: {
    parents: (type) => (type.includes('scsi') ? ['virtio-scsi-common', 'vhost-scsi-common'] : []),
    properties: propertyNames('num_queues seg_max_adjust hotplug param_change'),
    harmless: propertyNames('cmd_per_lun max_sectors'),
    queueSize: (_index, _state, at) => (isSince(at, '5.0') ? 256 : 128),
    sizeProperty: () => 'virtqueue_size',
    queues: (making) => {
      const queues = requestQueues(making);
      return queues === undefined
        ? undefined
        : new Array<number>(Math.max(queues + FIXED_QUEUES, 0)).fill(QUEUE_MAX);
    },
    pci: {
      vectors: (making, before) => {
        const { device, complete } = making;
        if (!complete && !device.properties.has('num_queues')) return before;
        return (requestQueues(making) ?? 1) + FIXED_QUEUES + 1;
      },
    },
  },
};

/** Number of request queues of a SCSI adapter; undefined: as at the source. */
function requestQueues(making: Making): number | undefined {
  const said = numberOf(making.device.properties.get('num_queues'));
  if (said !== undefined || !making.complete) return said;
  return making.device.driver.includes('pci') && isSince(making, '5.2') ? making.cpus : 1;
}

/**
 * The block device as a type: what QEMU's versions and options make of it, beside the device itself.
 *
 * You bring:  a registry (`registryOf` of `@virtkit/core/qemu`).
 * You get:    {@link blkType}, with which streams with block devices are checked, converted, explained, compared, and opened.
 * @packageDocumentation
 */
import { hasFeature } from '@virtkit/core';
import { type LiveDeviceType, propertyNames } from '@virtkit/core/qemu';
import { BlkDevice } from './device.ts';
import { BLK_FEATURE } from './features.ts';
import { blk } from './layer.ts';
import { memoryDisk } from './live/memory-disk.ts';
import type { BlkOptions } from './live/options.ts';
import { blkFeatureTable } from './qemu/features.ts';
import { blkMessages } from './qemu/messages.ts';
import { type BlkShape, blkMadeBy, defaultRingSize, inferBlk } from './qemu/options.ts';
import { checkRequestLayout, slotsBehind } from './qemu/request-layout.ts';
import { blkRequests } from './qemu/requests.ts';
import type { BlkState } from './state.ts';

export type { BlkShape };

/** Bytes of a disk that is only asked. */
const UNCONNECTED_BYTES = 1 << 20;

/** Descriptor of virtio-blk. */
export const blkType: LiveDeviceType<BlkState, BlkShape, BlkOptions> = {
  layer: blk,
  features: blkFeatureTable,
  // a card has STATUS where a disk has SECURE_ERASE, which no QEMU offers
  offersLike: (features) =>
    [BLK_FEATURE.GEOMETRY, BLK_FEATURE.BLK_SIZE, BLK_FEATURE.TOPOLOGY].every((bit) =>
      hasFeature(features, bit),
    ) && !hasFeature(features, BLK_FEATURE.SECURE_ERASE),
  live: {
    infer: inferBlk,
    make: (options) => new BlkDevice(options),
    unconnected: (options = {}) => ({ ...options, backend: memoryDisk(UNCONNECTED_BYTES) }),
  },
  qemu: {
    option: 'drive',
    properties: propertyNames(
      'num-queues queue-size config-wce discard write-zeroes seg-max-adjust write-cache logical_block_size',
      'physical_block_size x-enable-wce-if-config-wce scsi',
    ),
    harmless: propertyNames(
      'account-failed account-invalid backend_defaults cyls heads secs lcyls lheads lsecs discard_granularity drive',
      'iothread-vq-mapping max-discard-sectors max-write-zeroes-sectors min_io_size opt_io_size rerror werror',
      'report-discard-granularity request-merging serial share-rw stats-intervals',
    ),
    queueSize: (_index, _state, at) => defaultRingSize(at),
    sizeProperty: () => 'queue-size',
    pci: {
      // a disk that had as many vectors as QEMU gives by default has that with another number of queues too
      vectors: (making, before, savedQueues) =>
        making.complete || before === savedQueues + 1 ? undefined : before,
    },
    options: blkMadeBy,
  },
  conversions: [{ convert: slotsBehind }],
  check: checkRequestLayout,
  findings: {
    'request-queue': {
      says: ({ queue }) => `Invalid virtqueue index in request list: 0x${Number(queue).toString(16)}`,
      property: 'num-queues',
      spec: 'Virtio 1.3 §5.2.2',
      toldBy: 'request-layout',
    },
  },
  messages: blkMessages,
  requests: blkRequests,
};

import { lowHigh, QUEUE_MAX } from '@virtkit/core';
import { bool, named, sparseArray, u16, u32, type ValueOf, vmstate } from '@virtkit/vmstate';

/** `virtio_mmio_save_config`. */
export const mmioConfigState = vmstate('virtio_mmio_config', 1).fields({
  /** DeviceFeaturesSel, 0 or 1. */
  hostFeaturesSel: u32,
  /** DriverFeaturesSel, 0 or 1. */
  guestFeaturesSel: u32,
  /** Legacy GuestPageSize as a power of two. */
  guestPageShift: u32,
});

/** The registers of a queue in the modern interface. */
export const mmioQueue = vmstate('virtio_mmio/queue_state', 1).fields({
  /** QueueNum */
  num: u16,
  /** QueueReady */
  enabled: bool,
  /** QueueDesc */
  desc: lowHigh,
  /** QueueDriver */
  avail: lowHigh,
  /** QueueDevice */
  used: lowHigh,
});

/** `virtio/extra_state`: vmsd `virtio_mmio`, there only for modern devices (`force-legacy=off`). */
export const mmioExtraState = vmstate('virtio_mmio', 1).subsection(
  'state',
  'virtio_mmio/state',
  vmstate('virtio_mmio/state', 1).fields({
    /** DriverFeatures, both words, as the driver wrote them. */
    guestFeatures: named('guest_features', lowHigh),
    /** Queues up to the last one with anything but zeros. */
    vqs: sparseArray(mmioQueue, QUEUE_MAX, new Uint8Array(27)),
  }),
);

/** MMIO saves nothing for a queue: it has no vectors. */
export const noQueueState = vmstate('virtio_mmio_queue', 1);

/** The state types of virtio over MMIO. */
export interface MmioParts {
  /** What `save_config` writes: the selectors of legacy registers. */
  readonly config: ValueOf<typeof mmioConfigState>;
  /** What `save_queue` writes for MMIO: nothing. */
  readonly queue: ValueOf<typeof noQueueState>;
  /** What `save_extra_state` writes: the registers of modern devices. */
  readonly extra: ValueOf<typeof mmioExtraState>;
}

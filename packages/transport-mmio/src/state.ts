import { lowHigh, QUEUE_MAX } from '@virtkit/core';
import { bool, named, sparseArray, u16, u32, type ValueOf, vmstate } from '@virtkit/vmstate';

/** Structure that QEMU's `virtio_mmio_save_config` writes. */
export const mmioConfigState = vmstate('virtio_mmio_config', 1).fields({
  /** Value of DeviceFeaturesSel, 0 or 1. */
  hostFeaturesSel: u32,
  /** Value of DriverFeaturesSel, 0 or 1. */
  guestFeaturesSel: u32,
  /** Legacy GuestPageSize as a power of two. */
  guestPageShift: u32,
});

/** Registers of a queue in the modern interface. */
export const mmioQueue = vmstate('virtio_mmio/queue_state', 1).fields({
  /** Value of QueueNum. */
  num: u16,
  /** Value of QueueReady. */
  enabled: bool,
  /** Value of QueueDesc, a guest address. */
  desc: lowHigh,
  /** Value of QueueDriver, a guest address. */
  avail: lowHigh,
  /** Value of QueueDevice, a guest address. */
  used: lowHigh,
});

/** Subsection `virtio/extra_state`: vmsd `virtio_mmio`, there only for modern devices (`force-legacy=off`). */
export const mmioExtraState = vmstate('virtio_mmio', 1).subsection(
  'state',
  'virtio_mmio/state',
  vmstate('virtio_mmio/state', 1).fields({
    /** Values of both words of DriverFeatures, as the driver wrote them. */
    guestFeatures: named('guest_features', lowHigh),
    /** Registers of queues up to the last one with anything but zeros. */
    vqs: sparseArray(mmioQueue, QUEUE_MAX, new Uint8Array(27)),
  }),
);

/** Structure of a queue's state, which is empty: MMIO has no vectors. */
export const noQueueState = vmstate('virtio_mmio_queue', 1);

/** State types of virtio over MMIO. */
export interface MmioParts {
  /** Part that QEMU's `save_config` writes: the selectors of legacy registers. */
  readonly config: ValueOf<typeof mmioConfigState>;
  /** Part that QEMU's `save_queue` writes for MMIO: nothing. */
  readonly queue: ValueOf<typeof noQueueState>;
  /** Part that QEMU's `save_extra_state` writes: the registers of modern devices. */
  readonly extra: ValueOf<typeof mmioExtraState>;
}

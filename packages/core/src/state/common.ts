import { countedBytes, named, u8, u16, u32, u64, type VMState, vmstate } from '@virtkit/vmstate';

/** The fields that every virtio device has, between `save_config` and the queues. QEMU: `virtio_save`. */
export const commonFields = vmstate('virtio', 1).fields({
  /** Device status, Virtio 1.3 §2.1. */
  status: u8,
  /** ISR status: 1 queue, 2 configuration. */
  isr: u8,
  /** Queue that the driver has selected. */
  queueSel: u16,
  /** Negotiated features 0 to 31. */
  guestFeatures: u32,
  // the configuration space, cached; config_len in front; only the bytes that are there limit it
  config: countedBytes(u32, 0xffffffff, 'config_len'),
});

/** Core's fields of a queue, for transports that fix the ring alignment. */
export const queueFields = vmstate('virtqueue', 1).fields({
  num: named('vring.num', u32),
  desc: named('vring.desc', u64),
  lastAvailIdx: u16,
});

/** Core's fields of a queue, for transports that let the driver choose the ring alignment. */
const alignedQueueFields = vmstate('virtqueue', 1).fields({
  num: named('vring.num', u32),
  align: named('vring.align', u32),
  desc: named('vring.desc', u64),
  lastAvailIdx: u16,
});

/** Core's fields of one queue. */
export interface CoreQueueFields {
  readonly num: number;
  readonly align?: number;
  readonly desc: bigint;
  readonly lastAvailIdx: number;
}

/** Declares core's part of a queue for a transport with or without a saved ring alignment. */
export function coreQueue(hasVariableVringAlignment: boolean): VMState<CoreQueueFields> {
  // with `align` required in one and absent in the other, the wire form is the only difference
  return (hasVariableVringAlignment
    ? alignedQueueFields
    : queueFields) as unknown as VMState<CoreQueueFields>;
}

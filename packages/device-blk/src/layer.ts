import { type DeviceLayer, type EarlyState, ELEMENT_BYTES, QUEUE_MAX } from '@virtkit/core';
import type { Field, Reader } from '@virtkit/vmstate';
import { describeBlkConfig } from './config-space.ts';
import { blkIdentity } from './identity.ts';
import { type BlkState, requestList } from './state.ts';

/** Offset in an element, in bytes, of its number of segments to write. */
const IN_NUM = 8;

/** Saved state of virtio-blk: Virtio 1.3 §5.2; QEMU `hw/block/virtio-blk.c`. */
export const blk: DeviceLayer<BlkState> = {
  ...blkIdentity,
  version: 2,
  minimum: 2,
  loadDevice,
  saveDevice: ({ layout }) => requestList(layout ?? { queue: false, ndescs: 'none', byteOrder: 'little' }),
  describeConfig: describeBlkConfig,
};

/**
 * Lists the forms of a state's requests: the stream does not say whether queue number and ndescs stand beside each
 * request, and what follows them does.
 */
function* loadDevice(early: EarlyState, input: Reader): Iterable<Field<BlkState>> {
  const many = early.queues.length > 1;
  const empty = input.peek() === 0;
  for (const queue of empty ? [false] : [many, !many]) {
    for (const ndescs of empty ? (['none'] as const) : (['none', 'before', 'after'] as const)) {
      if (ndescs === 'none' || plausible(input, queue, ndescs))
        yield requestList({ queue, ndescs, byteOrder: 'auto' });
    }
  }
}

/**
 * Is it plausible that the requests have ndescs at this place? Before or behind the element, ndescs takes as many
 * bytes, and both can be read to the end. But what is no ndescs is not between 1 and the largest ring; and with 4 bytes
 * too many in front, an element has no segment to write a status to.
 */
function plausible(input: Reader, queue: boolean, ndescs: 'before' | 'after'): boolean {
  const at = 1 + (queue ? 4 : 0);
  if (input.remaining < at + ELEMENT_BYTES + 4) return false;
  const word = (offset: number): number => input.view.getUint32(input.offset + offset);
  const slots = word(ndescs === 'before' ? at : at + ELEMENT_BYTES);
  if (slots === 0 || slots > QUEUE_MAX) return false;
  return ndescs === 'after' || word(at + 4 + IN_NUM) !== 0;
}

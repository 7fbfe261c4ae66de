import {
  type DeviceLayer,
  type EarlyState,
  ELEMENT_BYTES,
  QUEUE_MAX,
  type Report,
  type TransportParts,
  type VirtioState,
} from '@virtkit/core';
import type { Field, Reader } from '@virtkit/vmstate';
import { describeBlkConfig } from './config-space.ts';
import { blkFeatures } from './features.ts';
import { type BlkState, requestList } from './state.ts';

/** Offset of the number of segments to write in an element. */
const IN_NUM = 8;

/** virtio-blk: Virtio 1.3 §5.2; QEMU `hw/block/virtio-blk.c`. */
export const blk: DeviceLayer<BlkState> = {
  contract: 1,
  name: 'virtio-blk',
  virtioId: 2,
  version: 2,
  minimum: 2,
  features: blkFeatures,
  loadDevice,
  saveDevice: ({ layout }) => requestList(layout ?? { queue: false, ndescs: 'none', byteOrder: 'little' }),
  check,
  describeConfig: describeBlkConfig,
};

/** The stream does not say whether queue number and ndescs stand beside each request; what follows does. */
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
 * Before or behind the element, ndescs takes as many bytes, and both can be read to the end. But what is no ndescs is not
 * between 1 and the largest ring; and with 4 bytes too many in front, an element has no segment to write a status to.
 */
function plausible(input: Reader, queue: boolean, ndescs: 'before' | 'after'): boolean {
  const at = 1 + (queue ? 4 : 0);
  if (input.remaining < at + ELEMENT_BYTES + 4) return false;
  const word = (offset: number): number => input.view.getUint32(input.offset + offset);
  const slots = word(ndescs === 'before' ? at : at + ELEMENT_BYTES);
  if (slots === 0 || slots > QUEUE_MAX) return false;
  return ndescs === 'after' || word(at + 4 + IN_NUM) !== 0;
}

function check(state: VirtioState<TransportParts, BlkState>, report: Report): void {
  const { requests } = state.device;
  const seen = new Set<string>();
  const counts = new Map<number, number>();
  requests.forEach(({ queue = 0, ndescs, element }, index) => {
    const path = `device.requests[${index}]`;
    const ring = state.queues[queue];
    if (ring === undefined) {
      report({
        code: 'request-queue',
        severity: 'error',
        path: `${path}.queue`,
        reason: `queue ${queue} of ${state.queues.length}`,
        facts: { queue, queues: state.queues.length },
      });
      return;
    }
    if (element.index >= ring.num) {
      report({
        code: 'request-index',
        severity: 'error',
        path: `${path}.element.index`,
        reason: `descriptor ${element.index} in a ring of ${ring.num}`,
        facts: { index: element.index, num: ring.num },
      });
    }
    const key = `${queue}/${element.index}`;
    if (seen.has(key)) {
      // a driver that makes a descriptor available again too early; QEMU takes it, and moves it
      report({
        code: 'request-twice',
        severity: 'warning',
        path: `${path}.element.index`,
        reason: `descriptor ${element.index} of queue ${queue} is in the list twice`,
        facts: { index: element.index, queue },
      });
    }
    seen.add(key);
    const count = (counts.get(queue) ?? 0) + 1;
    counts.set(queue, count);
    if (count > ring.num) {
      report({
        code: 'request-count',
        severity: 'error',
        path,
        reason: `more than ${ring.num} requests of queue ${queue}, a ring of that size`,
        facts: { queue, num: ring.num },
      });
    }
    if (ndescs !== undefined && (ndescs === 0 || ndescs > ring.num)) {
      report({
        code: 'request-size',
        severity: 'error',
        path: `${path}.ndescs`,
        reason: `${ndescs} slots in a ring of ${ring.num}`,
        facts: { ndescs, num: ring.num },
      });
    }
    if (element.out.length === 0 || element.in.length === 0) {
      report({
        code: 'request-headers',
        severity: 'warning',
        path: `${path}.element`,
        reason: `${element.out.length} segments to read and ${element.in.length} to write: header or status has no place`,
        facts: { out: element.out.length, in: element.in.length },
      });
    }
  });
}

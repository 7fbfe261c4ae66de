import {
  type DeviceLayer,
  type EarlyState,
  ELEMENT_BYTES,
  QUEUE_MAX,
  type Report,
  reportError,
  reportWarning,
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
      reportError(report, 'request-queue', `${path}.queue`, `queue ${queue} of ${state.queues.length}`, {
        queue,
        queues: state.queues.length,
      });
      return;
    }
    if (element.index >= ring.num) {
      reportError(
        report,
        'request-index',
        `${path}.element.index`,
        `descriptor ${element.index} in a ring of ${ring.num}`,
        { index: element.index, num: ring.num },
      );
    }
    const key = `${queue}/${element.index}`;
    if (seen.has(key)) {
      // a driver that makes a descriptor available again too early; QEMU takes it, and moves it
      reportWarning(
        report,
        'request-twice',
        `${path}.element.index`,
        `descriptor ${element.index} of queue ${queue} is in the list twice`,
        { index: element.index, queue },
      );
    }
    seen.add(key);
    const count = (counts.get(queue) ?? 0) + 1;
    counts.set(queue, count);
    if (count > ring.num) {
      reportError(
        report,
        'request-count',
        path,
        `more than ${ring.num} requests of queue ${queue}, a ring of that size`,
        { queue, num: ring.num },
      );
    }
    if (ndescs !== undefined && (ndescs === 0 || ndescs > ring.num)) {
      reportError(report, 'request-size', `${path}.ndescs`, `${ndescs} slots in a ring of ${ring.num}`, {
        ndescs,
        num: ring.num,
      });
    }
    if (element.out.length === 0 || element.in.length === 0) {
      reportWarning(
        report,
        'request-headers',
        `${path}.element`,
        `${element.out.length} segments to read and ${element.in.length} to write: header or status has no place`,
        { out: element.out.length, in: element.in.length },
      );
    }
  });
}

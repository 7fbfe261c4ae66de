import {
  type DeviceIdentity,
  type Report,
  reportError,
  reportWarning,
  type TransportParts,
  type VirtioState,
} from '@virtkit/core/live';
import { blkFeatures } from './features.ts';
import type { BlkState } from './state.ts';

/** Name, number and rules of virtio-blk, without the format of its state. */
export const blkIdentity: DeviceIdentity<BlkState> = {
  contract: 1,
  name: 'virtio-blk',
  virtioId: 2,
  features: blkFeatures,
  check,
};

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

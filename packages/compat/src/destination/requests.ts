import type { VirtioState } from '@virtkit/core';
import type { BlkState } from '@virtkit/device-blk';
import type { Verdict } from '../verdict.ts';

/**
 * Requests in flight carry a queue number if the device has several queues, and a number of ring slots if it offers packed
 * rings. Nothing in the stream says so: a destination that was made differently reads other bytes for them.
 */
export function checkRequestLayout(
  title: string,
  section: string,
  state: VirtioState<never, BlkState>,
  queues: number,
  packed: boolean,
): Verdict | undefined {
  const { layout, requests } = state.device;
  const [first] = requests;
  if (layout === undefined || first === undefined) return undefined;
  const numbered = queues > 1;
  const base = { code: 'request-layout', severity: 'refused', path: `${title} / device.requests` } as const;
  if (layout.queue !== numbered)
    return {
      ...base,
      reason: numbered
        ? `requests in flight without a queue number, for the source had one queue; the target has ${queues} and looks for it`
        : 'requests in flight with a queue number, for the source had several queues; the target has one and does not look for it',
      qemuSays: numbered ? misread(first.element.index, layout.byteOrder, queues) : SPLIT,
      property: 'num-queues',
      spec: 'Virtio 1.3 §5.2.2',
      advice: numbered
        ? 'give the target num-queues=1'
        : `give the target num-queues=${Math.max(state.queues.length, 2)}`,
    };
  if (packed === (layout.ndescs !== 'none')) return undefined;
  return {
    ...base,
    reason: packed
      ? 'requests in flight without a number of ring slots, for the source did not offer packed rings; the target does and looks for it'
      : 'requests in flight with a number of ring slots, for the source offered packed rings; the target does not and does not look for it',
    qemuSays: packed ? `Missing section footer for ${section}` : SPLIT,
    property: 'packed',
    spec: 'Virtio 1.3 §2.8',
    advice: `give the target packed=${packed ? 'off' : 'on'}`,
  };
}

const SPLIT = 'virtio: unexpected memory split';

/** The element's own index, in the host's byte order, is taken for a queue number in big-endian order. */
function misread(index: number, byteOrder: 'little' | 'big', queues: number): string {
  const bytes = new DataView(new ArrayBuffer(4));
  bytes.setUint32(0, index, byteOrder === 'little');
  const seen = bytes.getUint32(0);
  return seen >= queues ? `Invalid virtqueue index in request list: 0x${seen.toString(16)}` : SPLIT;
}

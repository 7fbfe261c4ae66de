import type { TransportParts, VirtioState } from '@virtkit/core';
import {
  type Destined,
  type MachineOfQemu,
  type Rewritten,
  refusal,
  switchOf,
  type Verdict,
} from '@virtkit/core/qemu';
import type { BlkState } from '../state.ts';

/** Line of QEMU when it has read a request at the wrong place. */
const SPLIT = 'virtio: unexpected memory split';

/**
 * Requests in flight carry a queue number if the device has several queues, and a number of ring slots if it offers packed
 * rings. Nothing in the stream says so: a destination that was made differently reads other bytes for them.
 */
export function checkRequestLayout(
  state: VirtioState<TransportParts, BlkState>,
  { title, section, making, model }: Destined,
): Verdict[] {
  const { layout, requests } = state.device;
  const [first] = requests;
  if (layout === undefined || first === undefined || model === undefined) return [];
  const queues = model.queueSizes.length;
  const path = `${title} / device.requests`;
  const numbered = queues > 1;
  if (layout.queue !== numbered)
    return [
      refusal(
        'request-layout',
        path,
        numbered
          ? `requests in flight without a queue number, for the source had one queue; the target has ${queues} and looks for it`
          : 'requests in flight with a queue number, for the source had several queues; the target has one and does not look for it',
        {
          qemuSays: numbered ? misread(first.element.index, layout.byteOrder, queues) : SPLIT,
          property: 'num-queues',
          spec: 'Virtio 1.3 §5.2.2',
          advice: numbered
            ? 'give the target num-queues=1'
            : `give the target num-queues=${Math.max(state.queues.length, 2)}`,
        },
      ),
    ];
  const packed = offersPacked(state, making);
  if (packed === (layout.ndescs !== 'none')) return [];
  return [
    refusal(
      'request-layout',
      path,
      packed
        ? 'requests in flight without a number of ring slots, for the source did not offer packed rings; the target does and looks for it'
        : 'requests in flight with a number of ring slots, for the source offered packed rings; the target does not and does not look for it',
      {
        qemuSays: packed ? `Missing section footer for ${section}` : SPLIT,
        property: 'packed',
        spec: 'Virtio 1.3 §2.8',
        advice: `give the target packed=${packed ? 'off' : 'on'}`,
      },
    ),
  ];
}

/** Does the target offer packed rings? What is not said is as at the source, or off by default. */
function offersPacked({ subsections }: VirtioState, { device, complete }: Destined['making']): boolean {
  return (
    switchOf(device.properties.get('packed')) ?? (!complete && subsections.packedVirtqueues !== undefined)
  );
}

/** The element's own index, in the host's byte order, is taken for a queue number in big-endian order. */
function misread(index: number, byteOrder: 'little' | 'big', queues: number): string {
  const bytes = new DataView(new ArrayBuffer(4));
  bytes.setUint32(0, index, byteOrder === 'little');
  const seen = bytes.getUint32(0);
  return seen >= queues ? `Invalid virtqueue index in request list: 0x${seen.toString(16)}` : SPLIT;
}

/** QEMU writes the ring slots of a request in front of it and looks for them behind it, so that it cannot load its own requests. */
export function slotsBehind(
  title: string,
  device: BlkState,
  _to: MachineOfQemu,
): Rewritten<BlkState> | undefined {
  const { layout, requests } = device;
  if (layout?.ndescs !== 'before' || requests.length === 0) return undefined;
  return {
    device: { ...device, layout: { ...layout, ndescs: 'after' } },
    verdict: refusal(
      'request-layout',
      `${title} / device.requests`,
      `${requests.length} requests in flight of a device that offers packed rings: QEMU writes a number in front of each and looks for it behind`,
      {
        qemuSays: SPLIT,
        property: 'packed',
        spec: 'Virtio 1.3 §2.8',
        advice: 'virtkit convert; or let the requests finish before migrating',
        convertible: true,
      },
    ),
  };
}

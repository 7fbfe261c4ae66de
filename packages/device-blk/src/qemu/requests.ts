import type { DeviceModel, RequestInFlight, TransportParts, VirtioState } from '@virtkit/core';
import type { RequestSide } from '@virtkit/core/qemu';
import { StateError } from '@virtkit/vmstate';
import { BlkDevice } from '../device.ts';
import { BLK_S } from '../live/wire.ts';
import type { BlkRequest, BlkState } from '../state.ts';

const SECTOR_BYTES = 512;

/** Requests in flight of a block device. */
export const blkRequests: RequestSide<BlkState> = {
  list: ({ device }) =>
    device.requests.map((request, index) => ({ ...inFlight(request), path: `device.requests[${index}]` })),
  keep: (device, numbers) => ({
    ...device,
    requests: device.requests.filter((_, index) => numbers.includes(index)),
  }),
  join: (device, more) => ({
    ...device,
    requests: [...device.requests, ...more.requests],
    ...(more.layout !== undefined && { layout: more.layout }),
  }),
  // Virtio 1.3 §5.2.6: the status is the last byte that the device writes
  answerAt: ({ element }) => {
    const last = element.in.at(-1);
    return last === undefined ? undefined : last.addr + last.len - 1n;
  },
  hasFailed: (status) => status === BLK_S.IOERR,
  demandSame,
};

function inFlight({ queue = 0, element, ndescs }: BlkRequest): Omit<RequestInFlight, 'path'> {
  return { queue, element, ...(ndescs !== undefined && { ndescs }) };
}

/**
 * Demands that the disk is the one that the driver knows. @throws StateError `disk-size` if the disk is not the size
 * that the driver knows; larger ones only with `larger`
 */
function demandSame(
  { config }: VirtioState<TransportParts, BlkState>,
  model: DeviceModel<BlkState>,
  { littleEndian, larger }: { readonly littleEndian: boolean; readonly larger: boolean },
): void {
  if (!(model instanceof BlkDevice)) throw new StateError('device-type', 'is no live block device', {});
  const { capacity: sectors } = model;
  const known = capacityOf(config, littleEndian);
  if (known === undefined || known === sectors || (larger && sectors > known)) return;
  const than = sectors < known ? 'smaller' : 'larger';
  throw new StateError(
    'disk-size',
    `a disk of ${SECTOR_BYTES * sectors} bytes (${sectors} sectors) is ${than} than the guest's, which has ${SECTOR_BYTES * known} (${known} sectors)`,
    { sectors, capacity: known },
  );
}

/** Sectors that the driver has seen; undefined: it never looked. Virtio 1.3 §5.2.4: le64 capacity is the first field. */
function capacityOf(config: Uint8Array, littleEndian: boolean): number | undefined {
  // QEMU saves the bytes that the driver read last
  if (config.length < 8 || config.every((byte) => byte === 0)) return undefined;
  return Number(new DataView(config.buffer, config.byteOffset).getBigUint64(0, littleEndian));
}

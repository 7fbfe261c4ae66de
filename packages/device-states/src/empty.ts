// Devices whose own part of a virtio section is empty: all that QEMU saves of them is core's and the transport's.
import type { DeviceLayer, FeatureNames } from '@virtkit/core';
import { latin1, type ValueOf, vmstate } from '@virtkit/vmstate';
import { configSpace, featureNames } from './config-space.ts';

const nothing = vmstate('nothing', 1).fields({});

/** State of a device type that has nothing of its own. */
export type EmptyState = ValueOf<typeof nothing>;

/** Makes the layer of a device type that has nothing of its own between core's fields and subsections. */
export function empty(
  name: string,
  virtioId: number,
  features: FeatureNames,
  describeConfig: NonNullable<DeviceLayer['describeConfig']> = configSpace([]),
  version = 1,
): DeviceLayer<EmptyState> {
  return {
    contract: 1,
    name,
    virtioId,
    version,
    minimum: version,
    features,
    loadDevice: () => [nothing],
    saveDevice: () => nothing,
    describeConfig,
  };
}

/** Saved state of virtio-scsi: Virtio 1.3 §5.6. Requests in flight are saved with the SCSI devices on its bus. */
export const scsi = empty(
  'virtio-scsi',
  8,
  featureNames('SCSI', ['INOUT', 'HOTPLUG', 'CHANGE', 'T10_PI']),
  configSpace([
    ['numQueues', 'u32'],
    ['segMax', 'u32'],
    ['maxSectors', 'u32'],
    ['cmdPerLun', 'u32'],
    ['eventInfoSize', 'u32'],
    ['senseSize', 'u32'],
    ['cdbSize', 'u32'],
    ['maxChannel', 'u16'],
    ['maxTarget', 'u16'],
    ['maxLun', 'u32'],
  ]),
);

/** Saved state of virtio-9p, a directory of the host. QEMU refuses to save one that is mounted. */
export const ninep = empty('virtio-9p', 9, featureNames('9P', ['MOUNT_TAG']), (config, endian) => {
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  if (config.length < 2) return {};
  const length = view.getUint16(0, endian === 'little');
  return { tagLen: length, tag: latin1(config.subarray(2, 2 + length)) };
});

/** Saved state of virtio-input: Virtio 1.3 §5.8. */
export const input = empty(
  'virtio-input',
  18,
  {},
  configSpace([
    ['select', 'u8'],
    ['subsel', 'u8'],
    ['size', 'u8'],
  ]),
);

/** Saved state of vhost-vsock: Virtio 1.3 §5.10. QEMU's vmsd has this name and version 0. */
export const vsock = empty(
  'virtio-vhost_vsock',
  19,
  featureNames('VSOCK', ['STREAM', 'SEQPACKET', 'NO_IMPLIED_STREAM']),
  configSpace([['guestCid', 'u64']], 'little'),
  0,
);

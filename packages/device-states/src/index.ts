/**
 * The saved state of virtio's device types that have no live device in here.
 *
 * You bring:  a transport and `virtioDevice` of `@virtkit/core`, or `@virtkit/migration` for whole streams.
 * You get:    consoles with their ports, balloon, virtio-mem, IOMMU, GPU, SCSI, rng, input, 9p, vsock: their fields, features and
 *             configuration spaces by name, and back to bytes.
 * Not here:   devices that run.
 * @packageDocumentation
 */
import type { DeviceLayer } from '@virtkit/core';
import { virtioConsole } from '@virtkit/device-console';
import { rng } from '@virtkit/device-rng';
import { balloon } from './balloon.ts';
import { input, ninep, scsi, vsock } from './empty.ts';
import { gpu } from './gpu.ts';
import { iommu } from './iommu.ts';
import { mem } from './mem.ts';

export {
  type ConsolePort,
  type ConsoleState,
  type NdescsPlace,
  type PortBuffer,
  virtioConsole,
} from '@virtkit/device-console';
export { rng } from '@virtkit/device-rng';
export { type BalloonState, balloon, balloonState } from './balloon.ts';
export { type EmptyState, input, ninep, scsi, vsock } from './empty.ts';
export { gpu } from './gpu.ts';
export { type IommuLayout, type IommuState, iommu, iommuState } from './iommu.ts';
export { type MemLayout, type MemState, mem, memEarlyState, memState } from './mem.ts';

/** Layers of all device types of this package, for a registry. */
export const otherDevices: readonly DeviceLayer[] = [
  virtioConsole,
  balloon,
  rng,
  scsi,
  ninep,
  input,
  vsock,
  gpu,
  iommu,
  mem,
];

/**
 * virtio-blk: the live device, and its part of a virtio device's saved state.
 *
 * You bring:  a transport (`@virtkit/transport-*`), or `virtioDevice` of `@virtkit/core` for states alone, and a back end:
 *             {@link memoryDisk}, `fileDisk` of `@virtkit/device-blk/node`, or your own {@link BlkBackend}.
 * You get:    a disk that can be stopped and moved at any moment; the requests in flight, in every layout that QEMU has.
 * Not here:   zoned devices, SCSI passthrough, image formats.
 * @packageDocumentation
 */
export { describeBlkConfig } from './config-space.ts';
export { BlkDevice } from './device.ts';
export { BLK_FEATURE, blkFeatures } from './features.ts';
export { blk } from './layer.ts';
export type { BlkBackend, Pending } from './live/backend.ts';
export { type Geometry, guessGeometry } from './live/geometry.ts';
export { MemoryDisk, type MemoryDiskOptions, memoryDisk } from './live/memory-disk.ts';
export type { AlignedRangeOptions, BlkOptions, Lifetime, RangeOptions } from './live/options.ts';
export type { BlkStop, ErrorPolicy } from './live/policy.ts';
export { BLK_S, BLK_T } from './live/wire.ts';
export { type BlkLayout, type BlkRequest, type BlkState, requestList } from './state.ts';

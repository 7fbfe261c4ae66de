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
export { blkFeatures } from './features.ts';
export { blk } from './layer.ts';
export * from './live.ts';
export { requestList } from './state.ts';

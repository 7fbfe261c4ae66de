/**
 * virtio-blk: its part of a virtio device's saved state.
 *
 * You bring:  a transport (`@virtkit/transport-*`) and `virtioDevice` of `@virtkit/core`.
 * You get:    the requests in flight, in every layout that QEMU has; the configuration space by name.
 * Not here:   reading and writing of disks. The live device comes later.
 * @packageDocumentation
 */
export { describeBlkConfig } from './config-space.ts';
export { BLK_FEATURE, blkFeatures } from './features.ts';
export { blk } from './layer.ts';
export { type BlkLayout, type BlkRequest, type BlkState, requestList } from './state.ts';

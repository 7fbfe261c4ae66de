/**
 * The block device for programs that never make bytes of its state: without the format.
 *
 * You bring:  what `@virtkit/device-blk` is brought, the transport from such an entry too (`@virtkit/transport-pci/live`).
 * You get:    the same {@link BlkDevice}; `device.capture()` and `restore()` work, with states as plain data.
 * Not here:   `blk`, and what needs it: sections of migration streams, snapshots of v86.
 * @packageDocumentation
 */
export { BLK_FEATURE } from './features.ts';
export type { BlkBackend, Pending } from './live/backend.ts';
export { BlkDevice } from './live/device.ts';
export { type Geometry, guessGeometry } from './live/geometry.ts';
export { MemoryDisk, type MemoryDiskOptions, memoryDisk } from './live/memory-disk.ts';
export type { AlignedRangeOptions, BlkOptions, Lifetime, RangeOptions } from './live/options.ts';
export type { BlkStop, ErrorPolicy } from './live/policy.ts';
export { BLK_S, BLK_T } from './live/wire.ts';
export type { BlkLayout, BlkRequest, BlkState } from './state.ts';

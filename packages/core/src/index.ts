/**
 * The core of virtio devices: the contract between core, transports and devices, and the procedure that saves and loads
 * their state.
 *
 * You bring:  a transport (`@virtkit/transport-*`) and a device type (`@virtkit/device-*`), or your own.
 * You get:    `virtioDevice(transport, device)`: the saved state as plain data, from bytes and back, typed by both.
 * Not here:   PCI, channel I/O, any device type; the migration stream around the sections (`@virtkit/migration`).
 * @packageDocumentation
 */
export { type CodecOptions, type StateOf, type VirtioCodec, virtioDevice } from './codec.ts';
export type * from './contract/index.ts';
export { hasFeature, isModern, type NamedFeature, nameFeatures, nameStatus, negotiated } from './features.ts';
export { type CreatedDevice, createDevice } from './live/create.ts';
export { HostError, isHostError } from './live/errors.ts';
export { guestMemory } from './live/guest-memory.ts';
export { later } from './live/later.ts';
export type { Region, RegionBytes } from './live/mapping.ts';
export { MappedMemory } from './live/memory.ts';
export type { LiveOptions, RingFeatures } from './live/options.ts';
export { PackedQueue } from './live/packed-queue.ts';
export { freshIndices, type QueueOwner, type QueueSetup, type Ring, type RingIndices } from './live/ring.ts';
export { SplitQueue } from './live/split-queue.ts';
export { type OpaqueDeviceState, opaqueDevice } from './opaque.ts';
export { checkVirtio } from './procedure/check.ts';
export type { Layers } from './procedure/layers.ts';
export { virtioLoad } from './procedure/load.ts';
export { virtioSave } from './procedure/save.ts';
export { errorOf, reportError, reportWarning } from './report.ts';
export { deviceNames, FEATURE, ISR, STATUS, transportFeatures } from './spec.ts';
export {
  ELEMENT_BYTES,
  elementField,
  elementOrder,
} from './state/element.ts';
export { lowHigh } from './state/low-high.ts';
export { QUEUE_MAX } from './state/subsections.ts';

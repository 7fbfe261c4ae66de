/**
 * The core of live virtio devices, without the format of their saved state: for programs that never make bytes of a device.
 *
 * You bring:  a transport and a device type, from their packages' entries `/live` as well, or your own.
 * You get:    what `@virtkit/core` has for live devices: {@link createDevice}, guest memory, virtqueues, names of the specification.
 *             States can be captured and restored as plain data.
 * Not here:   `virtioDevice` and `codecOf`, which make bytes of states, and fields to declare layers with.
 * @packageDocumentation
 */
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
export { checkVirtio } from './procedure/check.ts';
export type { Identities } from './procedure/layers.ts';
export { errorOf, reportError, reportWarning } from './report.ts';
export { deviceNames, FEATURE, ISR, QUEUE_MAX, STATUS, transportFeatures } from './spec.ts';

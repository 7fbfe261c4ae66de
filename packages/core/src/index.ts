/**
 * The core of virtio devices: the contract between core, transports and devices, and the procedure that saves and loads
 * their state.
 *
 * You bring:  a transport (`@virtkit/transport-*`) and a device type (`@virtkit/device-*`), or your own.
 * You get:    `virtioDevice(transport, device)`: the saved state as plain data, from bytes and back, typed by both.
 * Not here:   PCI, channel I/O, any device type; the migration stream around the sections (`@virtkit/migration`).
 * @packageDocumentation
 */
export { type CodecOptions, codecOf, type StateOf, type VirtioCodec, virtioDevice } from './codec.ts';
export * from './live.ts';
export { type OpaqueDeviceState, opaqueDevice } from './opaque.ts';
export type { Layers } from './procedure/layers.ts';
export { virtioLoad } from './procedure/load.ts';
export { virtioSave } from './procedure/save.ts';
export { ELEMENT_BYTES, elementField, elementOrder } from './state/element.ts';
export { lowHigh } from './state/low-high.ts';

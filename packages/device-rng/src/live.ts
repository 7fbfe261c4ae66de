/**
 * The entropy device for programs that never make bytes of its state: without the format.
 *
 * You bring:  what `@virtkit/device-rng` is brought, the transport from such an entry too (`@virtkit/transport-pci/live`).
 * You get:    the same {@link RngDevice}; `device.capture()` and `restore()` work, with states as plain data.
 * Not here:   `rng`, and what needs it: sections of migration streams, snapshots of v86.
 * @packageDocumentation
 */
export { type RandomValues, type RngBackend, webCrypto } from './live/backend.ts';
export { RngDevice } from './live/device.ts';
export type { RngOptions } from './live/options.ts';
export type { RngState } from './state.ts';

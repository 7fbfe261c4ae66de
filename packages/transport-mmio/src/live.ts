/**
 * Virtio over MMIO for programs that never make bytes of a device's state: without the format.
 *
 * You bring:  what `@virtkit/transport-mmio` is brought, the device from such an entry too (`@virtkit/device-blk/live`).
 * You get:    the same {@link MmioDevice}; `device.capture()` and `restore()` work, with states as plain data.
 * Not here:   `mmio`, and what needs it: sections of migration streams.
 * @packageDocumentation
 */
export { MMIO_BYTES, MmioDevice, type MmioOptions } from './live/device.ts';
export type { MmioParts } from './state.ts';

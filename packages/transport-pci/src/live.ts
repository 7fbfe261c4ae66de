/**
 * Virtio over PCI for programs that never make bytes of a device's state: without the format, which is a quarter of a disk on PCI.
 *
 * You bring:  what `@virtkit/transport-pci` is brought, the device from such an entry too (`@virtkit/device-blk/live`).
 * You get:    the same {@link PciFunction}; `device.capture()` and `restore()` work, with states as plain data.
 * Not here:   `pci`, and what needs it: sections of migration streams, snapshots of v86.
 * @packageDocumentation
 */
export type { Bar, BarKind } from './live/bars.ts';
export { PciFunction } from './live/function.ts';
export type { PciIds, PciMode, PciOptions } from './live/options.ts';
export type { PciConfigState, PciExtraState, PciParts, PciQueueState } from './state.ts';

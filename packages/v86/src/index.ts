/**
 * Virtio devices in v86, the x86 emulator for browsers and Node.
 *
 * You bring:  an emulator (npm `v86`), a device model (`@virtkit/device-*` or your own).
 * You get:    {@link attach}: the device on v86's PCI bus, at boot or hot-plugged; v86's snapshots carry it. {@link moveGuest}:
 *             the running guest goes on in another instance.
 * Not here:   MSI-X (v86 has none), disks and networks: those are back ends of the devices.
 * @packageDocumentation
 */
export { type Attachment, attach } from './attach.ts';
export type { V86Emulator } from './emulator.ts';
export { moveGuest, suspend } from './move.ts';
export type { AttachOptions } from './slot.ts';
export type { Counters } from './target.ts';

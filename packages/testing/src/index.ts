/**
 * Guests for virtio devices, for tests and examples: a guest driver written from the specification, hosts for it to run
 * on, and suites that any transport and any device type can be put through.
 *
 * You bring:  a transport (`@virtkit/transport-*`, or your own) and a device type (`@virtkit/device-*`, or your own).
 * You get:    drivers for virtio-blk, virtio-net, virtio-rng and virtio-console that speak through registers or channel programs, on split and packed
 *             rings; a PCI bus, an MMIO slot, a channel machine; cases for every test runner: bring-up, I/O, resets,
 *             interrupts, moves at any moment, states that must be refused; a hostile guest.
 *
 * This entry has machines and drivers. `/drivers`, `/transports` and `/rings` have the parts that they are made of,
 * `/suite` the cases, and `/hostile` the hostile guest.
 *
 * Not here:   the devices themselves; a test runner.
 * @packageDocumentation
 */
export { BlkDriver, type BlkLayout, type BlkRequest } from './driver/blk.ts';
export { ConsoleDriver, type ConsoleDriverOptions, type DriverPort } from './driver/console.ts';
export { NetDriver, type NetDriverOptions, type Received, type Sent } from './driver/net.ts';
export { RngDriver, type RngDriverOptions, type RngRequest } from './driver/rng.ts';
export { type DriverEvents, type DriverSetup, type RingWishes, VirtioDriver } from './driver/virtio.ts';
export { ChannelMachine, type ChannelSubsystemLike } from './host/channel-machine.ts';
export { MmioSlot, type MmioWindow } from './host/mmio-slot.ts';
export { type PciBar, PciBus, type PciBusFunction } from './host/pci-bus.ts';
export { type Allocator, Arena, GuestRam } from './ram.ts';
export { DriverError } from './spec.ts';
export { CcwDriver, type CcwDriverOptions } from './transport/ccw.ts';
export { type MmioHost, MmioLegacyDriver, MmioModernDriver } from './transport/mmio.ts';
export type { MsiMessage, PciHost } from './transport/pci-host.ts';
export { PciLegacyDriver } from './transport/pci-legacy.ts';
export { type PciDriverOptions, PciModernDriver } from './transport/pci-modern.ts';

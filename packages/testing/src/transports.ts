/**
 * Ways in which a driver reaches its device: PCI (modern, legacy), MMIO (both) and channel programs; machines of a few
 * lines that have such devices. For who brings up a device by hand, or writes a driver for a transport of his own.
 *
 * @packageDocumentation
 */
export { ChannelMachine, type ChannelSubsystemLike } from './host/channel-machine.ts';
export { MmioSlot, type MmioWindow } from './host/mmio-slot.ts';
export { type PciBar, PciBus, type PciBusFunction } from './host/pci-bus.ts';
export { CcwDriver, type CcwDriverOptions } from './transport/ccw.ts';
export type { ChannelInstructions } from './transport/channel-instructions.ts';
export { ChannelDriver, type ChannelStatus, succeeded } from './transport/channel-program.ts';
export { type IoInterruption, IoInterruptions } from './transport/io-interrupts.ts';
export { type MmioHost, MmioLegacyDriver, MmioModernDriver } from './transport/mmio.ts';
export { MsixDriver, type VectorPlan, vectorEach } from './transport/msix.ts';
export { type Bar, PciFunctionDriver, type VirtioCapability } from './transport/pci-function.ts';
export type { MsiMessage, PciHost } from './transport/pci-host.ts';
export { PciLegacyDriver } from './transport/pci-legacy.ts';
export { type PciDriverOptions, PciModernDriver } from './transport/pci-modern.ts';
export type { DriverTransport, Interrupts, Reach } from './transport/transport.ts';

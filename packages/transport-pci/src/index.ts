/**
 * Virtio over PCI: the function that an emulator embeds, and its part of a virtio device's saved state.
 *
 * You bring:  a device type (`@virtkit/device-*`), guest memory, an interrupt line and a place for MSI-X messages.
 * You get:    `PciFunction`: configuration space and BARs that a guest drives, stopped and moved at any moment;
 *             `pci`: the saved state, named, and back to bytes.
 * Not here:   the PCI bus and its bridges, routing of interrupts, an IOMMU.
 * @packageDocumentation
 */
export { type Capability, capabilities, describeConfigSpace, msixVectors } from './config-space.ts';
export { PciFunction } from './function.ts';
export { pci } from './layer.ts';
export * from './live.ts';
export { EXTENDED_CAPABILITIES, PCI_HEADER } from './pci-header.ts';
export { modernQueue, modernState, msixEntry, pciConfigState, pciDevice, pciExtraState } from './state.ts';

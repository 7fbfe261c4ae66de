/**
 * Virtio over PCI: its part of a virtio device's saved state.
 *
 * You bring:  a device type (`@virtkit/device-*`) and `virtioDevice` of `@virtkit/core`.
 * You get:    configuration space, MSI-X table and pending bits, vectors, the modern registers; named, and back to bytes.
 * Not here:   registers that a running guest can reach. They come with the live devices.
 * @packageDocumentation
 */
export { type Capability, capabilities, describeConfigSpace, msixVectors } from './config-space.ts';
export { type PciParts, pci } from './layer.ts';
export {
  modernQueue,
  modernState,
  msixEntry,
  type PciConfigState,
  type PciExtraState,
  type PciQueueState,
  pciConfigState,
  pciExtraState,
} from './state.ts';

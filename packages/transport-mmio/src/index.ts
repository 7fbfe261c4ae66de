/**
 * Virtio over MMIO: registers that a guest drives, and its part of a virtio device's saved state.
 *
 * You bring:  a device type (`@virtkit/device-*`), guest memory, and an interrupt line.
 * You get:    {@link MmioDevice}: `read` and `write` for 512 bytes of registers, legacy or modern; {@link mmio}, the
 *             layer of saved state, named, and back to bytes.
 * Not here:   the machine's address map and the node in its device tree.
 * @packageDocumentation
 */
export { MmioDevice } from './device.ts';
export { mmio } from './layer.ts';
export * from './live.ts';
export { mmioConfigState, mmioExtraState, mmioQueue } from './state.ts';

/**
 * virtio-rng: the live device, and its part of a virtio device's saved state.
 *
 * You bring:  a transport (`@virtkit/transport-*`), or `virtioDevice` of `@virtkit/core` for states alone, and where random bytes come from:
 *             {@link webCrypto}, or your own {@link RngBackend}.
 * You get:    an entropy device that can be stopped and moved at any moment, with QEMU's limit of bytes in a period.
 * Not here:   a random number generator.
 * @packageDocumentation
 */
export { RngDevice } from './device.ts';
export { rng } from './layer.ts';
export * from './live.ts';

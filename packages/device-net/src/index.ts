/**
 * virtio-net: the live network card, and its part of the saved state.
 *
 * You bring:  a transport (`@virtkit/transport-*`), or `virtioDevice` of `@virtkit/core` for states alone;
 *             a back end (`NetBackend`), or the switch of `@virtkit/device-net/switch`.
 * You get:    packets with all header forms, offloads, filters, multi-queue with receive-side scaling, the control queue; MAC
 *             and VLAN filters, queue pairs, RSS (both versions) of a saved state: named, and back to bytes.
 * Not here:   RSC, vhost, software segmentation.
 * @packageDocumentation
 */
export { describeNetConfig } from './config-space.ts';
export { NetDevice } from './device.ts';
export { netFeatures } from './features.ts';
export { net } from './layer.ts';
export * from './live.ts';
export { type NetLayout, netState, rssState, vlanIds } from './state.ts';

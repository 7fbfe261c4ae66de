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
export { NET_FEATURE, netFeatures } from './features.ts';
export { net } from './layer.ts';
export { MAC_TABLE_ENTRIES, VLAN_BYTES } from './limits.ts';
export {
  GSO,
  type GuestOffloads,
  HDR_FLAG,
  type NetBackend,
  type NetOffloads,
  type NetPort,
  type Packet,
  type PacketMeta,
} from './live/backend.ts';
export { CTRL_CLASS } from './live/control.ts';
export type { NetCounters } from './live/counters.ts';
export type { Coalescing, NetOptions } from './live/options.ts';
export { HASH_REPORT, HASH_TYPE } from './live/rss.ts';
export { type NetLayout, type NetState, netState, rssState, vlanIds } from './state.ts';

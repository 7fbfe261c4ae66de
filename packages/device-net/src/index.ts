/**
 * virtio-net: its part of a virtio device's saved state.
 *
 * You bring:  a transport (`@virtkit/transport-*`) and `virtioDevice` of `@virtkit/core`.
 * You get:    MAC and VLAN filters, queue pairs, offloads, RSS (both versions); named, and back to bytes.
 * Not here:   packets. The live device comes later.
 * @packageDocumentation
 */
export { describeNetConfig } from './config-space.ts';
export { NET_FEATURE, netFeatures } from './features.ts';
export { net } from './layer.ts';
export {
  MAC_TABLE_ENTRIES,
  type NetLayout,
  type NetState,
  netState,
  rssState,
  VLAN_BYTES,
  vlanIds,
} from './state.ts';

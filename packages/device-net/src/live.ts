/**
 * The network card for programs that never make bytes of its state: without the format.
 *
 * You bring:  what `@virtkit/device-net` is brought, the transport from such an entry too (`@virtkit/transport-pci/live`).
 * You get:    the same {@link NetDevice}; `device.capture()` and `restore()` work, with states as plain data.
 * Not here:   `net`, and what needs it: sections of migration streams, snapshots of v86.
 * @packageDocumentation
 */
export { NET_FEATURE } from './features.ts';
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
export { NetDevice } from './live/device.ts';
export type { Coalescing, NetOptions } from './live/options.ts';
export { HASH_REPORT, HASH_TYPE } from './live/rss.ts';
export type { NetState } from './state.ts';

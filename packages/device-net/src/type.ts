/**
 * The network card as a type: what QEMU's versions and options make of it, beside the device itself.
 *
 * You bring:  a registry (`registryOf` of `@virtkit/core/qemu`).
 * You get:    {@link netType}, with which streams with cards are checked, converted, explained, compared, and opened.
 * @packageDocumentation
 */
import { hasFeature } from '@virtkit/core';
import { type LiveDeviceType, propertyNames } from '@virtkit/core/qemu';
import { NetDevice } from './device.ts';
import { NET_FEATURE } from './features.ts';
import { net } from './layer.ts';
import type { NetOptions } from './live/options.ts';
import { netDifferences } from './qemu/differences.ts';
import { netFeatureTable } from './qemu/features.ts';
import { netMessages } from './qemu/messages.ts';
import { inferNet, type NetShape, netMadeBy, RING_DEFAULT } from './qemu/options.ts';
import { rssVersion } from './qemu/rss-version.ts';
import type { NetState } from './state.ts';

export type { NetShape };

/** Number of entries of the control queue's ring. */
const CONTROL_RING = 64;

/** Descriptor of virtio-net. */
export const netType: LiveDeviceType<NetState, NetShape, NetOptions> = {
  layer: net,
  features: netFeatureTable,
  // bits 4, 6 and 10 together are a disk's, unless there is the STATUS of a card
  offersLike: (features) =>
    ![4, NET_FEATURE.GSO, NET_FEATURE.GUEST_UFO].every((bit) => hasFeature(features, bit)) ||
    hasFeature(features, NET_FEATURE.STATUS),
  live: {
    infer: inferNet,
    make: (options) => new NetDevice(options),
    unconnected: (options = { mac: '52:54:00:00:00:01' }) => ({
      ...options,
      backend: { send: () => true },
    }),
  },
  qemu: {
    option: 'nic',
    properties: propertyNames(
      'csum gso guest_csum guest_tso4 guest_tso6 guest_ecn guest_ufo guest_announce host_tso4 host_tso6 host_ecn host_ufo',
      'mrg_rxbuf status ctrl_vq ctrl_rx ctrl_vlan ctrl_rx_extra ctrl_mac_addr ctrl_guest_offloads mq rss hash guest_rsc_ext',
      'guest_uso4 guest_uso6 host_uso guest_tunnel guest_tunnel_csum host_tunnel host_tunnel_csum rx_queue_size',
      'tx_queue_size host_mtu failover speed duplex',
    ),
    harmless: propertyNames(
      'ebpf-rss-fds mac netdev rsc_interval tx x-mtu-bypass-backend x-txburst x-txtimer',
      'hash-ipv4 hash-ipv6 hash-ipv6ex hash-tcp4 hash-tcp6 hash-tcp6ex hash-udp4 hash-udp6 hash-udp6ex',
    ),
    queueSize: (index, { queues }) => (index === queues.length - 1 ? CONTROL_RING : RING_DEFAULT),
    // QEMU has no property for the size of the control queue
    sizeProperty: (index, count) =>
      index === count - 1 ? undefined : index % 2 === 0 ? 'rx_queue_size' : 'tx_queue_size',
    pci: {
      vectors: ({ complete }, before) => (complete ? undefined : before),
    },
    options: netMadeBy,
  },
  conversions: [{ convert: rssVersion }],
  findings: {
    'queue-pairs': {
      says: ({ found, expected }) => `${Number(expected).toString(16)} != ${Number(found).toString(16)}`,
      property: 'queues (of -netdev)',
      spec: 'Virtio 1.3 §5.1.2',
    },
    'vnet-header': {
      says: () => 'virtio-net: saved image requires vnet_hdr=on',
      property: 'vnet_hdr (of -netdev tap)',
      spec: 'Virtio 1.3 §5.1.6',
    },
    ufo: {
      says: () => 'virtio-net: saved image requires TUN_F_UFO support',
      property: 'guest_ufo',
      spec: 'Virtio 1.3 §5.1.3',
    },
  },
  messages: netMessages,
  equalFields: {
    max_queue_pairs: {
      differs: 'The numbers of queue pairs differ',
      advice: [
        'Give the back end as many queues as at the source (tap: queues=N), with mq=on and the same vectors.',
      ],
    },
  },
  differences: netDifferences,
};

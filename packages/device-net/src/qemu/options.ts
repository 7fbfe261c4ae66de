import { hasFeature, negotiated, type TransportParts, type VirtioState } from '@virtkit/core';
import {
  chosen,
  compareVersion,
  defined,
  isSince,
  type Making,
  numberOf,
  switchOf,
} from '@virtkit/core/qemu';
import { NET_FEATURE } from '../features.ts';
import type { NetOptions } from '../live/options.ts';
import type { NetState } from '../state.ts';
import { USO_SINCE } from './features.ts';

/** Options of a network card but for the network behind it. */
export type NetShape = Omit<NetOptions, 'backend'>;

/**
 * Length in bytes of the configuration of a card that has nothing but its address, so that it does not offer STATUS.
 * Virtio 1.3 §5.1.4
 */
const MAC_END = 6;
/** Length in bytes of the configuration of a card that offers SPEED_DUPLEX and nothing that lies behind it. */
const DUPLEX_END = 17;
/** Values that stand for any: what the card told its driver is not in the state. */
const SOME_MTU = 1500;
const SOME_SPEED = 1000;
/** Smallest and largest size of a ring that a card can be made with. */
const RING_LEAST = 256;
const RING_MOST = 1024;
/** Number of entries of a ring if no property says so. */
export const RING_DEFAULT = 256;

/** Infers the options with which the card was made that has this state. */
export function inferNet(state: VirtioState<TransportParts, NetState>): NetShape {
  const { config, device } = state;
  const features = negotiated(state);
  const has = (bit: number): boolean => hasFeature(features, bit);
  const offloads: NetOptions['offloads'] = {
    csum: true,
    tso: true,
    ufo: device.hasUfo !== 0,
    uso: has(NET_FEATURE.GUEST_USO4) || has(NET_FEATURE.GUEST_USO6) || has(NET_FEATURE.HOST_USO),
    udpTunnel: state.subsections.features128 !== undefined,
  };
  return {
    mac: device.mac,
    queuePairs: device.maxQueuePairs ?? 1,
    rxQueueSize: ringSize(state, 0),
    txQueueSize: ringSize(state, 1),
    ...(device.hasVnetHdr !== 0 && { offloads }),
    ...(has(NET_FEATURE.MTU) && { mtu: SOME_MTU }),
    ...((has(NET_FEATURE.SPEED_DUPLEX) || config.length === DUPLEX_END) && { speed: SOME_SPEED }),
    status: config.length > MAC_END,
    rss: has(NET_FEATURE.RSS),
    hashReport: has(NET_FEATURE.HASH_REPORT),
    standby: has(NET_FEATURE.STANDBY),
    ...(device.rss?.version === 2 && { rssStateVersion: 2 }),
  };
}

/** Infers the ring size that a queue was created with, as far as the state tells: a driver may have lowered it. */
function ringSize({ queues, subsections }: VirtioState, index: number): number {
  const size = subsections.ringsize?.[index] || queues[index]?.num || RING_DEFAULT;
  const valid = size >= RING_LEAST && size <= RING_MOST && Number.isInteger(Math.log2(size));
  return valid ? size : RING_DEFAULT;
}

/** Options that are switches, on by default, with QEMU's names of them. */
const SWITCHES = {
  mrgRxbuf: 'mrg_rxbuf',
  status: 'status',
  ctrlVq: 'ctrl_vq',
  ctrlRx: 'ctrl_rx',
  ctrlVlan: 'ctrl_vlan',
  ctrlRxExtra: 'ctrl_rx_extra',
  ctrlMacAddr: 'ctrl_mac_addr',
  ctrlGuestOffloads: 'ctrl_guest_offloads',
  guestAnnounce: 'guest_announce',
} as const;

/** Derives the options of the card that a QEMU makes to take the state of one with these options. */
export function netMadeBy(inferred: NetShape, making: Making): NetShape {
  const { properties, network } = making.device;
  const { complete } = making;
  const on = (name: string): boolean | undefined => switchOf(properties.get(name));
  const switches = Object.entries(SWITCHES).map(
    ([key, name]) => [key, chosen(making, on(name), true)] as const,
  );
  const { offloads, speed, mtu, ...others } = inferred;
  const asAtSource = complete ? {} : defined({ offloads, speed, mtu });
  const options: NetShape = {
    ...others,
    ...asAtSource,
    ...defined(Object.fromEntries(switches)),
    ...defined({
      queuePairs: complete ? (network?.queues ?? 1) : undefined,
      mq: chosen(making, on('mq'), false),
      rxQueueSize: chosen(making, numberOf(properties.get('rx_queue_size')), RING_DEFAULT),
      txQueueSize: chosen(making, numberOf(properties.get('tx_queue_size')), RING_DEFAULT),
      rss: chosen(making, on('rss'), false),
      hashReport: chosen(making, on('hash'), false),
      standby: chosen(making, on('failover'), false),
      speed: numberOf(properties.get('speed')),
      mtu: numberOf(properties.get('host_mtu')),
      duplex: duplexOf(properties.get('duplex')),
    }),
  };
  if (!complete || network?.vnetHeader !== true) return options;
  // what a tap can do is the host kernel's to say: all that this QEMU knows, and what the state has
  return {
    ...options,
    offloads: {
      csum: true,
      tso: true,
      ufo: offloads ? (offloads.ufo ?? false) : false,
      uso: isSince(making, USO_SINCE) && compareVersion(making.qemu.name, USO_SINCE) >= 0,
      udpTunnel: offloads ? (offloads.udpTunnel ?? false) : false,
    },
  };
}

function duplexOf(value: string | undefined): 'half' | 'full' | undefined {
  return value === 'half' || value === 'full' ? value : undefined;
}

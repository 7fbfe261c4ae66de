import { type DeviceHost, FEATURE, HostError, hasFeature, STATUS } from '@virtkit/core/live';
import { NET_FEATURE } from '../features.ts';
import { NetCounters } from './counters.ts';
import { RxFilter } from './filter.ts';
import { OFFLOAD } from './offload.ts';
import type { Settings } from './options.ts';
import { Rss } from './rss.ts';

/** Bits of the status field of the configuration space. Virtio 1.3 §5.1.4 */
export const NET_STATUS = { LINK_UP: 1, ANNOUNCE: 2 } as const;

const F = NET_FEATURE;
/** Length in bytes of the longest Ethernet header: addresses, a VLAN tag, type. */
const ETHERNET_MAX = 18;

/** Offloads that a driver can switch, by their feature bits. */
const GUEST_OFFLOADS = [
  F.GUEST_CSUM,
  F.GUEST_TSO4,
  F.GUEST_TSO6,
  F.GUEST_ECN,
  F.GUEST_UFO,
  F.GUEST_USO4,
  F.GUEST_USO6,
];
/** Bits of the offloads for UDP tunnels, whose features are behind bit 63 and have no room there. QEMU: `VIRTIO_NET_O_GUEST_UDP_TUNNEL_GSO` */
const TUNNEL_BIT = 46;
const TUNNEL_CSUM_BIT = 47;
/** Offloads of UDP tunnels that a driver can switch, as `[feature, bit in the offloads]`. */
const TUNNEL_OFFLOADS = [
  [F.GUEST_UDP_TUNNEL_GSO, TUNNEL_BIT],
  [F.GUEST_UDP_TUNNEL_GSO_CSUM, TUNNEL_CSUM_BIT],
] as const;

/** State that the parts of one network card share. */
export class Card {
  readonly settings: Settings;
  readonly filter: RxFilter = new RxFilter();
  readonly rss: Rss = new Rss();
  readonly counters: NetCounters = new NetCounters();
  /** Status of the configuration space, the bits of {@link NET_STATUS}. */
  status: number = NET_STATUS.LINK_UP;
  /** True if more than one queue pair may be used: MQ or RSS is negotiated. */
  multiqueue = false;
  /** Number of queue pairs in use. QEMU: `curr_queue_pairs`. */
  currPairs: number;
  /** Offloads that the driver has switched on, as feature bits. QEMU: `curr_guest_offloads`. */
  guestOffloads = 0n;
  /** Offloads that the driver has switched on, as bits of {@link OFFLOAD}. */
  rxAllowed = 0;
  /** Offloads that the driver may leave to the back end, as bits of {@link OFFLOAD}. */
  txAllowed = 0;
  /** Length in bytes of the header before each packet. */
  headerLength = 10;
  mergeable = false;
  /** True if the header has the two fields for UDP tunnels. */
  tunnel = false;
  /** Length in bytes of the longest complete frame that the driver is given. */
  frameMax: number = Number.MAX_SAFE_INTEGER;
  littleEndian = true;
  /** True if the host has stopped the machine. */
  paused = false;
  #host: DeviceHost | undefined;

  constructor(settings: Settings) {
    this.settings = settings;
    this.currPairs = settings.control ? 1 : settings.pairs;
    this.filter.reset(settings.mac);
    this.filter.vlans.fill(0xff);
  }

  attach(host: DeviceHost): void {
    if (this.#host !== undefined) throw new HostError('this network card is part of a device already');
    this.#host = host;
  }

  get host(): DeviceHost {
    if (this.#host === undefined) throw new HostError('this network card is not part of a device yet');
    return this.#host;
  }

  /** Is the card part of a device yet? */
  get attached(): boolean {
    return this.#host !== undefined;
  }

  get linkUp(): boolean {
    return (this.status & NET_STATUS.LINK_UP) !== 0;
  }

  /** Has the driver said that it is ready? Virtio 1.3 §3.1 */
  get driverOk(): boolean {
    return (this.host.status & STATUS.DRIVER_OK) !== 0;
  }

  /** Takes over all negotiated features, and sets what depends on them. QEMU: `virtio_net_set_features`. */
  setFeatures(features: bigint): void {
    const has = (bit: number): boolean => hasFeature(features, bit);
    this.littleEndian = this.host.littleEndian;
    const modern = has(FEATURE.VERSION_1);
    this.multiqueue = has(F.MQ) || has(F.RSS);
    this.mergeable = has(F.MRG_RXBUF);
    this.rss.redirect = has(F.RSS);
    this.rss.populateHash = modern && has(F.HASH_REPORT);
    this.tunnel = modern && (has(F.GUEST_UDP_TUNNEL_GSO) || has(F.HOST_UDP_TUNNEL_GSO));
    this.headerLength = headerLength(modern, this.mergeable, this.rss.populateHash, this.tunnel);
    this.frameMax = has(F.MTU) ? this.settings.mtu + ETHERNET_MAX : Number.MAX_SAFE_INTEGER;
    this.txAllowed = offloadMask(has, HOST_BITS);
    if (this.settings.vnet) this.setGuestOffloads(supportedOffloads(features));
    // Virtio 1.3 §5.1.6.5.3.1 MUST: without CTRL_VLAN all tagged frames pass; with it, none that the driver did not add
    this.filter.vlans.fill(has(F.CTRL_VLAN) ? 0 : 0xff);
  }

  /** Takes over the driver's choice, and tells the back end. QEMU: `virtio_net_apply_guest_offloads`. */
  setGuestOffloads(offloads: bigint): void {
    this.guestOffloads = offloads;
    const on = (bit: number): boolean => hasFeature(offloads, bit);
    this.rxAllowed = this.settings.vnet ? offloadMask(on, GUEST_BITS) : 0;
    if (!this.settings.vnet) return;
    this.settings.backend.guestOffloads?.({
      csum: on(F.GUEST_CSUM),
      tso4: on(F.GUEST_TSO4),
      tso6: on(F.GUEST_TSO6),
      ecn: on(F.GUEST_ECN),
      ufo: on(F.GUEST_UFO),
      uso4: on(F.GUEST_USO4),
      uso6: on(F.GUEST_USO6),
      udpTunnel: on(TUNNEL_BIT),
      udpTunnelCsum: on(TUNNEL_CSUM_BIT),
    });
  }

  setPairs(pairs: number): void {
    this.currPairs = pairs;
    this.settings.backend.queuePairs?.(pairs);
  }

  reset(): void {
    this.filter.reset(this.settings.mac);
    this.rss.enabled = false;
    // Virtio 1.3 §5.1.6.5.6.2 MUST: after a reset only the first pair is used
    this.setPairs(this.settings.control ? 1 : this.settings.pairs);
    this.status &= ~NET_STATUS.ANNOUNCE;
  }
}

/** Offsets of fields of `struct virtio_net_hdr`, which its shorter forms end in front of. Virtio 1.3 §5.1.6 */
const HEADER = { NUM_BUFFERS: 10, HASH: 12, TUNNEL: 20, END: 24 } as const;

/**
 * Finds the length of the header in bytes: 10, and `num_buffers`, and the hash, and the tunnel's offsets. Virtio 1.3
 * §5.1.6
 */
function headerLength(modern: boolean, mergeable: boolean, hash: boolean, tunnel: boolean): number {
  if (!modern) return mergeable ? HEADER.HASH : HEADER.NUM_BUFFERS;
  if (tunnel) return HEADER.END;
  return hash ? HEADER.TUNNEL : HEADER.HASH;
}

/** Lists the offloads that a driver with these features may switch on. QEMU: `virtio_net_supported_guest_offloads`. */
export function supportedOffloads(features: bigint): bigint {
  let offloads = 0n;
  for (const bit of GUEST_OFFLOADS) if (hasFeature(features, bit)) offloads |= 1n << BigInt(bit);
  for (const [feature, bit] of TUNNEL_OFFLOADS)
    if (hasFeature(features, feature)) offloads |= 1n << BigInt(bit);
  return offloads;
}

/** List of offloads, each with the feature bit for it. */
type Bits = readonly (readonly [number, number])[];

const HOST_BITS: Bits = [
  [OFFLOAD.CSUM, F.CSUM],
  [OFFLOAD.TSO4, F.HOST_TSO4],
  [OFFLOAD.TSO6, F.HOST_TSO6],
  [OFFLOAD.ECN, F.HOST_ECN],
  [OFFLOAD.UFO, F.HOST_UFO],
  [OFFLOAD.USO, F.HOST_USO],
  [OFFLOAD.TUNNEL, F.HOST_UDP_TUNNEL_GSO],
  [OFFLOAD.TUNNEL_CSUM, F.HOST_UDP_TUNNEL_GSO_CSUM],
];

const GUEST_BITS: Bits = [
  [OFFLOAD.CSUM, F.GUEST_CSUM],
  [OFFLOAD.TSO4, F.GUEST_TSO4],
  [OFFLOAD.TSO6, F.GUEST_TSO6],
  [OFFLOAD.ECN, F.GUEST_ECN],
  [OFFLOAD.UFO, F.GUEST_UFO],
  // Virtio 1.3 §5.1.6.4.1 MUST NOT: UDP_L4 with neither of the two; the back end knows which IP version is which
  [OFFLOAD.USO, F.GUEST_USO4],
  [OFFLOAD.USO, F.GUEST_USO6],
  [OFFLOAD.TUNNEL, TUNNEL_BIT],
  [OFFLOAD.TUNNEL_CSUM, TUNNEL_CSUM_BIT],
];

function offloadMask(has: (bit: number) => boolean, bits: Bits): number {
  return bits.reduce((mask, [offload, bit]) => (has(bit) ? mask | offload : mask), 0);
}

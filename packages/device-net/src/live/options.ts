import { HostError } from '@virtkit/core/live';
import { NET_FEATURE } from '../features.ts';
import type { NetBackend, NetOffloads } from './backend.ts';

/**
 * Timers for notification coalescing.
 *
 * ```ts
 * const coalescing = { after: (usecs, run) => setTimeout(run, usecs / 1000), cancel: clearTimeout };
 * ```
 */
export interface Coalescing {
  /**
   * Calls `run` after some microseconds, 1 to 2^32 - 1; not at once. Answers what names the timer for {@link cancel}. A
   * queue has one timer under way at most.
   */
  readonly after: (usecs: number, run: () => void) => unknown;
  /** Stops a timer that has not run. Left out: timers run to their end, and coalesced notifications may come early. */
  cancel?(timer: unknown): void;
  /** Offer VQ_NOTF_COAL too: limits for each queue; default true. */
  readonly perQueue?: boolean;
}

/**
 * Options of a network card. What is left out is as QEMU 7.2 makes its `virtio-net-pci` with a back end without
 * offloads.
 */
export interface NetOptions {
  /** Back end at the other end of the cable. */
  readonly backend: NetBackend;
  /** Address of the card: `52:54:00:12:34:56`, or 6 bytes. */
  readonly mac: string | Uint8Array;
  /** Number of queue pairs of the back end, 1 to 511; default 1. */
  readonly queuePairs?: number;
  /** Let the driver use more than one pair (MQ); default: if there is more than one. */
  readonly mq?: boolean;
  /** Ring size of receive queues, a power of two from 256 to 1024; default 256. */
  readonly rxQueueSize?: number;
  /** Ring size of transmit queues, a power of two from 256 to 1024; default 256. (QEMU: 256 with most back ends.) */
  readonly txQueueSize?: number;
  /**
   * Offloads of the back end; default: what it says itself ({@link NetBackend.supports}), else none. False: none. An
   * empty object stands for a back end that knows virtio headers and no offload.
   */
  readonly offloads?: NetOffloads | false;
  /** MTU in bytes that the driver is told, 68 to 65535; default 0: not offered. QEMU property `host_mtu`. */
  readonly mtu?: number;
  /**
   * Speed in Mb/s that the driver is told; default unknown. With {@link duplex} or alone it makes the card offer
   * SPEED_DUPLEX.
   */
  readonly speed?: number;
  /**
   * Duplex mode that the driver is told; default unknown. With {@link speed} or alone it makes the card offer
   * SPEED_DUPLEX.
   */
  readonly duplex?: 'half' | 'full';
  /** Offer receive-side scaling; default false. */
  readonly rss?: boolean;
  /** Offer hashes in packet headers; default false. As in QEMU, only with {@link offloads}. */
  readonly hashReport?: boolean;
  /** Offer notification coalescing, which no QEMU has, with these timers; default: not offered. */
  readonly coalescing?: Coalescing;
  /** Offer STANDBY: this card is the slow path of a failover pair; default false. */
  readonly standby?: boolean;
  /** Offer MRG_RXBUF: a frame may lie in several buffers; default true. This and the following are QEMU's properties `mrg_rxbuf`, `status`, `ctrl_vq`, … */
  readonly mrgRxbuf?: boolean;
  /** Offer STATUS, by which a driver sees the link go down; default true. */
  readonly status?: boolean;
  /** Offer CTRL_VQ, the control queue; default true. Without it none of the next five is offered. */
  readonly ctrlVq?: boolean;
  /**
   * True if the program in front of the card has a control queue of its own and answers it: so do the front ends of
   * vhost-user, which tell the card nothing of it. Then the card has the queues of all pairs and no other, uses each
   * pair whose rings are set up, and offers none of the features of a control queue. Default false.
   */
  readonly frontEndControl?: boolean;
  /** Offer CTRL_RX: the driver chooses promiscuous mode and filters; default true. */
  readonly ctrlRx?: boolean;
  /** Offer CTRL_VLAN: the driver filters by VLAN; default true. */
  readonly ctrlVlan?: boolean;
  /** Offer CTRL_RX_EXTRA: the driver leaves out kinds of frames; default true. */
  readonly ctrlRxExtra?: boolean;
  /** Offer CTRL_MAC_ADDR: the driver sets the card's address; default true. */
  readonly ctrlMacAddr?: boolean;
  /** Offer CTRL_GUEST_OFFLOADS: the driver switches what it receives incomplete; default true. */
  readonly ctrlGuestOffloads?: boolean;
  /** Offer GUEST_ANNOUNCE: after a move the driver tells the network where it is now; default true. */
  readonly guestAnnounce?: boolean;
  /** Version in which receive-side scaling is saved; default 1, which every QEMU loads. 2 is QEMU 10.2's. */
  readonly rssStateVersion?: 1 | 2;
  /**
   * Write `num_buffers` to drivers that have VERSION_1 and not MRG_RXBUF; default true. QEMU before 2025 leaves the two
   * bytes as they are.
   */
  readonly alwaysNumBuffers?: boolean;
  /**
   * Function that calls back later, such as `setImmediate`: packets are sent there, as in QEMU's bottom half, and not
   * while the driver kicks. Default: at once; after many packets without a pause, when timers have had their turn.
   */
  readonly defer?: (proceed: () => void) => void;
}

/** Options of a network card, checked and complete. */
export interface Settings {
  readonly backend: NetBackend;
  readonly mac: Uint8Array;
  readonly pairs: number;
  readonly rxQueueSize: number;
  readonly txQueueSize: number;
  /** True if the back end knows virtio headers. QEMU: `has_vnet_hdr`. */
  readonly vnet: boolean;
  readonly ufo: boolean;
  readonly mtu: number;
  readonly speed: number;
  readonly duplex: number;
  readonly coalescing: Coalescing | undefined;
  readonly rssStateVersion: 1 | 2;
  readonly alwaysNumBuffers: boolean;
  readonly defer: ((proceed: () => void) => void) | undefined;
  /** Feature bits that the card offers. */
  readonly features: bigint;
  readonly configLength: number;
  /** True if the card has a control queue. See {@link NetOptions.frontEndControl}. */
  readonly control: boolean;
}

/** Largest number of queue pairs: a queue for control, and two for each pair, out of 1024. */
const PAIRS_MAX = 511;
const QUEUE_SIZE_MIN = 256;
const QUEUE_SIZE_MAX = 1024;

/** Checks and completes options. @throws HostError that names the option */
export function settle(options: NetOptions): Settings {
  const { backend, queuePairs = 1, rxQueueSize = 256, txQueueSize = 256, mtu = 0, speed } = options;
  const offloads = options.offloads === false ? undefined : (options.offloads ?? backend.supports);
  integer('queuePairs', queuePairs, 1, PAIRS_MAX);
  ringSize('rxQueueSize', rxQueueSize);
  ringSize('txQueueSize', txQueueSize);
  // Virtio 1.3 §5.1.4.1 MUST: 68 to 65535; 0: not offered
  if (mtu !== 0) integer('mtu', mtu, 68, 0xffff);
  if (speed !== undefined) integer('speed', speed, 0, 0x7fffffff);
  // Virtio 1.3 §2.2.2 MUST NOT: offer what needs a feature that is not offered
  if (offloads?.csum !== true && (offloads?.tso || offloads?.ufo || offloads?.uso || offloads?.udpTunnel))
    throw new HostError('offloads: segmentation needs csum');
  const properties = propertyFeatures(options, offloads);
  return {
    backend,
    mac: macBytes(options.mac),
    pairs: queuePairs,
    rxQueueSize,
    txQueueSize,
    vnet: offloads !== undefined,
    ufo: offloads?.ufo === true,
    mtu,
    speed: speed ?? 0xffffffff,
    duplex: options.duplex === undefined ? 0xff : options.duplex === 'full' ? 1 : 0,
    coalescing: options.coalescing,
    rssStateVersion: options.rssStateVersion ?? 1,
    alwaysNumBuffers: options.alwaysNumBuffers ?? true,
    defer: options.defer,
    // a back end without virtio headers has no place for a hash either
    features: offloads === undefined ? properties & ~bit(NET_FEATURE.HASH_REPORT) : properties,
    configLength: configLength(properties),
    control: options.frontEndControl !== true,
  };
}

const bit = (n: number): bigint => 1n << BigInt(n);

/** Collects the features that the properties ask for, before the back end is asked. */
function propertyFeatures(options: NetOptions, offloads: NetOffloads = {}): bigint {
  const { queuePairs = 1, coalescing } = options;
  // what the driver tells by a control queue that is not the card's does not come here
  const control = options.frontEndControl !== true;
  const { csum = false, tso = false, ufo = false, uso = false, udpTunnel = false } = offloads;
  const F = NET_FEATURE;
  const offered: readonly (readonly [boolean, ...number[]])[] = [
    [true, F.MAC, F.GSO],
    [csum, F.CSUM, F.GUEST_CSUM],
    [tso, F.HOST_TSO4, F.HOST_TSO6, F.HOST_ECN, F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_ECN],
    [ufo, F.HOST_UFO, F.GUEST_UFO],
    [uso, F.HOST_USO, F.GUEST_USO4, F.GUEST_USO6],
    [udpTunnel, F.GUEST_UDP_TUNNEL_GSO, F.GUEST_UDP_TUNNEL_GSO_CSUM],
    [udpTunnel, F.HOST_UDP_TUNNEL_GSO, F.HOST_UDP_TUNNEL_GSO_CSUM],
    [control && (options.ctrlGuestOffloads ?? true), F.CTRL_GUEST_OFFLOADS],
    [(options.mtu ?? 0) !== 0, F.MTU],
    [options.mrgRxbuf ?? true, F.MRG_RXBUF],
    [options.status ?? true, F.STATUS],
    [control && (options.ctrlVq ?? true), F.CTRL_VQ],
    [control && (options.ctrlRx ?? true), F.CTRL_RX],
    [control && (options.ctrlVlan ?? true), F.CTRL_VLAN],
    [control && (options.ctrlRxExtra ?? true), F.CTRL_RX_EXTRA],
    [options.guestAnnounce ?? true, F.GUEST_ANNOUNCE],
    [control && (options.ctrlMacAddr ?? true), F.CTRL_MAC_ADDR],
    [options.mq ?? queuePairs > 1, F.MQ],
    [control && (options.rss ?? false), F.RSS],
    [control && (options.hashReport ?? false), F.HASH_REPORT],
    [options.standby ?? false, F.STANDBY],
    [options.speed !== undefined || options.duplex !== undefined, F.SPEED_DUPLEX],
    [control && coalescing !== undefined, F.NOTF_COAL],
    [control && coalescing !== undefined && coalescing.perQueue !== false, F.VQ_NOTF_COAL],
  ];
  return offered.flatMap(([on, ...bits]) => (on ? bits : [])).reduce((sum, n) => sum | bit(n), 0n);
}

/**
 * Finds the length of the configuration space in bytes: up to the last field that an offered feature brings. QEMU:
 * `feature_sizes`.
 */
function configLength(features: bigint): number {
  const F = NET_FEATURE;
  const ends: readonly (readonly [number, number])[] = [
    [F.RSS, 24],
    [F.HASH_REPORT, 24],
    [F.SPEED_DUPLEX, 17],
    [F.MTU, 12],
    [F.MQ, 10],
    [F.STATUS, 8],
  ];
  return ends.find(([feature]) => (features & bit(feature)) !== 0n)?.[1] ?? 6;
}

function integer(name: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw new HostError(`${name}: ${value}, ${low} to ${high} expected`);
}

function ringSize(name: string, size: number): void {
  if (size >= QUEUE_SIZE_MIN && size <= QUEUE_SIZE_MAX && (size & (size - 1)) === 0) return;
  throw new HostError(
    `${name}: ${size}, a power of two from ${QUEUE_SIZE_MIN} to ${QUEUE_SIZE_MAX} expected`,
  );
}

function macBytes(mac: string | Uint8Array): Uint8Array {
  if (typeof mac !== 'string') {
    if (mac.length === 6) return mac.slice();
  } else if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) {
    return Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
  }
  throw new HostError(`mac: ${mac} is no Ethernet address`);
}

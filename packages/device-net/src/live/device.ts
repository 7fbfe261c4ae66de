import {
  type DeviceHost,
  type DeviceIdentity,
  type DeviceModel,
  FEATURE,
  HostError,
  hasFeature,
  type Report,
  type TransportParts,
  type VirtioState,
  type Virtqueue,
} from '@virtkit/core/live';
import { NET_FEATURE } from '../features.ts';
import { netIdentity } from '../identity.ts';
import type { NetState } from '../state.ts';
import type { NetPort, PacketMeta } from './backend.ts';
import { Card, NET_STATUS } from './card.ts';
import { CoalescingLimits, Notifier } from './coalescing.ts';
import { Control } from './control.ts';
import type { NetCounters } from './counters.ts';
import { applyNet, captureNet, checkNet } from './net-state.ts';
import { type NetOptions, settle } from './options.ts';
import { Receiver } from './receive.ts';
import { RSS_TABLE_MAX, SUPPORTED_HASH_TYPES } from './rss.ts';
import { RSS_KEY_BYTES } from './toeplitz.ts';
import { Transmitter } from './transmit.ts';

const CTRL_QUEUE_SIZE = 64;
/** Offsets of the fields of `struct virtio_net_config`, and its length, in bytes. Virtio 1.3 §5.1.4 */
const CONFIG = {
  STATUS: 6,
  MAX_VIRTQUEUE_PAIRS: 8,
  MTU: 10,
  SPEED: 12,
  DUPLEX: 16,
  RSS_MAX_KEY_SIZE: 17,
  RSS_MAX_INDIRECTION_TABLE_LENGTH: 18,
  SUPPORTED_HASH_TYPES: 20,
} as const;
const CONFIG_BYTES = 24;

/**
 * virtio-net, live: Virtio 1.3 §5.1; QEMU `hw/net/virtio-net.c`.
 *
 * ```ts
 * const card = new NetDevice({ backend, mac: '52:54:00:12:34:56' });
 * const { device } = new PciFunction(card, { memory }); // of @virtkit/transport-pci
 * ```
 *
 * Queues: receive and transmit of each pair, then control: 3, or with MQ or RSS negotiated as many as there are pairs; none for control
 * where that is a front end's. A save
 * needs no drain: packets are in the rings or with the back end, never in between.
 */
export class NetDevice implements DeviceModel<NetState>, NetPort {
  readonly layer: DeviceIdentity<NetState> = netIdentity;
  readonly features: bigint;
  readonly legacyFeatures: bigint = 1n << BigInt(NET_FEATURE.GSO);
  /**
   * Features that a driver which acknowledges BAD_FEATURE is taken to know: those of Linux 2.6.25. QEMU:
   * `virtio_net_bad_features`.
   */
  readonly badFeatures: bigint = [
    NET_FEATURE.MAC,
    NET_FEATURE.CSUM,
    NET_FEATURE.HOST_TSO4,
    NET_FEATURE.HOST_TSO6,
    NET_FEATURE.HOST_ECN,
  ].reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
  readonly configLength: number;
  readonly #card: Card;
  readonly #receiver: Receiver;
  readonly #transmitters: readonly Transmitter[];
  readonly #control: Control;
  /** Notifiers of receive and transmit queues, by number of the queue. */
  readonly #notifiers: readonly Notifier[];
  /** Limits of notifications that the driver set for all receive, and for all transmit queues. */
  #coalescing: readonly [CoalescingLimits, CoalescingLimits] = [
    new CoalescingLimits(),
    new CoalescingLimits(),
  ];
  #queueSizes: readonly number[] = [];
  #announce = false;

  /** @throws HostError that names the option */
  constructor(options: NetOptions) {
    const settings = settle(options);
    const card = new Card(settings);
    this.#card = card;
    this.features = settings.features;
    this.configLength = settings.configLength;
    const notifiers = Array.from({ length: 2 * settings.pairs }, (_, index) => new Notifier(card, index));
    this.#notifiers = notifiers;
    this.#receiver = new Receiver(
      card,
      notifiers.filter((_, index) => index % 2 === 0),
    );
    this.#transmitters = notifiers
      .filter((_, index) => index % 2 === 1)
      .map((notifier, pair) => new Transmitter(card, pair, notifier));
    this.#control = new Control(card, {
      pairsChanged: (pairs) => {
        card.setPairs(pairs);
        this.#restart();
      },
      isControl: (queue) => this.#isControl(queue),
      notifier: (queue) => (card.host.queue(queue) === undefined ? undefined : notifiers[queue]),
      coalesce: (direction, maxPackets, maxUsecs) => {
        const limits = this.#coalescing[direction];
        limits.maxPackets = maxPackets;
        limits.maxUsecs = maxUsecs;
        notifiers.forEach((notifier, index) => {
          if (index % 2 === direction) notifier.set(maxPackets, maxUsecs);
        });
      },
    });
    this.#layOut(settings.control ? 1 : settings.pairs);
    settings.backend.attach?.(this);
  }

  // The back end's side

  receive(frame: Uint8Array, meta?: PacketMeta, pair = 0): boolean {
    const card = this.#card;
    if (pair >= card.settings.pairs)
      throw new HostError(`queue pair ${pair}: the card has ${card.settings.pairs}`);
    if (!card.attached) return false;
    card.host.memory.sync();
    return this.#receiver.receive(frame, meta, pair);
  }

  canReceive(pair = 0): boolean {
    if (!this.#card.attached) return false;
    this.#card.host.memory.sync();
    return this.#receiver.canReceive(pair);
  }

  txReady(): void {
    if (!this.#card.attached) return;
    this.#card.host.memory.sync();
    eachInTurn(this.#transmitters.length, this.#ready);
  }

  readonly #ready = (pair: number): void => this.#transmitters[pair]?.ready();

  // The host program's side

  /** Counters of what went through the card, and what was lost. */
  get counters(): Readonly<NetCounters> {
    return this.#card.counters;
  }

  /** Address that the card listens to, 6 bytes: the driver may have set it. */
  get mac(): Uint8Array {
    return this.#card.filter.mac.slice();
  }

  /** True if the cable is plugged in, which the driver reads as LINK_UP of the status. */
  get linkUp(): boolean {
    return this.#card.linkUp;
  }

  /** Number of queue pairs that the driver uses. */
  get queuePairs(): number {
    return this.#card.currPairs;
  }

  /** Plugs the cable in, or out: frames of both directions are lost then. */
  setLink(up: boolean): void {
    const card = this.#card;
    if (up === card.linkUp) return;
    card.status ^= NET_STATUS.LINK_UP;
    if (!card.attached) return;
    card.host.memory.sync();
    card.host.notifyConfig();
    this.#restart();
  }

  /**
   * Asks the driver to tell the network where it is. Answers false if the driver cannot do that. Virtio 1.3 §5.1.6.5.4
   */
  announce(): boolean {
    const card = this.#card;
    const { host } = card;
    if (!host.has(NET_FEATURE.GUEST_ANNOUNCE) || !host.has(NET_FEATURE.CTRL_VQ)) return false;
    card.status |= NET_STATUS.ANNOUNCE;
    host.notifyConfig();
    return true;
  }

  // Core's side

  attach(host: DeviceHost): void {
    this.#card.attach(host);
  }

  get queueSizes(): readonly number[] {
    return this.#queueSizes;
  }

  /** Fills `struct virtio_net_config` with all fields that there is room for. Virtio 1.3 §5.1.4 */
  getConfig(config: DataView, littleEndian: boolean): void {
    const { settings, filter, status, host } = this.#card;
    const bytes = new Uint8Array(CONFIG_BYTES);
    const view = new DataView(bytes.buffer);
    bytes.set(filter.mac);
    view.setUint16(CONFIG.STATUS, status, littleEndian);
    // Virtio 1.3 §5.1.4.1 MUST: 1 to 0x8000; options allow up to 511
    view.setUint16(CONFIG.MAX_VIRTQUEUE_PAIRS, settings.pairs, littleEndian);
    // Virtio 1.3 §5.1.4.1 MUST NOT: the MTU never changes
    view.setUint16(CONFIG.MTU, settings.mtu, littleEndian);
    // Virtio 1.3 §5.1.4.1 MUST: Mb/s, all ones for unknown
    view.setUint32(CONFIG.SPEED, settings.speed, littleEndian);
    view.setUint8(CONFIG.DUPLEX, settings.duplex);
    // Virtio 1.3 §5.1.4.1 MUST: at least 40
    view.setUint8(CONFIG.RSS_MAX_KEY_SIZE, RSS_KEY_BYTES);
    // Virtio 1.3 §5.1.4.1 MUST: at least 128, with RSS
    view.setUint16(
      CONFIG.RSS_MAX_INDIRECTION_TABLE_LENGTH,
      host.offers(NET_FEATURE.RSS) ? RSS_TABLE_MAX : 1,
      littleEndian,
    );
    view.setUint32(CONFIG.SUPPORTED_HASH_TYPES, SUPPORTED_HASH_TYPES, littleEndian);
    for (let i = 0; i < config.byteLength; i++) config.setUint8(i, bytes[i] ?? 0);
  }

  /**
   * Takes the address from the configuration space, only of legacy drivers without the command for it. Virtio 1.3
   * §5.1.4
   */
  setConfig(config: DataView, _littleEndian: boolean): void {
    const { host, filter } = this.#card;
    if (host.has(NET_FEATURE.CTRL_MAC_ADDR) || host.has(FEATURE.VERSION_1)) return;
    for (let i = 0; i < filter.mac.length; i++) filter.mac[i] = config.getUint8(i);
  }

  setFeatures(features: bigint): void {
    const card = this.#card;
    card.setFeatures(features);
    this.#setQueues(card.multiqueue ? card.settings.pairs : 1);
  }

  setStatus(_status: number): void {
    this.#restart();
  }

  reset(): void {
    this.#card.reset();
    this.#announce = false;
    for (const transmitter of this.#transmitters) transmitter.forget();
    // Virtio 1.3 §5.1.6.5.9.6 MUST: with a reset all coalescing parameters are 0
    this.#coalescing = [new CoalescingLimits(), new CoalescingLimits()];
    for (const notifier of this.#notifiers) notifier.reset(new CoalescingLimits());
  }

  resetQueue(index: number): void {
    // Virtio 1.3 §5.1.6.5.9.6 MUST: a queue comes back with the parameters for all of its direction
    this.#notifiers[index]?.reset(this.#coalescing[index % 2 === 0 ? 0 : 1]);
    if (index % 2 === 1) this.#transmitters[index >> 1]?.forget();
  }

  handleQueue(queue: Virtqueue): void {
    const { index } = queue;
    if (this.#isControl(index)) this.#control.handle(queue);
    else if ((index & 1) === 0) this.#receiver.kick(index >> 1);
    else this.#transmitters[index >> 1]?.kick(queue);
  }

  /** Notes that transmission is due though the machine is stopped. QEMU: `tx_waiting`. */
  missedKick({ index }: Virtqueue): void {
    const transmitter =
      this.#isControl(index) || index % 2 === 0 ? undefined : this.#transmitters[index >> 1];
    if (transmitter !== undefined && this.#card.linkUp) transmitter.waiting = true;
  }

  /**
   * Takes the card's part of the state. @throws HostError while the back end's `send` runs: its packet is neither in
   * the ring nor sent
   */
  capture(): NetState {
    if (this.#transmitters.some(({ sending }) => sending))
      throw new HostError('a network card cannot be saved from inside of its back end');
    return captureNet(this.#card, this.#transmitters);
  }

  check(state: VirtioState<TransportParts, NetState>, report: Report): void {
    checkNet(this.#card, state, report);
  }

  prepareQueues(count: number): void {
    this.#setQueues((count - 1) >> 1);
  }

  apply(state: VirtioState<TransportParts, NetState>): void {
    const card = this.#card;
    card.paused = true;
    card.littleEndian = card.host.littleEndian;
    applyNet(card, this.#transmitters, state);
    // the network has to learn where the guest is now. QEMU: `announce_timer`
    const features = card.host.features;
    this.#announce =
      hasFeature(features, NET_FEATURE.GUEST_ANNOUNCE) && hasFeature(features, NET_FEATURE.CTRL_VQ);
  }

  pause(): void {
    this.#card.paused = true;
    for (const notifier of this.#notifiers) notifier.flush();
  }

  resume(): void {
    this.#card.paused = false;
    if (this.#announce) {
      this.#announce = false;
      this.announce();
    }
    this.#restart();
  }

  /** Starts what may run now, and drops what an absent link leaves behind. QEMU: `virtio_net_set_status`. */
  #restart(): void {
    const card = this.#card;
    if (card.paused || !card.driverOk) return;
    const pairs = card.multiqueue ? card.currPairs : 1;
    if (!card.linkUp) {
      eachInTurn(pairs, (pair) => this.#dropWaiting(pair));
      return;
    }
    // two steps for each pair: what receiving throws does not keep it from sending
    eachInTurn(2 * pairs, (step) => {
      if (step % 2 === 0) this.#receiver.start(step >> 1);
      else this.#transmitters[step >> 1]?.start();
    });
  }

  #dropWaiting(pair: number): void {
    const transmitter = this.#transmitters[pair];
    const queue = this.#card.host.queue(2 * pair + 1);
    if (transmitter?.waiting !== true || queue === undefined) return;
    transmitter.waiting = false;
    queue.setNotification(true);
    transmitter.dropAll(queue);
  }

  #isControl(index: number): boolean {
    return this.#card.settings.control && index === this.#queueSizes.length - 1;
  }

  #setQueues(pairs: number): void {
    // a front end's driver may set up any of them, whatever it has negotiated
    if (!this.#card.settings.control) return;
    if (this.#queueSizes.length === 2 * pairs + 1) return;
    this.#layOut(pairs);
    this.#card.host.queuesChanged();
  }

  #layOut(pairs: number): void {
    const { rxQueueSize, txQueueSize } = this.#card.settings;
    const sizes = Array.from({ length: 2 * pairs }, (_, i) => (i % 2 === 0 ? rxQueueSize : txQueueSize));
    this.#queueSizes = this.#card.settings.control ? [...sizes, CTRL_QUEUE_SIZE] : sizes;
  }
}

/**
 * Takes all steps, though one of them throws, in the back end or in an interrupt: the first exception is thrown at the
 * end.
 */
function eachInTurn(steps: number, take: (step: number) => void): void {
  let failed = false;
  let failure: unknown;
  for (let step = 0; step < steps; step++) {
    try {
      take(step);
    } catch (error) {
      if (!failed) failure = error;
      failed = true;
    }
  }
  if (failed) throw failure;
}

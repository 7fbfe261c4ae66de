import type { Facts } from '@virtkit/vmstate';
import type { Endian } from '../contract/device.ts';
import type { DeviceHost } from '../contract/device-host.ts';
import type { DeviceModel } from '../contract/device-model.ts';
import type { InFlightLog } from '../contract/in-flight-log.ts';
import type { GuestMemory } from '../contract/memory.ts';
import type { TransportParts } from '../contract/state.ts';
import type { TransportModel } from '../contract/transport-model.ts';
import { hasFeature } from '../features.ts';
import { FEATURE, ISR, QUEUE_MAX, STATUS } from '../spec.ts';
import { AttachedModel } from './attached-model.ts';
import { type ConfigOwner, ConfigSpace } from './config-space.ts';
import { guestMemory } from './guest-memory.ts';
import { type KickHandler, KickQueue } from './kick-queue.ts';
import { later } from './later.ts';
import { LEGACY_ALIGN, type LiveOptions, ringFeatures } from './options.ts';
import { QueueTable, type TableOwner } from './queue-table.ts';

/** Number of feature bits that a device has room for. */
const FEATURE_BITS = 128;

/**
 * A live virtio device: status, features, configuration space and queues, between a transport that the driver reaches and a
 * device type that does the work. Nobody outside sees it: transports see a `TransportHost`, device types a `DeviceHost`,
 * host programs a `LiveDevice`.
 *
 * Life-cycle (Virtio 1.3 §2.1, §3.1; QEMU's flags in brackets):
 *
 * ```
 *             setStatus 1, 2         setFeatures; setStatus 8        setStatus 4 [started]
 *   reset ──► ACKNOWLEDGE, DRIVER ──► FEATURES_OK (modern only) ──► queues set up ──► DRIVER_OK ──► running
 *     ▲           legacy drivers may kick before DRIVER_OK: [start_on_kick] starts the device          │
 *     │                                                                                               │
 *     ├──────────────────────────── reset() at any moment ─────────────────────────────────────────────┤
 *     │                                                                          fault: NEEDS_RESET [broken]
 *     └───────────────────────────────────────────────────────────────────────────────────────────────┘
 *   running ⇄ paused (host: pause(), resume())      running ⇄ disabled (guest: bus mastering off, on)
 *   any state ── capture() ──► VirtioState ── restore() ──► the same state, paused ── resume() ──► goes on
 * ```
 */
export class DeviceCore<T extends TransportParts, D> implements TableOwner, ConfigOwner, KickHandler {
  readonly model: AttachedModel<D>;
  readonly transport: TransportModel<T>;
  readonly memory: GuestMemory;
  readonly options: LiveOptions;
  readonly targetEndian: Endian;
  /** Features that are offered. */
  readonly offered: bigint;
  readonly queues: QueueTable;
  readonly config: ConfigSpace;
  readonly kicks: KickQueue;
  status = 0;
  isr = 0;
  queueSel = 0;
  /** Negotiated features. */
  features = 0n;
  broken = false;
  disabled = false;
  started = false;
  paused = false;
  /** True if a legacy driver may start the device by a kick before DRIVER_OK. */
  startOnKick = false;
  /** Byte order of the CPU that reset the device last. */
  deviceEndian: Endian;
  readonly #featureBits: Uint8Array = new Uint8Array(FEATURE_BITS);
  /** Queues of which kicks were asked for, and that are looked into once more. */
  readonly #asked: Set<number> = new Set();
  #looksLater = false;
  readonly #lookAgain = (): void => {
    this.#looksLater = false;
    this.memory.sync();
    for (const index of this.#asked) {
      this.#asked.delete(index);
      const ring = this.queues.slots[index]?.ring;
      if (this.running && ring?.isEmpty() === false) this.kicks.kick(index);
    }
  };

  constructor(
    model: DeviceModel<D>,
    transport: TransportModel<T>,
    options: LiveOptions,
    hostFor: (core: DeviceCore<T, D>) => DeviceHost,
  ) {
    this.model = new AttachedModel(model);
    this.transport = transport;
    this.options = options;
    this.memory = guestMemory(options.memory);
    this.targetEndian = options.targetEndian ?? 'little';
    this.deviceEndian = this.targetEndian;
    this.offered = this.model.getFeatures(this.model.features | transport.features | ringFeatures(options));
    this.queues = new QueueTable(this, options.align ?? LEGACY_ALIGN);
    this.config = new ConfigSpace(this.model.configLength, this);
    this.kicks = new KickQueue(this);
    this.model.attach(hostFor(this));
    this.queuesChanged();
  }

  has(bit: number): boolean {
    return this.#featureBits[bit] === 1;
  }

  offers(bit: number): boolean {
    return hasFeature(this.offered, bit);
  }

  get littleEndian(): boolean {
    return this.has(FEATURE.VERSION_1) || this.deviceEndian === 'little';
  }

  /** Is the device started, by DRIVER_OK or by a kick of a legacy driver? QEMU: `virtio_device_started`. */
  get isStarted(): boolean {
    return this.options.useStarted === false ? (this.status & STATUS.DRIVER_OK) !== 0 : this.started;
  }

  get live(): boolean {
    return !this.broken && !this.disabled && !this.paused;
  }

  get inFlightLog(): InFlightLog | undefined {
    return this.transport.inFlightLog;
  }

  get running(): boolean {
    return this.live && this.isStarted;
  }

  queuesChanged(): void {
    this.queues.create(this.model.queueSizes);
  }

  // What core's parts ask of the two sides

  getConfig(config: DataView, littleEndian: boolean): void {
    this.model.getConfig(config, littleEndian);
  }

  setConfig(config: DataView, littleEndian: boolean): void {
    this.model.setConfig(config, littleEndian);
  }

  forgetRequests(queue: number): void {
    this.model.resetQueue(queue);
  }

  resetVector(queue: number): void {
    this.transport.resetQueue(queue);
  }

  // Interrupts and faults

  interrupt(queue: number): void {
    // Virtio 1.3 §4.1.4.5.1 MUST, §4.2.2.1 MUST: the bit is set before the notification, and until it is read or acknowledged
    this.isr |= ISR.QUEUE;
    const slot = this.queues.slots[queue];
    if (slot !== undefined) slot.interrupts++;
    this.#interrupt(queue);
  }

  /**
   * Interrupts the driver. What that reaches is the guest's choice: a message may be written into a register of this
   * device, and a host program may run the driver at once. The device type is in the middle of something, so kicks
   * wait.
   */
  #interrupt(queue: number): void {
    // a broken or disabled device says nothing. QEMU: `virtio_notify_vector`
    if (this.broken || this.disabled) return;
    const outer = this.kicks.enter();
    try {
      this.transport.notify(queue);
    } finally {
      this.kicks.leave(outer);
    }
    // nobody above serves them: an answer of a back end, or a frame, is being delivered
    this.kicks.serveSoon(outer);
  }

  notifyConfig(): void {
    // a driver that is only just reading it must see that it has changed: QEMU counts with DRIVER_OK only
    this.config.changed();
    this.#announceConfig();
  }

  #announceConfig(): void {
    // Virtio 1.3 §2.1.2 MUST NOT: no notification before DRIVER_OK
    if ((this.status & STATUS.DRIVER_OK) === 0) return;
    // Virtio 1.3 §4.1.4.5.1 MUST: the bit for configuration changes. QEMU sets the other one as well
    this.isr |= ISR.QUEUE | ISR.CONFIG;
    this.#interrupt(-1);
  }

  fault(reason: string, facts: Facts = {}): void {
    const { broken } = this;
    if (!broken) this.model.beforeFault();
    if (this.has(FEATURE.VERSION_1)) {
      // Virtio 1.3 §2.1.2 SHOULD, MUST: NEEDS_RESET, and a configuration change notification if DRIVER_OK is set
      this.status |= STATUS.NEEDS_RESET;
      // counted as QEMU does
      if ((this.status & STATUS.DRIVER_OK) !== 0) this.config.changed();
      this.#announceConfig();
    }
    this.broken = true;
    // told once, whatever the guest does until its reset
    if (!broken) this.options.onEvent?.({ name: 'fault', device: this.model.name, reason, facts });
  }

  event(name: string, facts: Facts = {}): void {
    this.options.onEvent?.({ name, device: this.model.name, facts });
  }

  // Features and status

  /**
   * Sets the driver's features. Bits that were not offered are dropped. Answers false if they are refused, after
   * FEATURES_OK.
   */
  setFeatures(features: bigint): boolean {
    // Virtio 1.3 §2.2.1 MUST NOT: the driver renegotiates nothing after FEATURES_OK without a reset
    if ((this.status & STATUS.FEATURES_OK) !== 0) return false;
    this.memory.sync();
    this.applyFeatures(features & this.offered);
    // a driver that takes what it was not offered is not trusted with this
    const bad = (features & ~this.offered) !== 0n;
    if (!bad && !this.isStarted && !this.has(FEATURE.VERSION_1)) this.startOnKick = true;
    this.queues.featuresChanged();
    return true;
  }

  /** Takes over negotiated features without asking. QEMU: `virtio_set_features_nocheck`. */
  applyFeatures(features: bigint): void {
    this.features = features;
    for (let bit = 0, left = features; bit < FEATURE_BITS; bit++, left >>= 1n)
      this.#featureBits[bit] = Number(left & 1n);
    this.model.setFeatures(features);
  }

  /**
   * Sets the driver's status byte. Answers false if it is refused, and unchanged. A transport calls {@link reset} for
   * 0.
   */
  setStatus(value: number): boolean {
    const status = value & 0xff;
    const offered = (bit: number): boolean => this.offers(bit) && !this.has(bit);
    if (this.has(FEATURE.VERSION_1) && (status & ~this.status & STATUS.FEATURES_OK) !== 0) {
      // Virtio 1.3 §2.2.2 MUST: a set of features that does not do is refused here. Any other subset works
      // Virtio 1.3 §6.1 MAY: fail to operate if ACCESS_PLATFORM is offered and not accepted
      if (offered(FEATURE.ACCESS_PLATFORM)) return false;
    }
    if (((this.status ^ status) & STATUS.DRIVER_OK) !== 0)
      this.#setStarted((status & STATUS.DRIVER_OK) !== 0);
    this.status = status;
    this.memory.sync();
    this.model.setStatus(status);
    return true;
  }

  #setStarted(on: boolean): void {
    if (on) this.startOnKick = false;
    if (this.options.useStarted !== false) this.started = on;
  }

  /** Resets the device, Virtio 1.3 §2.4. QEMU: `virtio_reset`. */
  reset(endian: Endian = this.targetEndian): void {
    this.memory.sync();
    this.kicks.clear();
    this.setStatus(0);
    this.deviceEndian = endian;
    this.model.reset();
    this.startOnKick = false;
    this.started = false;
    this.broken = false;
    this.applyFeatures(0n);
    this.queueSel = 0;
    // Virtio 1.3 §2.4.1 MUST: the status is 0 after a reset
    this.status = 0;
    this.disabled = false;
    // Virtio 1.3 §2.4.1 MUST NOT: no notifications after a reset until it is initialised again
    this.isr = 0;
    this.queues.resetAll();
  }

  selectQueue(index: number): void {
    if (index < QUEUE_MAX) this.queueSel = index;
  }

  // Kicks

  /** Handles the driver's notification that it has put something into a queue. QEMU: `virtio_queue_notify`. */
  kick(queue: number): void {
    const slot = this.queues.slots[queue];
    if (slot === undefined) return;
    slot.kicks++;
    this.kicks.kick(queue);
  }

  handleKick(index: number): void {
    const slot = this.queues.slots[index];
    // Virtio 1.3 §2.7.10.2 MUST: a kick for nothing does no harm: what is in the ring counts
    if (slot === undefined || slot.desc === 0n || this.broken) return;
    this.memory.sync();
    const ring = this.queues.ring(index);
    if (ring === undefined) return;
    // a kick while the machine is stopped is found again in the ring when it goes on
    if (this.paused) {
      this.model.missedKick(ring);
      return;
    }
    this.model.handleQueue(ring);
    if (this.startOnKick) this.#setStarted(true);
  }

  /**
   * Has a queue looked into once more, a little later. Core has a full barrier between asking for kicks and looking, but the
   * driver's own (Virtio 1.3 §2.7.13.4.1) may be none: in QEMU's TCG with one processor the instruction that
   * Linux has for it, `lock add`, is an ordinary one. Then the driver can miss that kicks are asked for, while what it has
   * put in is not in memory yet when the device looks. It is there within microseconds.
   */
  kicksAskedFor(queue: number): void {
    this.#asked.add(queue);
    if (this.#looksLater) return;
    this.#looksLater = true;
    later(this.#lookAgain);
  }

  // Stop, go on

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.model.pause();
  }

  /** @param rings false: what the rings hold is left to whoever has the device next */
  resume(rings: boolean): void {
    if (!this.paused) return;
    this.memory.sync();
    this.paused = false;
    const outer = this.kicks.enter();
    try {
      this.model.resume();
      if (this.running && rings) this.#lookIntoRings();
      if (!outer) this.kicks.serve();
    } finally {
      this.kicks.leave(outer);
    }
  }

  /** Kicks all queues that hold something: a kick that came before the save, and was not served, must not be lost. */
  #lookIntoRings(): void {
    for (const slot of this.queues.slots) {
      if (!slot.exists || slot.desc === 0n) continue;
      const ring = this.queues.ring(slot.index);
      if (ring !== undefined && this.live) this.model.handleQueue(ring);
    }
  }
}

import type { Facts } from '@virtkit/vmstate';
import type { Endian } from '../contract/device.ts';
import type { DeviceHost } from '../contract/device-host.ts';
import type { DeviceModel } from '../contract/device-model.ts';
import type { DeviceEvent } from '../contract/event.ts';
import type { Finding } from '../contract/finding.ts';
import type { Gpa, GuestMemory } from '../contract/memory.ts';
import type { Virtqueue } from '../contract/queue.ts';
import type { TransportParts, VirtioState } from '../contract/state.ts';
import type { TransportModel } from '../contract/transport-model.ts';
import { FEATURE, ISR, STATUS } from '../spec.ts';
import { QUEUE_MAX } from '../state/subsections.ts';
import { AttachedModel } from './attached-model.ts';
import { captureState } from './capture.ts';
import { ConfigSpace } from './config-space.ts';
import { later } from './later.ts';
import { PackedQueue } from './packed-queue.ts';
import { QueueSlot } from './queue-slot.ts';
import { checkRestore, type RestoreOptions, restoreState } from './restore.ts';
import { freshIndices, type QueueOwner, type QueueSetup, type Ring } from './ring.ts';
import { mapRing } from './ring-map.ts';
import { SplitQueue } from './split-queue.ts';

/**
 * Kicks out of interrupts that are served before the program's timers have their turn: a guest that answers each interrupt with a kick could
 * go on for ever.
 */
const KICKS_IN_A_ROW = 1024;

/** Ring features that a device offers. QEMU's defaults. */
export interface RingFeatures {
  /** INDIRECT_DESC; default true. */
  readonly indirect?: boolean;
  /** EVENT_IDX; default true. */
  readonly eventIdx?: boolean;
  /** RING_PACKED; default false. */
  readonly packed?: boolean;
  /** IN_ORDER; default false. */
  readonly inOrder?: boolean;
  /** NOTIFICATION_DATA; default false. */
  readonly notificationData?: boolean;
  /** RING_RESET; default true, as QEMU's newest machines (property `queue_reset`). */
  readonly ringReset?: boolean;
  /** NOTIFY_ON_EMPTY, of legacy drivers; default true. */
  readonly notifyOnEmpty?: boolean;
  /** ANY_LAYOUT, of legacy drivers; default true. */
  readonly anyLayout?: boolean;
}

/** How a live device is made. */
export interface LiveOptions {
  readonly memory: GuestMemory;
  readonly rings?: RingFeatures;
  /** Offer VERSION_1; default true. Without it the device is legacy only. */
  readonly version1?: boolean;
  /** Offer ACCESS_PLATFORM, which a modern driver must then take; default false. */
  readonly accessPlatform?: boolean;
  /** Byte order of the guest's CPU, which legacy drivers use; default little. */
  readonly targetEndian?: Endian;
  /** `started` is a flag of its own, beside DRIVER_OK. QEMU property `use-started`, machines since 4.1; default true. */
  readonly useStarted?: boolean;
  /** Ring alignment of legacy queues, bytes; default 4096. */
  readonly align?: number;
  /** Write `virtio/ringsize` where a ring has another size than it was made with: QEMU up to 10.2; default true. */
  readonly saveRingSize?: boolean;
  readonly onEvent?: (event: DeviceEvent) => void;
}

/**
 * The core of a live virtio device: status, features, configuration space and queues, between a transport that the driver
 * reaches and a device type that does the work.
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
export class LiveDevice<T extends TransportParts = TransportParts, D = unknown>
  implements DeviceHost, QueueOwner
{
  readonly model: DeviceModel<D>;
  readonly transport: TransportModel<T>;
  readonly memory: GuestMemory;
  /** Offered features. */
  readonly hostFeatures: bigint;
  readonly targetEndian: Endian;
  readonly slots: readonly QueueSlot[];
  readonly configSpace: ConfigSpace;
  readonly options: LiveOptions;
  /** The device type with its defaults. */
  readonly attached: AttachedModel<D>;
  status = 0;
  isr = 0;
  queueSel = 0;
  guestFeatures = 0n;
  /** Counts configuration changes. Virtio 1.3 §2.5.1 */
  generation = 0;
  broken = false;
  disabled = false;
  started = false;
  /** A legacy driver may kick before DRIVER_OK, and that starts the device. */
  startOnKick = false;
  /** Byte order of the CPU that reset the device last. */
  deviceEndian: Endian;
  #paused = false;
  /** The device type works on a kick, or the driver is being interrupted: kicks that come now wait, see {@link #serveKicks}. */
  #busy = false;
  /** Queues whose kicks wait, each once. */
  readonly #kicked: Set<number> = new Set();
  #kicksLater = false;
  /** Kicks that waited and were served since timers had their turn. */
  #inARow = 0;
  #featureBits: Uint8Array = new Uint8Array(128);

  constructor(model: DeviceModel<D>, transport: TransportModel<T>, options: LiveOptions) {
    this.model = model;
    this.attached = new AttachedModel(model);
    this.transport = transport;
    this.options = options;
    this.memory = options.memory;
    this.targetEndian = options.targetEndian ?? 'little';
    this.deviceEndian = this.targetEndian;
    const offered = model.features | transport.features | ringFeatures(options);
    this.hostFeatures = this.attached.getFeatures(offered);
    this.configSpace = new ConfigSpace(this.attached.configLength);
    const align = options.align ?? 4096;
    this.slots = Array.from({ length: QUEUE_MAX }, (_, index) => new QueueSlot(index, align));
    model.attach(this);
    this.queuesChanged();
  }

  // What the device type and the rings see

  get features(): bigint {
    return this.guestFeatures;
  }

  has(bit: number): boolean {
    return this.#featureBits[bit] === 1;
  }

  offers(bit: number): boolean {
    return ((this.hostFeatures >> BigInt(bit)) & 1n) === 1n;
  }

  get littleEndian(): boolean {
    return this.has(FEATURE.VERSION_1) || this.deviceEndian === 'little';
  }

  /** QEMU: `virtio_device_started`. */
  get isStarted(): boolean {
    return this.options.useStarted === false ? (this.status & STATUS.DRIVER_OK) !== 0 : this.started;
  }

  get live(): boolean {
    return !this.broken && !this.disabled && !this.#paused;
  }

  get running(): boolean {
    return this.live && this.isStarted;
  }

  get paused(): boolean {
    return this.#paused;
  }

  queue(index: number): Virtqueue | undefined {
    return this.#ring(index);
  }

  interrupt(queue: number): void {
    // Virtio 1.3 §4.1.4.5.1 MUST, §4.2.2.1 MUST: the bit is set before the notification, and until it is read or acknowledged
    this.isr |= ISR.QUEUE;
    this.#interrupt(queue);
  }

  /**
   * Tells the driver. What that reaches is the guest's choice: a message may be written into a register of this device,
   * and a host program may run the driver at once. The device type is in the middle of something, so kicks wait.
   */
  #interrupt(queue: number): void {
    // a broken or disabled device says nothing. QEMU: `virtio_notify_vector`
    if (this.broken || this.disabled) return;
    const outer = this.#busy;
    this.#busy = true;
    try {
      this.transport.notify(queue);
    } finally {
      this.#busy = outer;
    }
    // nobody above serves them: an answer of a back end, or a frame, is being delivered
    if (!outer && this.#kicked.size > 0) this.#serveLater();
  }

  notifyConfig(): void {
    // a driver that is only just reading it must see that it has changed: QEMU counts with DRIVER_OK only
    this.generation = (this.generation + 1) >>> 0;
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
    if (!broken) this.attached.beforeFault();
    if (this.has(FEATURE.VERSION_1)) {
      // Virtio 1.3 §2.1.2 SHOULD, MUST: NEEDS_RESET, and a configuration change notification if DRIVER_OK is set
      this.status |= STATUS.NEEDS_RESET;
      // counted as QEMU does
      if ((this.status & STATUS.DRIVER_OK) !== 0) this.generation = (this.generation + 1) >>> 0;
      this.#announceConfig();
    }
    this.broken = true;
    // told once, whatever the guest does until its reset
    if (!broken) this.options.onEvent?.({ name: 'fault', device: this.model.layer.name, reason, facts });
  }

  event(name: string, facts: Facts = {}): void {
    this.options.onEvent?.({ name, device: this.model.layer.name, facts });
  }

  queuesChanged(): void {
    const sizes = this.model.queueSizes;
    for (const slot of this.slots) {
      const size = sizes[slot.index] ?? 0;
      if (slot.numDefault !== size) slot.create(size);
    }
  }

  // Configuration space

  get configLength(): number {
    return this.configSpace.length;
  }

  /** Reads 1, 2 or 4 bytes; all ones beyond the end. QEMU: `virtio_config_readb` and siblings. */
  readConfig(offset: number, size: number, littleEndian: boolean): number {
    if (!this.configSpace.holds(offset, size)) return size === 4 ? 0xffffffff : (1 << (8 * size)) - 1;
    // Virtio 1.3 §2.5.2 MUST: any field of an offered feature can be read before FEATURES_OK
    this.refreshConfig();
    return this.configSpace.get(offset, size, littleEndian);
  }

  /** Writes 1, 2 or 4 bytes; nothing beyond the end. */
  writeConfig(offset: number, size: number, value: number, littleEndian: boolean): void {
    if (!this.configSpace.holds(offset, size)) return;
    this.configSpace.set(offset, size, value, littleEndian);
    this.configWritten();
  }

  /** Fills the cached configuration bytes from live state. */
  refreshConfig(): void {
    this.attached.getConfig(this.configSpace.view, this.littleEndian);
  }

  /** The driver changed the cached bytes. */
  configWritten(): void {
    this.attached.setConfig(this.configSpace.view, this.littleEndian);
  }

  // Features and status

  /** The driver's features. Bits that were not offered are dropped. False: refused, after FEATURES_OK. */
  setFeatures(features: bigint): boolean {
    // Virtio 1.3 §2.2.1 MUST NOT: the driver renegotiates nothing after FEATURES_OK without a reset
    if ((this.status & STATUS.FEATURES_OK) !== 0) return false;
    this.memory.sync();
    this.applyFeatures(features & this.hostFeatures);
    // a driver that takes what it was not offered is not trusted with this
    const bad = (features & ~this.hostFeatures) !== 0n;
    if (!bad && !this.isStarted && !this.has(FEATURE.VERSION_1)) this.startOnKick = true;
    // the rings' rules changed with the features; with EVENT_IDX their size did, and one that did not fit fails again
    const resized = this.has(FEATURE.EVENT_IDX);
    for (const slot of this.slots) {
      if (slot.ring === undefined && (!resized || slot.desc === 0n)) continue;
      this.#stopRing(slot);
      this.#startRing(slot);
    }
    return true;
  }

  /** Takes over negotiated features without asking. QEMU: `virtio_set_features_nocheck`. */
  applyFeatures(features: bigint): void {
    this.guestFeatures = features;
    for (let bit = 0, left = features; bit < 128; bit++, left >>= 1n)
      this.#featureBits[bit] = Number(left & 1n);
    this.attached.setFeatures(features);
  }

  /** The driver's status byte. False: refused, and unchanged. A transport calls {@link reset} for 0. */
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
    this.attached.setStatus(status);
    return true;
  }

  #setStarted(on: boolean): void {
    if (on) this.startOnKick = false;
    if (this.options.useStarted !== false) this.started = on;
  }

  /** Device reset, Virtio 1.3 §2.4. QEMU: `virtio_reset`. */
  reset(endian: Endian = this.targetEndian): void {
    this.memory.sync();
    this.#kicked.clear();
    this.setStatus(0);
    this.deviceEndian = endian;
    this.attached.reset();
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
    for (const slot of this.slots) {
      if (slot.numDefault !== 0 || slot.desc !== 0n) slot.reset();
      this.transport.resetQueue(slot.index);
    }
  }

  /** Bus mastering went off (true) or on. QEMU: `disabled`. */
  setDisabled(disabled: boolean): void {
    this.disabled = disabled;
  }

  readAndClearIsr(): number {
    const { isr } = this;
    this.isr = 0;
    return isr;
  }

  clearIsr(bits: number): void {
    this.isr &= ~bits;
  }

  // Queues

  selectQueue(index: number): void {
    if (index < QUEUE_MAX) this.queueSel = index;
  }

  /** The highest existing queue plus 1. */
  get queueCount(): number {
    let count = QUEUE_MAX;
    while (count > 0 && this.slots[count - 1]?.exists !== true) count--;
    return count;
  }

  queueExists(index: number): boolean {
    return this.slots[index]?.exists === true;
  }

  queueNum(index: number): number {
    return this.slots[index]?.num ?? 0;
  }

  queueNumDefault(index: number): number {
    return this.slots[index]?.numDefault ?? 0;
  }

  queueDesc(index: number): bigint {
    return this.slots[index]?.desc ?? 0n;
  }

  /** Ring size. Ignored if it is too large or would make a queue appear or vanish. QEMU: `virtio_queue_set_num`. */
  setQueueNum(index: number, num: number): void {
    const slot = this.slots[index];
    if (slot === undefined || num < 0 || num > QUEUE_MAX || (num !== 0) !== slot.exists) return;
    if (num === slot.num) return;
    this.#stopRing(slot);
    slot.num = num;
  }

  setQueueAlign(index: number, align: number): void {
    const slot = this.slots[index];
    if (slot !== undefined) slot.align = align;
  }

  /** Legacy: the descriptor table, and avail and used ring behind it. QEMU: `virtio_queue_set_addr`. */
  setQueueAddress(index: number, desc: bigint): void {
    const slot = this.slots[index];
    if (slot?.exists !== true) return;
    this.memory.sync();
    this.#stopRing(slot);
    slot.desc = desc;
    slot.layOutLegacy();
    this.#startRing(slot);
  }

  /** Modern: all three addresses. QEMU: `virtio_queue_set_rings`. */
  setQueueRings(index: number, desc: bigint, avail: bigint, used: bigint): void {
    const slot = this.slots[index];
    if (slot?.exists !== true) return;
    this.memory.sync();
    this.#stopRing(slot);
    // Virtio 1.3 §2.6.1.2.1 MUST: size and places as the driver has set them since
    slot.desc = desc;
    slot.avail = avail;
    slot.used = used;
    this.#startRing(slot);
  }

  /** Resets one queue, Virtio 1.3 §2.6.1. QEMU: `virtio_queue_reset`. */
  resetQueue(index: number): void {
    const slot = this.slots[index];
    if (slot?.exists !== true) return;
    // Virtio 1.3 §2.6.1.1.1 MUST NOT: nothing of the queue is executed or notified any more
    this.attached.resetQueue(index);
    // Virtio 1.3 §2.6.1.1.1 MUST: all of its state is as by default
    slot.reset();
    this.transport.resetQueue(index);
  }

  /**
   * The driver has put something into a queue. QEMU: `virtio_queue_notify`.
   *
   * @param _position where the driver stands in its ring, told with NOTIFICATION_DATA. Not used: what the ring says counts,
   *   and a kick that was long under way, on another processor, says something old
   */
  kick(index: number, _position?: number): void {
    if (this.#busy) {
      if (this.slots[index] !== undefined) this.#kicked.add(index);
      return;
    }
    this.#busy = true;
    try {
      this.#handleKick(index);
      this.#serveKicks();
    } finally {
      this.#busy = false;
    }
  }

  /** Serves kicks that came while the device was busy; those that come meanwhile, too, until others have to run. */
  #serveKicks(): void {
    for (const index of this.#kicked) {
      if (++this.#inARow > KICKS_IN_A_ROW) {
        this.#serveLater();
        return;
      }
      this.#kicked.delete(index);
      this.#handleKick(index);
    }
  }

  /** The same when the device type has finished what it is doing: it was not called by core. */
  #serveLater(): void {
    if (this.#kicksLater) return;
    this.#kicksLater = true;
    if (this.#inARow <= KICKS_IN_A_ROW) void Promise.resolve().then(() => this.#serveWaiting());
    else {
      later(() => {
        this.#inARow = 0;
        this.#serveWaiting();
      });
    }
  }

  #serveWaiting(): void {
    this.#kicksLater = false;
    if (this.#busy) return;
    this.#busy = true;
    try {
      this.#serveKicks();
    } finally {
      this.#busy = false;
    }
  }

  #handleKick(index: number): void {
    const slot = this.slots[index];
    // Virtio 1.3 §2.7.10.2 MUST: a kick for nothing does no harm: what is in the ring counts
    if (slot === undefined || slot.desc === 0n || this.broken) return;
    this.memory.sync();
    const ring = this.#ring(index);
    if (ring === undefined) return;
    // a kick while the machine is stopped is found again in the ring when it goes on
    if (this.#paused) {
      this.model.missedKick?.(ring);
      return;
    }
    this.model.handleQueue(ring);
    if (this.startOnKick) this.#setStarted(true);
  }

  /** The running queue of a slot, made if it can be. */
  #ring(index: number): Ring | undefined {
    const slot = this.slots[index];
    if (slot === undefined) return undefined;
    if (slot.ring === undefined && slot.desc !== 0n && slot.exists && !this.broken) this.#startRing(slot);
    return slot.ring;
  }

  /** Requests in flight of a ring that is no more cannot be given back. */
  #stopRing(slot: QueueSlot): void {
    if ((slot.ring?.inFlight ?? 0) > 0) this.attached.resetQueue(slot.index);
    slot.stop();
  }

  #startRing(slot: QueueSlot): void {
    if (!slot.exists || slot.desc === 0n) return;
    const setup = this.setupOf(slot);
    const packed = this.has(FEATURE.RING_PACKED);
    const mapping = mapRing(setup, packed);
    if (mapping.kind === 'mapped') slot.ring = packed ? new PackedQueue(setup) : new SplitQueue(setup);
    if (mapping.kind === 'cut') {
      const { index, desc, avail, used } = slot;
      this.fault(`Cannot map ${mapping.part}`, { queue: index, desc, avail, used });
    }
  }

  /** What a ring is made from, with the features negotiated now. */
  setupOf(slot: QueueSlot): QueueSetup {
    return {
      index: slot.index,
      size: slot.num,
      desc: Number(slot.desc) as Gpa,
      avail: Number(slot.avail) as Gpa,
      used: Number(slot.used) as Gpa,
      memory: this.memory,
      littleEndian: this.littleEndian,
      indirect: this.has(FEATURE.INDIRECT_DESC),
      eventIdx: this.has(FEATURE.EVENT_IDX),
      inOrder: this.has(FEATURE.IN_ORDER),
      notifyOnEmpty: this.has(FEATURE.NOTIFY_ON_EMPTY),
      indices: slot.indices,
      owner: this,
    };
  }

  // Stop, save, load, go on

  /** Stops work: nothing is taken from a ring, and what back ends complete is kept, until {@link resume}. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.attached.pause();
  }

  /**
   * Goes on after {@link pause} or {@link restore}: requests in flight first, then what the rings hold.
   *
   * @param options `rings: false` leaves what the rings hold to whoever has the device next
   */
  resume({ rings = true }: { readonly rings?: boolean } = {}): void {
    if (!this.#paused) return;
    this.memory.sync();
    this.#paused = false;
    const outer = this.#busy;
    this.#busy = true;
    try {
      this.attached.resume();
      if (this.running && rings) this.#lookIntoRings();
      if (!outer) this.#serveKicks();
    } finally {
      this.#busy = outer;
    }
  }

  /** A kick that came before the save was processed must not be lost. */
  #lookIntoRings(): void {
    for (const slot of this.slots) {
      if (!slot.exists || slot.desc === 0n) continue;
      const ring = this.#ring(slot.index);
      if (ring !== undefined && this.live) this.model.handleQueue(ring);
    }
  }

  /** The saved state, at any moment; the device goes on. */
  capture(): VirtioState<T, D> {
    this.memory.sync();
    return captureState(this);
  }

  /** What speaks against restoring this state into this device over this memory. */
  check(state: VirtioState<T, D>, options: RestoreOptions = {}): Finding[] {
    this.memory.sync();
    return checkRestore(this, state, options);
  }

  /**
   * Takes over a saved state. The device is paused afterwards: when the rest of the machine is in place, {@link resume}.
   *
   * @throws StateError for the first finding that is an error; nothing has changed then
   */
  restore(state: VirtioState<T, D>, options: RestoreOptions = {}): void {
    this.memory.sync();
    restoreState(this, state, options, () => {
      this.#paused = true;
      this.#kicked.clear();
    });
  }

  /** Puts a slot into a saved state's position. Restore's part; the ring is made at once so that a bad one shows. */
  placeQueue(slot: QueueSlot): void {
    slot.ring = undefined;
    if (this.broken) return;
    // a new ring's first completion interrupts whatever the driver's event index says
    this.#startRing(slot);
  }

  /** A slot that a state does not mention stays as a fresh device has it. */
  clearQueue(slot: QueueSlot): void {
    slot.reset();
    slot.indices = freshIndices();
  }
}

// Virtio 1.3 §2.2.2 MUST NOT: nothing is offered that is not done
function ringFeatures({ rings = {}, version1 = true, accessPlatform = false }: LiveOptions): bigint {
  const offered: readonly (readonly [number, boolean])[] = [
    [FEATURE.NOTIFY_ON_EMPTY, rings.notifyOnEmpty ?? true],
    [FEATURE.ANY_LAYOUT, rings.anyLayout ?? true],
    [FEATURE.INDIRECT_DESC, rings.indirect ?? true],
    [FEATURE.EVENT_IDX, rings.eventIdx ?? true],
    [FEATURE.VERSION_1, version1],
    [FEATURE.ACCESS_PLATFORM, accessPlatform],
    [FEATURE.RING_PACKED, rings.packed ?? false],
    [FEATURE.IN_ORDER, rings.inOrder ?? false],
    [FEATURE.NOTIFICATION_DATA, rings.notificationData ?? false],
    [FEATURE.RING_RESET, rings.ringReset ?? true],
  ];
  return offered.reduce((sum, [bit, on]) => (on ? sum | (1n << BigInt(bit)) : sum), 0n);
}

import {
  type ConfigChange,
  createDevice,
  type DeviceModel,
  FEATURE,
  type LiveDevice,
  type LiveOptions,
  type QueueRegisters,
  type Report,
  reportError,
  STATUS,
  type TransportHost,
  type TransportIdentity,
  type TransportModel,
  type VirtioState,
} from '@virtkit/core/live';
import { mmioIdentity } from '../identity.ts';
import { PAGE_SHIFT_MAX } from '../limits.ts';
import type { MmioParts } from '../state.ts';
import { ProxyQueues } from './proxy-queues.ts';
import { REGISTER } from './registers.ts';

/** Length of the register window in bytes; the configuration space is its second half. */
export const MMIO_BYTES = 0x200;
const CONFIG = 0x100;
const MAGIC = 0x74726976;
const VENDOR = 0x554d4551;
/** Number of words of 32 feature bits that a device may have features in. */
const FEATURE_WORDS = 2;
/** Largest number of entries of a ring. QEMU: `VIRTQUEUE_MAX_SIZE`. */
const QUEUE_NUM_MAX = 1024;

/** Options of a device behind its register window. */
export interface MmioOptions extends Omit<LiveOptions, 'version1' | 'align'> {
  /** True for version 1 of the interface, for drivers older than Virtio 1.0. QEMU: `force-legacy`; default false. */
  readonly legacy?: boolean;
  /** Sets the interrupt line, which is level-triggered: high while an interrupt is not acknowledged. */
  setIrq(level: boolean): void;
}

/**
 * Virtio device behind memory-mapped registers: Virtio 1.3 §4.2; QEMU `hw/virtio/virtio-mmio.c`.
 *
 * ```ts
 * const disk = new MmioDevice(new BlkDevice({ backend }), { memory, setIrq: (level) => plic.set(8, level) });
 * bus.map(0x10001000, MMIO_BYTES, disk); // disk.read(offset, size), disk.write(offset, size, value)
 * ```
 */
export class MmioDevice<D = unknown> implements TransportModel<MmioParts> {
  /** Name and rules of the transport. */
  readonly layer: TransportIdentity<MmioParts>;
  readonly features = 0n;
  /**
   * Device as the host program sees it, with its status and queues, and what saves, loads, stops and goes on:
   * `device.capture()`, `restore()`, `pause()`, `resume()`.
   */
  readonly device: LiveDevice<MmioParts, D>;
  readonly #host: TransportHost;
  readonly #deviceId: number;
  readonly #options: MmioOptions;
  readonly #legacy: boolean;
  readonly #queues = new ProxyQueues();
  #hostFeaturesSel = 0;
  #guestFeaturesSel = 0;
  #guestPageShift = 0;
  /** Values of DriverFeatures 0 and 1 as written; taken over with FEATURES_OK. */
  readonly #guestFeatures = new Uint32Array(FEATURE_WORDS);

  /** @param layer what makes bytes of the state; default: nothing does */
  constructor(
    model: DeviceModel<D>,
    options: MmioOptions,
    layer: TransportIdentity<MmioParts> = mmioIdentity,
  ) {
    this.layer = layer;
    this.#options = options;
    this.#legacy = options.legacy ?? false;
    this.#deviceId = model.layer.virtioId ?? 0;
    const live: LiveOptions = { ...options, version1: !this.#legacy };
    const { device, host } = createDevice<MmioParts, D>(model, this, live);
    this.device = device;
    this.#host = host;
  }

  /** Reads 1, 2 or 4 bytes. Registers answer to 4 only. Virtio 1.3 §4.2.2.2 */
  read(offset: number, size: number): number {
    const host = this.#host;
    // the legacy interface has the fields in the guest's byte order
    if (offset >= CONFIG) return host.config.read(offset - CONFIG, size, this.#legacy);
    if (size !== 4) return 0;
    switch (offset) {
      case REGISTER.MAGIC_VALUE:
        // Virtio 1.3 §4.2.2.1 MUST: "virt"
        return MAGIC;
      case REGISTER.VERSION:
        // Virtio 1.3 §4.2.2.1 MUST: 2; 1 is the legacy interface
        return this.#legacy ? 1 : 2;
      case REGISTER.DEVICE_ID:
        return this.#deviceId;
      case REGISTER.VENDOR_ID:
        return VENDOR;
      case REGISTER.DEVICE_FEATURES:
        return this.#offered();
      case REGISTER.QUEUE_NUM_MAX:
        return host.selectedQueue.size > 0 ? QUEUE_NUM_MAX : 0;
      case REGISTER.INTERRUPT_STATUS:
        // Virtio 1.3 §4.2.2.1 MUST: an event's bit from the moment it takes place until it is acknowledged
        return host.isr;
      case REGISTER.STATUS:
        return host.status;
      case REGISTER.SHM_LEN_LOW:
      case REGISTER.SHM_LEN_HIGH:
        // Virtio 1.3 §4.2.2.1 MUST: a length of all ones where there is no such region
        return 0xffffffff;
      default:
        return this.#legacy ? this.#readLegacy(offset) : this.#readModern(offset);
    }
  }

  #readLegacy(offset: number): number {
    if (offset !== REGISTER.QUEUE_PFN) return 0;
    return Number((this.#host.selectedQueue.desc >> BigInt(this.#guestPageShift)) & 0xffffffffn);
  }

  #readModern(offset: number): number {
    if (offset === REGISTER.QUEUE_READY) return this.#queues.enabled(this.#host.selectedQueue.index) ? 1 : 0;
    // Virtio 1.3 §4.2.2.1 MUST: another number after each change that the device makes
    return offset === REGISTER.CONFIG_GENERATION ? this.#host.config.generation : 0;
  }

  #offered(): number {
    const features = this.#host.offeredFeatures(this.#legacy);
    if (this.#legacy) return this.#hostFeaturesSel === 0 ? Number(features & 0xffffffffn) : 0;
    // Virtio 1.3 §4.2.2.1: bits from DeviceFeaturesSel * 32 on, for any value of it; bits that are not offered are 0
    if (this.#hostFeaturesSel >= FEATURE_WORDS) return 0;
    return Number((features >> BigInt(32 * this.#hostFeaturesSel)) & 0xffffffffn);
  }

  /** Writes 1, 2 or 4 bytes. Registers take 4 only. Virtio 1.3 §4.2.2.2 */
  write(offset: number, size: number, value: number): void {
    const host = this.#host;
    if (offset >= CONFIG) {
      host.config.write(offset - CONFIG, size, value, this.#legacy);
      return;
    }
    if (size !== 4) return;
    const word = value >>> 0;
    switch (offset) {
      case REGISTER.DEVICE_FEATURES_SEL:
        this.#hostFeaturesSel = word;
        break;
      case REGISTER.DRIVER_FEATURES:
        this.#driverFeatures(word);
        break;
      case REGISTER.DRIVER_FEATURES_SEL:
        this.#guestFeaturesSel = word;
        break;
      case REGISTER.QUEUE_SEL:
        host.selectQueue(word);
        break;
      case REGISTER.QUEUE_NUM:
        this.#queueNum(word);
        break;
      case REGISTER.QUEUE_NOTIFY:
        this.#notify(word);
        break;
      case REGISTER.INTERRUPT_ACK:
        host.acknowledge(word);
        this.#updateIrq();
        break;
      case REGISTER.STATUS:
        this.#status(word & 0xff);
        break;
      default:
        if (this.#legacy) this.#writeLegacy(offset, word);
        else this.#writeModern(offset, word);
    }
  }

  #driverFeatures(word: number): void {
    // words that hold no feature are not kept: an array of two ignores them
    if (!this.#legacy) this.#guestFeatures[this.#guestFeaturesSel] = word;
    else if (this.#guestFeaturesSel === 0) this.#host.setDriverFeatures(BigInt(word));
  }

  #queueNum(word: number): void {
    const queue = this.#host.selectedQueue;
    queue.setSize(word);
    if (!this.#legacy) this.#queues.setNum(queue.index, word);
    else if (queue.desc !== 0n) queue.setAddress(queue.desc);
  }

  /**
   * Handles a notification: the queue; with NOTIFICATION_DATA the avail index in the upper half. Virtio 1.3 §4.2.2.1
   */
  #notify(word: number): void {
    const host = this.#host;
    host.kick(host.has(FEATURE.NOTIFICATION_DATA) ? word & 0xffff : word);
  }

  #status(status: number): void {
    const host = this.#host;
    if (!this.#legacy && (status & STATUS.FEATURES_OK) !== 0) {
      const [low = 0, high = 0] = this.#guestFeatures;
      host.setDriverFeatures((BigInt(high) << 32n) | BigInt(low));
    }
    host.setStatus(status);
    if (host.status === 0) this.#softReset();
  }

  #writeLegacy(offset: number, word: number): void {
    const queue = this.#host.selectedQueue;
    if (offset === REGISTER.GUEST_PAGE_SIZE) {
      const shift = word === 0 ? 32 : 31 - Math.clz32(word & -word);
      this.#guestPageShift = shift > PAGE_SHIFT_MAX ? 0 : shift;
    } else if (offset === REGISTER.QUEUE_ALIGN) {
      if (word === 0) return;
      queue.setAlign(word);
      if (queue.desc !== 0n) queue.setAddress(queue.desc);
    } else if (offset === REGISTER.QUEUE_PFN) {
      if (word === 0) this.#softReset();
      else queue.setAddress(BigInt(word) << BigInt(this.#guestPageShift));
    }
  }

  #writeModern(offset: number, word: number): void {
    const queue = this.#host.selectedQueue;
    if (offset === REGISTER.QUEUE_RESET) {
      // Virtio 1.3 §4.2.2.1 MUST: 1 resets the queue, and QueueReset and QueueReady are 0 when that is done: at once
      if (word === 1) this.#disableQueue(queue);
    } else if (offset !== REGISTER.QUEUE_READY) {
      this.#queues.setAddress(queue.index, offset, word);
    } else if (word === 0) {
      // Virtio 1.3 §4.2.2.1 MUST NOT: the ring is not looked at while QueueReady is 0
      this.#disableQueue(queue);
    } else {
      const { num, desc, avail, used } = this.#queues.enable(queue.index);
      queue.setSize(num);
      queue.setAddresses(desc, avail, used);
    }
  }

  #disableQueue(queue: QueueRegisters): void {
    if (!this.#queues.enabled(queue.index)) return;
    this.#queues.disable(queue.index);
    queue.reset();
  }

  /** Resets the device for its driver. Virtio 1.3 §4.2.2.1 MUST: InterruptStatus and all of QueueReady are cleared */
  #softReset(): void {
    this.#host.reset();
    this.#queues.disableAll();
    this.#updateIrq();
  }

  /** Resets the device with the machine. */
  reset(): void {
    this.#host.reset();
    this.#hostFeaturesSel = 0;
    this.#guestFeaturesSel = 0;
    this.#guestPageShift = 0;
    this.#guestFeatures.fill(0);
    this.#queues.clear();
    this.#updateIrq();
  }

  /**
   * Takes the device out of the machine: requests under way are forgotten, and nothing reaches guest memory any more,
   * whatever a back end brings. It stays paused; `device.resume()` makes it one that can be put in again.
   */
  unplug(): void {
    this.reset();
    this.device.pause();
  }

  #updateIrq(): void {
    this.#options.setIrq(this.#host.isr !== 0);
  }

  // What core calls

  notify(_queue: number | ConfigChange): void {
    this.#updateIrq();
  }

  resetQueue(_index: number): void {
    // no vectors; QueueReady is cleared with the whole device
  }

  captureConfig(): MmioParts['config'] {
    return {
      hostFeaturesSel: savedSelector(this.#hostFeaturesSel),
      guestFeaturesSel: savedSelector(this.#guestFeaturesSel),
      guestPageShift: this.#guestPageShift,
    };
  }

  captureQueue(): MmioParts['queue'] {
    return {};
  }

  captureExtra(): MmioParts['extra'] | undefined {
    if (this.#legacy) return undefined;
    const [low = 0, high = 0] = this.#guestFeatures;
    return { state: { guestFeatures: (BigInt(high) << 32n) | BigInt(low), vqs: this.#queues.capture() } };
  }

  check(state: VirtioState<MmioParts>, report: Report): void {
    const modern = state.subsections.extraState?.state !== undefined;
    if (modern === !this.#legacy) return;
    const reason = `state of a ${modern ? 'modern' : 'legacy'} device, and this one is ${this.#legacy ? 'legacy' : 'modern'}`;
    reportError(report, 'interface', 'subsections.extraState', reason, { modern, legacy: this.#legacy });
  }

  apply(state: VirtioState<MmioParts>): void {
    const { hostFeaturesSel, guestFeaturesSel, guestPageShift } = state.transport;
    this.#hostFeaturesSel = hostFeaturesSel;
    this.#guestFeaturesSel = guestFeaturesSel;
    this.#guestPageShift = guestPageShift;
    const extra = state.subsections.extraState?.state;
    this.#guestFeatures[0] = Number((extra?.guestFeatures ?? 0n) & 0xffffffffn);
    this.#guestFeatures[1] = Number((extra?.guestFeatures ?? 0n) >> 32n);
    this.#queues.apply(extra?.vqs ?? []);
    this.#updateIrq();
  }
}

/** Makes the selector that is saved: QEMU has 0 or 1 in a state, and uses what it loads as an index without a look. */
function savedSelector(selector: number): number {
  return Math.min(selector, FEATURE_WORDS - 1);
}

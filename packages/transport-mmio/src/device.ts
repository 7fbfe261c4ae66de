import {
  type ConfigChange,
  type DeviceModel,
  FEATURE,
  LiveDevice,
  type LiveOptions,
  type Report,
  type TransportModel,
  type VirtioState,
} from '@virtkit/core';
import { type MmioParts, mmio } from './layer.ts';
import { ProxyQueues } from './proxy-queues.ts';
import { REGISTER } from './registers.ts';

/** Bytes of the register window; the configuration space is its second half. */
export const MMIO_BYTES = 0x200;
const CONFIG = 0x100;
const MAGIC = 0x74726976;
const VENDOR = 0x554d4551;
/** Words of 32 feature bits that a device may have features in. */
const FEATURE_WORDS = 2;
/** `VIRTQUEUE_MAX_SIZE` */
const QUEUE_NUM_MAX = 1024;

/** How a device is attached to its register window. */
export interface MmioOptions extends Omit<LiveOptions, 'version1' | 'align'> {
  /** Version 1 of the interface, for drivers older than Virtio 1.0. QEMU: `force-legacy`; default false. */
  readonly legacy?: boolean;
  /** The interrupt line. Level-triggered: high while an interrupt is not acknowledged. */
  setIrq(level: boolean): void;
}

/**
 * A virtio device behind memory-mapped registers: Virtio 1.3 §4.2; QEMU `hw/virtio/virtio-mmio.c`.
 *
 * ```ts
 * const disk = new MmioDevice(new BlkDevice({ backend }), { memory, setIrq: (level) => plic.set(8, level) });
 * bus.map(0x10001000, MMIO_BYTES, disk); // disk.read(offset, size), disk.write(offset, size, value)
 * ```
 */
export class MmioDevice<D = unknown> implements TransportModel<MmioParts> {
  readonly layer = mmio;
  readonly features = 0n;
  /** Status, queues, and what saves, loads, stops and goes on: `device.capture()`, `restore()`, `pause()`, `resume()`. */
  readonly device: LiveDevice<MmioParts, D>;
  readonly #options: MmioOptions;
  readonly #legacy: boolean;
  readonly #queues = new ProxyQueues();
  #hostFeaturesSel = 0;
  #guestFeaturesSel = 0;
  #guestPageShift = 0;
  /** DriverFeatures 0 and 1 as written; taken over with FEATURES_OK. */
  readonly #guestFeatures = new Uint32Array(FEATURE_WORDS);

  constructor(model: DeviceModel<D>, options: MmioOptions) {
    this.#options = options;
    this.#legacy = options.legacy ?? false;
    this.device = new LiveDevice<MmioParts, D>(model, this, { ...options, version1: !this.#legacy });
  }

  /** Reads 1, 2 or 4 bytes. Registers answer to 4 only. Virtio 1.3 §4.2.2.2 */
  read(offset: number, size: number): number {
    const { device } = this;
    if (offset >= CONFIG) return device.readConfig(offset - CONFIG, size, this.#configLittleEndian);
    if (size !== 4) return 0;
    switch (offset) {
      case REGISTER.MAGIC_VALUE:
        // Virtio 1.3 §4.2.2.1 MUST: "virt"
        return MAGIC;
      case REGISTER.VERSION:
        // Virtio 1.3 §4.2.2.1 MUST: 2; 1 is the legacy interface
        return this.#legacy ? 1 : 2;
      case REGISTER.DEVICE_ID:
        return device.model.layer.virtioId ?? 0;
      case REGISTER.VENDOR_ID:
        return VENDOR;
      case REGISTER.DEVICE_FEATURES:
        return this.#offered();
      case REGISTER.QUEUE_NUM_MAX:
        return device.queueExists(device.queueSel) ? QUEUE_NUM_MAX : 0;
      case REGISTER.INTERRUPT_STATUS:
        // Virtio 1.3 §4.2.2.1 MUST: an event's bit from the moment it takes place until it is acknowledged
        return device.isr;
      case REGISTER.STATUS:
        return device.status;
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
    return Number(
      (this.device.queueDesc(this.device.queueSel) >> BigInt(this.#guestPageShift)) & 0xffffffffn,
    );
  }

  #readModern(offset: number): number {
    if (offset === REGISTER.QUEUE_READY) return this.#queues.enabled(this.device.queueSel) ? 1 : 0;
    // Virtio 1.3 §4.2.2.1 MUST: another number after each change that the device makes
    return offset === REGISTER.CONFIG_GENERATION ? this.device.generation : 0;
  }

  #offered(): number {
    const { hostFeatures, attached } = this.device;
    if (this.#legacy) return this.#hostFeaturesSel === 0 ? Number(hostFeatures & 0xffffffffn) : 0;
    // Virtio 1.3 §4.2.2.1: bits from DeviceFeaturesSel * 32 on, for any value of it; bits that are not offered are 0
    if (this.#hostFeaturesSel >= FEATURE_WORDS) return 0;
    const features = hostFeatures & ~(attached.legacyFeatures | LEGACY_ONLY);
    return Number((features >> BigInt(32 * this.#hostFeaturesSel)) & 0xffffffffn);
  }

  /** Writes 1, 2 or 4 bytes. */
  write(offset: number, size: number, value: number): void {
    const { device } = this;
    if (offset >= CONFIG) {
      device.writeConfig(offset - CONFIG, size, value, this.#configLittleEndian);
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
        device.selectQueue(word);
        break;
      case REGISTER.QUEUE_NUM:
        this.#queueNum(word);
        break;
      case REGISTER.QUEUE_NOTIFY:
        this.#notify(word);
        break;
      case REGISTER.INTERRUPT_ACK:
        device.clearIsr(word);
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
    else if (this.#guestFeaturesSel === 0) this.device.setFeatures(BigInt(word));
  }

  #queueNum(word: number): void {
    const { device } = this;
    const { queueSel } = device;
    device.setQueueNum(queueSel, word);
    if (!this.#legacy) this.#queues.setNum(queueSel, word);
    else if (device.queueDesc(queueSel) !== 0n) device.setQueueAddress(queueSel, device.queueDesc(queueSel));
  }

  /** Virtio 1.3 §4.2.2.1: the queue; with NOTIFICATION_DATA the avail index in the upper half. */
  #notify(word: number): void {
    const { device } = this;
    const withData = device.has(FEATURE.NOTIFICATION_DATA);
    const queue = withData ? word & 0xffff : word;
    if (queue < QUEUE_NUM_MAX) device.kick(queue, withData ? word >>> 16 : undefined);
  }

  #status(status: number): void {
    const { device } = this;
    if (!this.#legacy && (status & 8) !== 0) {
      const [low = 0, high = 0] = this.#guestFeatures;
      device.setFeatures((BigInt(high) << 32n) | BigInt(low));
    }
    device.setStatus(status);
    if (device.status === 0) this.#softReset();
  }

  #writeLegacy(offset: number, word: number): void {
    const { device } = this;
    if (offset === REGISTER.GUEST_PAGE_SIZE) {
      const shift = word === 0 ? 32 : 31 - Math.clz32(word & -word);
      this.#guestPageShift = shift > 31 ? 0 : shift;
    } else if (offset === REGISTER.QUEUE_ALIGN) {
      if (word === 0) return;
      device.setQueueAlign(device.queueSel, word);
      const desc = device.queueDesc(device.queueSel);
      if (desc !== 0n) device.setQueueAddress(device.queueSel, desc);
    } else if (offset === REGISTER.QUEUE_PFN) {
      if (word === 0) this.#softReset();
      else device.setQueueAddress(device.queueSel, BigInt(word) << BigInt(this.#guestPageShift));
    }
  }

  #writeModern(offset: number, word: number): void {
    const { device } = this;
    const { queueSel } = device;
    if (offset === REGISTER.QUEUE_RESET) {
      // Virtio 1.3 §4.2.2.1 MUST: 1 resets the queue, and QueueReset and QueueReady are 0 when that is done: at once
      if (word === 1) this.#disableQueue(queueSel);
    } else if (offset !== REGISTER.QUEUE_READY) {
      this.#queues.setAddress(queueSel, offset, word);
    } else if (word === 0) {
      // Virtio 1.3 §4.2.2.1 MUST NOT: the ring is not looked at while QueueReady is 0
      this.#disableQueue(queueSel);
    } else {
      const { num, desc, avail, used } = this.#queues.enable(queueSel);
      device.setQueueNum(queueSel, num);
      device.setQueueRings(queueSel, desc, avail, used);
    }
  }

  #disableQueue(queue: number): void {
    if (!this.#queues.enabled(queue)) return;
    this.#queues.disable(queue);
    this.device.resetQueue(queue);
  }

  /** Reset by the driver. Virtio 1.3 §4.2.2.1 MUST: InterruptStatus and all of QueueReady are cleared */
  #softReset(): void {
    this.device.reset();
    this.#queues.disableAll();
    this.#updateIrq();
  }

  /** Reset with the machine. */
  reset(): void {
    this.device.reset();
    this.#hostFeaturesSel = 0;
    this.#guestFeaturesSel = 0;
    this.#guestPageShift = 0;
    this.#guestFeatures.fill(0);
    this.#queues.clear();
    this.#updateIrq();
  }

  /**
   * The device is taken out of the machine: requests under way are forgotten, and nothing reaches guest memory any more, whatever a back
   * end brings. It stays paused; `device.resume()` makes it one that can be put in again.
   */
  unplug(): void {
    this.reset();
    this.device.pause();
  }

  get #configLittleEndian(): boolean {
    return !this.#legacy || this.device.littleEndian;
  }

  #updateIrq(): void {
    this.#options.setIrq(this.device.isr !== 0);
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
    report({
      code: 'interface',
      severity: 'error',
      path: 'subsections.extraState',
      reason: `state of a ${modern ? 'modern' : 'legacy'} device, and this one is ${this.#legacy ? 'legacy' : 'modern'}`,
      facts: { modern, legacy: this.#legacy },
    });
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

/** NOTIFY_ON_EMPTY, ANY_LAYOUT and BAD_FEATURE mean something to legacy drivers only. */
const LEGACY_ONLY = [FEATURE.NOTIFY_ON_EMPTY, FEATURE.ANY_LAYOUT, FEATURE.BAD_FEATURE].reduce(
  (sum, bit) => sum | (1n << BigInt(bit)),
  0n,
);

/** QEMU has 0 or 1 in a state, and uses what it loads as an index without a look. */
function savedSelector(selector: number): number {
  return Math.min(selector, FEATURE_WORDS - 1);
}

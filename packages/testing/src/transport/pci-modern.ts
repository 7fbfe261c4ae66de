import type { RingAddresses } from '../ring/ring.ts';
import { DriverError, ISR_CONFIG, ISR_QUEUE, NO_VECTOR } from '../spec.ts';
import { MsixDriver, toInterrupts, type VectorPlan, vectorEach } from './msix.ts';
import { PciFunctionDriver, type VirtioCapability } from './pci-function.ts';
import type { PciHost } from './pci-host.ts';
import { type DriverTransport, type Interrupts, type Reach, readBytes, writeBytes } from './transport.ts';

/** Options of a PCI driver. */
export interface PciDriverOptions {
  /** Number of the slot on the bus; default 0. */
  readonly slot?: number;
  /** Kind of interrupts: by MSI-X (default) or by the INTx line. */
  readonly interrupts?: 'msix' | 'intx';
  /** Plan of the MSI-X vectors that each queue and the configuration get; default: `vectorEach`. */
  readonly vectors?: VectorPlan;
  /**
   * Way to the modern structures: `bar` (default), or `config` through the configuration access capability (Virtio 1.3
   * §4.1.4.9).
   */
  readonly access?: 'bar' | 'config';
  /** True to notify through the I/O BAR where the device has one. */
  readonly notifyByPort?: boolean;
}

/** Offsets in `struct virtio_pci_common_cfg`, Virtio 1.3 §4.1.4.3 */
const COMMON = {
  deviceFeatureSelect: 0,
  deviceFeature: 4,
  driverFeatureSelect: 8,
  driverFeature: 12,
  configVector: 16,
  numQueues: 18,
  status: 20,
  generation: 21,
  queueSelect: 22,
  queueSize: 24,
  queueVector: 26,
  queueEnable: 28,
  queueNotifyOff: 30,
  queueDesc: 32,
  queueDriver: 40,
  queueDevice: 48,
  queueReset: 58,
} as const;

const TYPE_COMMON = 1;
const TYPE_NOTIFY = 2;
const TYPE_ISR = 3;
const TYPE_DEVICE = 4;
const TYPE_PCI = 5;
const CONFIG_VECTOR = -1;
/** Number of times that the driver looks whether a reset is through. */
const RESET_POLLS = 1000;

/** Driver of virtio over PCI, the modern interface. Virtio 1.3 §4.1 */
export class PciModernDriver implements DriverTransport {
  readonly name: string;
  readonly modern = true;
  readonly legacyLittleEndian = true;
  /** PCI part of the driver. */
  readonly fn: PciFunctionDriver;
  readonly #options: PciDriverOptions;
  #structures = new Map<number, VirtioCapability>();
  #notifyPort: VirtioCapability | undefined;
  #multiplier = 0;
  readonly #notifyOff = new Map<number, number>();
  /** MSI-X part of the driver; undefined with INTx. */
  msix: MsixDriver | undefined;

  constructor(host: Reach<PciHost>, options: PciDriverOptions = {}) {
    this.#options = options;
    this.fn = new PciFunctionDriver(host, options.slot ?? 0);
    this.name = 'pci-modern';
  }

  probe(): number {
    const { fn } = this;
    fn.probe();
    this.#structures = new Map();
    this.#notifyPort = undefined;
    for (const capability of fn.virtio) {
      const port = capability.type === TYPE_NOTIFY && fn.bars[capability.bar]?.io === true;
      if (port) this.#notifyPort = capability;
      // Virtio 1.3 §4.1.4.2 MUST: the first one of a type that the driver can use
      else if (!this.#structures.has(capability.type)) this.#structures.set(capability.type, capability);
    }
    this.#multiplier = fn.read(this.#structure(TYPE_NOTIFY).at + 16, 4);
    for (const type of [TYPE_COMMON, TYPE_ISR, TYPE_DEVICE]) this.#structure(type);
    if ((this.#options.interrupts ?? 'msix') === 'msix') {
      this.msix = new MsixDriver(fn, this.#options.vectors ?? vectorEach);
      this.msix.enable();
    }
    return fn.device >= 0x1040 ? fn.device - 0x1040 : fn.subsystem;
  }

  reset(): void {
    this.setStatus(0);
    // Virtio 1.3 §4.1.4.3.2 MUST: wait for 0 before reinitialising
    for (let i = 0; this.status() !== 0; i++)
      if (i === RESET_POLLS) throw new DriverError('the device does not come out of its reset');
    const vector = this.msix?.assign(CONFIG_VECTOR);
    if (vector !== undefined) this.#setVector(COMMON.configVector, vector);
  }

  status(): number {
    return this.#common(COMMON.status, 1);
  }

  setStatus(status: number): void {
    this.#setCommon(COMMON.status, 1, status);
  }

  offered(): bigint {
    return this.#features(COMMON.deviceFeatureSelect, COMMON.deviceFeature);
  }

  accept(features: bigint): void {
    for (const word of [0, 1]) {
      this.#setCommon(COMMON.driverFeatureSelect, 4, word);
      this.#setCommon(COMMON.driverFeature, 4, Number((features >> BigInt(32 * word)) & 0xffff_ffffn));
    }
  }

  /** Features that the device has noted as the driver's. */
  accepted(): bigint {
    return this.#features(COMMON.driverFeatureSelect, COMMON.driverFeature);
  }

  /** Number of queues that the device has: `num_queues`. */
  queueCount(): number {
    return this.#common(COMMON.numQueues, 2);
  }

  queueSize(queue: number): number {
    this.#setCommon(COMMON.queueSelect, 2, queue);
    return this.#common(COMMON.queueSize, 2);
  }

  enableQueue(queue: number, { size, desc, driver, device }: RingAddresses): void {
    this.#setCommon(COMMON.queueSelect, 2, queue);
    if (this.#common(COMMON.queueEnable, 2) !== 0) throw new DriverError(`queue ${queue} is enabled already`);
    this.#setCommon(COMMON.queueSize, 2, size);
    this.#setAddress(COMMON.queueDesc, desc);
    this.#setAddress(COMMON.queueDriver, driver);
    this.#setAddress(COMMON.queueDevice, device);
    const vector = this.msix?.assign(queue);
    if (vector !== undefined) this.#setVector(COMMON.queueVector, vector);
    this.#notifyOff.set(queue, this.#common(COMMON.queueNotifyOff, 2));
    this.#setCommon(COMMON.queueEnable, 2, 1);
    if (this.#common(COMMON.queueEnable, 2) !== 1) throw new DriverError(`queue ${queue} was not enabled`);
  }

  resetQueue(queue: number): void {
    this.#setCommon(COMMON.queueSelect, 2, queue);
    this.#setCommon(COMMON.queueReset, 2, 1);
    // Virtio 1.3 §4.1.4.3.2 MUST: consider the reset complete when queue_reset is 0
    for (let i = 0; this.#common(COMMON.queueReset, 2) !== 0; i++)
      if (i === RESET_POLLS) throw new DriverError(`queue ${queue} does not come out of its reset`);
    if (this.#common(COMMON.queueEnable, 2) !== 0)
      throw new DriverError(`queue ${queue} is enabled after a reset`);
  }

  notify(queue: number, position?: number): void {
    const size = position === undefined ? 2 : 4;
    const value = position === undefined ? queue : (queue | (position << 16)) >>> 0;
    if (this.#options.notifyByPort === true && this.#notifyPort !== undefined) {
      this.fn.barWrite(this.#notifyPort.bar, this.#notifyPort.offset, size, value);
      return;
    }
    this.#write(TYPE_NOTIFY, (this.#notifyOff.get(queue) ?? 0) * this.#multiplier, size, value);
  }

  config(offset: number, length: number): Uint8Array {
    return readBytes(length, (at, size) => this.#read(TYPE_DEVICE, offset + at, size));
  }

  setConfig(offset: number, bytes: Uint8Array): void {
    writeBytes(bytes, (at, size, value) => this.#write(TYPE_DEVICE, offset + at, size, value));
  }

  generation(): number {
    return this.#common(COMMON.generation, 1);
  }

  interrupts(): Interrupts {
    if (this.msix !== undefined) return toInterrupts(this.msix.take());
    if (!this.fn.host().intx(this.fn.slot)) return { config: false, queues: [] };
    const isr = this.#read(TYPE_ISR, 0, 1);
    return { config: (isr & ISR_CONFIG) !== 0, queues: (isr & ISR_QUEUE) !== 0 ? 'any' : [] };
  }

  #features(select: number, register: number): bigint {
    let features = 0n;
    for (const word of [0, 1]) {
      this.#setCommon(select, 4, word);
      features |= BigInt(this.#common(register, 4)) << BigInt(32 * word);
    }
    return features;
  }

  #setVector(register: number, vector: number): void {
    this.#setCommon(register, 2, vector);
    // Virtio 1.3 §4.1.5.1.2.1 MUST: read it back
    const found = this.#common(register, 2);
    if (found !== vector && vector !== NO_VECTOR)
      throw new DriverError(`vector ${vector} was refused: ${found}`);
  }

  #setAddress(register: number, address: number): void {
    this.#setCommon(register, 4, address >>> 0);
    this.#setCommon(register + 4, 4, Math.floor(address / 0x1_0000_0000));
  }

  #common(offset: number, size: number): number {
    return this.#read(TYPE_COMMON, offset, size);
  }

  #setCommon(offset: number, size: number, value: number): void {
    this.#write(TYPE_COMMON, offset, size, value);
  }

  #structure(type: number): VirtioCapability {
    const found = this.#structures.get(type);
    if (found === undefined) throw new DriverError(`the function has no virtio structure of type ${type}`);
    return found;
  }

  #read(type: number, offset: number, size: number): number {
    const structure = this.#structure(type);
    if (this.#options.access !== 'config')
      return this.fn.barRead(structure.bar, structure.offset + offset, size);
    return this.fn.read(this.#window(structure, offset, size), size);
  }

  #write(type: number, offset: number, size: number, value: number): void {
    const structure = this.#structure(type);
    if (this.#options.access !== 'config') {
      this.fn.barWrite(structure.bar, structure.offset + offset, size, value);
      return;
    }
    this.fn.write(this.#window(structure, offset, size), size, value);
  }

  /** Aims the configuration access capability; answers the offset of its data. */
  #window(structure: VirtioCapability, offset: number, size: number): number {
    const { at } = this.#structure(TYPE_PCI);
    this.fn.write(at + 4, 1, structure.bar);
    this.fn.write(at + 8, 4, structure.offset + offset);
    this.fn.write(at + 12, 4, size);
    return at + 16;
  }
}

import type { RingAddresses } from '../ring/ring.ts';
import { DriverError, ISR_CONFIG, ISR_QUEUE } from '../spec.ts';
import { type DriverTransport, type Interrupts, type Reach, readBytes, writeBytes } from './transport.ts';

/** Machine with a virtio-mmio slot, as the driver reaches it. */
export interface MmioHost {
  /** Reads `size` bytes, 1, 2 or 4, at an offset of the slot's registers. */
  mmioRead(offset: number, size: number): number;
  /** Writes `size` bytes, 1, 2 or 4, at an offset of the slot's registers. */
  mmioWrite(offset: number, size: number, value: number): void;
  /** Level of the interrupt line. */
  readonly irq: boolean;
}

/** Offsets of the registers. Virtio 1.3 §4.2.2, §4.2.4 */
const REGISTER = {
  magic: 0x00,
  version: 0x04,
  deviceId: 0x08,
  deviceFeatures: 0x10,
  deviceFeaturesSel: 0x14,
  driverFeatures: 0x20,
  driverFeaturesSel: 0x24,
  guestPageSize: 0x28,
  queueSel: 0x30,
  queueNumMax: 0x34,
  queueNum: 0x38,
  queueAlign: 0x3c,
  queuePfn: 0x40,
  queueReady: 0x44,
  queueNotify: 0x50,
  interruptStatus: 0x60,
  interruptAck: 0x64,
  status: 0x70,
  queueDesc: 0x80,
  queueDriver: 0x90,
  queueDevice: 0xa0,
  queueReset: 0xc0,
  generation: 0xfc,
  config: 0x100,
} as const;

const MAGIC = 0x74726976;
const PAGE = 4096;
const POLLS = 1000;

/** Base of the drivers of both register layouts. */
abstract class MmioDriver {
  readonly host: Reach<MmioHost>;
  protected abstract readonly version: number;

  constructor(host: Reach<MmioHost>) {
    this.host = host;
  }

  probe(): number {
    if (this.read(REGISTER.magic) !== MAGIC) throw new DriverError('no virtio-mmio registers');
    const version = this.read(REGISTER.version);
    if (version !== this.version)
      throw new DriverError(`version ${version} of virtio-mmio, not ${this.version}`);
    return this.read(REGISTER.deviceId);
  }

  reset(): void {
    this.setStatus(0);
    for (let i = 0; this.status() !== 0; i++)
      if (i === POLLS) throw new DriverError('the device does not come out of its reset');
  }

  status(): number {
    return this.read(REGISTER.status);
  }

  setStatus(status: number): void {
    this.write(REGISTER.status, status);
  }

  queueSize(queue: number): number {
    this.write(REGISTER.queueSel, queue);
    return this.read(REGISTER.queueNumMax);
  }

  notify(queue: number, position?: number): void {
    this.write(REGISTER.queueNotify, position === undefined ? queue : (queue | (position << 16)) >>> 0);
  }

  interrupts(): Interrupts {
    if (!this.host().irq) return { config: false, queues: [] };
    const isr = this.read(REGISTER.interruptStatus);
    this.write(REGISTER.interruptAck, isr);
    return { config: (isr & ISR_CONFIG) !== 0, queues: (isr & ISR_QUEUE) !== 0 ? 'any' : [] };
  }

  protected features(count: number): bigint {
    let features = 0n;
    for (let word = 0; word < count; word++) {
      this.write(REGISTER.deviceFeaturesSel, word);
      features |= BigInt(this.read(REGISTER.deviceFeatures)) << BigInt(32 * word);
    }
    return features;
  }

  protected setFeatures(features: bigint, count: number): void {
    for (let word = 0; word < count; word++) {
      this.write(REGISTER.driverFeaturesSel, word);
      this.write(REGISTER.driverFeatures, Number((features >> BigInt(32 * word)) & 0xffff_ffffn));
    }
  }

  protected read(register: number, size = 4): number {
    return this.host().mmioRead(register, size);
  }

  protected write(register: number, value: number, size = 4): void {
    this.host().mmioWrite(register, size, value);
  }
}

/** Driver of virtio over MMIO, version 2 of the registers. Virtio 1.3 §4.2.2 */
export class MmioModernDriver extends MmioDriver implements DriverTransport {
  readonly name = 'mmio-modern';
  readonly modern = true;
  readonly legacyLittleEndian = true;
  protected readonly version = 2;

  offered(): bigint {
    return this.features(2);
  }

  accept(features: bigint): void {
    this.setFeatures(features, 2);
  }

  enableQueue(queue: number, { size, desc, driver, device }: RingAddresses): void {
    this.write(REGISTER.queueSel, queue);
    if (this.read(REGISTER.queueReady) !== 0) throw new DriverError(`queue ${queue} is in use already`);
    this.write(REGISTER.queueNum, size);
    this.#setAddress(REGISTER.queueDesc, desc);
    this.#setAddress(REGISTER.queueDriver, driver);
    this.#setAddress(REGISTER.queueDevice, device);
    this.write(REGISTER.queueReady, 1);
    if (this.read(REGISTER.queueReady) !== 1) throw new DriverError(`queue ${queue} was not enabled`);
  }

  resetQueue(queue: number): void {
    this.write(REGISTER.queueSel, queue);
    this.write(REGISTER.queueReset, 1);
    for (let polls = 0; this.read(REGISTER.queueReset) !== 0; polls++)
      if (polls === POLLS) throw new DriverError(`the reset of queue ${queue} never ends`);
  }

  config(offset: number, length: number): Uint8Array {
    return readBytes(length, (at, size) => this.read(REGISTER.config + offset + at, size));
  }

  setConfig(offset: number, bytes: Uint8Array): void {
    writeBytes(bytes, (at, size, value) => this.write(REGISTER.config + offset + at, value, size));
  }

  generation(): number {
    return this.read(REGISTER.generation);
  }

  #setAddress(register: number, address: number): void {
    this.write(register, address >>> 0);
    this.write(register + 4, Math.floor(address / 0x1_0000_0000));
  }
}

/** Driver of virtio over MMIO, version 1 of the registers. Virtio 1.3 §4.2.4 */
export class MmioLegacyDriver extends MmioDriver implements DriverTransport {
  readonly name = 'mmio-legacy';
  readonly modern = false;
  readonly legacyLittleEndian: boolean;
  readonly legacyAlign = PAGE;
  protected readonly version = 1;

  constructor(host: Reach<MmioHost>, options: { readonly littleEndian?: boolean } = {}) {
    super(host);
    this.legacyLittleEndian = options.littleEndian ?? true;
  }

  override reset(): void {
    super.reset();
    this.write(REGISTER.guestPageSize, PAGE);
  }

  offered(): bigint {
    return this.features(1);
  }

  accept(features: bigint): void {
    this.setFeatures(features, 1);
  }

  enableQueue(queue: number, { size, desc }: RingAddresses): void {
    this.write(REGISTER.queueSel, queue);
    if (this.read(REGISTER.queuePfn) !== 0) throw new DriverError(`queue ${queue} is in use already`);
    this.write(REGISTER.queueNum, size);
    this.write(REGISTER.queueAlign, PAGE);
    this.write(REGISTER.queuePfn, desc / PAGE);
  }

  config(offset: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.read(REGISTER.config + offset + i, 1));
  }

  setConfig(offset: number, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) this.write(REGISTER.config + offset + i, byte, 1);
  }

  generation(): number {
    return 0;
  }
}

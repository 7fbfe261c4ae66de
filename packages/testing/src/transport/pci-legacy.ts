import type { RingAddresses } from '../ring/ring.ts';
import { DriverError, ISR_CONFIG, ISR_QUEUE, NO_VECTOR } from '../spec.ts';
import { MsixDriver, toInterrupts, vectorEach } from './msix.ts';
import { PciFunctionDriver } from './pci-function.ts';
import type { PciHost } from './pci-host.ts';
import type { PciDriverOptions } from './pci-modern.ts';
import type { DriverTransport, Interrupts, Reach } from './transport.ts';

/** Offsets of the legacy registers in BAR 0. Virtio 1.3 §4.1.4.10 */
const REGISTER = {
  deviceFeatures: 0,
  driverFeatures: 4,
  queueAddress: 8,
  queueSize: 12,
  queueSelect: 14,
  queueNotify: 16,
  status: 18,
  isr: 19,
  configVector: 20,
  queueVector: 22,
} as const;

const PAGE = 4096;
const CONFIG_VECTOR = -1;

/** Driver of virtio over PCI, the legacy interface of transitional devices: ports in BAR 0, little-endian guests. */
export class PciLegacyDriver implements DriverTransport {
  readonly name = 'pci-legacy';
  readonly modern = false;
  readonly legacyLittleEndian: boolean;
  readonly legacyAlign = PAGE;
  readonly fixedQueueSize = true;
  /** PCI part of the driver. */
  readonly fn: PciFunctionDriver;
  readonly #options: PciDriverOptions;
  /** MSI-X part of the driver; undefined with INTx. */
  msix: MsixDriver | undefined;

  constructor(host: Reach<PciHost>, options: PciDriverOptions & { readonly littleEndian?: boolean } = {}) {
    this.#options = options;
    this.legacyLittleEndian = options.littleEndian ?? true;
    this.fn = new PciFunctionDriver(host, options.slot ?? 0);
  }

  probe(): number {
    this.fn.probe();
    if (this.fn.bars[0]?.io !== true) throw new DriverError('the function has no legacy registers');
    if ((this.#options.interrupts ?? 'msix') === 'msix') {
      this.msix = new MsixDriver(this.fn, this.#options.vectors ?? vectorEach);
      this.msix.enable();
    }
    return this.fn.subsystem;
  }

  reset(): void {
    this.setStatus(0);
    // a legacy device is reset when the write returns; the read flushes it out
    this.status();
    const vector = this.msix?.assign(CONFIG_VECTOR);
    if (vector !== undefined) this.#setVector(REGISTER.configVector, vector);
  }

  status(): number {
    return this.#read(REGISTER.status, 1);
  }

  setStatus(status: number): void {
    this.#write(REGISTER.status, 1, status);
  }

  offered(): bigint {
    return BigInt(this.#read(REGISTER.deviceFeatures, 4));
  }

  accept(features: bigint): void {
    this.#write(REGISTER.driverFeatures, 4, Number(features & 0xffff_ffffn));
  }

  queueSize(queue: number): number {
    this.#write(REGISTER.queueSelect, 2, queue);
    return this.#read(REGISTER.queueSize, 2);
  }

  /** Tells the device where a ring lies. The size is the device's: a legacy driver cannot choose it. */
  enableQueue(queue: number, { size, desc }: RingAddresses): void {
    const offered = this.queueSize(queue);
    if (offered !== size) throw new DriverError(`queue ${queue} has ${offered} entries, not ${size}`);
    const vector = this.msix?.assign(queue);
    if (vector !== undefined) this.#setVector(REGISTER.queueVector, vector);
    this.#write(REGISTER.queueAddress, 4, desc / PAGE);
    if (this.#read(REGISTER.queueAddress, 4) !== desc / PAGE)
      throw new DriverError(`queue ${queue} has another address`);
  }

  notify(queue: number): void {
    this.#write(REGISTER.queueNotify, 2, queue);
  }

  config(offset: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.#read(this.configOffset + offset + i, 1));
  }

  setConfig(offset: number, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) this.#write(this.configOffset + offset + i, 1, byte);
  }

  /** Answers 0: legacy interfaces do not count configuration changes. */
  generation(): number {
    return 0;
  }

  /** Offset of the configuration, which moves by the two vector registers when MSI-X is on. */
  get configOffset(): number {
    return this.msix === undefined ? 20 : 24;
  }

  interrupts(): Interrupts {
    if (this.msix !== undefined) return toInterrupts(this.msix.take());
    if (!this.fn.host().intx(this.fn.slot)) return { config: false, queues: [] };
    const isr = this.#read(REGISTER.isr, 1);
    return { config: (isr & ISR_CONFIG) !== 0, queues: (isr & ISR_QUEUE) !== 0 ? 'any' : [] };
  }

  #setVector(register: number, vector: number): void {
    this.#write(register, 2, vector);
    const found = this.#read(register, 2);
    if (found !== vector && vector !== NO_VECTOR)
      throw new DriverError(`vector ${vector} was refused: ${found}`);
  }

  #read(register: number, size: number): number {
    return this.fn.barRead(0, register, size);
  }

  #write(register: number, size: number, value: number): void {
    this.fn.barWrite(0, register, size, value);
  }
}

import type { Allocator, GuestRam } from '../ram.ts';
import type { RingAddresses } from '../ring/ring.ts';
import { DriverError, STATUS_FEATURES_OK } from '../spec.ts';
import type { ChannelInstructions } from './channel-instructions.ts';
import { ChannelDriver, type ChannelStatus, succeeded } from './channel-program.ts';
import type { DriverTransport, Interrupts, Reach } from './transport.ts';

/** Codes of channel commands. Virtio 1.3 §4.3.1.2 */
const COMMAND = {
  setVq: 0x13,
  vdevReset: 0x33,
  setInd: 0x43,
  setConfInd: 0x53,
  setIndAdapter: 0x73,
  readFeat: 0x12,
  writeFeat: 0x11,
  readConf: 0x22,
  writeConf: 0x21,
  writeStatus: 0x31,
  readVqConf: 0x32,
  setVirtioRev: 0x83,
  readStatus: 0x72,
  senseId: 0xe4,
} as const;

const VIRTIO_CONTROL_UNIT = 0x3832;
const PAGE = 4096;
/** Number of bytes for the data of any command: a configuration space, or SENSE ID. */
const DATA_BYTES = 512;
const SLI = 0x20;
/** Number of queues that classic indicators have bits for: they are one doubleword. */
const CLASSIC_QUEUES = 64;

/** Options of a channel driver. */
export interface CcwDriverOptions {
  /** Subsystem identification word; default: subchannel 0 of set 0. */
  readonly schid?: number;
  /** Newest revision that the driver asks for, 0 to 2; 0 is the legacy interface. */
  readonly revision?: number;
  /**
   * Kind of indicators: two-stage queue indicators and adapter interrupts (default), or one doubleword and an interrupt
   * of the subchannel.
   */
  readonly indicators?: 'adapter' | 'classic';
  /** Number of the first queue's bit in the adapter's indicators. */
  readonly indicatorBit?: number;
}

/** Driver of virtio over channel I/O. Virtio 1.3 §4.3 */
export class CcwDriver implements DriverTransport {
  readonly name: string;
  readonly legacyLittleEndian = false;
  readonly legacyAlign = PAGE;
  /** Subchannel that the commands go through. */
  readonly channel: ChannelDriver;
  readonly #options: CcwDriverOptions;
  readonly #ram: GuestRam;
  readonly #data: number;
  readonly #queueIndicators: number;
  readonly #configIndicators: number;
  readonly #summary: number;
  #revision = -1;
  #status = 0;
  /** Did a channel program run since the indicators were looked at? */
  #ran = false;
  readonly #queues = new Set<number>();

  /** @param memory below 2 GiB, for what the channel subsystem reads and writes */
  constructor(host: Reach<ChannelInstructions>, memory: Allocator, options: CcwDriverOptions = {}) {
    this.#options = options;
    this.#ram = memory.ram;
    this.channel = new ChannelDriver(host, memory, options.schid ?? 0x1_0000);
    this.#data = memory.alloc(DATA_BYTES, 8);
    this.#queueIndicators = memory.alloc(1024 / 8 + 64, 8);
    this.#configIndicators = memory.alloc(8, 8);
    this.#summary = memory.alloc(8, 8);
    this.name = options.revision === 0 ? 'ccw-legacy' : 'ccw';
  }

  get modern(): boolean {
    return this.#revision > 0;
  }

  /** True if the ring must be as large as the device says, which it must with revision 0. */
  get fixedQueueSize(): boolean {
    return !this.modern;
  }

  /** Revision that was agreed on; -1 before {@link probe}. */
  get revision(): number {
    return this.#revision;
  }

  probe(): number {
    // whoever had the device before chose a revision; disabling takes it back
    this.channel.clear();
    this.channel.disable();
    if (!this.channel.enable()) throw new DriverError('no device at the subchannel');
    this.#must(this.#run(COMMAND.senseId, 12, SLI), 'SENSE ID');
    const type = this.#ram.u16(this.#data + 1, false);
    if (type !== VIRTIO_CONTROL_UNIT) throw new DriverError(`control unit type ${type.toString(16)}`);
    const model = this.#ram.u8(this.#data + 3);
    this.#negotiateRevision();
    return model;
  }

  reset(): void {
    this.#must(this.channel.run(COMMAND.vdevReset, { at: 0, length: 0 }), 'VDEV RESET');
    this.#status = 0;
    this.#queues.clear();
    this.#ram.fill(this.#queueIndicators, 192, 0);
    this.#ram.fill(this.#configIndicators, 8, 0);
    this.#ram.fill(this.#summary, 8, 0);
    this.#setIndicators();
  }

  /** Reads the status; with revisions below 2 the device cannot be asked. */
  status(): number {
    if (this.#revision < 2) return this.#status;
    this.#must(this.#run(COMMAND.readStatus, 1), 'READ STATUS');
    return this.#ram.u8(this.#data);
  }

  setStatus(status: number): void {
    if (status === 0) {
      this.reset();
      return;
    }
    this.#ram.setU8(this.#data, status);
    const ended = this.#run(COMMAND.writeStatus, 1);
    if (succeeded(ended)) this.#status = status;
    // Virtio 1.3 §4.3.1.2: a device that does not take the status rejects the command
    else if ((status & STATUS_FEATURES_OK) === 0) this.#must(ended, 'WRITE STATUS');
  }

  offered(): bigint {
    const words = this.modern ? 2 : 1;
    let features = 0n;
    for (let word = 0; word < words; word++) {
      this.#ram.setU8(this.#data + 4, word);
      this.#must(this.#run(COMMAND.readFeat, 5), 'READ FEATURES');
      features |= BigInt(this.#ram.u32(this.#data, true)) << BigInt(32 * word);
    }
    return features;
  }

  accept(features: bigint): void {
    const words = this.modern ? 2 : 1;
    for (let word = 0; word < words; word++) {
      this.#ram.setU32(this.#data, Number((features >> BigInt(32 * word)) & 0xffff_ffffn), true);
      this.#ram.setU8(this.#data + 4, word);
      this.#must(this.#run(COMMAND.writeFeat, 5), 'WRITE FEATURES');
    }
  }

  queueSize(queue: number): number {
    this.#ram.setU16(this.#data, queue, false);
    this.#must(this.#run(COMMAND.readVqConf, 4), 'READ VQ CONF');
    return this.#ram.u16(this.#data + 2, false);
  }

  enableQueue(queue: number, { size, desc, driver, device }: RingAddresses): void {
    const at = this.#data;
    this.#ram.setU64(at, desc, false);
    this.#ram.setU32(at + 8, this.modern ? 0 : PAGE, false);
    this.#ram.setU16(at + 12, queue, false);
    this.#ram.setU16(at + 14, size, false);
    this.#ram.setU64(at + 16, driver, false);
    this.#ram.setU64(at + 24, device, false);
    this.#must(this.#run(COMMAND.setVq, this.modern ? 32 : 16), 'SET VQ');
    this.#queues.add(queue);
  }

  notify(queue: number, position?: number): void {
    const parameter = position === undefined ? queue : (queue | (position << 16)) >>> 0;
    const result = this.channel.host().notify(this.channel.schid, parameter);
    if (result !== 0) throw new DriverError(`DIAGNOSE 0x500 for queue ${queue}: ${result}`);
  }

  config(offset: number, length: number): Uint8Array {
    this.#must(this.#run(COMMAND.readConf, offset + length), 'READ CONFIG');
    return this.#ram.read(this.#data + offset, length);
  }

  /** Writes configuration. There is no writing from the middle: what stands in front is read and written back. */
  setConfig(offset: number, bytes: Uint8Array): void {
    if (offset > 0) this.#must(this.#run(COMMAND.readConf, offset), 'READ CONFIG');
    this.#ram.write(this.#data + offset, bytes);
    this.#must(this.#run(COMMAND.writeConf, offset + bytes.length), 'WRITE CONFIG');
  }

  generation(): number {
    return 0;
  }

  interrupts(): Interrupts {
    // what interrupted is in the indicators; an interruption only says that there is something, and with a status pending
    // (a channel program had just ended) there was none of its own
    const any = this.channel.takeInterruptions() || this.#ran;
    this.#ran = false;
    if (!any) return { config: false, queues: [] };
    const config = this.#ram.u8(this.#configIndicators + 7) !== 0;
    this.#ram.fill(this.#configIndicators, 8, 0);
    this.#ram.setU8(this.#summary, 0);
    return { config, queues: [...this.#queues].filter((queue) => this.#takeIndicator(queue)) };
  }

  #takeIndicator(queue: number): boolean {
    const adapter = this.#adapter;
    const bit = adapter ? (this.#options.indicatorBit ?? 0) + queue : CLASSIC_QUEUES - 1 - queue;
    const at = this.#queueIndicators + (bit >> 3);
    const mask = 0x80 >> (bit & 7);
    const byte = this.#ram.u8(at);
    if ((byte & mask) === 0) return false;
    this.#ram.setU8(at, byte & ~mask);
    return true;
  }

  get #adapter(): boolean {
    return (this.#options.indicators ?? 'adapter') === 'adapter';
  }

  /** Negotiates the revision from the newest down, as Virtio 1.3 §4.3.2.1 wants it. */
  #negotiateRevision(): void {
    for (let revision = this.#options.revision ?? 2; revision >= 0; revision--) {
      this.#ram.setU16(this.#data, revision, false);
      this.#ram.setU16(this.#data + 2, 0, false);
      if (!succeeded(this.#run(COMMAND.setVirtioRev, 4))) continue;
      this.#revision = revision;
      return;
    }
    throw new DriverError('the device takes no revision');
  }

  #setIndicators(): void {
    const at = this.#data;
    this.#ram.setU64(at, this.#configIndicators, false);
    this.#must(this.#run(COMMAND.setConfInd, 8), 'SET CONF IND');
    if (!this.#adapter) {
      this.#ram.setU64(at, this.#queueIndicators, false);
      this.#must(this.#run(COMMAND.setInd, 8), 'SET IND');
      return;
    }
    this.#ram.setU64(at, this.#summary, false);
    this.#ram.setU64(at + 8, this.#queueIndicators, false);
    this.#ram.setU64(at + 16, this.#options.indicatorBit ?? 0, false);
    this.#ram.setU8(at + 24, 0);
    this.#must(this.#run(COMMAND.setIndAdapter, 25), 'SET IND ADAPTER');
  }

  #run(command: number, length: number, flags = 0): ChannelStatus {
    this.#ran = true;
    return this.channel.run(command, { at: this.#data, length }, flags);
  }

  #must(ended: ChannelStatus, what: string): void {
    if (!succeeded(ended))
      throw new DriverError(`${what}: device status ${ended.device}, subchannel status ${ended.subchannel}`);
  }
}

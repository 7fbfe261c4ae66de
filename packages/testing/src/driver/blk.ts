import type { Buffer, Used } from '../ring/ring.ts';
import { bits, DriverError } from '../spec.ts';
import { type DriverSetup, VirtioDriver } from './virtio.ts';

/** Length of a sector in bytes. Virtio 1.3 §5.2.4 */
export const SECTOR = 512;
const BLK_ID = 2;
/** Feature bits of a block device. Virtio 1.3 §5.2.3 */
const F_SIZE_MAX = 1;
const F_SEG_MAX = 2;
const F_GEOMETRY = 4;
const F_RO = 5;
const F_BLK_SIZE = 6;
const F_FLUSH = 9;
const F_TOPOLOGY = 10;
const F_CONFIG_WCE = 11;
const F_MQ = 12;
const F_DISCARD = 13;
const F_WRITE_ZEROES = 14;
const F_LIFETIME = 15;
const F_SECURE_ERASE = 16;
/** Features that this driver knows. */
export const BLK_DRIVER_FEATURES: bigint = bits(
  F_SIZE_MAX,
  F_SEG_MAX,
  F_GEOMETRY,
  F_RO,
  F_BLK_SIZE,
  F_FLUSH,
  F_TOPOLOGY,
  F_CONFIG_WCE,
  F_MQ,
  F_DISCARD,
  F_WRITE_ZEROES,
  F_LIFETIME,
  F_SECURE_ERASE,
);

/** Types of requests. Virtio 1.3 §5.2.6 */
const TYPE = { in: 0, out: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13, secureErase: 14 } as const;
const HEADER = 16;
const ID_BYTES = 20;
/** Status byte before the device writes it. */
const NO_STATUS = 0xff;

/** Request of the driver, before and after its end. */
export interface BlkRequest {
  /** Type of the request. */
  readonly type: keyof typeof TYPE;
  /** Number of the first sector; 0 where there is none. */
  readonly sector: number;
  /** Number of the queue that the request went through. */
  readonly queue: number;
  /** Bytes that are written to the disk, or that were read from it once the request is done. */
  data: Uint8Array;
  /** Status of the request: 0 OK, 1 I/O error, 2 unsupported; undefined while the device has it. */
  status: number | undefined;
  /** Number of the request's completion, from 0. */
  order: number;
  /** Number of bytes that the device says it wrote. */
  written: number;
}

/** Layout of a request's buffers. */
export interface BlkLayout {
  /** Length of a data segment in bytes. */
  readonly segment?: number;
  /** True for header and data in one segment, data and status in one: needs ANY_LAYOUT or VERSION_1. */
  readonly joined?: boolean;
}

interface InFlight {
  readonly request: BlkRequest;
  readonly dataAt: number;
  readonly length: number;
  readonly statusAt: number;
  readonly block: Block;
}

/** Guest memory of one request, used again. */
interface Block {
  readonly at: number;
  readonly length: number;
}

/** Guest driver for virtio-blk. Virtio 1.3 §5.2 */
export class BlkDriver {
  /** Part of the driver that all device types have. */
  readonly virtio: VirtioDriver;
  readonly #layout: BlkLayout;
  readonly #queuesWanted: number;
  /** Requests that wait for room in their ring. */
  readonly #waiting: BlkRequest[] = [];
  readonly #pool: Block[] = [];
  readonly #inFlight = new Set<InFlight>();
  #done = 0;
  /** Number of request queues in use; 0 before {@link start}. */
  queues = 0;
  /** Number of sectors of 512 bytes; 0 before {@link start}. */
  capacity = 0;
  /** Number of interrupts for a change of the configuration so far. */
  configChanges = 0;

  constructor(setup: DriverSetup, layout: BlkLayout & { readonly queues?: number } = {}) {
    this.#layout = layout;
    this.#queuesWanted = layout.queues ?? 1;
    this.virtio = new VirtioDriver(
      { features: BLK_DRIVER_FEATURES, ...setup },
      { used: (_queue, used) => this.#finish(used), configChanged: () => this.#configChanged() },
    );
  }

  /** Finds the device. @throws DriverError if it is of another type */
  probe(): void {
    this.virtio.probe(BLK_ID);
  }

  /** Brings the device up, from reset to running. What was in flight does not come back. */
  start(): void {
    const { virtio } = this;
    this.#waiting.length = 0;
    this.#pool.length = 0;
    this.#inFlight.clear();
    virtio.negotiate();
    this.#readConfig();
    const offered = virtio.has(F_MQ) ? this.u16(34) : 1;
    this.queues = Math.min(offered, this.#queuesWanted);
    for (let queue = 0; queue < this.queues; queue++) virtio.addQueue(queue);
    virtio.ready();
  }

  /** Number of requests that were not done yet. */
  get pending(): number {
    return this.#inFlight.size + this.#waiting.length;
  }

  /** Asks for sectors from `sector` on. */
  read(sector: number, sectors: number, queue = 0): BlkRequest {
    return this.submit('in', sector, new Uint8Array(sectors * SECTOR), queue);
  }

  /** Writes whole sectors from `sector` on. */
  write(sector: number, data: Uint8Array, queue = 0): BlkRequest {
    return this.submit('out', sector, data, queue);
  }

  /** Asks that what was written be durable. */
  flush(queue = 0): BlkRequest {
    return this.submit('flush', 0, new Uint8Array(0), queue);
  }

  /** Asks for the serial number: 20 bytes. */
  getId(queue = 0): BlkRequest {
    return this.submit('getId', 0, new Uint8Array(ID_BYTES), queue);
  }

  /** Says that the content of sectors is of no use any more. */
  discard(sector: number, sectors: number, queue = 0): BlkRequest {
    return this.submit('discard', 0, this.#range(sector, sectors, 0), queue);
  }

  /** Asks for zeros in sectors, which with `unmap` need not take space. */
  writeZeroes(sector: number, sectors: number, unmap = false, queue = 0): BlkRequest {
    return this.submit('writeZeroes', 0, this.#range(sector, sectors, unmap ? 1 : 0), queue);
  }

  /** Asks that the content of sectors be gone for good. */
  secureErase(sector: number, sectors: number, queue = 0): BlkRequest {
    return this.submit('secureErase', 0, this.#range(sector, sectors, 0), queue);
  }

  /** Puts a request into its ring, or behind those that wait for room. */
  submit(type: BlkRequest['type'], sector: number, data: Uint8Array, queue = 0): BlkRequest {
    if (queue >= this.queues) throw new DriverError(`queue ${queue} of ${this.queues}`);
    const request: BlkRequest = { type, sector, queue, data, status: undefined, order: -1, written: 0 };
    if (this.#waiting.length > 0 || !this.#add(request)) this.#waiting.push(request);
    else this.virtio.kick(queue);
    return request;
  }

  /** Submits several requests with one kick for each queue. */
  submitAll(requests: readonly (readonly [BlkRequest['type'], number, Uint8Array, number])[]): BlkRequest[] {
    const submitted = requests.map(([type, sector, data, queue]) => {
      const request: BlkRequest = { type, sector, queue, data, status: undefined, order: -1, written: 0 };
      if (this.#waiting.length > 0 || !this.#add(request)) this.#waiting.push(request);
      return request;
    });
    for (let queue = 0; queue < this.queues; queue++) this.virtio.kick(queue);
    return submitted;
  }

  /** Handles interrupts, and starts what waited for room. */
  service(): number {
    const count = this.virtio.service();
    const kicks = new Set<number>();
    for (let next = this.#waiting[0]; next !== undefined && this.#add(next); next = this.#waiting[0]) {
      kicks.add(next.queue);
      this.#waiting.shift();
    }
    for (const queue of kicks) this.virtio.kick(queue);
    return count;
  }

  /** Resets one queue; answers the requests that do not come back. */
  resetQueue(queue: number, size?: number): BlkRequest[] {
    this.virtio.resetQueue(queue, size);
    const lost: BlkRequest[] = [];
    for (const inFlight of this.#inFlight) {
      if (inFlight.request.queue !== queue) continue;
      this.#inFlight.delete(inFlight);
      this.#pool.push(inFlight.block);
      lost.push(inFlight.request);
    }
    return lost;
  }

  /** Switches the write cache on or off; needs CONFIG_WCE. */
  setWriteCache(on: boolean): void {
    this.virtio.transport.setConfig(32, Uint8Array.of(on ? 1 : 0));
  }

  /** Is the write cache on, as the configuration says? */
  get writeCache(): boolean {
    return this.virtio.transport.config(32, 1)[0] === 1;
  }

  /** Reads a 16-bit field of the configuration space. */
  u16(offset: number): number {
    return this.#config(offset, 2).getUint16(0, this.virtio.littleEndian);
  }

  /** Reads a 32-bit field of the configuration space. */
  u32(offset: number): number {
    return this.#config(offset, 4).getUint32(0, this.virtio.littleEndian);
  }

  /** Is this feature negotiated? */
  has(
    feature: 'flush' | 'configWce' | 'mq' | 'discard' | 'writeZeroes' | 'readOnly' | 'secureErase',
  ): boolean {
    const bit = {
      flush: F_FLUSH,
      configWce: F_CONFIG_WCE,
      mq: F_MQ,
      discard: F_DISCARD,
      writeZeroes: F_WRITE_ZEROES,
      readOnly: F_RO,
      secureErase: F_SECURE_ERASE,
    }[feature];
    return this.virtio.has(bit);
  }

  #config(offset: number, length: number): DataView {
    const bytes = this.virtio.transport.config(offset, length);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #configChanged(): void {
    this.configChanges++;
    this.#readConfig();
  }

  #readConfig(): void {
    const { transport } = this.virtio;
    // Virtio 1.3 §2.5.1 MUST: a field of 64 bits is read until the generation is the same before and after
    for (let tries = 0; tries < 100; tries++) {
      const before = transport.generation();
      const view = this.#config(0, 8);
      if (transport.generation() !== before) continue;
      const little = this.virtio.littleEndian;
      const [high, low] = little ? [4, 0] : [0, 4];
      this.capacity = view.getUint32(high, little) * 0x1_0000_0000 + view.getUint32(low, little);
      return;
    }
    throw new DriverError('the configuration never stands still');
  }

  #range(sector: number, sectors: number, flags: number): Uint8Array {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    const { littleEndian } = this.virtio;
    view.setBigUint64(0, BigInt(sector), littleEndian);
    view.setUint32(8, sectors, littleEndian);
    view.setUint32(12, flags, littleEndian);
    return bytes;
  }

  #add(request: BlkRequest): boolean {
    const { ram, littleEndian } = this.virtio;
    const reading = request.type === 'in' || request.type === 'getId';
    const { length } = request.data;
    const block = this.#block(HEADER + length + 1);
    if (block === undefined) return false;
    const dataAt = block.at + HEADER;
    const statusAt = dataAt + length;
    ram.setU32(block.at, TYPE[request.type], littleEndian);
    ram.setU32(block.at + 4, 0, littleEndian);
    ram.setU64(block.at + 8, request.sector, littleEndian);
    if (reading) ram.fill(dataAt, length, 0x5a);
    else ram.write(dataAt, request.data);
    ram.setU8(statusAt, NO_STATUS);
    const inFlight: InFlight = { request, dataAt, length, statusAt, block };
    if (!this.virtio.add(request.queue, this.#buffers(block.at, length, reading), inFlight)) {
      this.#pool.push(block);
      return false;
    }
    this.#inFlight.add(inFlight);
    return true;
  }

  #buffers(at: number, length: number, reading: boolean): Buffer[] {
    const { joined = false } = this.#layout;
    const out = reading ? 0 : length;
    const into = reading ? length : 0;
    const pieces = (address: number, bytes: number, writable: boolean): Buffer[] => {
      const segment = this.#layout.segment ?? bytes;
      const list: Buffer[] = [];
      for (let from = 0; from < bytes; from += segment)
        list.push({ address: address + from, length: Math.min(segment, bytes - from), writable });
      return list;
    };
    if (joined) return [...pieces(at, HEADER + out, false), ...pieces(at + HEADER + out, into + 1, true)];
    return [
      { address: at, length: HEADER, writable: false },
      ...pieces(at + HEADER, out, false),
      ...pieces(at + HEADER + out, into, true),
      { address: at + HEADER + length, length: 1, writable: true },
    ];
  }

  /** Takes memory for a request; undefined if it has to wait for what others have. */
  #block(length: number): Block | undefined {
    const index = this.#pool.findIndex((block) => block.length >= length);
    if (index >= 0) return this.#pool.splice(index, 1)[0];
    const { memory } = this.virtio;
    if (this.#inFlight.size > 0 && !memory.fits(length)) return undefined;
    return { at: memory.alloc(length, 16), length };
  }

  #finish({ token, written }: Used<unknown>): void {
    const { request, dataAt, length, statusAt, block } = token as InFlight;
    const { ram } = this.virtio;
    if (request.status !== undefined) throw new DriverError('a request came back twice');
    const status = ram.u8(statusAt);
    if (status === NO_STATUS) throw new DriverError('a request came back without a status');
    request.status = status;
    request.order = this.#done++;
    request.written = written;
    if (request.type === 'in' || request.type === 'getId') request.data = ram.read(dataAt, length);
    this.#inFlight.delete(token as InFlight);
    this.#pool.push(block);
  }
}

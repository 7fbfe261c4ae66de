import type { Buffer, Used } from '../ring/ring.ts';
import { DriverError } from '../spec.ts';
import { type DriverSetup, VirtioDriver } from './virtio.ts';

const RNG_ID = 4;
const QUEUE = 0;
/** Byte that fills a buffer which the device has not written to. */
export const RNG_BLANK = 0x5a;

/** Request of random bytes. */
export interface RngRequest {
  /** Number of bytes that were asked for. */
  readonly length: number;
  /** Bytes that came; undefined until then. */
  data: Uint8Array | undefined;
}

interface InFlight {
  readonly request: RngRequest;
  readonly at: number;
}

/** Options of an entropy driver. */
export interface RngDriverOptions {
  /** Length of a segment in bytes; default: a request is one. */
  readonly segment?: number;
}

/** Guest driver for virtio-rng. Virtio 1.3 §5.4 */
export class RngDriver {
  /** Part of the driver that all device types have. */
  readonly virtio: VirtioDriver;
  readonly #segment: number | undefined;
  /** Requests that wait for room in the ring. */
  readonly #waiting: RngRequest[] = [];
  /** Guest memory of requests, by length, used again. */
  readonly #pool = new Map<number, number[]>();
  readonly #inFlight = new Set<InFlight>();

  constructor(setup: DriverSetup, { segment }: RngDriverOptions = {}) {
    this.#segment = segment;
    this.virtio = new VirtioDriver(setup, {
      used: (_queue, used) => this.#finish(used),
      // there is no configuration; a broken device says so in this way
      configChanged: () => {},
    });
  }

  /** Finds the device. @throws DriverError if it is of another type */
  probe(): void {
    this.virtio.probe(RNG_ID);
  }

  /** Brings the device up, from reset to running. What was in flight does not come back. */
  start(): void {
    const { virtio } = this;
    this.#waiting.length = 0;
    this.#pool.clear();
    this.#inFlight.clear();
    virtio.negotiate();
    virtio.addQueue(QUEUE);
    virtio.ready();
  }

  /** Number of requests that have no bytes yet. */
  get pending(): number {
    return this.#inFlight.size + this.#waiting.length;
  }

  /** Asks for random bytes: the device gives as many, or fewer, but at least one. */
  read(length: number): RngRequest {
    const request: RngRequest = { length, data: undefined };
    if (this.#waiting.length > 0 || !this.#add(request)) this.#waiting.push(request);
    else this.virtio.kick(QUEUE);
    return request;
  }

  /** Handles interrupts, and asks for what waited for room. */
  service(): number {
    const count = this.virtio.service();
    let added = false;
    for (let next = this.#waiting[0]; next !== undefined && this.#add(next); next = this.#waiting[0]) {
      added = true;
      this.#waiting.shift();
    }
    if (added) this.virtio.kick(QUEUE);
    return count;
  }

  /** Resets the queue; answers the requests that do not come back. */
  resetQueue(size?: number): RngRequest[] {
    this.virtio.resetQueue(QUEUE, size);
    const lost = [...this.#inFlight];
    this.#inFlight.clear();
    for (const { request, at } of lost) this.#free(at, request.length);
    return lost.map(({ request }) => request);
  }

  #add(request: RngRequest): boolean {
    const { virtio } = this;
    const { length } = request;
    const at = this.#pool.get(length)?.pop() ?? virtio.memory.alloc(length);
    virtio.ram.fill(at, length, RNG_BLANK);
    const inFlight: InFlight = { request, at };
    if (!virtio.add(QUEUE, this.#buffers(at, length), inFlight)) {
      this.#free(at, length);
      return false;
    }
    this.#inFlight.add(inFlight);
    return true;
  }

  #buffers(at: number, length: number): Buffer[] {
    const segment = this.#segment ?? length;
    const list: Buffer[] = [];
    for (let from = 0; from < length; from += segment)
      list.push({ address: at + from, length: Math.min(segment, length - from), writable: true });
    return list;
  }

  #free(at: number, length: number): void {
    const list = this.#pool.get(length);
    if (list === undefined) this.#pool.set(length, [at]);
    else list.push(at);
  }

  #finish({ token, written }: Used<unknown>): void {
    const { request, at } = token as InFlight;
    const { length } = request;
    if (request.data !== undefined) throw new DriverError('a request came back twice');
    if (written < 1 || written > length) throw new DriverError(`${written} random bytes of ${length}`);
    const { ram } = this.virtio;
    request.data = ram.read(at, written);
    if (ram.read(at + written, length - written).some((byte) => byte !== RNG_BLANK))
      throw new DriverError('more bytes were written than the device says');
    this.#inFlight.delete(token as InFlight);
    this.#free(at, length);
  }
}

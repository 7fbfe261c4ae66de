// A machine without a processor or a bus: memory, a transport that adds nothing of its own, and a driver's hand on the rings, which
// can do what no driver would.
import {
  createDevice,
  type DeviceEvent,
  type DeviceHost,
  type DeviceModel,
  FEATURE,
  type LiveDevice,
  MappedMemory,
  type RingFeatures,
  type TransportHost,
  type TransportLayer,
  type TransportModel,
} from '@virtkit/core';
import { u16, vmstate } from '@virtkit/vmstate';

export interface BareParts {
  readonly config: object;
  readonly queue: { readonly vector: number };
  readonly extra: undefined;
}

const layer: TransportLayer<BareParts> = {
  contract: 1,
  name: 'wire',
  hasVariableVringAlignment: false,
  recognize: () => ({ confidence: 'possible' }),
  config: vmstate('wire', 1).fields({}),
  queue: () => vmstate('wire_queue', 1).fields({ vector: u16 }),
};

/** Transport whose interrupts are a list, and may be listened to. */
class Wire implements TransportModel<BareParts> {
  readonly layer: TransportLayer<BareParts> = layer;
  /** BAD_FEATURE, which QEMU's transports offer. */
  readonly features = 1n << 30n;
  readonly notified: number[] = [];
  listen: ((queue: number) => void) | undefined;
  quiet = false;
  notify(queue: number): void {
    if (!this.quiet) this.notified.push(queue);
    this.listen?.(queue);
  }
  captureConfig = () => ({});
  captureQueue = () => ({ vector: 0 });
  captureExtra = () => undefined;
  check(): void {}
  apply(): void {}
  resetQueue(): void {}
}

export interface Segment {
  readonly addr: number;
  readonly len: number;
  readonly write?: boolean;
}

export interface BareOptions {
  readonly rings?: RingFeatures;
  /** Features that the driver negotiates; default: all that is offered, less the legacy bits. */
  readonly features?: bigint;
  /** Bits that are taken away from {@link features}. */
  readonly without?: readonly number[];
  /** True if VERSION_1 is offered; default true. */
  readonly version1?: boolean;
  /** True if the guest has no VERSION_1. */
  readonly legacy?: boolean;
  readonly endian?: 'little' | 'big';
  /** Guest memory; a function, if it may be another array later. */
  readonly ram?: Uint8Array | (() => Uint8Array);
  readonly indirect?: boolean;
  /** True if the driver is not started: for a machine that a state is restored into. */
  readonly idle?: boolean;
}

const RAM_BYTES = 4 << 20;
const QUEUES_AT = 0x1000;
const QUEUE_BYTES = 0xa000;
const HEAP_AT = 0x100000;
/** NOTIFY_ON_EMPTY, ANY_LAYOUT, BAD_FEATURE. */
const LEGACY_BITS = [24, 27, 30];

interface Ring {
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  free: number[];
  /** Descriptors of the chain with this head or id. */
  readonly chains: Map<number, number[]>;
  availIdx: number;
  seen: number;
  wrap: boolean;
  seenWrap: boolean;
}

export class BareMachine<D> {
  readonly ram: Uint8Array;
  readonly view: DataView;
  readonly memory: MappedMemory;
  readonly wire: Wire = new Wire();
  readonly live: LiveDevice<BareParts, D>;
  /** Part of the device that the driver reaches, with no registers in between. */
  readonly driver: TransportHost;
  /** Part of core that the device type is attached to. */
  readonly host: DeviceHost;
  readonly events: DeviceEvent[] = [];
  readonly rings: Ring[] = [];
  readonly options: BareOptions;
  little: boolean;
  /** Address of the next buffer. */
  heap: number = HEAP_AT;
  readonly #legacyBits: readonly number[];

  /** @param legacyBits of the device type, which a driver does not take unless told to */
  constructor(model: DeviceModel<D>, options: BareOptions, legacyBits: readonly number[]) {
    this.options = options;
    this.#legacyBits = [...LEGACY_BITS, ...legacyBits];
    const { ram = new Uint8Array(RAM_BYTES), endian = 'little', legacy = false } = options;
    this.ram = typeof ram === 'function' ? ram() : ram;
    this.view = new DataView(this.ram.buffer, this.ram.byteOffset, this.ram.length);
    this.memory = new MappedMemory([{ gpa: 0, bytes: ram }]);
    this.little = endian === 'little' || !legacy;
    const attach = model.attach.bind(model);
    let attached: DeviceHost | undefined;
    model.attach = (to) => {
      attached = to;
      attach(to);
    };
    const { device, host } = createDevice<BareParts, D>(model, this.wire, {
      memory: this.memory,
      ...(options.rings !== undefined && { rings: options.rings }),
      ...(options.version1 !== undefined && { version1: options.version1 }),
      targetEndian: endian,
      onEvent: (event) => this.events.push(event),
    });
    this.live = device;
    this.driver = host;
    if (attached === undefined) throw new Error('the device type was not attached');
    this.host = attached;
    if (options.idle !== true) this.start();
  }

  get packed(): boolean {
    return this.live.has(FEATURE.RING_PACKED);
  }

  /** Brings the device up, from reset to DRIVER_OK, with all queues there are. */
  start(queues: readonly number[] | undefined = undefined): void {
    const { driver, options } = this;
    driver.reset();
    driver.setStatus(1);
    driver.setStatus(3);
    let wanted = options.features ?? without(driver.offeredFeatures(true), this.#legacyBits);
    wanted = without(wanted, options.without ?? []);
    driver.setDriverFeatures(options.legacy === true ? wanted & 0xffffffffn : wanted);
    if (options.legacy !== true) driver.setStatus(11);
    const all = Array.from({ length: driver.queueCount }, (_, index) => index);
    for (const index of queues ?? all) this.setUpQueue(index);
    driver.setStatus(options.legacy === true ? 7 : 15);
  }

  setUpQueue(index: number): void {
    const queue = this.driver.queue(index);
    const size = queue?.size ?? 0;
    const desc = QUEUES_AT + index * QUEUE_BYTES;
    this.ram.fill(0, desc, desc + QUEUE_BYTES);
    const avail = desc + 16 * size;
    const used = (avail + 6 + 2 * size + 4095) & ~4095;
    if (this.options.legacy === true) queue?.setAddress(BigInt(desc));
    else queue?.setAddresses(BigInt(desc), BigInt(avail), BigInt(used));
    this.rings[index] = {
      size,
      desc,
      avail,
      used,
      free: Array.from({ length: size }, (_, i) => size - 1 - i),
      chains: new Map(),
      availIdx: 0,
      seen: 0,
      wrap: true,
      seenWrap: true,
    };
  }

  alloc(bytes: number): number {
    if (this.heap + bytes > this.ram.length) this.heap = HEAP_AT;
    const at = this.heap;
    this.heap = (at + bytes + 63) & ~63;
    return at;
  }

  /** Puts bytes into guest memory, and answers their address. */
  put(bytes: Uint8Array): number {
    const at = this.alloc(bytes.length);
    this.ram.set(bytes, at);
    return at;
  }

  ring(index: number): Ring {
    const ring = this.rings[index];
    if (ring === undefined) throw new Error(`no queue ${index}`);
    return ring;
  }

  /** Makes a chain available. Answers its head, or buffer id. */
  add(queue: number, segments: readonly Segment[]): number {
    const ring = this.ring(queue);
    if (this.options.indirect === true) {
      const table = this.alloc(16 * segments.length);
      segments.forEach(({ addr, len, write }, i) => {
        const next = i + 1 < segments.length ? i + 1 : undefined;
        if (this.packed) this.#packedEntry(table + 16 * i, addr, len, 0, write === true ? 2 : 0);
        else this.#splitEntry(table + 16 * i, addr, len, write === true, next);
      });
      return this.packed
        ? this.#addPacked(ring, [{ addr: table, len: 16 * segments.length }], 4)
        : this.#addSplit(ring, [{ addr: table, len: 16 * segments.length }], 4);
    }
    return this.packed ? this.#addPacked(ring, segments, 0) : this.#addSplit(ring, segments, 0);
  }

  #splitEntry(
    at: number,
    addr: number,
    len: number,
    write: boolean,
    next: number | undefined,
    flags = 0,
  ): void {
    const { view, little } = this;
    view.setBigUint64(at, BigInt(addr), little);
    view.setUint32(at + 8, len, little);
    view.setUint16(at + 12, flags | (write ? 2 : 0) | (next === undefined ? 0 : 1), little);
    view.setUint16(at + 14, next ?? 0, little);
  }

  #addSplit(ring: Ring, segments: readonly Segment[], flags: number): number {
    const { view, little } = this;
    const ids = segments.map(() => ring.free.pop() ?? -1);
    if (ids.includes(-1)) throw new Error('ring full');
    for (const [i, { addr, len, write }] of segments.entries()) {
      this.#splitEntry(ring.desc + 16 * (ids[i] ?? 0), addr, len, write === true, ids[i + 1], flags);
    }
    const head = ids[0] ?? 0;
    ring.chains.set(head, ids);
    view.setUint16(ring.avail + 4 + 2 * (ring.availIdx % ring.size), head, little);
    ring.availIdx = (ring.availIdx + 1) & 0xffff;
    view.setUint16(ring.avail + 2, ring.availIdx, little);
    return head;
  }

  #packedEntry(at: number, addr: number, len: number, id: number, flags: number): void {
    const { view } = this;
    view.setBigUint64(at, BigInt(addr), true);
    view.setUint32(at + 8, len, true);
    view.setUint16(at + 12, id, true);
    view.setUint16(at + 14, flags, true);
  }

  #addPacked(ring: Ring, segments: readonly Segment[], flags: number): number {
    const ids = segments.map(() => ring.free.pop() ?? -1);
    if (ids.includes(-1)) throw new Error('ring full');
    const id = ids[0] ?? 0;
    ring.chains.set(id, ids);
    segments.forEach(({ addr, len, write }, i) => {
      const mark = ring.wrap ? 0x80 : 0x8000;
      const next = i + 1 < segments.length ? 1 : 0;
      this.#packedEntry(ring.desc + 16 * ring.availIdx, addr, len, id, flags | mark | next | (write ? 2 : 0));
      ring.availIdx++;
      if (ring.availIdx === ring.size) {
        ring.availIdx = 0;
        ring.wrap = !ring.wrap;
      }
    });
    return id;
  }

  kick(queue = 0): void {
    this.driver.kick(queue);
  }

  /** Lists what the device gave back since last asked. */
  used(queue = 0): { id: number; len: number }[] {
    const ring = this.ring(queue);
    const list: { id: number; len: number }[] = [];
    for (;;) {
      const entry = this.packed ? this.#usedPacked(ring) : this.#usedSplit(ring);
      if (entry === undefined) return list;
      ring.free.push(...(ring.chains.get(entry.id) ?? []).reverse());
      ring.chains.delete(entry.id);
      list.push(entry);
    }
  }

  #usedSplit(ring: Ring): { id: number; len: number } | undefined {
    const { view, little } = this;
    if (view.getUint16(ring.used + 2, little) === ring.seen) return undefined;
    const at = ring.used + 4 + 8 * (ring.seen % ring.size);
    ring.seen = (ring.seen + 1) & 0xffff;
    return { id: view.getUint32(at, little), len: view.getUint32(at + 4, little) };
  }

  #usedPacked(ring: Ring): { id: number; len: number } | undefined {
    const { view } = this;
    const at = ring.desc + 16 * ring.seen;
    const flags = view.getUint16(at + 14, true);
    const expected = ring.seenWrap ? 0x8080 : 0;
    if ((flags & 0x8080) !== expected) return undefined;
    const id = view.getUint16(at + 12, true);
    const slots = (ring.chains.get(id) ?? []).length;
    ring.seen += this.options.indirect === true ? 1 : slots;
    if (ring.seen >= ring.size) {
      ring.seen -= ring.size;
      ring.seenWrap = !ring.seenWrap;
    }
    return { id, len: view.getUint32(at + 8, true) };
  }

  get faults(): string[] {
    return this.events.filter(({ name }) => name === 'fault').map(({ reason = '' }) => reason);
  }
}

function without(features: bigint, bits: readonly number[]): bigint {
  return bits.reduce((left, bit) => left & ~(1n << BigInt(bit)), features);
}

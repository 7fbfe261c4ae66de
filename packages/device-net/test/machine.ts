// The rest of a machine: memory, a transport that adds nothing of its own, and a driver's hand on the rings.
import {
  type DeviceEvent,
  FEATURE,
  LiveDevice,
  MappedMemory,
  type RingFeatures,
  type TransportLayer,
  type TransportModel,
  type VirtioState,
} from '@virtkit/core';
import {
  type NetBackend,
  NetDevice,
  type NetOptions,
  type NetPort,
  type NetState,
  type Packet,
  type PacketMeta,
} from '@virtkit/device-net';
import { u16, vmstate } from '@virtkit/vmstate';

interface Parts {
  readonly config: object;
  readonly queue: { readonly vector: number };
  readonly extra: undefined;
}

const layer: TransportLayer<Parts> = {
  contract: 1,
  name: 'wire',
  hasVariableVringAlignment: false,
  recognize: () => ({ confidence: 'possible' }),
  config: vmstate('wire', 1).fields({}),
  queue: () => vmstate('wire_queue', 1).fields({ vector: u16 }),
};

/** Interrupts are a list, and may be listened to. */
export class Wire implements TransportModel<Parts> {
  readonly layer: TransportLayer<Parts> = layer;
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

export type State = VirtioState<Parts, NetState>;

export interface Segment {
  readonly addr: number;
  readonly len: number;
  readonly write?: boolean;
}

export interface MachineOptions {
  readonly net?: Partial<NetOptions>;
  readonly rings?: RingFeatures;
  /** Negotiated, of what is offered; default: all but legacy bits. */
  readonly features?: bigint;
  /** Taken away from {@link features}. */
  readonly without?: readonly number[];
  /** The guest has no VERSION_1. */
  readonly legacy?: boolean;
  readonly endian?: 'little' | 'big';
  /** Do not start the driver: for a machine that a state is restored into. */
  readonly idle?: boolean;
  readonly ram?: Uint8Array;
  readonly ramBytes?: number;
}

export const MAC = '52:54:00:12:34:56';
export const MAC_BYTES = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const QUEUES_AT = 0x1000;
const QUEUE_BYTES = 0xa000;
const HEAP_AT = 0x100000;

interface Ring {
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  free: number[];
  readonly chains: Map<number, number[]>;
  availIdx: number;
  seen: number;
  wrap: boolean;
  seenWrap: boolean;
}

/** Keeps what the card sends, and refuses when told to. */
export class Sink implements NetBackend {
  readonly frames: Uint8Array[] = [];
  readonly metas: PacketMeta[] = [];
  readonly pairs: number[] = [];
  /** Packets that it still takes. */
  room = Number.POSITIVE_INFINITY;
  rxReadyCalls = 0;
  offloads: unknown;
  onSend: ((packet: Packet) => void) | undefined;
  onRxReady: ((pair: number) => void) | undefined;
  port: NetPort | undefined;
  attach(port: NetPort): void {
    this.port = port;
  }
  send(packet: Packet): boolean {
    if (this.room === 0) return false;
    this.room--;
    const frame = new Uint8Array(packet.length);
    packet.copyTo(frame);
    this.frames.push(frame);
    const { flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset, outerThOffset, innerNhOffset } = packet;
    this.metas.push({
      flags,
      gsoType,
      hdrLen,
      gsoSize,
      csumStart,
      csumOffset,
      outerThOffset: outerThOffset ?? 0,
      innerNhOffset: innerNhOffset ?? 0,
    });
    this.pairs.push(packet.pair);
    this.onSend?.(packet);
    return true;
  }
  rxReady(pair: number): void {
    this.rxReadyCalls++;
    this.onRxReady?.(pair);
  }
  guestOffloads(offloads: unknown): void {
    this.offloads = offloads;
  }
}

export class Machine {
  readonly ram: Uint8Array;
  readonly view: DataView;
  readonly memory: MappedMemory;
  readonly wire: Wire = new Wire();
  readonly sink: Sink = new Sink();
  readonly card: NetDevice;
  readonly live: LiveDevice<Parts, NetState>;
  readonly events: DeviceEvent[] = [];
  readonly rings: Ring[] = [];
  readonly options: MachineOptions;
  readonly little: boolean;
  heap: number = HEAP_AT;

  constructor(options: MachineOptions = {}) {
    this.options = options;
    this.ram = options.ram ?? new Uint8Array(options.ramBytes ?? 4 << 20);
    this.view = new DataView(this.ram.buffer, this.ram.byteOffset, this.ram.length);
    this.memory = new MappedMemory([{ gpa: 0, bytes: this.ram }]);
    const { endian = 'little', legacy = false } = options;
    this.little = endian === 'little' || !legacy;
    this.card = new NetDevice({ backend: this.sink, mac: MAC, ...options.net });
    this.live = new LiveDevice(this.card, this.wire, {
      memory: this.memory,
      ...(options.rings !== undefined && { rings: options.rings }),
      targetEndian: endian,
      onEvent: (event) => this.events.push(event),
    });
    if (options.idle !== true) this.start();
  }

  get packed(): boolean {
    return this.live.has(FEATURE.RING_PACKED);
  }

  /** From reset to DRIVER_OK, with all queues there are. */
  start(queues: readonly number[] | undefined = undefined): void {
    const { live, options } = this;
    live.reset();
    live.setStatus(1);
    live.setStatus(3);
    const legacyBits = (1n << 6n) | (1n << 24n) | (1n << 27n) | (1n << 30n);
    let wanted = options.features ?? live.hostFeatures & ~legacyBits;
    for (const bit of options.without ?? []) wanted &= ~(1n << BigInt(bit));
    live.setFeatures(options.legacy === true ? wanted & 0xffffffffn : wanted);
    if (options.legacy !== true) live.setStatus(11);
    const all = Array.from({ length: live.queueCount }, (_, index) => index);
    for (const index of queues ?? all) this.setUpQueue(index);
    live.setStatus(options.legacy === true ? 7 : 15);
  }

  setUpQueue(index: number): void {
    const { live } = this;
    const size = live.queueNum(index);
    const desc = QUEUES_AT + index * QUEUE_BYTES;
    this.ram.fill(0, desc, desc + QUEUE_BYTES);
    const avail = desc + 16 * size;
    const used = (avail + 6 + 2 * size + 4095) & ~4095;
    if (this.options.legacy === true) live.setQueueAddress(index, BigInt(desc));
    else live.setQueueRings(index, BigInt(desc), BigInt(avail), BigInt(used));
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

  /** Bytes in guest memory. */
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
    return this.packed ? this.#addPacked(ring, segments) : this.#addSplit(ring, segments);
  }

  #addSplit(ring: Ring, segments: readonly Segment[]): number {
    const { view, little } = this;
    const ids = segments.map(() => ring.free.pop() ?? -1);
    if (ids.includes(-1)) throw new Error('ring full');
    for (const [i, { addr, len, write }] of segments.entries()) {
      const at = ring.desc + 16 * (ids[i] ?? 0);
      const next = ids[i + 1];
      view.setBigUint64(at, BigInt(addr), little);
      view.setUint32(at + 8, len, little);
      view.setUint16(at + 12, (write === true ? 2 : 0) | (next === undefined ? 0 : 1), little);
      view.setUint16(at + 14, next ?? 0, little);
    }
    const head = ids[0] ?? 0;
    ring.chains.set(head, ids);
    view.setUint16(ring.avail + 4 + 2 * (ring.availIdx % ring.size), head, little);
    ring.availIdx = (ring.availIdx + 1) & 0xffff;
    view.setUint16(ring.avail + 2, ring.availIdx, little);
    return head;
  }

  #addPacked(ring: Ring, segments: readonly Segment[]): number {
    const { view } = this;
    const ids = segments.map(() => ring.free.pop() ?? -1);
    if (ids.includes(-1)) throw new Error('ring full');
    const id = ids[0] ?? 0;
    ring.chains.set(id, ids);
    segments.forEach(({ addr, len, write }, i) => {
      const mark = ring.wrap ? 0x80 : 0x8000;
      const next = i + 1 < segments.length ? 1 : 0;
      const at = ring.desc + 16 * ring.availIdx;
      view.setBigUint64(at, BigInt(addr), true);
      view.setUint32(at + 8, len, true);
      view.setUint16(at + 12, id, true);
      view.setUint16(at + 14, mark | next | (write === true ? 2 : 0), true);
      ring.availIdx++;
      if (ring.availIdx === ring.size) {
        ring.availIdx = 0;
        ring.wrap = !ring.wrap;
      }
    });
    return id;
  }

  /** What the device gave back since last asked. */
  used(queue: number): { id: number; len: number }[] {
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
    if ((view.getUint16(at + 14, true) & 0x8080) !== (ring.seenWrap ? 0x8080 : 0)) return undefined;
    const id = view.getUint16(at + 12, true);
    ring.seen += (ring.chains.get(id) ?? []).length;
    if (ring.seen >= ring.size) {
      ring.seen -= ring.size;
      ring.seenWrap = !ring.seenWrap;
    }
    return { id, len: view.getUint32(at + 8, true) };
  }

  get controlQueue(): number {
    return this.live.queueCount - 1;
  }

  /** Receive buffers of one segment each. Answers where they are. */
  offer(sizes: readonly number[], pair = 0, kick = true): number[] {
    const at = sizes.map((size) => {
      const addr = this.alloc(size);
      this.ram.fill(0xaa, addr, addr + size);
      this.add(2 * pair, [{ addr, len: size, write: true }]);
      return addr;
    });
    if (kick) this.live.kick(2 * pair);
    return at;
  }

  /** Header and frame in one segment. */
  transmit(frame: Uint8Array, header: Uint8Array = new Uint8Array(this.headerBytes), pair = 0): number {
    const bytes = new Uint8Array(header.length + frame.length);
    bytes.set(header);
    bytes.set(frame, header.length);
    const id = this.add(2 * pair + 1, [{ addr: this.put(bytes), len: bytes.length }]);
    this.live.kick(2 * pair + 1);
    return id;
  }

  headerBytes = 12;

  /** A command. Answers the status byte; 0xee: none came. */
  command(group: number, command: number, data: Uint8Array | readonly number[] = [], split = false): number {
    const queue = this.controlQueue;
    const head = this.put(Uint8Array.of(group, command, ...data));
    const ack = this.put(Uint8Array.of(0xee));
    const length = 2 + data.length;
    const step = split ? Math.ceil(length / 30) : length;
    const out = Array.from({ length: Math.ceil(length / step) }, (_, i) => ({
      addr: head + i * step,
      len: Math.min(step, length - i * step),
    }));
    this.add(queue, [...out, { addr: ack, len: 1, write: true }]);
    this.live.kick(queue);
    this.used(queue);
    return this.ram[ack] as number;
  }

  u16(value: number): number[] {
    const bytes = [value & 0xff, (value >> 8) & 0xff];
    return this.little ? bytes : bytes.reverse();
  }

  u32(value: number): number[] {
    const bytes = [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
    return this.little ? bytes : bytes.reverse();
  }

  get faults(): string[] {
    return this.events.filter(({ name }) => name === 'fault').map(({ reason = '' }) => reason);
  }

  read(at: number, length: number): Uint8Array {
    return this.ram.slice(at, at + length);
  }

  config(): Uint8Array {
    return Uint8Array.from({ length: this.live.configLength }, (_, i) => this.live.readConfig(i, 1, true));
  }
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function fromHex(text: string): Uint8Array {
  const digits = text.replaceAll(/\s/g, '');
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

/** A frame: destination, source, type, and bytes that say where they are from. */
export function frame(length: number, to = 'ffffffffffff', from = '525400aabbcc', seed = 1): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 31) & 0xff);
  bytes.set(fromHex(`${to}${from}88b5`).subarray(0, length));
  return bytes;
}

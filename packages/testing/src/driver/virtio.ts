import { Arena, type GuestRam } from '../ram.ts';
import { PackedRing } from '../ring/packed.ts';
import type { Buffer, DriverRing, Used } from '../ring/ring.ts';
import { SplitRing } from '../ring/split.ts';
import {
  bits,
  DriverError,
  F_EVENT_IDX,
  F_IN_ORDER,
  F_INDIRECT_DESC,
  F_NOTIFICATION_DATA,
  F_RING_PACKED,
  F_RING_RESET,
  F_VERSION_1,
  has,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
  STATUS_NEEDS_RESET,
} from '../spec.ts';
import type { DriverTransport } from '../transport/transport.ts';

/** Ring features that a driver takes if it is offered them. */
export interface RingWishes {
  /** Accept RING_PACKED. */
  readonly packed?: boolean;
  /** Use of tables of their own for requests: `always`, `never`, or `mixed` with direct ones. */
  readonly indirect?: 'always' | 'mixed' | 'never';
  /** Accept EVENT_IDX. */
  readonly eventIdx?: boolean;
  /** Accept IN_ORDER. */
  readonly inOrder?: boolean;
  /** Accept NOTIFICATION_DATA. */
  readonly notificationData?: boolean;
  /** Largest number of entries of a ring, where the driver may choose. */
  readonly size?: number;
}

/** Parts that a driver is made from. */
export interface DriverSetup {
  /** Transport by which the device is reached. */
  readonly transport: DriverTransport;
  /** Guest memory, in which rings and buffers are laid out. */
  readonly ram: GuestRam;
  /** Ring features that the driver accepts, if it is offered them; default: none. */
  readonly rings?: RingWishes;
  /** Features of the device type that the driver takes if they are offered; default: all that it knows. */
  readonly features?: bigint;
  /** Number of bytes of guest memory for rings and buffers. */
  readonly memory?: number;
}

/** Events that a driver of a device type is told. */
export interface DriverEvents {
  /** Is told that a request came back. */
  used(queue: number, used: Used<unknown>): void;
  /** Is told that the configuration changed. */
  configChanged(): void;
}

const DRIVER_MEMORY = 1 << 20;

/**
 * Part of a driver that does not depend on the device type: finding, negotiating, rings, kicks, interrupts. Virtio 1.3
 * §3.1
 */
export class VirtioDriver {
  /** Transport by which the device is reached. */
  readonly transport: DriverTransport;
  /** Guest memory. */
  readonly ram: GuestRam;
  /** Memory for the time since the last reset: unused again with the next one. */
  readonly memory: Arena;
  /** Rings that are set up, by the number of the queue. */
  readonly rings = new Map<number, DriverRing<unknown>>();
  readonly #wishes: RingWishes;
  readonly #wanted: bigint;
  readonly #events: DriverEvents;
  /** Negotiated features. */
  features = 0n;
  /** Virtio device id of the device. */
  id = 0;
  /** Number of interrupts that were taken. */
  interrupts = 0;
  /** Number of notifications of the device so far. */
  kicks = 0;
  #turn = 0;

  constructor(
    { transport, ram, rings = {}, features = 0n, memory = DRIVER_MEMORY }: DriverSetup,
    events: DriverEvents,
  ) {
    this.transport = transport;
    this.ram = ram;
    this.memory = new Arena(ram, memory);
    this.#wishes = rings;
    this.#wanted = features | wishedBits(rings);
    this.#events = events;
  }

  /** True if everything but packed rings and PCI registers is little-endian. */
  get littleEndian(): boolean {
    return has(this.features, F_VERSION_1) || this.transport.legacyLittleEndian;
  }

  /** Is this feature negotiated? */
  has(bit: number): boolean {
    return has(this.features, bit);
  }

  /** Finds the device. @throws DriverError if it is none of this type */
  probe(virtioId: number): void {
    this.id = this.transport.probe();
    if (this.id !== virtioId) throw new DriverError(`virtio device ${this.id}, not ${virtioId}`);
  }

  /**
   * Negotiates features: steps 1 to 6 of Virtio 1.3 §3.1.1, from reset to FEATURES_OK. {@link addQueue} and {@link
   * ready} come next.
   */
  negotiate(): void {
    const { transport } = this;
    this.rings.clear();
    this.memory.clear();
    transport.reset();
    transport.setStatus(STATUS_ACKNOWLEDGE);
    transport.setStatus(STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    let wanted = this.#wanted;
    if (!transport.modern) wanted &= (1n << 32n) - 1n;
    else wanted |= bits(F_VERSION_1);
    if (transport.resetQueue === undefined) wanted &= ~bits(F_RING_RESET);
    this.features = transport.offered() & wanted;
    transport.accept(this.features);
    if (!transport.modern) return;
    if (!this.has(F_VERSION_1)) throw new DriverError('a modern interface without VERSION_1');
    transport.setStatus(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    if ((transport.status() & STATUS_FEATURES_OK) === 0)
      throw new DriverError(`features 0x${this.features.toString(16)} were refused`);
  }

  /** Makes a ring and tells the device. Legacy devices say how large it is. */
  addQueue(index: number, size?: number): void {
    const most = this.transport.queueSize(index);
    if (most === 0) throw new DriverError(`the device has no queue ${index}`);
    const entries =
      this.transport.fixedQueueSize === true ? most : Math.min(most, size ?? this.#wishes.size ?? 256);
    const ring = this.#makeRing(entries);
    this.rings.set(index, ring);
    this.transport.enableQueue(index, ring.addresses);
    ring.enableInterrupts();
  }

  /** Sets DRIVER_OK: the device may work. Virtio 1.3 §3.1.1 */
  ready(): void {
    this.transport.setStatus(this.#runningStatus);
  }

  get #runningStatus(): number {
    const modern = this.transport.modern ? STATUS_FEATURES_OK : 0;
    return STATUS_ACKNOWLEDGE | STATUS_DRIVER | modern | STATUS_DRIVER_OK;
  }

  /** True if the device has set NEEDS_RESET. */
  get broken(): boolean {
    return (this.transport.status() & STATUS_NEEDS_RESET) !== 0;
  }

  /** Finds the ring of a queue. @throws DriverError if none is set up */
  ring(index: number): DriverRing<unknown> {
    const ring = this.rings.get(index);
    if (ring === undefined) throw new DriverError(`queue ${index} is not set up`);
    return ring;
  }

  /** Puts a request into a ring. Answers false if it is full. {@link kick} makes the request visible. */
  add(queue: number, buffers: readonly Buffer[], token: unknown): boolean {
    const mode = this.has(F_INDIRECT_DESC) ? (this.#wishes.indirect ?? 'never') : 'never';
    const indirect = mode === 'always' || (mode === 'mixed' && this.#turn++ % 3 !== 0);
    return this.ring(queue).add(buffers, token, indirect);
  }

  /** Makes visible what was added, and kicks if the device wants it. */
  kick(queue: number): void {
    const ring = this.ring(queue);
    if (!ring.publish()) return;
    this.notify(queue);
  }

  /** Kicks, whether or not the device wants it. */
  notify(queue: number): void {
    this.kicks++;
    this.transport.notify(queue, this.has(F_NOTIFICATION_DATA) ? this.ring(queue).position() : undefined);
  }

  /** Handles what has interrupted. Answers how many requests came back. */
  service(): number {
    const { config, queues } = this.transport.interrupts();
    if (config) this.#events.configChanged();
    const signalled = queues === 'any' ? [...this.rings.keys()] : queues;
    if (config || signalled.length > 0) this.interrupts++;
    return signalled.reduce((count, queue) => count + this.collect(queue), 0);
  }

  /** Takes everything that came back in a queue, whether or not there was an interrupt. */
  collect(queue: number): number {
    const ring = this.rings.get(queue);
    if (ring === undefined) return 0;
    let count = 0;
    do {
      ring.disableInterrupts();
      for (let used = ring.take(); used !== undefined; used = ring.take()) {
        count++;
        this.#events.used(queue, used);
      }
    } while (ring.enableInterrupts());
    return count;
  }

  /** Resets one queue and makes a ring of another size. What the device had of it will not come back. */
  resetQueue(index: number, size?: number): void {
    if (!this.has(F_RING_RESET) || this.transport.resetQueue === undefined)
      throw new DriverError('RING_RESET was not negotiated');
    this.transport.resetQueue(index);
    this.addQueue(index, size);
  }

  #makeRing(size: number): DriverRing<unknown> {
    const packed = this.has(F_RING_PACKED);
    const { transport } = this;
    const legacyAlign = transport.modern ? undefined : transport.legacyAlign;
    const options = {
      size,
      eventIdx: this.has(F_EVENT_IDX),
      inOrder: this.has(F_IN_ORDER),
      indirect: this.has(F_INDIRECT_DESC),
      littleEndian: this.littleEndian,
      ...(legacyAlign !== undefined && { legacyAlign }),
    };
    return packed ? new PackedRing(this.memory, options) : new SplitRing(this.memory, options);
  }
}

function wishedBits({ packed, indirect, eventIdx, inOrder, notificationData }: RingWishes): bigint {
  const wished: readonly (readonly [number, boolean])[] = [
    [F_RING_PACKED, packed ?? false],
    [F_INDIRECT_DESC, (indirect ?? 'never') !== 'never'],
    [F_EVENT_IDX, eventIdx ?? false],
    [F_IN_ORDER, inOrder ?? false],
    [F_NOTIFICATION_DATA, notificationData ?? false],
    [F_RING_RESET, true],
  ];
  return bits(...wished.filter(([, on]) => on).map(([bit]) => bit));
}

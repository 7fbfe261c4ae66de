import { HostError, later } from '@virtkit/core';
import { tell } from '../link/listener.ts';
import type { GuestOffloads, NetBackend, NetOffloads, NetPort, Packet } from '../live/backend.ts';
import { neededOffloads } from '../live/header.ts';
import { OFFLOAD } from '../live/offload.ts';
import { type OffloadCounters, SOFTWARE_OFFLOADS, SoftwareOffload } from '../offload/software.ts';
import { Frame, FrameQueue } from './frame-queue.ts';
import { MacTable } from './mac-table.ts';
import { turn } from './turn.ts';

const ADDRESSES = 12;
const ETHERNET_MIN = 14;
const ENTRIES_MAX = 1 << 20;
/** Length in bytes of the largest segment that a card is to take apart: 64 KiB and headers. */
const LARGE_FRAME = 0x1_1000;
/** Offloads that can be done in software where a card does not take them. */
const IN_SOFTWARE = OFFLOAD.CSUM | OFFLOAD.TSO4 | OFFLOAD.TSO6 | OFFLOAD.ECN | OFFLOAD.UFO | OFFLOAD.USO;

/** Options of a switch. */
export interface SwitchOptions {
  /** Number of frames that wait for a card that has no buffer; more are dropped. Default 256. */
  readonly queueFrames?: number;
  /** Number of bytes of the frames that wait for a card; default 1 MiB. */
  readonly queueBytes?: number;
  /** Number of addresses that the switch remembers, a power of two; default 1024. */
  readonly addresses?: number;
  /**
   * Number of frames that are delivered in one go, before others get to run; default 1024. Switches that are connected
   * share it: a frame that goes round between two of them does not multiply it.
   */
  readonly burst?: number;
  /**
   * Offloads that cards on its ports may leave to each other (see {@link SOFTWARE_OFFLOADS}), unless their own options
   * say it. Packets for a card that cannot take them so are taken apart. Default: checksums, TCP segmentation and UDP
   * fragmentation; false: none, as with QEMU's own networks without virtio headers.
   */
  readonly offloads?: NetOffloads | false;
  /** Function that calls back later, such as `setImmediate`; default: when timers have had their turn. */
  readonly defer?: (proceed: () => void) => void;
  /** Function that hears what went wrong at a port; see also {@link SwitchPort.failure}. */
  readonly onEvent?: (event: SwitchEvent) => void;
}

/** Event of a switch, for the host program. */
export interface SwitchEvent {
  /** Kind of the event: the card at a port has thrown. The frame is lost, and the next one is tried as usual. */
  readonly name: 'failed';
  /** Port whose card has thrown. */
  readonly port: SwitchPort;
  /** Exception of the card. */
  readonly error: unknown;
}

/** Counters of what went through a port, as the card sees it. */
export interface PortCounters {
  /** Number of frames from the card. */
  readonly sent: number;
  /** Number of frames to the card. */
  readonly delivered: number;
  /** Number of frames to the card that found no room in its queue, or that it threw at. */
  readonly dropped: number;
  /** Number of frames from the card that are none: too short for addresses. */
  readonly malformed: number;
}

/**
 * An Ethernet switch in the program: cards on its ports reach each other. It learns addresses and floods what it does not
 * know.
 *
 * ```ts
 * const lan = new NetSwitch();
 * const a = new NetDevice({ backend: lan.port(), mac: '52:54:00:00:00:01' });
 * const b = new NetDevice({ backend: lan.port(), mac: '52:54:00:00:00:02' });
 * ```
 *
 * A card that answers while it receives makes the stack no deeper: what is sent meanwhile waits in queues of fixed size. Switches in a
 * loop send a broadcast round for ever, as real ones do, but leave the program's timers their turn. A card that throws is an event, and
 * nobody else's concern.
 */
export class NetSwitch {
  readonly #options: SwitchOptions;
  readonly #table: MacTable;
  readonly #burst: number;
  readonly #ports: (Port | undefined)[] = [];
  readonly #addresses = new Uint8Array(ADDRESSES);
  /** Frame that is delivered without a queue. */
  readonly #frame = new Frame(LARGE_FRAME);
  readonly #offload = new SoftwareOffload();
  /** True while a delivery is under way; what is sent inside of it waits. */
  #busy = false;
  #deferred = false;

  /** @throws HostError that names the option */
  constructor(options: SwitchOptions = {}) {
    const { queueFrames = 256, queueBytes = 1 << 20, addresses = 1024, burst = 1024 } = options;
    for (const [name, value] of Object.entries({ queueFrames, queueBytes, burst, addresses })) {
      if (!Number.isInteger(value) || value < 1)
        throw new HostError(`${name}: ${value}, a positive number expected`);
    }
    if (addresses < 8 || addresses > ENTRIES_MAX || (addresses & (addresses - 1)) !== 0)
      throw new HostError(`addresses: ${addresses}, a power of two from 8 to ${ENTRIES_MAX} expected`);
    this.#options = { ...options, queueFrames, queueBytes };
    this.#table = new MacTable(addresses);
    this.#burst = burst;
  }

  /** Counters of what had to be done for cards that do not take what others sent. */
  get offload(): Readonly<OffloadCounters> {
    return this.#offload.counters;
  }

  /** Makes a new port, for one card, or for a network outside: see {@link connect}. */
  port(): SwitchPort {
    const free = this.#ports.indexOf(undefined);
    const index = free < 0 ? this.#ports.length : free;
    const { queueFrames = 256, queueBytes = 1 << 20, offloads = SOFTWARE_OFFLOADS } = this.#options;
    const port = new Port(index, new FrameQueue(queueFrames, queueBytes), {
      supports: offloads === false ? undefined : offloads,
      offload: this.#offload,
      send: (packet) => this.#send(port, packet),
      ready: () => this.#drain(),
      failed: (error) => this.#failed(port, error),
      close: () => {
        this.#ports[index] = undefined;
        this.#table.forget(index);
      },
    });
    this.#ports[index] = port;
    return port;
  }

  #send(source: Port, packet: Packet): void {
    if (packet.length < ETHERNET_MIN) {
      source.malformed++;
      return;
    }
    source.sent++;
    const addresses = this.#addresses;
    packet.copyTo(addresses, 0, 0, ADDRESSES);
    // a group address is nobody's
    if (((addresses[6] as number) & 1) === 0) this.#table.learn(addresses, 6, source.index);
    const target = ((addresses[0] as number) & 1) === 1 ? -1 : this.#table.find(addresses, 0);
    if (target === source.index) return;
    const known = target < 0 ? undefined : this.#ports[target];
    if (known !== undefined && !this.#busy && known.queue.length === 0 && known.takes(packet))
      this.#pass(known, packet);
    else if (known !== undefined) known.enqueue(packet);
    else for (const port of this.#ports) if (port !== undefined && port !== source) port.enqueue(packet);
    this.#drain();
  }

  /** Delivers a packet to a port where nothing waits. */
  #pass(port: Port, packet: Packet): void {
    const frame = this.#frame;
    this.#busy = true;
    try {
      frame.set(packet);
      frame.pair = packet.pair;
      if (!port.deliver(frame)) port.enqueue(packet);
    } finally {
      frame.clear();
      this.#busy = false;
    }
  }

  /** Delivers frames that wait, as long as cards take them and others need not run. */
  #drain(): void {
    // what is put off is put off for those who send meanwhile, too
    if (this.#busy || this.#deferred) return;
    this.#busy = true;
    // a frame for all is for all in one go
    turn.enter(Math.max(this.#burst, this.#ports.length));
    try {
      for (let progress = true; progress && turn.left > 0; ) {
        progress = false;
        for (const port of this.#ports) {
          const frame = port?.due === true ? port.queue.head : undefined;
          if (port === undefined || frame === undefined) continue;
          turn.left--;
          if (port.deliver(frame)) port.queue.shift();
          // refused, and made ready meanwhile: once more
          else if (port.stalled) continue;
          progress = true;
        }
      }
    } finally {
      this.#busy = false;
      turn.leave();
    }
    if (turn.left <= 0 && this.#ports.some((port) => port?.due === true)) this.#defer();
  }

  #defer(): void {
    this.#deferred = true;
    const { defer = later } = this.#options;
    defer(() => {
      this.#deferred = false;
      this.#drain();
    });
  }

  #failed(port: Port, error: unknown): void {
    port.failure = error;
    tell(this.#options.onEvent, { name: 'failed', port, error });
  }
}

/** Port of a switch, where a card is plugged in. */
export interface SwitchPort extends NetBackend {
  /** Counters of what went through this port. */
  readonly counters: PortCounters;
  readonly supports?: NetOffloads;
  /** Number of frames that wait for the card. */
  readonly waiting: number;
  /** Exception that the card threw last, if it ever did. */
  readonly failure: unknown;
  /** Pulls the plug: nothing comes or goes any more. */
  close(): void;
}

interface Hub {
  readonly supports: NetOffloads | undefined;
  readonly offload: SoftwareOffload;
  send(packet: Packet): void;
  ready(): void;
  /** Notes that the card has thrown. Does not throw. */
  failed(error: unknown): void;
  close(): void;
}

class Port implements SwitchPort {
  readonly index: number;
  readonly queue: FrameQueue;
  readonly supports?: NetOffloads;
  /** True if the card has no buffer, and will say when it has. */
  stalled = false;
  sent = 0;
  delivered = 0;
  dropped = 0;
  malformed = 0;
  failure: unknown;
  readonly #hub: Hub;
  #card: NetPort | undefined;
  #pairs = 1;
  /** Packets that the card takes incomplete, as bits of {@link OFFLOAD}. */
  #offloads = 0;
  #open = true;

  constructor(index: number, queue: FrameQueue, hub: Hub) {
    this.index = index;
    this.queue = queue;
    this.#hub = hub;
    if (hub.supports !== undefined) this.supports = hub.supports;
  }

  get counters(): PortCounters {
    const { sent, delivered, dropped, malformed } = this;
    return { sent, delivered, dropped, malformed };
  }

  get waiting(): number {
    return this.queue.length;
  }

  /** Does a frame wait that the card may take? */
  get due(): boolean {
    return !this.stalled && this.queue.length > 0;
  }

  attach(card: NetPort): void {
    if (this.#card !== undefined) throw new HostError('a port of a switch is for one card');
    this.#card = card;
  }

  send(packet: Packet): boolean {
    if (this.#open) this.#hub.send(packet);
    return true;
  }

  rxReady(): void {
    this.stalled = false;
    if (this.#open && this.queue.length > 0) this.#hub.ready();
  }

  queuePairs(count: number): void {
    this.#pairs = count;
  }

  guestOffloads({ csum, tso4, tso6, ecn, ufo, uso4, uso6 }: GuestOffloads): void {
    this.#offloads = !csum
      ? 0
      : OFFLOAD.CSUM |
        (tso4 ? OFFLOAD.TSO4 : 0) |
        (tso6 ? OFFLOAD.TSO6 : 0) |
        (ecn ? OFFLOAD.ECN : 0) |
        (ufo ? OFFLOAD.UFO : 0) |
        (uso4 && uso6 ? OFFLOAD.USO : 0);
  }

  /** Can the card on this port do what is left to it with this packet? */
  takes(packet: Packet): boolean {
    if ((packet.flags | packet.gsoType) === 0) return true;
    const needed = neededOffloads(packet);
    // what nobody can do is the card's to refuse
    return needed < 0 || (needed & IN_SOFTWARE & ~this.#offloads) === 0;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.queue.clear();
    this.#hub.close();
  }

  enqueue(packet: Packet): void {
    if (!this.takes(packet)) this.#takeApart(packet);
    else if (!this.queue.push(packet, packet.pair)) this.dropped++;
  }

  #takeApart(packet: Packet): void {
    const { offload } = this.#hub;
    for (let left = offload.open(packet); left > 0; left--) {
      if (this.queue.pushNext(offload, packet.pair)) continue;
      this.dropped += left;
      offload.close();
      return;
    }
  }

  /** Gives the card a frame. Answers true if the frame is gone. */
  deliver(frame: Frame): boolean {
    const card = this.#card;
    if (card === undefined) return true;
    // before the call: the card may say that it is ready while it runs
    this.stalled = true;
    try {
      if (!card.receive(frame.bytes, frame.meta, frame.pair % this.#pairs)) return false;
      this.delivered++;
    } catch (error) {
      this.dropped++;
      this.#hub.failed(error);
    }
    this.stalled = false;
    return true;
  }
}

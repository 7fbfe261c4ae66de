import { HostError } from '@virtkit/core';
import { Backoff } from '../link/backoff.ts';
import { Inbox } from '../link/inbox.ts';
import { LinkCard, tell } from '../link/listener.ts';
import { positive } from '../link/settings.ts';
import {
  FRAME_MAX,
  FRAME_MIN,
  LinkCounters,
  type LinkEvent,
  type LinkOptions,
  type ReconnectOptions,
} from '../link/types.ts';
import type { NetBackend, NetOffloads, NetPort, Packet } from '../live/backend.ts';
import { type OffloadCounters, SOFTWARE_OFFLOADS, SoftwareOffload } from '../offload/software.ts';
import { FrameQueue } from '../switch/frame-queue.ts';
import { platformSocket, READY_STATE, type SocketEvent, Timer, type WebSocketLike } from './socket.ts';

/** Options of a WebSocket link. */
export interface WebSocketOptions extends LinkOptions {
  /** Address of the relay: `wss://relay.widgetry.org/`. */
  readonly url?: string;
  /** Subprotocols that are offered to the relay; default: none. */
  readonly protocols?: readonly string[];
  /** Constructor of WebSockets; default: the platform's own. Node 20 has none; the package `ws` does it there. */
  readonly WebSocket?: new (
    url: string,
    protocols?: string[],
  ) => WebSocketLike;
  /** WebSocket that is there already, say a server's, instead of {@link url}. When it is closed, the link is. */
  readonly socket?: WebSocketLike;
  /**
   * Waiting times between attempts to connect. Default: it is tried for ever. False: when the link is down, it stays
   * so.
   */
  readonly reconnect?: ReconnectOptions | false;
  /** Number of frames kept for each direction, while the link is down or the guest has no buffer; default 256. */
  readonly queueFrames?: number;
  /** Number of bytes kept for each direction, at least 128 KiB; default 1 MiB. */
  readonly queueBytes?: number;
  /** Milliseconds in which a relay has to answer before it is hung up on, and called again; default 30000. */
  readonly handshakeTimeout?: number;
  /** Number of bytes that the socket may hold before the card has to wait; default 1 MiB. */
  readonly bufferedMax?: number;
}

/** Milliseconds between two looks at whether a WebSocket has sent: it does not say so itself. */
const POLL = 5;
/** Milliseconds that an unanswered handshake is waited for. */
const HANDSHAKE_TIMEOUT = 30_000;
const DAY = 24 * 3600 * 1000;
/** Smallest number of bytes that may be kept: longer than any frame. */
const QUEUE_BYTES_MIN = 1 << 17;

/**
 * A network behind a WebSocket: a binary message is an Ethernet frame. That is what the relays of v86 and its relatives speak
 * (websockproxy, RelayInfra).
 *
 * ```ts
 * const backend = new WebSocketBackend({ url: 'wss://relay.widgetry.org/' });
 * const card = new NetDevice({ backend, mac: '52:54:00:12:34:56' });
 * ```
 *
 * The guest may leave checksums and segmentation to it; the relay gets complete frames. While the link is down the newest frames
 * are kept. Nothing that a relay sends throws or takes unbounded memory.
 */
export class WebSocketBackend implements NetBackend {
  readonly supports: NetOffloads = SOFTWARE_OFFLOADS;
  readonly #options: WebSocketOptions;
  readonly #make: (() => WebSocketLike) | undefined;
  readonly #bufferedMax: number;
  readonly #handshakeTimeout: number;
  readonly #backoff: Backoff;
  readonly #counters = new LinkCounters();
  readonly #offload = new SoftwareOffload();
  readonly #card: LinkCard;
  readonly #inbox: Inbox;
  /** Frames that were sent while the link was down: complete ones. */
  readonly #kept: FrameQueue;
  readonly #retry: Timer;
  readonly #handshake: Timer;
  readonly #poll: Timer;
  #socket: WebSocketLike | undefined;
  #closed = false;
  /** True while the card waits. */
  #refused = false;
  #troubled = false;

  /** @throws HostError that names the option */
  constructor(options: WebSocketOptions) {
    const { queueFrames = 256, queueBytes = 1 << 20, bufferedMax = 1 << 20, frameMax = FRAME_MAX } = options;
    const { handshakeTimeout = HANDSHAKE_TIMEOUT } = options;
    positive('frameMax', frameMax, FRAME_MIN, FRAME_MAX);
    positive('queueFrames', queueFrames, 1, 1 << 20);
    positive('queueBytes', queueBytes, QUEUE_BYTES_MIN, 1 << 30);
    this.#bufferedMax = positive('bufferedMax', bufferedMax, 1, 1 << 30);
    this.#handshakeTimeout = positive('handshakeTimeout', handshakeTimeout, 1, DAY);
    this.#options = options;
    this.#make = maker(options);
    this.#backoff = new Backoff(options.reconnect === false ? {} : options.reconnect);
    this.#card = new LinkCard(options.onEvent);
    this.#inbox = new Inbox(this.#card, this.#counters, frameMax, queueFrames, queueBytes);
    this.#kept = new FrameQueue(queueFrames, queueBytes);
    this.#retry = new Timer(() => this.#connect());
    this.#handshake = new Timer(() => this.#expired());
    this.#poll = new Timer(() => this.#look());
    this.#adopt(options.socket ?? this.#first());
  }

  /** Counters of what went over the link since it was made. */
  get counters(): Readonly<LinkCounters> {
    return this.#counters;
  }

  /** Counters of what was completed in software, as a relay takes complete frames only. */
  get offload(): Readonly<OffloadCounters> {
    return this.#offload.counters;
  }

  /** True if the relay is connected. */
  get up(): boolean {
    return this.#socket?.readyState === READY_STATE.OPEN;
  }

  /** Numbers of frames that wait for the card, and for the link. */
  get waiting(): { readonly rx: number; readonly tx: number } {
    return { rx: this.#inbox.waiting, tx: this.#kept.length };
  }

  /** Hangs up for good. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#retry.stop();
    this.#handshake.stop();
    this.#poll.stop();
    this.#kept.clear();
    this.#inbox.clear();
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    this.#tell({ name: 'down', reason: 'closed' });
    this.#look();
  }

  attach(port: NetPort): void {
    if (this.#card.attached) throw new HostError('a WebSocket link is for one card');
    this.#card.attach(port);
  }

  rxReady(): void {
    this.#inbox.ready();
  }

  send(packet: Packet): boolean {
    const socket = this.#socket;
    const open = socket?.readyState === READY_STATE.OPEN;
    if (open && socket.bufferedAmount > this.#bufferedMax) {
      this.#counters.txRefused++;
      this.#refused = true;
      this.#poll.start(POLL);
      return false;
    }
    const offload = this.#offload;
    for (let left = offload.open(packet); left > 0; left--) {
      if (open) {
        // an array for each frame: what a WebSocket was given is its own from then on
        const frame = new Uint8Array(offload.length);
        offload.write(frame);
        this.#sendFrame(socket, frame);
      } else if (this.#closed) this.#counters.txDropped++;
      else this.#keep();
    }
    offload.close();
    return true;
  }

  #sendFrame(socket: WebSocketLike, frame: Uint8Array<ArrayBuffer>): void {
    const counters = this.#counters;
    try {
      socket.send(frame);
    } catch (error) {
      counters.txDropped++;
      this.#trouble(reasonOf(error));
      return;
    }
    counters.txFrames++;
    counters.txBytes += frame.length;
  }

  /** Keeps a frame for when the link is up: the oldest ones go first if there is no room. */
  #keep(): void {
    const kept = this.#kept;
    while (!kept.pushNext(this.#offload, 0)) {
      this.#counters.txDropped++;
      kept.shift();
    }
  }

  /** Has the socket sent enough meanwhile? */
  #look(): void {
    if (!this.#refused) return;
    const socket = this.#socket;
    if (socket?.readyState === READY_STATE.OPEN && socket.bufferedAmount > this.#bufferedMax / 2) {
      this.#poll.start(POLL);
      return;
    }
    this.#refused = false;
    this.#card.txReady();
  }

  /** Makes the first socket. An address that the platform does not take at all is the program's mistake. */
  #first(): WebSocketLike {
    try {
      if (this.#make !== undefined) return this.#make();
    } catch (error) {
      throw new HostError(`url: ${this.#options.url}: ${reasonOf(error)}`);
    }
    throw new HostError('url or socket: one of them is needed');
  }

  #connect(): void {
    const make = this.#make;
    if (this.#closed || make === undefined) return;
    let socket: WebSocketLike;
    try {
      socket = make();
    } catch (error) {
      this.#down(reasonOf(error));
      return;
    }
    this.#adopt(socket);
  }

  #adopt(socket: WebSocketLike): void {
    this.#socket = socket;
    this.#troubled = false;
    let failure = '';
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => {
      if (this.#socket === socket) this.#take(data);
    });
    socket.addEventListener('error', ({ message }) => {
      failure = message ?? '';
    });
    socket.addEventListener('close', (event) => {
      if (this.#socket === socket) this.#down(closeReason(event, failure));
    });
    if (socket.readyState === READY_STATE.OPEN) this.#up(socket);
    else if (socket.readyState === READY_STATE.CONNECTING) {
      this.#handshake.start(this.#handshakeTimeout);
      socket.addEventListener('open', () => {
        if (this.#socket === socket) this.#up(socket);
      });
    } else this.#down('the WebSocket is closed');
  }

  /** Hangs up on whoever took the connection and does not answer. */
  #expired(): void {
    const socket = this.#socket;
    this.#down(`no answer to the handshake within ${this.#handshakeTimeout} ms`);
    socket?.close();
  }

  #up(socket: WebSocketLike): void {
    this.#handshake.stop();
    this.#counters.connects++;
    this.#backoff.up();
    this.#tell({ name: 'up', peer: this.#options.url ?? 'WebSocket' });
    for (let { head } = this.#kept; head !== undefined; { head } = this.#kept) {
      // the listener may have closed it
      if (this.#socket !== socket) return;
      this.#sendFrame(socket, head.bytes.slice());
      this.#kept.shift();
    }
  }

  #down(reason: string): void {
    this.#handshake.stop();
    this.#socket = undefined;
    const again = this.#make !== undefined && this.#options.reconnect !== false;
    if (again) {
      const retryIn = this.#backoff.next();
      this.#retry.start(retryIn);
      this.#tell({ name: 'down', reason, retryIn });
    } else {
      this.#closed = true;
      this.#kept.clear();
      this.#tell({ name: 'down', reason });
    }
    this.#look();
  }

  /** Takes a message of the relay. */
  #take(data: unknown): void {
    if (data instanceof ArrayBuffer) this.#inbox.take(new Uint8Array(data));
    else if (data instanceof Uint8Array) this.#inbox.take(data);
    else {
      this.#counters.rxMalformed++;
      this.#trouble(`a message that is not binary: ${typeof data}`);
    }
  }

  /** Tells of trouble once while the link is up: a relay could fill a log with it. */
  #trouble(reason: string): void {
    if (this.#troubled) return;
    this.#troubled = true;
    this.#tell({ name: 'trouble', reason });
  }

  #tell(event: LinkEvent): void {
    tell(this.#options.onEvent, event);
  }
}

/** Finds the function that makes sockets. @throws HostError that names the option */
function maker(options: WebSocketOptions): (() => WebSocketLike) | undefined {
  const { url, socket, protocols } = options;
  if (url !== undefined && socket !== undefined) throw new HostError('url and socket: one of them');
  if (url === undefined) return undefined;
  if (!/^wss?:\/\/[^/]/.test(url)) throw new HostError(`url: ${url}, ws://… or wss://… expected`);
  const Socket = options.WebSocket ?? platformSocket();
  if (Socket === undefined) throw new HostError('WebSocket: this platform has none; give that of a package');
  return () => new Socket(url, ...(protocols === undefined ? [] : [[...protocols]]));
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const REASON_MAX = 123;

function closeReason({ code, reason = '' }: SocketEvent, failure: string): string {
  const text = reason !== '' ? reason.slice(0, REASON_MAX) : failure;
  return [code === undefined ? 'closed' : `closed with code ${code}`, text].filter(Boolean).join(': ');
}

import dgram from 'node:dgram';
import { HostError } from '@virtkit/core';
import { Inbox } from '../link/inbox.ts';
import { LinkCard, tell } from '../link/listener.ts';
import { positive } from '../link/settings.ts';
import { FRAME_MAX, FRAME_MIN, LinkCounters, type LinkEvent, type LinkOptions } from '../link/types.ts';
import type { NetBackend, NetOffloads, NetPort, Packet } from '../live/backend.ts';
import { type OffloadCounters, SOFTWARE_OFFLOADS, SoftwareOffload } from '../offload/software.ts';

/** UDP endpoint; host: 127.0.0.1 if left out. */
interface Endpoint {
  readonly host?: string;
  readonly port: number;
}

/** Options of a datagram link. */
export interface DatagramOptions extends LinkOptions {
  /** Endpoint that QEMU sends to: its `remote`. Port 0: any. */
  readonly local: Endpoint;
  /** Endpoint where QEMU listens: its `local`. Nobody else is heard. */
  readonly remote: Endpoint;
  /** Number of frames kept for a guest without buffers; default 256. */
  readonly queueFrames?: number;
  /** Number of bytes kept for a guest without buffers; default 1 MiB. */
  readonly queueBytes?: number;
}

const HOST = '127.0.0.1';
/** Number of datagrams on their way out; with more, the card has to wait. */
const IN_FLIGHT_MAX = 64;
/** Length in bytes of the longest datagram over IPv4. */
const DATAGRAM_MAX = 65507;

/**
 * An Ethernet with a QEMU over UDP: a datagram is a frame. `-netdev dgram,local.type=inet,…,remote.type=inet,…`, and the older
 * `-netdev socket,udp=…,localaddr=…`.
 *
 * ```ts
 * const backend = await DatagramBackend.open({ local: { port: 5001 }, remote: { port: 5002 } });
 * // qemu-system-x86_64 -netdev dgram,id=n,local.type=inet,local.host=127.0.0.1,local.port=5002,
 * //   remote.type=inet,remote.host=127.0.0.1,remote.port=5001 …
 * ```
 *
 * The guest may leave checksums and segmentation to it; QEMU gets complete frames. Datagrams can be lost, as frames can. Node has no
 * datagrams over UNIX sockets (QEMU's `local.type=unix`).
 */
export class DatagramBackend implements NetBackend {
  readonly supports: NetOffloads = SOFTWARE_OFFLOADS;
  readonly #options: DatagramOptions;
  readonly #socket: dgram.Socket;
  readonly #counters = new LinkCounters();
  readonly #offload = new SoftwareOffload();
  readonly #card: LinkCard;
  readonly #inbox: Inbox;
  /** Arrays whose datagrams have gone out, for the next ones. */
  readonly #spare: Uint8Array[] = [];
  #inFlight = 0;
  #refused = false;
  #closed = false;
  #troubled = false;

  private constructor(options: DatagramOptions) {
    const { queueFrames = 256, queueBytes = 1 << 20, frameMax = FRAME_MAX, local, remote } = options;
    positive('frameMax', frameMax, FRAME_MIN, FRAME_MAX);
    positive('queueFrames', queueFrames, 1, 1 << 20);
    positive('queueBytes', queueBytes, 1, 1 << 30);
    positive('local.port', local.port, 0, 0xffff);
    positive('remote.port', remote.port, 1, 0xffff);
    this.#options = options;
    this.#card = new LinkCard(options.onEvent);
    this.#inbox = new Inbox(this.#card, this.#counters, frameMax, queueFrames, queueBytes);
    const ipv6 = (local.host ?? HOST).includes(':');
    this.#socket = dgram.createSocket(ipv6 ? 'udp6' : 'udp4');
  }

  /**
   * Opens the link: binds its local address. @throws HostError that names the option; what Node throws if the address
   * cannot be bound
   */
  static async open(options: DatagramOptions): Promise<DatagramBackend> {
    const backend = new DatagramBackend(options);
    await backend.#open();
    return backend;
  }

  async #open(): Promise<void> {
    const socket = this.#socket;
    const { local, remote } = this.#options;
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.bind(local.port, local.host ?? HOST, resolve);
      });
      // only the remote end is heard from now on, and its name was looked up once
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.connect(remote.port, remote.host ?? HOST, (...[error]: unknown[]) =>
          error === undefined || error === null ? resolve() : reject(error),
        );
      });
    } catch (error) {
      socket.close();
      throw error;
    }
    socket.removeAllListeners('error');
    socket.on('error', (error) => this.#trouble(error));
    socket.on('message', (bytes) => this.#inbox.take(bytes));
    this.#counters.connects++;
    this.#tell({ name: 'up', peer: `${remote.host ?? HOST}:${remote.port}` });
  }

  /** Number of the local port: with 0 the system has chosen one. */
  get localPort(): number {
    return this.#socket.address().port;
  }

  /** Counters of what went over the link since it was made. */
  get counters(): Readonly<LinkCounters> {
    return this.#counters;
  }

  /** Counters of what was completed in software, as datagrams are complete frames. */
  get offload(): Readonly<OffloadCounters> {
    return this.#offload.counters;
  }

  /** Number of frames that wait for the card. */
  get waiting(): number {
    return this.#inbox.waiting;
  }

  /** Ends the link; resolves when the socket is closed. Closing it once more does nothing. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox.clear();
    await new Promise<void>((resolve) => this.#socket.close(resolve));
    this.#tell({ name: 'down', reason: 'closed' });
    this.#ready();
  }

  attach(port: NetPort): void {
    if (this.#card.attached) throw new HostError('a datagram link is for one card');
    this.#card.attach(port);
  }

  rxReady(): void {
    this.#inbox.ready();
  }

  send(packet: Packet): boolean {
    if (this.#closed) {
      this.#counters.txDropped++;
      return true;
    }
    if (this.#inFlight >= IN_FLIGHT_MAX) {
      this.#counters.txRefused++;
      this.#refused = true;
      return false;
    }
    const offload = this.#offload;
    for (let left = offload.open(packet); left > 0; left--) {
      if (offload.length > DATAGRAM_MAX) {
        this.#counters.txDropped += left;
        this.#trouble(new Error(`a frame of ${offload.length} bytes is no datagram`));
        break;
      }
      this.#sendFrame();
    }
    offload.close();
    return true;
  }

  #sendFrame(): void {
    const counters = this.#counters;
    const { length } = this.#offload;
    const spare = this.#spare.pop();
    const bytes =
      spare !== undefined && spare.length >= length ? spare : new Uint8Array(Math.max(2048, length));
    this.#offload.write(bytes);
    const sent = (error: Error | null): void => {
      this.#inFlight--;
      if (bytes.length === 2048 && this.#spare.length < IN_FLIGHT_MAX) this.#spare.push(bytes);
      if (error === null) {
        counters.txFrames++;
        counters.txBytes += length;
        this.#troubled = false;
      } else {
        counters.txDropped++;
        this.#trouble(error);
      }
    };
    this.#inFlight++;
    try {
      this.#socket.send(bytes, 0, length, (error) => {
        sent(error);
        if (this.#inFlight <= IN_FLIGHT_MAX / 2) this.#ready();
      });
    } catch (error) {
      sent(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #ready(): void {
    if (!this.#refused) return;
    this.#refused = false;
    this.#card.txReady();
  }

  /** Tells of an error once, until something has gone out: nobody listens there, say. */
  #trouble(error: Error): void {
    if (this.#troubled || this.#closed) return;
    this.#troubled = true;
    this.#tell({ name: 'trouble', reason: error.message });
  }

  #tell(event: LinkEvent): void {
    tell(this.#options.onEvent, event);
  }
}

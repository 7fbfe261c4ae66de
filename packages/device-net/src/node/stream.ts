import type net from 'node:net';
import { HostError } from '@virtkit/core';
import { Backoff } from '../link/backoff.ts';
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
import { addressOf, checkAddress, dial, listen, peerOf, type StreamAddress, textOf } from './address.ts';
import { FrameReader } from './reader.ts';
import { FrameWriter } from './writer.ts';

/** Options of a link to a QEMU that listens: `-netdev stream,server=on`, `-netdev socket,listen=…`. */
export type ConnectOptions = LinkOptions & StreamAddress & { readonly reconnect?: ReconnectOptions | false };

/** Options of a link that QEMU connects to: `-netdev stream,server=off`, `-netdev socket,connect=…`. */
export type ListenOptions = LinkOptions & StreamAddress;

/** Source of a link's sockets. */
interface Source {
  /** Brings the next socket, if there will be one, since the link is down. Answers milliseconds, if they are known. */
  again?(): number | undefined;
  close(): Promise<void>;
}

/**
 * Ethernet with a QEMU at the other end of a TCP or UNIX socket: a frame is its length in four bytes, big-endian, and
 * its bytes.
 *
 * ```ts
 * const backend = await StreamBackend.listen({ port: 4444 });
 * const card = new NetDevice({ backend, mac: '52:54:00:12:34:56' });
 * // qemu-system-x86_64 -netdev stream,id=n,server=off,addr.type=inet,addr.host=127.0.0.1,addr.port=4444 -device virtio-net-pci,netdev=n
 * ```
 *
 * The guest may leave checksums and segmentation to it; QEMU gets complete frames. A guest without buffers makes QEMU
 * wait, and a slow QEMU makes the guest wait. While the link is down packets are lost, as with a cable that is not
 * plugged in.
 */
export class StreamBackend implements NetBackend {
  readonly supports: NetOffloads = SOFTWARE_OFFLOADS;
  readonly #options: LinkOptions;
  readonly #frameMax: number;
  readonly #card: LinkCard;
  readonly #counters = new LinkCounters();
  readonly #offload = new SoftwareOffload();
  #source: Source = { close: async () => {} };
  #address: StreamAddress | undefined;
  #connection: Connection | undefined;
  #refused = false;
  #closed = false;

  private constructor(options: LinkOptions) {
    this.#options = options;
    this.#card = new LinkCard(options.onEvent);
    this.#frameMax = positive('frameMax', options.frameMax ?? FRAME_MAX, FRAME_MIN, FRAME_MAX);
  }

  /**
   * Connects to a QEMU, and again whenever the connection is lost.
   *
   * @throws HostError that names the option
   */
  static connect(options: ConnectOptions): StreamBackend {
    checkAddress(options, 1);
    const backend = new StreamBackend(options);
    const backoff = new Backoff(options.reconnect === false ? {} : options.reconnect);
    let timer: NodeJS.Timeout | undefined;
    let dialled: net.Socket | undefined;
    const attempt = (): void => {
      const socket = dial(options);
      dialled = socket;
      const failed = (error: Error): void => backend.#down(error.message);
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.off('error', failed);
        backoff.up();
        backend.#adopt(socket, textOf(options));
      });
    };
    backend.#source = {
      again: () => {
        if (options.reconnect === false) return undefined;
        const delay = backoff.next();
        timer = setTimeout(attempt, delay);
        return delay;
      },
      close: async () => {
        clearTimeout(timer);
        dialled?.destroy();
      },
    };
    attempt();
    return backend;
  }

  /**
   * Waits for a QEMU to connect, and for the next one when it is gone.
   *
   * @throws HostError that names the option; what Node throws if the address cannot be listened on
   */
  static async listen(options: ListenOptions): Promise<StreamBackend> {
    const backend = new StreamBackend(options);
    const server = await listen(options, (socket) => {
      if (backend.#connection === undefined && !backend.#closed) backend.#adopt(socket, peerOf(socket));
      else {
        backend.#tell({ name: 'refused', peer: peerOf(socket) });
        socket.on('error', () => {});
        socket.destroy();
      }
    });
    server.on('error', (error) => backend.#tell({ name: 'trouble', reason: error.message }));
    backend.#address = addressOf(server);
    backend.#source = { close: () => new Promise((resolve) => server.close(() => resolve())) };
    return backend;
  }

  /**
   * Makes a link over a socket, or any other byte stream, that is connected: TLS, say. When it ends, so does the link.
   */
  static over(socket: net.Socket, options: LinkOptions = {}): StreamBackend {
    const backend = new StreamBackend(options);
    backend.#source = {
      close: async () => {
        backend.#closed = true;
      },
    };
    backend.#adopt(socket, peerOf(socket));
    return backend;
  }

  /** Address where the link listens: with port 0 the system has chosen one. */
  get address(): StreamAddress | undefined {
    return this.#address;
  }

  /** Counters of what went over the link since it was made. */
  get counters(): Readonly<LinkCounters> {
    return this.#counters;
  }

  /** Counters of what was completed in software, as the stream has complete frames. */
  get offload(): Readonly<OffloadCounters> {
    return this.#offload.counters;
  }

  /** True if the other side is connected. */
  get up(): boolean {
    return this.#connection !== undefined;
  }

  /** Hangs up for good. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const connection = this.#connection;
    const done = this.#source.close();
    if (connection === undefined) this.#tell({ name: 'down', reason: 'closed' });
    else connection.end('closed');
    await done;
  }

  attach(port: NetPort): void {
    if (this.#card.attached) throw new HostError('a stream is for one card');
    this.#card.attach(port);
  }

  rxReady(): void {
    this.#connection?.proceed();
  }

  send(packet: Packet): boolean {
    const counters = this.#counters;
    const writer = this.#connection?.writer;
    if (writer === undefined) {
      counters.txDropped++;
      return true;
    }
    if (!writer.hasRoom(packet.length)) {
      counters.txRefused++;
      this.#refused = true;
      return false;
    }
    const offload = this.#offload;
    const frames = offload.open(packet);
    if (frames === 0) return true;
    const { total } = offload;
    const lost = writer.put(offload);
    counters.txFrames += frames - lost;
    counters.txBytes += total - offload.total;
    counters.txDropped += lost;
    offload.close();
    return true;
  }

  #adopt(socket: net.Socket, peer: string): void {
    this.#counters.connects++;
    const connection = new Connection(socket, this.#frameMax, {
      frame: (bytes) => this.#frame(bytes),
      ready: () => this.#ready(),
      end: (reason) => {
        if (this.#connection !== connection) return;
        this.#connection = undefined;
        this.#down(reason);
      },
    });
    this.#connection = connection;
    this.#tell({ name: 'up', peer });
  }

  #frame(bytes: Uint8Array): boolean {
    const counters = this.#counters;
    if (bytes.length < FRAME_MIN) {
      counters.rxMalformed++;
      return true;
    }
    if (this.#card.attached) {
      const taken = this.#card.receive(bytes);
      if (taken === false) return false;
      if (taken === undefined) counters.rxDropped++;
    } else counters.rxDropped++;
    counters.rxFrames++;
    counters.rxBytes += bytes.length;
    return true;
  }

  /** Lets the card go on: there is room, or nobody who would want its packets. */
  #ready(): void {
    if (!this.#refused) return;
    this.#refused = false;
    this.#card.txReady();
  }

  #down(reason: string): void {
    const retryIn = this.#closed ? undefined : this.#source.again?.();
    this.#tell({ name: 'down', reason, ...(retryIn !== undefined && { retryIn }) });
    this.#ready();
  }

  #tell(event: LinkEvent): void {
    tell(this.#options.onEvent, event);
  }
}

interface Ends {
  /** Takes a frame of the other side. Does not throw. */
  frame(bytes: Uint8Array): boolean;
  ready(): void;
  /** Is told once that the connection has ended. */
  end(reason: string): void;
}

/** Connection of a link: a socket, while it lives. */
class Connection {
  readonly writer: FrameWriter;
  readonly #socket: net.Socket;
  readonly #reader: FrameReader;
  readonly #ends: Ends;
  /** True while a frame waits for the card. */
  #waiting = false;
  /** True while the reader is at work; {@link #again} tells that the card has become ready meanwhile. */
  #reading = false;
  #again = false;
  #over = false;

  constructor(socket: net.Socket, frameMax: number, ends: Ends) {
    this.#socket = socket;
    this.#ends = ends;
    this.writer = new FrameWriter(socket, () => ends.ready());
    this.#reader = new FrameReader({ max: frameMax, frame: (bytes) => this.#frame(bytes) });
    let failure: Error | undefined;
    socket.on('data', (chunk: Buffer) => this.#read(() => this.#reader.push(chunk)));
    socket.on('error', (error: Error) => {
      failure = error;
    });
    socket.on('close', () => this.end(failure?.message ?? this.#endReason()));
  }

  /** Goes on, since the card may have buffers. */
  proceed(): void {
    this.#again = true;
    if (this.#waiting && !this.#reading) this.#read(() => this.#reader.proceed());
  }

  end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.destroy();
    this.#ends.end(reason);
  }

  #endReason(): string {
    return this.#reader.partial
      ? 'the other end has closed in the middle of a frame'
      : 'the other end has closed';
  }

  /** Gives the card a frame, and once more if the card has become ready while it refused. */
  #frame(bytes: Uint8Array): boolean {
    if (this.#over) return true;
    do {
      this.#again = false;
      if (this.#ends.frame(bytes)) return true;
    } while (this.#again);
    return false;
  }

  #read(step: () => 'all' | 'wait' | number): void {
    if (this.#over) return;
    this.#reading = true;
    let result: ReturnType<typeof step>;
    try {
      result = step();
    } finally {
      this.#reading = false;
    }
    if (typeof result === 'number') {
      this.end(`a frame of ${result} bytes is announced: this is no stream of frames, or not any more`);
      return;
    }
    if (result === 'wait') this.#socket.pause();
    else if (this.#waiting) this.#socket.resume();
    this.#waiting = result === 'wait';
  }
}

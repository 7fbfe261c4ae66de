import type net from 'node:net';
import { HostError } from '@virtkit/core';
import { connect } from '../link/cable.ts';
import { tell } from '../link/listener.ts';
import { positive } from '../link/settings.ts';
import { FRAME_MAX, FRAME_MIN, type LinkEvent, type LinkOptions } from '../link/types.ts';
import type { NetSwitch, SwitchPort } from '../switch/switch.ts';
import { addressOf, listen, peerOf, type StreamAddress } from './address.ts';
import { StreamBackend } from './stream.ts';

/** Options of a server. Events name the QEMU that they are about. */
export type StreamServerOptions = Omit<LinkOptions, 'onEvent'> &
  StreamAddress & {
    /** Number of QEMUs at a time; default 64. */
    readonly connections?: number;
    readonly onEvent?: (event: LinkEvent, peer: string) => void;
  };

const CONNECTIONS = 64;
const CONNECTIONS_MAX = 65536;

/**
 * Server that gives each QEMU that connects a port of a switch, until it goes.
 *
 * ```ts
 * const server = await StreamServer.listen(lan, { port: 4444 });
 * // any number of: qemu-system-x86_64 -netdev stream,id=n,server=off,addr.type=inet,addr.host=127.0.0.1,addr.port=4444 …
 * ```
 */
export class StreamServer {
  readonly #lan: Pick<NetSwitch, 'port'>;
  readonly #options: StreamServerOptions;
  readonly #links = new Map<StreamBackend, SwitchPort>();
  #server: net.Server | undefined;
  #closed = false;

  private constructor(lan: Pick<NetSwitch, 'port'>, options: StreamServerOptions) {
    positive('connections', options.connections ?? CONNECTIONS, 1, CONNECTIONS_MAX);
    positive('frameMax', options.frameMax ?? FRAME_MAX, FRAME_MIN, FRAME_MAX);
    this.#lan = lan;
    this.#options = options;
  }

  /**
   * Begins to listen. @throws HostError that names the option; what Node throws if the address cannot be listened on
   */
  static async listen(lan: Pick<NetSwitch, 'port'>, options: StreamServerOptions): Promise<StreamServer> {
    const made = new StreamServer(lan, options);
    const server = await listen(options, (socket) => made.#accept(socket));
    server.on('error', (error) => made.#tell({ name: 'trouble', reason: error.message }, ''));
    made.#server = server;
    return made;
  }

  /** Address where the server listens: with port 0 the system has chosen one. */
  get address(): StreamAddress {
    if (this.#server === undefined) throw new HostError('the server does not listen any more');
    return addressOf(this.#server);
  }

  /** Links of the QEMUs that are connected, with their counters. */
  get links(): readonly StreamBackend[] {
    return [...this.#links.keys()];
  }

  /** Hangs up on all QEMUs, and frees the address. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const server = this.#server;
    this.#server = undefined;
    const done = new Promise<void>((resolve) =>
      server === undefined ? resolve() : server.close(() => resolve()),
    );
    await Promise.all(this.links.map((link) => link.close()));
    await done;
  }

  #accept(socket: net.Socket): void {
    const { frameMax, connections = CONNECTIONS } = this.#options;
    const peer = peerOf(socket);
    if (this.#closed || this.#links.size >= connections) {
      socket.on('error', () => {});
      socket.destroy();
      this.#tell({ name: 'refused', peer }, peer);
      return;
    }
    const port = this.#lan.port();
    const link = StreamBackend.over(socket, {
      ...(frameMax !== undefined && { frameMax }),
      onEvent: (event) => {
        if (event.name === 'down') {
          this.#links.delete(link);
          port.close();
        }
        this.#tell(event, peer);
      },
    });
    this.#links.set(link, port);
    connect(port, link);
    // a listener may have closed the server when it was told
    if (this.#closed) void link.close();
  }

  #tell(event: LinkEvent, peer: string): void {
    tell((told: LinkEvent) => this.#options.onEvent?.(told, peer), event);
  }
}

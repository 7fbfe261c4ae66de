import { type DeviceEvent, type DeviceModel, HostError, type LiveDevice } from '@virtkit/core';
import { connectTo, Listener, linux, SystemCallError } from '@virtkit/linux';
import { Connection, type Ending } from './connection.ts';
import { VhostUserDevice, type VhostUserDeviceOptions } from './device.ts';
import type { VhostUserParts } from './layer.ts';

/** Options of a served device. */
export interface ServeOptions extends VhostUserDeviceOptions {
  /** Path of the UNIX socket, at most 107 bytes. */
  readonly path: string;
  /**
   * Role of this side. `server` (the default): listens there, and takes one front end after the other. `client`:
   * connects to a front end that listens there (QEMU's `-chardev socket,server=on`), again and again.
   */
  readonly mode?: 'server' | 'client';
  /** Milliseconds until the next try of a client to connect; default 1000. */
  readonly reconnectMs?: number;
}

/** Front end that is connected. */
export interface FrontEndInfo {
  /** Protocol features that the front end has taken. */
  readonly protocolFeatures: bigint;
  /** Number of regions of guest memory that the front end shows. */
  readonly regions: number;
  /** Number of bytes of guest memory that the front end shows, in all regions together. */
  readonly memoryBytes: number;
  /**
   * True if the front end could make its memory, its log or its list of chains in flight disappear under this process (no
   * seal on a file). See "Security" in the README.
   */
  readonly shrinkable: boolean;
}

/**
 * Serves a device to the front ends that come to a socket.
 *
 * @param model a device type that is attached to nothing yet
 * @throws SystemCallError if there cannot be a socket of that name; HostError for options that make no sense
 */
export function serveVhostUser<D>(model: DeviceModel<D>, options: ServeOptions): VhostUserServer<D> {
  return new VhostUserServer(model, options);
}

/**
 * Server of a device, with the socket where front ends find it. It lives in the event loop of the thread that made it:
 * while no front end wants something, it costs nothing.
 */
export class VhostUserServer<D = unknown> {
  /** Device as the host program sees it. What the front end has set up in it goes when the front end goes. */
  readonly device: LiveDevice<VhostUserParts, D>;
  /** Path of the socket. */
  readonly path: string;
  readonly #behind: VhostUserDevice<D>;
  readonly #options: ServeOptions;
  #listener: Listener | undefined;
  #connection: Connection | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #open = true;
  #served = 0;

  constructor(model: DeviceModel<D>, options: ServeOptions) {
    const { path, mode = 'server', reconnectMs = 1000 } = options;
    if (!(reconnectMs >= 1)) throw new HostError(`reconnectMs: ${reconnectMs} is no time to wait`);
    this.path = path;
    this.#options = options;
    if (mode === 'server') this.#listener = new Listener(path);
    this.#behind = new VhostUserDevice(model, linux, options);
    this.device = this.#behind.device;
    if (mode === 'server') this.#awaitFrontEnd();
    else this.#connect();
  }

  /** Number of front ends that have come so far. */
  get served(): number {
    return this.#served;
  }

  /** Front end that is connected now. */
  get frontEnd(): FrontEndInfo | undefined {
    if (this.#connection === undefined) return undefined;
    const { memory } = this.#behind;
    return {
      protocolFeatures: this.#connection.session.protocolFeatures,
      regions: memory.count,
      memoryBytes: memory.size,
      shrinkable: memory.shrinkable,
    };
  }

  /** Sends the front end away, if there is one, and takes no other. Back ends are the host program's to close, after `device.idle()`. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#listener?.close();
  }

  /** Waits for the next front end, which waits until the one before has gone. */
  #awaitFrontEnd(): void {
    this.#listener?.accept((fd) => this.#serve(fd));
  }

  #connect(): void {
    try {
      this.#serve(connectTo(this.path));
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#connectLater();
    }
  }

  #connectLater(): void {
    this.#timer = setTimeout(() => this.#connect(), this.#options.reconnectMs ?? 1000);
  }

  #serve(fd: number): void {
    this.#served++;
    this.#tell('front-end');
    this.#connection = new Connection(fd, this.#behind, (ending) => this.#ended(ending));
  }

  #ended({ name, reason, facts }: Ending): void {
    this.#connection = undefined;
    if (name !== 'closed')
      this.#tell(name, { ...(reason !== undefined && { reason }), ...(facts !== undefined && { facts }) });
    if (!this.#open) return;
    if (this.#listener === undefined) this.#connectLater();
    else this.#awaitFrontEnd();
  }

  #tell(name: string, more: Partial<DeviceEvent> = {}): void {
    this.#options.onEvent?.({ name, device: this.device.layers.device.name, ...more });
  }
}

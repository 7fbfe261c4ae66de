import type { DeviceEvent, DeviceModel, LiveDevice } from '@virtkit/core';
import { Listener, linux } from '@virtkit/linux';
import type { PciParts } from '@virtkit/transport-pci';
import { Connection, type Ending } from './connection.ts';
import { VfioUserDevice, type VfioUserDeviceOptions } from './device.ts';

/** Options of a served device. */
export interface ServeOptions extends VfioUserDeviceOptions {
  /** Path of the UNIX socket, at most 107 bytes. */
  readonly path: string;
}

/** Client that is connected. */
export interface ClientInfo {
  /** Number of regions of guest memory that the device can reach. */
  readonly regions: number;
  /** Number of bytes of guest memory that the device can reach, in all regions together. */
  readonly memoryBytes: number;
  /**
   * Number of bytes that the client has, and for which it has sent no file: the device cannot reach them. QEMU:
   * `share=on` is missing.
   */
  readonly unreachableBytes: number;
  /**
   * True if the client could make its memory disappear under this process (no seal on the file). See "Security" in the
   * README.
   */
  readonly shrinkable: boolean;
}

/**
 * Serves a device as a PCI function to the clients that come to a socket.
 *
 * @param model a device type that is attached to nothing yet
 * @throws SystemCallError if there cannot be a socket of that name; HostError for options that make no sense
 */
export function serveVfioUser<D>(model: DeviceModel<D>, options: ServeOptions): VfioUserServer<D> {
  return new VfioUserServer(model, options);
}

/**
 * Server of a PCI function, with the socket where clients find it, one after the other. It lives in the event loop of
 * the thread that made it: while no client wants something, it costs nothing.
 */
export class VfioUserServer<D = unknown> {
  /** Device as the host program sees it. What a client's guest has set up in it goes when the client goes. */
  readonly device: LiveDevice<PciParts, D>;
  /** Path of the socket. */
  readonly path: string;
  readonly #behind: VfioUserDevice<D>;
  readonly #options: ServeOptions;
  readonly #listener: Listener;
  #connection: Connection | undefined;
  #open = true;
  #served = 0;

  constructor(model: DeviceModel<D>, options: ServeOptions) {
    const { path, ...shape } = options;
    this.path = path;
    this.#options = options;
    this.#behind = new VfioUserDevice(model, linux, shape);
    this.device = this.#behind.device;
    this.#listener = new Listener(path);
    this.#awaitClient();
  }

  /** Number of clients that have come so far. */
  get served(): number {
    return this.#served;
  }

  /** Client that is connected now. */
  get client(): ClientInfo | undefined {
    if (this.#connection === undefined) return undefined;
    const { count, size, shrinkable, unreachableBytes } = this.#behind.memory;
    return { regions: count, memoryBytes: size, unreachableBytes, shrinkable };
  }

  /** Sends the client away, if there is one, and takes no other. Back ends are the host program's to close, after `device.idle()`. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#connection?.close();
    this.#listener.close();
  }

  /** Waits for the next client, which waits until the one before has gone. */
  #awaitClient(): void {
    this.#listener.accept((fd) => {
      this.#served++;
      this.#tell('client');
      this.#connection = new Connection(fd, this.#behind, {
        ended: (ending) => this.#ended(ending),
        refused: ({ message, facts }) => this.#tell('client-refused', { reason: message, facts }),
      });
    });
  }

  #ended({ name, reason, facts }: Ending): void {
    this.#connection = undefined;
    if (name !== 'closed')
      this.#tell(name, { ...(reason !== undefined && { reason }), ...(facts !== undefined && { facts }) });
    if (this.#open) this.#awaitClient();
  }

  #tell(name: string, more: Partial<DeviceEvent> = {}): void {
    this.#options.onEvent?.({ name, device: this.device.layers.device.name, ...more });
  }
}

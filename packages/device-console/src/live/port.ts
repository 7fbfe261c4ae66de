import { type DeviceHost, HostError } from '@virtkit/core/live';
import type { GuestPort, PortBackend } from './backend.ts';
import { Input } from './input.ts';
import { type ConsoleSize, checkSize, nameBytes, type PortOptions } from './options.ts';
import { Output } from './output.ts';

/** Device as its ports see it. */
export interface PortOwner {
  readonly defer: (proceed: () => void) => void;
  /** Is told that {@link Port.hostConnected} has changed: the guest is to be told. */
  hostChanged(port: Port): void;
  /** Is told that the window has another size. */
  sizeChanged(port: Port): void;
}

/**
 * Finds the numbers of a port's queues: those of port 0 stand in front of the control queues, the others behind. Virtio
 * 1.3 §5.3.2
 */
export function queuesOf(id: number): { readonly input: number; readonly output: number } {
  const input = id === 0 ? 0 : 2 * id + 2;
  return { input, output: input + 1 };
}

/** Live port. QEMU: `VirtIOSerialPort`. */
export class Port implements GuestPort {
  readonly id: number;
  readonly name: string | undefined;
  /** Bytes of {@link name} in UTF-8. */
  readonly nameBytes: Uint8Array | undefined;
  readonly isConsole: boolean;
  readonly backend: PortBackend;
  readonly input: Input;
  readonly output: Output;
  readonly #owner: PortOwner;
  #guestConnected = false;
  #hostConnected: boolean;
  #size: ConsoleSize | undefined;
  /** True if the port is no longer part of its device. */
  #unplugged = false;
  /** Value of {@link hostConnected} that the guest was told last, if there is something newer that it has not heard. */
  toldHostConnected: boolean;

  /** @throws HostError that names the option */
  constructor(id: number, options: PortOptions, owner: PortOwner) {
    const { backend, console = false, name, open = true, size } = options;
    if (typeof backend?.write !== 'function') throw new HostError('backend: it has no function write');
    if (id === 0 && !console) throw new HostError('id: port 0 is for a console');
    if (size !== undefined && !console) throw new HostError('size: the port is no console');
    this.id = id;
    this.name = name;
    this.nameBytes = name === undefined ? undefined : nameBytes(name);
    this.isConsole = console;
    this.backend = backend;
    this.#hostConnected = open;
    this.toldHostConnected = open;
    this.#size = size === undefined ? undefined : checkSize(size);
    this.#owner = owner;
    const { input, output } = queuesOf(id);
    this.input = new Input(input);
    this.output = new Output(output, backend, open, owner.defer);
  }

  attach(host: DeviceHost): void {
    this.input.attach(host);
    this.output.attach(host);
  }

  get guestConnected(): boolean {
    return this.#guestConnected;
  }

  get hostConnected(): boolean {
    return this.#hostConnected;
  }

  get size(): ConsoleSize | undefined {
    return this.#size;
  }

  send(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
    if (
      !(Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end && end <= bytes.length)
    )
      throw new HostError(`bytes ${start} to ${end} of ${bytes.length}`);
    if (this.#unplugged) return 0;
    if (this.#guestConnected && this.#hostConnected) return this.input.send(bytes, start, end);
    if (end > start) this.input.refuse();
    return 0;
  }

  ready(): void {
    if (!this.#unplugged) this.output.ready();
  }

  open(): void {
    if (this.#hostConnected || this.#unplugged) return;
    this.#hostConnected = true;
    this.output.open();
    this.#owner.hostChanged(this);
    this.mayWrite();
  }

  close(): void {
    if (!this.#hostConnected || this.#unplugged) return;
    this.#hostConnected = false;
    this.#owner.hostChanged(this);
    this.output.close();
  }

  resize(columns: number, rows: number): void {
    if (!this.isConsole) throw new HostError('resize: the port is no console');
    this.#size = checkSize({ columns, rows });
    if (!this.#unplugged) this.#owner.sizeChanged(this);
  }

  /** Notes that the guest says that it has the port open, or not any more. */
  setGuestConnected(open: boolean): void {
    if (open === this.#guestConnected) return;
    this.#guestConnected = open;
    this.backend.guestConnected?.(open);
    if (open) this.mayWrite();
  }

  /** Takes over what a state says of the guest's end. The back end is told when the machine goes on. */
  restoreGuestConnected(open: boolean): void {
    this.#guestConnected = open;
  }

  /** Tells the back end, if it was refused, that there may be room. */
  mayWrite(): void {
    if (this.input.takeRefused()) this.backend.guestWritable?.();
  }

  /** Ends the port. */
  unplug(): void {
    this.output.close();
    this.#unplugged = true;
    this.setGuestConnected(false);
  }
}

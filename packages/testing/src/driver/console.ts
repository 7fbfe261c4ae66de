import type { Used } from '../ring/ring.ts';
import { bits, DriverError, has } from '../spec.ts';
import { type DriverSetup, VirtioDriver } from './virtio.ts';

const CONSOLE_ID = 3;
/** Feature bits of a console device. Virtio 1.3 §5.3.3 */
export const CONSOLE_F = { SIZE: 0, MULTIPORT: 1, EMERG_WRITE: 2 } as const;
/** Features that {@link ConsoleDriver} knows. */
export const CONSOLE_DRIVER_FEATURES = bits(...Object.values(CONSOLE_F));
/** Events of control messages. Virtio 1.3 §5.3.6.2 */
export const CONSOLE_EVENT = {
  deviceReady: 0,
  portAdd: 1,
  portRemove: 2,
  portReady: 3,
  consolePort: 4,
  resize: 5,
  portOpen: 6,
  portName: 7,
} as const;

const CONTROL_IN = 2;
const CONTROL_OUT = 3;
const CONTROL_BYTES = 8;
/** Length in bytes of a buffer for a control message: with the longest name that devices here have. */
const CONTROL_ROOM = 64;
/** Byte that fills a receive buffer which the device has not written to. */
const BLANK = 0xa5;

/** Control message of the device. */
export interface ControlMessage {
  /** Number of the port. */
  readonly id: number;
  /** Event that the message tells of. Virtio 1.3 §5.3.6.2 */
  readonly event: number;
  /** Value of the message, which depends on the event. */
  readonly value: number;
  /** Bytes behind the message. */
  readonly tail: Uint8Array;
}

/** Port as the driver knows it. */
export interface DriverPort {
  /** Number of the port. */
  readonly id: number;
  /** True for a terminal: the device has said so; without MULTIPORT port 0 is one. */
  console: boolean;
  /** Name that the device has told; undefined: none was told. */
  name: string | undefined;
  /** True if the host has the port open. */
  hostOpen: boolean;
  /** Bytes that have arrived, all of them. */
  readonly received: number[];
}

/** Bytes on their way out. */
export interface Written {
  /** Number of the port. */
  readonly port: number;
  /** Bytes that are written. */
  readonly bytes: Uint8Array;
  /** True if the device has given the buffer back. */
  done: boolean;
}

interface Buffer {
  readonly queue: number;
  readonly at: number;
  readonly length: number;
  readonly written?: Written;
}

/** Options of a console driver. */
export interface ConsoleDriverOptions {
  /** Number of ports that the driver sets up queues for, if the device has as many; default 4. */
  readonly ports?: number;
  /** Number of receive buffers of a port; default 4. */
  readonly rxBuffers?: number;
  /** Length of a receive buffer in bytes; default 64. */
  readonly rxBytes?: number;
  /** Length in bytes of a segment of what is written; default: all in one. */
  readonly segment?: number;
}

/** Finds the queues of a port. Virtio 1.3 §5.3.2 */
export function consoleQueues(port: number): { readonly input: number; readonly output: number } {
  const input = port === 0 ? 0 : 2 * port + 2;
  return { input, output: input + 1 };
}

/** Guest driver for virtio-console, with MULTIPORT and without. Virtio 1.3 §5.3 */
export class ConsoleDriver {
  /** Part of the driver that all device types have. */
  readonly virtio: VirtioDriver;
  readonly #options: ConsoleDriverOptions;
  /** Ports that the device has told of, by number. */
  readonly ports = new Map<number, DriverPort>();
  /** Messages of the device about its ports, in order. */
  readonly messages: ControlMessage[] = [];
  readonly #waiting: Written[] = [];
  readonly #inFlight = new Set<Buffer>();
  readonly #pool: Buffer[] = [];
  /** Control messages that wait for room in their ring. */
  readonly #toSay: Uint8Array[] = [];
  /** Number of ports that the device can have; 1 without MULTIPORT. */
  maxPorts = 1;
  /** Number of interrupts for a change of the configuration so far. */
  configChanges = 0;

  constructor(setup: DriverSetup, options: ConsoleDriverOptions = {}) {
    this.#options = options;
    this.virtio = new VirtioDriver(
      { features: CONSOLE_DRIVER_FEATURES, ...setup },
      { used: (queue, used) => this.#used(queue, used), configChanged: () => void this.configChanges++ },
    );
  }

  /** True if MULTIPORT is negotiated: there are several ports, and control queues. */
  get multiport(): boolean {
    return has(this.virtio.features, CONSOLE_F.MULTIPORT);
  }

  /** Finds the device. @throws DriverError if it is of another type */
  probe(): void {
    this.virtio.probe(CONSOLE_ID);
  }

  /**
   * Brings the device up, from reset to running; what was in flight does not come back. Ports stay known, with what
   * they have received.
   */
  start(): void {
    const { virtio } = this;
    this.#waiting.length = 0;
    this.#toSay.length = 0;
    this.#pool.length = 0;
    this.#inFlight.clear();
    virtio.negotiate();
    this.maxPorts = this.multiport ? this.u32(4) : 1;
    const count = Math.min(this.maxPorts, this.#options.ports ?? 4);
    for (let port = 0; port < count; port++) {
      const { input, output } = consoleQueues(port);
      virtio.addQueue(input);
      virtio.addQueue(output);
      if (port === 0 && this.multiport) {
        virtio.addQueue(CONTROL_IN);
        virtio.addQueue(CONTROL_OUT);
      }
    }
    if (!this.multiport) this.#makePort(0).console = true;
    for (const [queue] of virtio.rings) if (queue % 2 === 0) this.#fill(queue);
    virtio.ready();
    for (const [queue] of virtio.rings) if (queue % 2 === 0) virtio.kick(queue);
    if (this.multiport) this.say(0, CONSOLE_EVENT.deviceReady, 1);
  }

  /** Number of writes and messages that the device has not taken. */
  get pending(): number {
    return (
      [...this.#inFlight].filter(({ queue }) => queue % 2 === 1).length +
      this.#waiting.length +
      this.#toSay.length
    );
  }

  /** Reads a 16-bit field of the configuration space. */
  u16(offset: number): number {
    return this.#config(offset, 2).getUint16(0, this.virtio.littleEndian);
  }

  /** Reads a 32-bit field of the configuration space. */
  u32(offset: number): number {
    return this.#config(offset, 4).getUint32(0, this.virtio.littleEndian);
  }

  /** Writes to a port. */
  write(port: number, bytes: Uint8Array): Written {
    const written: Written = { port, bytes, done: false };
    if (this.#waiting.some((other) => other.port === port) || !this.#transmit(written))
      this.#waiting.push(written);
    else this.virtio.kick(consoleQueues(port).output);
    return written;
  }

  /** Sends a control message. */
  say(id: number, event: number, value: number): void {
    const bytes = new Uint8Array(CONTROL_BYTES);
    const view = new DataView(bytes.buffer);
    const { littleEndian } = this.virtio;
    view.setUint32(0, id, littleEndian);
    view.setUint16(4, event, littleEndian);
    view.setUint16(6, value, littleEndian);
    this.sayBytes(bytes);
  }

  /** Sends any bytes as a control message. */
  sayBytes(bytes: Uint8Array): void {
    this.#toSay.push(bytes);
    this.#sayWaiting();
  }

  /** Writes a character by way of the configuration space: EMERG_WRITE. */
  emergency(character: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, character, this.virtio.littleEndian);
    this.virtio.transport.setConfig(8, bytes);
  }

  /** Handles interrupts, refills receive queues, and writes what waited for room. */
  service(): number {
    const count = this.virtio.service();
    for (const [queue] of this.virtio.rings) {
      if (queue % 2 !== 0) continue;
      this.#fill(queue);
      this.virtio.kick(queue);
    }
    for (const written of [...this.#waiting]) {
      if (this.#waiting.find(({ port }) => port === written.port) !== written || !this.#transmit(written))
        continue;
      this.#waiting.splice(this.#waiting.indexOf(written), 1);
      this.virtio.kick(consoleQueues(written.port).output);
    }
    this.#sayWaiting();
    return count;
  }

  /** Resets one queue and sets it up anew. Answers the writes that may not have been done. */
  resetQueue(queue: number): Written[] {
    this.virtio.resetQueue(queue);
    const lost: Written[] = [];
    for (const buffer of this.#inFlight) {
      if (buffer.queue !== queue) continue;
      this.#inFlight.delete(buffer);
      if (buffer.written !== undefined) lost.push(buffer.written);
    }
    if (queue % 2 === 0) {
      this.#fill(queue);
      this.virtio.kick(queue);
    }
    return lost;
  }

  #config(offset: number, length: number): DataView {
    const bytes = this.virtio.transport.config(offset, length);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #makePort(id: number): DriverPort {
    const known = this.ports.get(id);
    if (known !== undefined) return known;
    const port: DriverPort = { id, console: false, name: undefined, hostOpen: false, received: [] };
    this.ports.set(id, port);
    return port;
  }

  /** Takes memory for a buffer; undefined if it has to wait for what others have. */
  #take(queue: number, length: number): { readonly at: number; readonly length: number } | undefined {
    const index = this.#pool.findIndex((buffer) => buffer.length >= length && buffer.queue === queue);
    const [again] = index < 0 ? [] : this.#pool.splice(index, 1);
    if (again !== undefined) return again;
    if (!this.virtio.memory.fits(length)) return undefined;
    return { at: this.virtio.memory.alloc(length), length };
  }

  #fill(queue: number): void {
    const ring = this.virtio.ring(queue);
    const control = queue === CONTROL_IN;
    const length = control ? CONTROL_ROOM : (this.#options.rxBytes ?? 64);
    const wanted = Math.min(control ? 32 : (this.#options.rxBuffers ?? 4), ring.addresses.size);
    while (ring.outstanding < wanted) {
      const room = this.#take(queue, length);
      if (room === undefined) return;
      const buffer: Buffer = { queue, at: room.at, length: room.length };
      this.virtio.ram.fill(buffer.at, length, BLANK);
      if (!this.virtio.add(queue, [{ address: buffer.at, length, writable: true }], buffer)) {
        this.#pool.push(buffer);
        return;
      }
      this.#inFlight.add(buffer);
    }
  }

  #transmit(written: Written): boolean {
    return this.#out(consoleQueues(written.port).output, written.bytes, written);
  }

  #out(queue: number, bytes: Uint8Array, written?: Written): boolean {
    const { length } = bytes;
    const room = this.#take(queue, length);
    if (room === undefined) return false;
    const buffer: Buffer = { queue, ...room, ...(written !== undefined && { written }) };
    this.virtio.ram.write(buffer.at, bytes);
    const segment = this.#options.segment ?? length;
    const pieces = Array.from({ length: Math.ceil(length / segment) }, (_, i) => ({
      address: buffer.at + i * segment,
      length: Math.min(segment, length - i * segment),
      writable: false,
    }));
    if (!this.virtio.add(queue, pieces, buffer)) {
      this.#pool.push(buffer);
      return false;
    }
    this.#inFlight.add(buffer);
    return true;
  }

  #sayWaiting(): void {
    let said = false;
    for (
      let next = this.#toSay[0];
      next !== undefined && this.#out(CONTROL_OUT, next);
      next = this.#toSay[0]
    ) {
      said = true;
      this.#toSay.shift();
    }
    if (said) this.virtio.kick(CONTROL_OUT);
  }

  #used(queue: number, used: Used<unknown>): void {
    const buffer = used.token as Buffer;
    if (!this.#inFlight.delete(buffer)) throw new DriverError('a buffer came back twice');
    this.#pool.push(buffer);
    if (queue % 2 === 1) {
      if (used.written !== 0)
        throw new DriverError(`${used.written} bytes were written to what the driver wrote`);
      if (buffer.written !== undefined) buffer.written.done = true;
      return;
    }
    const bytes = this.virtio.ram.read(buffer.at, used.written);
    if (queue === CONTROL_IN) this.#hear(bytes);
    else this.#makePort(queue === 0 ? 0 : queue / 2 - 1).received.push(...bytes);
  }

  /** Hears what the device says of its ports, and answers it. */
  #hear(bytes: Uint8Array): void {
    if (bytes.length < CONTROL_BYTES) throw new DriverError(`a control message of ${bytes.length} bytes`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const { littleEndian } = this.virtio;
    const id = view.getUint32(0, littleEndian);
    const event = view.getUint16(4, littleEndian);
    const value = view.getUint16(6, littleEndian);
    const tail = bytes.slice(CONTROL_BYTES);
    this.messages.push({ id, event, value, tail });
    // Virtio 1.3 §5.3.6.2.1
    if (id >= this.maxPorts) throw new DriverError(`a message of port ${id}, of ${this.maxPorts}`);
    const port = event === CONSOLE_EVENT.portAdd ? this.#makePort(id) : this.ports.get(id);
    if (port === undefined) throw new DriverError(`event ${event} of port ${id}, which was not added`);
    switch (event) {
      case CONSOLE_EVENT.portAdd:
        this.say(id, CONSOLE_EVENT.portReady, 1);
        this.say(id, CONSOLE_EVENT.portOpen, 1);
        break;
      case CONSOLE_EVENT.portRemove:
        this.ports.delete(id);
        break;
      case CONSOLE_EVENT.consolePort:
        port.console = true;
        // Virtio 1.3 §5.3.6.2.2: it answers that it has it open
        this.say(id, CONSOLE_EVENT.portOpen, 1);
        break;
      case CONSOLE_EVENT.portOpen:
        port.hostOpen = value !== 0;
        break;
      case CONSOLE_EVENT.portName:
        port.name = String.fromCharCode(...tail);
        break;
      case CONSOLE_EVENT.resize:
        break;
      default:
        throw new DriverError(`event ${event}`);
    }
  }
}

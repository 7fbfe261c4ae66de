// A console device in a machine without a processor or a bus.
import {
  ConsoleDevice,
  type ConsoleOptions,
  type ConsoleState,
  type GuestPort,
  type PortBackend,
} from '@virtkit/device-console';
import { BareMachine, type BareOptions } from '@virtkit/lab/bare-machine.ts';

export const EVENT = {
  deviceReady: 0,
  portAdd: 1,
  portRemove: 2,
  portReady: 3,
  consolePort: 4,
  resize: 5,
  portOpen: 6,
  portName: 7,
} as const;

export class Machine extends BareMachine<ConsoleState> {
  readonly device: ConsoleDevice;
  /** Control buffers that the device has, oldest first. */
  readonly #control: { readonly at: number; readonly length: number }[] = [];
  readonly #rx = new Map<number, { readonly at: number; readonly length: number }[]>();

  constructor(options: ConsoleOptions, machine: BareOptions = {}) {
    const device = new ConsoleDevice(options);
    super(device, machine, []);
    this.device = device;
  }

  /** Gives the device buffers for control messages. */
  giveControl(count = 8, length = 64): void {
    for (let i = 0; i < count; i++) this.#give(this.#control, 2, length);
    this.kick(2);
  }

  /** Gives a port room. */
  giveRoom(queue: number, ...lengths: readonly number[]): void {
    const list = this.#rx.get(queue) ?? [];
    this.#rx.set(queue, list);
    for (const length of lengths) this.#give(list, queue, length);
    this.kick(queue);
  }

  /** What arrived at a port since last asked. */
  received(queue: number): string {
    return text(this.#taken(this.#rx.get(queue) ?? [], queue).flat());
  }

  /** Control messages since last asked: `[id, event, value, …what stands behind]`. */
  messages(): number[][] {
    return this.#taken(this.#control, 2).map((bytes) => {
      const view = new DataView(Uint8Array.from(bytes).buffer);
      const little = this.little;
      if (bytes.length < 8) return bytes;
      return [
        view.getUint32(0, little),
        view.getUint16(4, little),
        view.getUint16(6, little),
        ...bytes.slice(8),
      ];
    });
  }

  /** A control message of the driver. */
  say(id: number, event: number, value = 1): void {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, id, this.little);
    view.setUint16(4, event, this.little);
    view.setUint16(6, value, this.little);
    this.write(3, bytes);
  }

  /** Writes to a queue, in segments of these lengths, the last one with the rest. */
  write(queue: number, bytes: Uint8Array, ...cut: readonly number[]): void {
    let at = this.put(bytes);
    const end = at + bytes.length;
    const segments = cut.map((len) => {
      at += len;
      return { addr: at - len, len };
    });
    this.add(queue, [...segments, ...(at < end ? [{ addr: at, len: end - at }] : [])]);
    this.kick(queue);
  }

  /** Sets up all ports that there are, as a driver with MULTIPORT does. */
  bringUp(): number[][] {
    this.giveControl(32);
    this.say(0, EVENT.deviceReady);
    const added = this.messages().map(([id = 0]) => id);
    for (const id of added) {
      this.say(id, EVENT.portReady);
      this.say(id, EVENT.portOpen);
    }
    return this.messages();
  }

  #give(list: { at: number; length: number }[], queue: number, length: number): void {
    const at = this.alloc(length);
    this.ram.fill(0xdd, at, at + length);
    this.add(queue, [{ addr: at, len: length, write: true }]);
    list.push({ at, length });
  }

  #taken(list: { readonly at: number; readonly length: number }[], queue: number): number[][] {
    return this.used(queue).map(({ len }) => {
      const { at = 0 } = list.shift() ?? {};
      return [...this.ram.subarray(at, at + len)];
    });
  }
}

/** A back end that takes as much as it is told to, and keeps a diary. */
export class Line implements PortBackend {
  readonly diary: string[] = [];
  /** Bytes that it takes at each of the next calls; afterwards all. */
  readonly takes: number[] = [];
  text = '';
  port: GuestPort | undefined;

  attach(port: GuestPort): void {
    this.port = port;
  }

  write(bytes: Uint8Array, start: number, end: number): number {
    const taken = Math.min(this.takes.shift() ?? end - start, end - start);
    this.text += text(bytes.subarray(start, start + taken));
    return taken;
  }

  guestWritable(): void {
    this.diary.push('writable');
  }

  guestConnected(open: boolean): void {
    this.diary.push(open ? 'open' : 'closed');
  }

  send(words: string): number {
    return this.port?.send(ascii(words)) ?? -1;
  }
}

export const ascii = (words: string): Uint8Array => Uint8Array.from(words, (c) => c.charCodeAt(0));
export const text = (bytes: Iterable<number>): string => Buffer.from([...bytes]).toString('latin1');

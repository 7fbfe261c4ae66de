import type { Chain, DeviceHost, Virtqueue } from '@virtkit/core/live';
import type { Port } from './port.ts';

/** Numbers of the queues of control messages. Virtio 1.3 §5.3.2 */
export const CONTROL_QUEUE = { toDriver: 2, fromDriver: 3 } as const;

/** Events of `struct virtio_console_control`. Virtio 1.3 §5.3.6.2 */
const EVENT = {
  DEVICE_READY: 0,
  PORT_ADD: 1,
  PORT_REMOVE: 2,
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  RESIZE: 5,
  PORT_OPEN: 6,
  PORT_NAME: 7,
} as const;

/** Length in bytes of `struct virtio_console_control`. */
const MESSAGE_BYTES = 8;

/** Bits for what the driver is to be told of a port, in this order. */
const DUE = { remove: 1, add: 2, console: 4, name: 8, open: 16, resize: 32 } as const;

/** Device as its control queues see it. */
export interface ControlOwner {
  /** Finds core's view of the device; undefined before the device is attached. */
  host(): DeviceHost | undefined;
  readonly defer: (proceed: () => void) => void;
  readonly rowsFirst: boolean;
  readonly ports: ReadonlyMap<number, Port>;
}

/**
 * Control queues of a console device. What the driver is to be told is noted for each port, at most once each, so that
 * a driver without buffers makes nothing grow. QEMU, which has no such notes, drops what there is no buffer for.
 */
export class Control {
  readonly #owner: ControlOwner;
  /** Flags of {@link DUE} by port, in the order in which ports came to have some. */
  readonly #due = new Map<number, number>();
  /** Ports that the driver was told of since it said that it is ready. */
  readonly #added = new Set<number>();
  /** True if the driver has said that it is ready for messages. */
  #ready = false;
  /** True if a state was restored: nobody knows which ports its driver was told of. */
  #restored = false;
  /** Number of resets: what was asked before the last one is answered no more. */
  #life = 0;
  #running = false;
  #deferred = false;

  constructor(owner: ControlOwner) {
    this.#owner = owner;
  }

  /** Forgets all notes, since the driver has reset the device. */
  reset(): void {
    this.#life++;
    this.#due.clear();
    this.#added.clear();
    this.#ready = false;
    this.#restored = false;
  }

  /** Takes note that the state of a driver that runs was restored: which ports it was told of is not known. */
  restore(): void {
    this.#ready = true;
    this.#restored = true;
  }

  /** Notes that a port has come. */
  plugged(port: Port): void {
    if (this.#ready) this.#note(port.id, DUE.add);
    this.send();
  }

  /** Notes that a port has gone. */
  unplugged(port: Port): void {
    const known = this.#added.delete(port.id) || this.#restored;
    // Virtio 1.3 §5.3.6.2.1 MUST NOT: no port is removed that was not created
    const removal = (this.#due.get(port.id) ?? 0) & DUE.remove;
    this.#due.delete(port.id);
    if (known && this.#ready) this.#note(port.id, DUE.remove);
    else if (removal !== 0) this.#note(port.id, removal);
    this.send();
  }

  /** Notes that the driver of a restored state was told otherwise of the host's end than it is here. */
  hostDiffers(port: Port, told: boolean): void {
    port.toldHostConnected = told;
    this.#note(port.id, DUE.open);
  }

  /** Notes that the host has opened or closed a port. */
  hostChanged(port: Port): void {
    // a driver that does not know the port hears of it with the rest
    if (!this.#ready || !this.#knows(port.id)) {
      port.toldHostConnected = port.hostConnected;
      return;
    }
    this.#note(port.id, DUE.open);
    this.send();
  }

  /** Notes that a console's window has another size. */
  sizeChanged(port: Port): void {
    if (!this.#ready || !this.#knows(port.id)) return;
    this.#note(port.id, DUE.resize);
    this.send();
  }

  /** Is the driver still to be told whether the host has this port open? */
  owesOpen(id: number): boolean {
    return ((this.#due.get(id) ?? 0) & DUE.open) !== 0;
  }

  /** Tells the driver what there are buffers for. */
  send(): void {
    if (this.#due.size === 0) return;
    const host = this.#owner.host();
    const queue = host?.running === true ? host.queue(CONTROL_QUEUE.toDriver) : undefined;
    if (queue === undefined) return;
    host?.memory.sync();
    let sent = 0;
    for (const id of [...this.#due.keys()]) {
      let complete = true;
      for (const flag of Object.values(DUE)) {
        if (((this.#due.get(id) ?? 0) & flag) === 0) continue;
        complete = this.#tell(queue, id, flag);
        if (!complete) break;
        sent++;
        this.#settle(id, flag);
      }
      if (!complete) break;
    }
    if (sent > 0) queue.notify();
  }

  /** Takes messages of the driver. QEMU: `control_out`. */
  receive(queue: Virtqueue): void {
    if (this.#running) return;
    const life = this.#life;
    let taken = 0;
    this.#running = true;
    try {
      for (; taken < queue.size && life === this.#life; taken++) {
        const chain = queue.pop();
        if (chain === undefined) break;
        try {
          this.#handle(chain);
        } finally {
          if (life === this.#life) queue.push(chain, 0);
        }
      }
    } finally {
      this.#running = false;
      if (taken > 0 && life === this.#life) queue.notify();
    }
    if (taken >= queue.size) this.#later();
  }

  #later(): void {
    if (this.#deferred) return;
    this.#deferred = true;
    this.#owner.defer(() => {
      this.#deferred = false;
      const host = this.#owner.host();
      host?.memory.sync();
      const queue = host?.running === true ? host.queue(CONTROL_QUEUE.fromDriver) : undefined;
      if (queue !== undefined) this.receive(queue);
    });
  }

  /** Handles a message of the driver. What is no message, or of no port, is ignored. QEMU: `handle_control_message`. */
  #handle({ out }: Chain): void {
    if (out.total < MESSAGE_BYTES) return;
    const { ports } = this.#owner;
    const host = this.#owner.host();
    const little = host?.littleEndian === true;
    const id = out.u32(0, little);
    const event = out.u16(4, little);
    const value = out.u16(6, little);
    if (event === EVENT.DEVICE_READY) {
      if (value === 0) host?.event('console-driver-failed', {});
      else this.#driverReady();
      return;
    }
    const port = ports.get(id);
    if (port === undefined) return;
    if (event === EVENT.PORT_READY) {
      if (value === 0) host?.event('console-port-failed', { port: id });
      else this.#portReady(port);
    } else if (event === EVENT.PORT_OPEN) port.setGuestConnected(value !== 0);
  }

  #driverReady(): void {
    this.#ready = true;
    // Virtio 1.3 §5.3.6.2.1 MUST NOT: no port is added that exists
    for (const { id } of this.#owner.ports.values()) if (!this.#added.has(id)) this.#note(id, DUE.add);
    this.send();
  }

  #portReady(port: Port): void {
    if (port.isConsole) this.#note(port.id, DUE.console);
    if (port.nameBytes !== undefined) this.#note(port.id, DUE.name);
    if (port.hostConnected) this.#note(port.id, DUE.open);
    if (port.size !== undefined) this.#note(port.id, DUE.resize);
    this.send();
  }

  #knows(id: number): boolean {
    return this.#added.has(id) || this.#restored;
  }

  #note(id: number, flag: number): void {
    this.#due.set(id, (this.#due.get(id) ?? 0) | flag);
  }

  #settle(id: number, flag: number): void {
    const left = (this.#due.get(id) ?? 0) & ~flag;
    if (left === 0) this.#due.delete(id);
    else this.#due.set(id, left);
    if (flag === DUE.add) this.#added.add(id);
  }

  /** Sends one message. Answers false if there is no buffer for it. */
  #tell(queue: Virtqueue, id: number, flag: number): boolean {
    const chain = queue.pop();
    if (chain === undefined) return false;
    const message = this.#message(id, flag);
    // a driver whose buffer is too short gets its beginning
    queue.push(chain, chain.in.copyFrom(0, message));
    return true;
  }

  #message(id: number, flag: number): Uint8Array {
    const { ports, rowsFirst } = this.#owner;
    const port = ports.get(id);
    const tail = flag === DUE.name ? (port?.nameBytes?.length ?? 0) : flag === DUE.resize ? 4 : 0;
    const bytes = new Uint8Array(MESSAGE_BYTES + tail);
    const view = new DataView(bytes.buffer);
    const little = this.#owner.host()?.littleEndian === true;
    const write = (event: number, value = 1): void => {
      view.setUint32(0, id, little);
      view.setUint16(4, event, little);
      view.setUint16(6, value, little);
    };
    switch (flag) {
      case DUE.remove:
        write(EVENT.PORT_REMOVE);
        break;
      case DUE.add:
        // Virtio 1.3 §5.3.6.2.1 MUST NOT: no port from max_nr_ports on; there are none
        write(EVENT.PORT_ADD);
        break;
      case DUE.console:
        write(EVENT.CONSOLE_PORT);
        break;
      case DUE.name:
        // Virtio 1.3 §5.3.6.2: without a NUL at the end
        write(EVENT.PORT_NAME);
        bytes.set(port?.nameBytes ?? [], MESSAGE_BYTES);
        break;
      case DUE.resize: {
        write(EVENT.RESIZE, 0);
        const { columns = 0, rows = 0 } = port?.size ?? {};
        view.setUint16(MESSAGE_BYTES, rowsFirst ? rows : columns, little);
        view.setUint16(MESSAGE_BYTES + 2, rowsFirst ? columns : rows, little);
        break;
      }
      default: {
        const open = port?.hostConnected === true;
        if (port !== undefined) port.toldHostConnected = open;
        write(EVENT.PORT_OPEN, open ? 1 : 0);
      }
    }
    return bytes;
  }
}

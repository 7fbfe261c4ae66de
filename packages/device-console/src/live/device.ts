import {
  type DeviceHost,
  type DeviceIdentity,
  type DeviceModel,
  FEATURE,
  HostError,
  type Report,
  type RequestInFlight,
  STATUS,
  type TransportParts,
  type VirtioState,
  type Virtqueue,
} from '@virtkit/core/live';
import { CONFIG, CONFIG_BYTES, CONFIG_BYTES_EMERGENCY } from '../config-space.ts';
import { CONSOLE_FEATURE } from '../features.ts';
import { consoleIdentity } from '../identity.ts';
import type { ConsolePort, ConsoleState } from '../state.ts';
import type { GuestPort } from './backend.ts';
import {
  bufferState,
  buffersInFlight,
  checkPorts,
  halfWritten,
  swapped16,
  swapped32,
} from './console-state.ts';
import { CONTROL_QUEUE, Control } from './control.ts';
import { type ConsoleOptions, integer, type PortOptions, type Settings, settle } from './options.ts';
import { Port, type PortOwner } from './port.ts';

/** Number of entries of a port's queues; the constant below is that of the control queues. Both are QEMU's. */
const PORT_QUEUE_SIZE = 128;
const CONTROL_QUEUE_SIZE = 32;

/**
 * virtio-console, live, with all kinds of ports: Virtio 1.3 §5.3; QEMU `hw/char/virtio-serial-bus.c`, `hw/char/virtio-console.c`.
 *
 * ```ts
 * const serial = new ConsoleDevice({ ports: [{ console: true, backend: terminalPort(terminal) }, { name: 'agent', backend }] });
 * const { device } = new PciFunction(serial, { memory }); // of @virtkit/transport-pci
 * ```
 *
 * A save needs no drain: a buffer that a back end has taken a part of is in the state, and goes on there where the state is restored.
 */
export class ConsoleDevice implements DeviceModel<ConsoleState> {
  readonly layer: DeviceIdentity<ConsoleState> = consoleIdentity;
  readonly features: bigint;
  readonly configLength: number;
  readonly queueSizes: readonly number[];
  readonly #settings: Settings;
  /** Ports by number, in the order in which they came. */
  readonly #ports = new Map<number, Port>();
  /** Bitmap of the ports that there are, port 0 reserved, in words of 32. QEMU: `ports_map`. */
  readonly #map: Uint32Array;
  readonly #control: Control;
  readonly #owner: PortOwner;
  /** Buffer for the one character of an emergency write. */
  readonly #character: Uint8Array = new Uint8Array(1);
  #host: DeviceHost | undefined;
  /** True if a state was restored, and the back ends have not heard of it. */
  #restored = false;

  /** @throws HostError that names the option */
  constructor(options: ConsoleOptions = {}) {
    const settings = settle(options);
    const { maxPorts } = settings;
    this.#settings = settings;
    this.features = offeredFeatures(settings);
    this.configLength = settings.emergencyWrite ? CONFIG_BYTES_EMERGENCY : CONFIG_BYTES;
    const sizes = Array<number>(2 * maxPorts + 2).fill(PORT_QUEUE_SIZE);
    sizes.fill(CONTROL_QUEUE_SIZE, CONTROL_QUEUE.toDriver, CONTROL_QUEUE.fromDriver + 1);
    this.queueSizes = sizes;
    this.#map = new Uint32Array(Math.ceil(maxPorts / 32));
    // QEMU keeps port 0 for a console, also where there is none
    this.#mark(0, true);
    this.#control = new Control({
      ports: this.#ports,
      defer: settings.defer,
      rowsFirst: settings.resizeOrder === 'rows-first',
      host: () => this.#host,
    });
    this.#owner = {
      defer: settings.defer,
      hostChanged: (port) => this.#control.hostChanged(port),
      sizeChanged: (port) => this.#sizeChanged(port),
    };
    for (const port of options.ports ?? []) this.plug(port);
  }

  // The host program's side

  /** Ports of the device, in the order in which they came. */
  get ports(): readonly GuestPort[] {
    return [...this.#ports.values()];
  }

  /** Finds a port by its number. @throws HostError if there is none */
  port(id: number): GuestPort {
    return this.#port(id);
  }

  /**
   * Adds a port; the driver is told if it runs and knows more than one (MULTIPORT).
   *
   * @throws HostError that names the option; if the number or the name is taken, or there are as many as may be
   */
  plug(options: PortOptions): GuestPort {
    const id = this.#idFor(options);
    const { name } = options;
    for (const other of this.#ports.values())
      if (name !== undefined && other.name === name)
        throw new HostError(`name: port ${other.id} is called ${JSON.stringify(name)} already`);
    const port = new Port(id, options, this.#owner);
    this.#ports.set(id, port);
    this.#mark(id, true);
    if (this.#host !== undefined) {
      port.attach(this.#host);
      this.#connectFirst();
    }
    this.#control.plugged(port);
    port.backend.attach?.(port);
    return port;
  }

  /** Takes a port away; the driver is told. What the guest has written to it and nobody has taken is thrown away. @throws HostError if there is none */
  unplug(id: number): void {
    const port = this.#port(id);
    this.#ports.delete(id);
    this.#mark(id, false);
    port.unplug();
    this.#control.unplugged(port);
  }

  // Core's side

  attach(host: DeviceHost): void {
    this.#host = host;
    for (const port of this.#ports.values()) port.attach(host);
  }

  /** Fills `struct virtio_console_config`, Virtio 1.3 §5.3.4. */
  getConfig(config: DataView, littleEndian: boolean): void {
    const { columns, rows } = this.#size;
    config.setUint16(CONFIG.COLS, columns, littleEndian);
    config.setUint16(CONFIG.ROWS, rows, littleEndian);
    config.setUint32(CONFIG.MAX_NR_PORTS, this.#settings.maxPorts, littleEndian);
  }

  /**
   * Takes an emergency write from the configuration space; nothing else is the driver's to write. Virtio 1.3 §5.3.5.1
   * MUST: also before the device is set up
   */
  setConfig(config: DataView, littleEndian: boolean): void {
    if (!this.#settings.emergencyWrite) return;
    const character = config.getUint32(CONFIG.EMERG_WR, littleEndian);
    // so that a write to another field is not taken for another character
    config.setUint32(CONFIG.EMERG_WR, 0, littleEndian);
    if (character === 0) return;
    // Virtio 1.3 §5.3.5.1 SHOULD: the lower byte goes where the console's output goes. QEMU: to all consoles, and at once
    this.#character[0] = character & 0xff;
    for (const port of this.#ports.values())
      if (port.isConsole && port.hostConnected) port.backend.write(this.#character, 0, 1);
  }

  setStatus(status: number): void {
    if ((status & STATUS.DRIVER_OK) !== 0) this.#connectFirst();
    else this.#disconnect();
  }

  reset(): void {
    this.#disconnect();
    this.#control.reset();
    this.#restored = false;
  }

  resetQueue(index: number): void {
    this.#portOf(index, 1)?.output.forget();
  }

  handleQueue(queue: Virtqueue): void {
    const { index } = queue;
    if (index === CONTROL_QUEUE.toDriver) this.#control.send();
    else if (index === CONTROL_QUEUE.fromDriver) this.#control.receive(queue);
    else if (index % 2 === 0) this.#portOf(index, 0)?.mayWrite();
    else this.#output(queue);
  }

  /** Takes the device's part of the state. @throws HostError while the `write` of a port's back end runs */
  capture(): ConsoleState {
    const { maxPorts, hostEndian } = this.#settings;
    const host = this.#attached;
    const packed = host.offers(FEATURE.RING_PACKED);
    // QEMU saves the numbers that its host sees in the bytes that the driver reads; it looks at none of them
    const swap = (hostEndian === 'little') !== host.littleEndian;
    const { columns, rows } = this.#size;
    const ports = [...this.#ports.values()].map((port): ConsolePort => {
      const half = port.output.capture();
      const told = this.#control.owesOpen(port.id) ? port.toldHostConnected : port.hostConnected;
      return {
        id: port.id,
        guestConnected: port.guestConnected ? 1 : 0,
        hostConnected: told ? 1 : 0,
        buffer: half === undefined ? null : bufferState(half, packed, this.#settings),
      };
    });
    return {
      cols: swapped16(columns, swap),
      rows: swapped16(rows, swap),
      maxNrPorts: swapped32(maxPorts, swap),
      portsMap: [...this.#map],
      nrActivePorts: ports.length,
      ports,
    };
  }

  check(state: VirtioState<TransportParts, ConsoleState>, report: Report): void {
    checkPorts(state, new Set(this.#ports.keys()), [...this.#map], this.#attached.memory, report);
  }

  requestsInFlight(state: VirtioState<TransportParts, ConsoleState>): RequestInFlight[] {
    return buffersInFlight(state);
  }

  apply(state: VirtioState<TransportParts, ConsoleState>): void {
    const host = this.#attached;
    if ((state.status & STATUS.DRIVER_OK) !== 0 && host.has(CONSOLE_FEATURE.MULTIPORT))
      this.#control.restore();
    for (const saved of state.device.ports) {
      const port = this.#ports.get(saved.id);
      if (port === undefined) continue;
      port.restoreGuestConnected(saved.guestConnected !== 0);
      port.output.restore(halfWritten(saved));
      const told = saved.hostConnected !== 0;
      // the driver is told when the machine goes on. QEMU: `virtio_serial_post_load_timer_cb`
      if (told !== port.hostConnected) this.#control.hostDiffers(port, told);
    }
    this.#restored = true;
  }

  resume(): void {
    this.#control.send();
    const first = this.#restored;
    this.#restored = false;
    for (const port of this.#ports.values()) {
      if (first && port.guestConnected) port.backend.guestConnected?.(true);
      port.output.flush();
      port.mayWrite();
    }
  }

  get #attached(): DeviceHost {
    if (this.#host === undefined) throw new HostError('the console is not part of a device yet');
    return this.#host;
  }

  /** Size of port 0's screen, which stands in configuration space. Virtio 1.3 §5.3.6 */
  get #size(): { readonly columns: number; readonly rows: number } {
    const size = this.#settings.sizes ? this.#ports.get(0)?.size : undefined;
    return size ?? { columns: 0, rows: 0 };
  }

  #port(id: number): Port {
    const port = this.#ports.get(id);
    if (port === undefined) throw new HostError(`port ${id}: there is none`);
    return port;
  }

  /** Finds the port whose input (0) or output (1) queue this is. */
  #portOf(index: number, direction: 0 | 1): Port | undefined {
    if (index % 2 !== direction || index >> 1 === 1) return undefined;
    return this.#ports.get(index < CONTROL_QUEUE.toDriver ? 0 : (index >> 1) - 1);
  }

  #output(queue: Virtqueue): void {
    const port = this.#portOf(queue.index, 1);
    if (port !== undefined) port.output.flush();
    else this.#discard(queue);
  }

  /** Gives back what the driver writes to a port that does not exist. QEMU: `discard_vq_data`. */
  #discard(queue: Virtqueue): void {
    let count = 0;
    for (; count < queue.size; count++) {
      const chain = queue.pop();
      if (chain === undefined) break;
      queue.push(chain, 0);
    }
    if (count > 0) queue.notify();
    if (count < queue.size) return;
    this.#settings.defer(() => {
      const again = this.#host?.running === true ? this.#host.queue(queue.index) : undefined;
      if (again === undefined) return;
      this.#host?.memory.sync();
      this.#output(again);
    });
  }

  /**
   * Connects port 0 for a driver without MULTIPORT, which says nothing of opening: it is open as long as the driver
   * runs.
   */
  #connectFirst(): void {
    const host = this.#host;
    if (host === undefined || (host.status & STATUS.DRIVER_OK) === 0 || host.has(CONSOLE_FEATURE.MULTIPORT))
      return;
    this.#ports.get(0)?.setGuestConnected(true);
  }

  /** Closes the guest's end of all ports. QEMU: `guest_reset`. */
  #disconnect(): void {
    for (const port of this.#ports.values()) {
      port.output.detach();
      port.setGuestConnected(false);
    }
  }

  #sizeChanged(port: Port): void {
    const host = this.#host;
    if (host === undefined) return;
    host.memory.sync();
    // Virtio 1.3 §5.3.6: the fields are of port 0
    if (port.id === 0 && host.has(CONSOLE_FEATURE.SIZE)) host.notifyConfig();
    this.#control.sizeChanged(port);
  }

  /** Finds the number for a new port. QEMU: `virtser_port_device_realize`, `find_free_port_id`. */
  #idFor({ id, console = false }: PortOptions): number {
    const { maxPorts } = this.#settings;
    if (id !== undefined) {
      integer('id', id, 0, maxPorts - 1);
      if (this.#ports.has(id)) throw new HostError(`id: there is a port ${id} already`);
      return id;
    }
    if (console && !this.#ports.has(0)) return 0;
    for (let free = 0; free < maxPorts; free++)
      if ((((this.#map[free >>> 5] ?? 0) >>> (free & 31)) & 1) === 0 && (free > 0 || console)) return free;
    throw new HostError(`maxPorts: ${maxPorts} ports are there already`);
  }

  #mark(id: number, there: boolean): void {
    const bit = 1 << (id & 31);
    const word = this.#map[id >>> 5] ?? 0;
    this.#map[id >>> 5] = there ? word | bit : word & ~bit;
  }
}

/** Collects the offered features. QEMU: `get_features`. */
function offeredFeatures({ sizes, maxPorts, emergencyWrite }: Settings): bigint {
  const offered: readonly (readonly [bit: number, on: boolean])[] = [
    [CONSOLE_FEATURE.SIZE, sizes],
    [CONSOLE_FEATURE.MULTIPORT, maxPorts > 1],
    [CONSOLE_FEATURE.EMERG_WRITE, emergencyWrite],
  ];
  return offered.reduce((sum, [bit, on]) => (on ? sum | (1n << BigInt(bit)) : sum), 0n);
}

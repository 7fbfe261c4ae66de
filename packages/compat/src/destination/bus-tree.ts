import { typeOf } from './qemu-types.ts';

/** Class of a bus in QEMU, which decides which devices look for it. */
export type BusClass =
  | 'System'
  | 'PCI'
  | 'PCIE'
  | 'virtio-bus'
  | 'virtio-serial-bus'
  | 'virtual-css-bus'
  | 'usb-bus'
  | 'SCSI';

export interface Bus {
  readonly class: BusClass;
  readonly name: string;
  /** Beginning of the paths of the bus's devices: `0000:00`, `0000:00:01.0`. */
  readonly prefix: string;
  /** True for the bus of a host bridge, false for that of a bridge behind one. */
  readonly root: boolean;
  /** Largest number of devices that the bus takes; undefined: any number. */
  readonly most?: number;
  /** The buses of the device, newest first, as QEMU searches them. */
  readonly devices: TreeDevice[];
  /** Numbers of slot and function that are taken, on a PCI bus; of channel, target and unit, on a SCSI bus. */
  readonly functions: Set<number>;
  /** Free ports of a USB bus, the next one first. */
  readonly ports?: string[];
}

/** Device in QEMU's tree. */
export interface TreeDevice {
  readonly type: string;
  readonly id?: string;
  readonly buses: Bus[];
}

/** Bus that a device brings. Buses without a name of their own are numbered by their class. */
export interface NewBus {
  readonly class: BusClass;
  readonly name?: string;
  readonly prefix?: string;
  readonly root?: boolean;
  readonly most?: number;
  readonly ports?: string[];
}

/**
 * Tree of buses and devices: a device without `bus=` goes to the bus that a search finds in it. QEMU:
 * `qbus_find_recursive`
 */
export class BusTree {
  readonly main: Bus = {
    class: 'System',
    name: 'main-system-bus',
    prefix: '',
    root: true,
    devices: [],
    functions: new Set(),
  };
  readonly #numbers = new Map<BusClass, number>();
  readonly #arch: string;

  constructor(arch: string) {
    this.#arch = arch;
  }

  /** Puts a device on a bus, with the buses that it has. */
  add(on: Bus, type: string, id: string | undefined, ...buses: readonly NewBus[]): TreeDevice {
    const device: TreeDevice = { type, ...(id !== undefined && { id }), buses: [] };
    for (const bus of buses) {
      device.buses.unshift({
        class: bus.class,
        name: bus.name ?? this.#automatic(bus.class),
        prefix: bus.prefix ?? '',
        root: bus.root ?? false,
        ...(bus.most !== undefined && { most: bus.most }),
        devices: [],
        functions: new Set(),
        ...(bus.ports !== undefined && { ports: bus.ports }),
      });
    }
    on.devices.unshift(device);
    return device;
  }

  #automatic(busClass: BusClass): string {
    const number = this.#numbers.get(busClass) ?? 0;
    this.#numbers.set(busClass, number + 1);
    return `${busClass.toLowerCase()}.${number}`;
  }

  /** Finds the bus that `bus=` names, by its name or a path; undefined: there is none. */
  named(path: string): Bus | undefined {
    const [first = '', ...rest] = path.split('/').filter((part) => part !== '');
    if (path.startsWith('/')) return this.#walk(this.main, [first, ...rest]);
    const start = search(this.main, ({ name }) => name === first);
    return start === undefined ? undefined : this.#walk(start, rest);
  }

  /** Finds the bus for a device that names none. */
  default(busClass: Exclude<BusClass, 'System' | 'PCIE'>): Bus | undefined {
    return search(this.main, (bus) => bus.class === busClass || (busClass === 'PCI' && bus.class === 'PCIE'));
  }

  #walk(from: Bus, parts: readonly string[]): Bus | undefined {
    let bus: Bus | undefined = from;
    for (let at = 0; at < parts.length && bus !== undefined; at++) {
      const device = deviceNamed(bus, parts[at] ?? '', this.#arch);
      const [only, ...others] = device?.buses ?? [];
      const next = parts[at + 1];
      const child = device?.buses.find(({ name }) => name === next);
      if (next !== undefined && child !== undefined) at++;
      bus = next === undefined && others.length === 0 ? only : child;
    }
    return bus;
  }
}

/** Finds the device that a part of a path names: by its id, its type, or an alias of the type. */
function deviceNamed({ devices }: Bus, name: string, arch: string): TreeDevice | undefined {
  return (
    devices.find(({ id }) => id === name) ??
    devices.find(({ type }) => type === name || type === typeOf(name, arch))
  );
}

/** Finds the first bus that fits and has room; else the first that fits. */
function search(from: Bus, fits: (bus: Bus) => boolean): Bus | undefined {
  const match = fits(from);
  if (match && !isFull(from)) return from;
  let pick = match ? from : undefined;
  for (const { buses } of from.devices)
    for (const bus of buses) {
      const found = search(bus, fits);
      if (found !== undefined && !isFull(found)) return found;
      pick ??= found;
    }
  return pick;
}

function isFull({ most, devices }: Bus): boolean {
  return most !== undefined && devices.length >= most;
}

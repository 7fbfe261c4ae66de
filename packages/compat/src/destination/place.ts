import { compareVersion, numberOf, type QemuDevice, switchOf } from '@virtkit/core/qemu';
import { type Bus, BusTree, type TreeDevice } from './bus-tree.ts';
import { claimPort, innerBuses, scsiAddress } from './inner-buses.ts';
import { pciAddress, pciAddressText } from './pci-address.ts';
import { type BusKind, busKind } from './qemu-types.ts';

/** Device as the command line has it, before it has a place. */
export interface Unplaced extends QemuDevice {
  readonly id?: string;
}

/** Machine whose buses the devices go to. */
export interface Board {
  readonly arch: string;
  /** Machine type: `pc-q35-7.2`, `microvm`. */
  readonly machine: string;
  /** Keys and values of `-machine`. */
  readonly options: ReadonlyMap<string, string>;
  /** Version of QEMU: `7.2`. */
  readonly qemu: string;
}

/** Devices with their addresses, and the list of those that are nowhere. */
export interface Placed {
  readonly devices: readonly QemuDevice[];
  readonly unknown: readonly string[];
}

/** Gives devices their addresses in the order in which QEMU makes them. */
export function placeDevices(board: Board, devices: readonly Unplaced[]): Placed {
  const places = new Places(board);
  const placed = devices.flatMap((device) => places.place(device));
  return { devices: placed, unknown: places.unknown };
}

const SLOTS = 32;
const FUNCTIONS = 8;

/** Pattern of bridges whose bus is PCI Express; below it, of those whose bus is PCI. */
const EXPRESS_PORT =
  /^(pcie-root-port|ioh3420|x3130-upstream|xio3130-downstream|cxl-rp|cxl-upstream|cxl-downstream)$/;
const BRIDGE = /^(pcie-pci-bridge|pci-bridge|pci-bridge-seat|i82801b11-bridge)$/;

class Places {
  readonly unknown: string[] = [];
  readonly #tree: BusTree;
  readonly #ccw = new CcwPlaces();

  constructor(board: Board) {
    this.#tree = new BusTree(board.arch);
    furnish(this.#tree, board);
  }

  place(device: Unplaced): QemuDevice | QemuDevice[] {
    const kind = busKind(device.driver);
    if (kind === undefined) {
      this.unknown.push(
        `-device ${device.driver}: no such device is known, nor whether it takes a place on a bus`,
      );
      return device;
    }
    if (kind === 'other') return device;
    const bus = this.#busOf(device, kind);
    if (bus === undefined) {
      // a machine without such a bus, or one whose buses are not known
      if (device.properties.has('bus'))
        this.unknown.push(`-device ${device.driver}: its bus ${device.properties.get('bus')} is not found`);
      return device;
    }
    switch (kind) {
      case 'pci':
        return this.#onPci(device, bus);
      case 'ccw':
        return this.#onCcw(device, bus);
      case 'virtio':
        return this.#onMmio(device, bus);
      case 'serial':
        return this.#port(device, bus);
      case 'usb':
        return this.#onUsb(device, bus);
      case 'scsi':
        return this.#onScsi(device, bus);
    }
  }

  #busOf({ properties }: Unplaced, kind: Exclude<BusKind, 'other'>): Bus | undefined {
    const name = properties.get('bus');
    if (name !== undefined) return this.#tree.named(name);
    const classes = {
      pci: 'PCI',
      ccw: 'virtual-css-bus',
      virtio: 'virtio-bus',
      serial: 'virtio-serial-bus',
      usb: 'usb-bus',
      scsi: 'SCSI',
    } as const;
    return this.#tree.default(classes[kind]);
  }

  #onPci(device: Unplaced, bus: Bus): QemuDevice {
    const { driver, properties } = device;
    const text = properties.get('addr');
    const address = text === undefined ? freeSlot(bus) : pciAddress(text);
    if (address === undefined) {
      this.unknown.push(
        `-device ${driver}: ${text === undefined ? 'no slot is free' : `addr=${text} is no address`}`,
      );
      return device;
    }
    bus.functions.add(address.slot * FUNCTIONS + address.fn);
    const place = `${bus.prefix}:${pciAddressText(address)}`;
    this.#withBuses(device, bus, place);
    return { ...device, place, express: bus.class === 'PCIE' && !bus.root };
  }

  #withBuses({ driver, id, properties }: Unplaced, bus: Bus, place: string): TreeDevice {
    const name = id !== undefined && { name: id };
    if (EXPRESS_PORT.test(driver))
      return this.#tree.add(bus, driver, id, { class: 'PCIE', prefix: place, ...name });
    if (BRIDGE.test(driver)) return this.#tree.add(bus, driver, id, { class: 'PCI', prefix: place, ...name });
    if (/^pxb/.test(driver)) this.#expander(driver, id, numberOf(properties.get('bus_nr')) ?? 0, place);
    return this.#tree.add(
      bus,
      driver,
      id,
      ...this.#serialBus(driver, id, place),
      ...innerBuses(driver, id, properties, place),
    );
  }

  /** Puts a device at a USB port, and in front of it the hubs that QEMU has put in. */
  #onUsb(device: Unplaced, bus: Bus): QemuDevice | QemuDevice[] {
    const { driver, id, properties } = device;
    const { port, hubs } = claimPort(bus, driver, properties);
    if (port === undefined) {
      this.unknown.push(
        `-device ${driver}: its bus ${bus.name} has no free port ${properties.get('port') ?? ''}`,
      );
      return device;
    }
    const path = (text: string): string => (bus.prefix === '' ? text : `${bus.prefix}/${text}`);
    const place = path(port);
    this.#tree.add(bus, driver, id, ...innerBuses(driver, id, properties, place));
    const own = hubs.map((hub) => ({
      driver: 'usb-hub',
      properties: new Map<string, string>(),
      place: path(hub),
    }));
    // a stick has its disk inside
    const disk = { driver: 'scsi-hd', properties: new Map<string, string>(), place: `${place}/0:0:0` };
    return [...own, { ...device, place }, ...(driver === 'usb-storage' ? [disk] : [])];
  }

  #onScsi(device: Unplaced, bus: Bus): QemuDevice {
    const address = scsiAddress(bus, device.properties);
    if (address === undefined) {
      this.unknown.push(`-device ${device.driver}: its bus ${bus.name} has no such free address`);
      return device;
    }
    this.#tree.add(bus, device.driver, device.id);
    return { ...device, place: bus.prefix === '' ? address : `${bus.prefix}/${address}` };
  }

  /** Adds a host bridge of its own, which only looks like a device on the first one. */
  #expander(driver: string, id: string | undefined, number: number, place: string): void {
    // its own number, and then the place on the first one
    const prefix = `0000:${number.toString(16).padStart(2, '0')}${place.slice('0000:00'.length)}`;
    const name = id !== undefined && { name: id };
    if (driver !== 'pxb') {
      this.#tree.add(this.#tree.main, 'pxb-host', undefined, { class: 'PCIE', prefix, root: true, ...name });
      return;
    }
    const inside = this.#tree.add(this.#tree.main, 'pxb-host', undefined, {
      class: 'PCI',
      name: 'pxb-internal',
      prefix,
      root: true,
    }).buses[0];
    if (inside !== undefined)
      this.#tree.add(inside, 'pci-bridge', id, { class: 'PCI', prefix: `${prefix}:00.0`, ...name });
  }

  /** Adds a bus of its own for a console's ports. */
  #serialBus(
    driver: string,
    id: string | undefined,
    place: string,
  ): { class: 'virtio-serial-bus'; name?: string; prefix: string }[] {
    if (!/^virtio-serial-/.test(driver)) return [];
    return [{ class: 'virtio-serial-bus', prefix: place, ...(id !== undefined && { name: `${id}.0` }) }];
  }

  #onCcw(device: Unplaced, bus: Bus): QemuDevice {
    const place = this.#ccw.place(device.properties.get('devno'));
    this.#withinOf(device, bus, place);
    return { ...device, place };
  }

  #withinOf({ driver, id, properties }: Unplaced, bus: Bus, place: string): void {
    this.#tree.add(
      bus,
      driver,
      id,
      ...this.#serialBus(driver, id, place),
      ...innerBuses(driver, id, properties, place),
    );
  }

  #onMmio(device: Unplaced, bus: Bus): QemuDevice {
    this.#withinOf(device, bus, bus.prefix);
    return { ...device, place: bus.prefix };
  }

  /** Puts a port on the bus of its console. */
  #port(device: Unplaced, bus: Bus): QemuDevice {
    this.#tree.add(bus, device.driver, device.id);
    return { ...device, within: bus.prefix };
  }
}

/**
 * Finds the place of a device without an address: function 0 of the first slot that has none. QEMU:
 * `do_pci_register_device`
 */
function freeSlot({ functions }: Bus): { slot: number; fn: number } | undefined {
  for (let slot = 0; slot < SLOTS; slot++) if (!functions.has(slot * FUNCTIONS)) return { slot, fn: 0 };
  return undefined;
}

/** Makes the buses of a machine, and what stands on them from the beginning. */
function furnish(tree: BusTree, board: Board): void {
  const { machine, options } = board;
  const mmio = mmioTransports(board);
  for (let index = 0; index < (mmio?.count ?? 0); index++) {
    const address = ((mmio?.base ?? 0) + index * (mmio?.step ?? 0)).toString(16).padStart(16, '0');
    tree.add(tree.main, 'virtio-mmio', undefined, {
      class: 'virtio-bus',
      name: `virtio-mmio-bus.${index}`,
      prefix: `virtio-mmio@${address}`,
      most: 1,
    });
  }
  const usb = switchOf(options.get('usb')) === true;
  if (/i440fx/.test(machine)) {
    const bus = hostBridge(tree, 'i440FX-pcihost', 'PCI', [
      '0.0',
      '1.0',
      '1.1',
      '1.3',
      ...(usb ? ['1.2'] : []),
    ]);
    if (usb) usbController(tree, bus, 'piix3-usb-uhci', '01.2');
  } else if (/q35/.test(machine)) {
    const bus = hostBridge(tree, 'q35-pcihost', 'PCIE', [
      '0.0',
      '1f.0',
      '1f.2',
      '1f.3',
      ...(usb ? ['1d.0', '1d.1', '1d.2', '1d.7'] : []),
    ]);
    if (usb) usbController(tree, bus, 'ich9-usb-ehci1', '1d.7');
  } else if (machine.startsWith('s390')) {
    tree.add(tree.main, 'virtual-css-bridge', undefined, { class: 'virtual-css-bus', name: 'virtual-css' });
    hostBridge(tree, 's390-pcihost', 'PCI', []);
  } else if (machine.startsWith('virt') || switchOf(options.get('pcie')) === true)
    hostBridge(tree, 'gpex-pcihost', 'PCIE', ['0.0']);
}

/** Adds the USB controller of the board, whose companions have no bus of their own. */
function usbController(tree: BusTree, bus: Bus | undefined, type: string, address: string): void {
  if (bus !== undefined)
    tree.add(bus, type, undefined, ...innerBuses(type, undefined, new Map(), `${bus.prefix}:${address}`));
}

function hostBridge(
  tree: BusTree,
  type: string,
  busClass: 'PCI' | 'PCIE',
  taken: readonly string[],
): Bus | undefined {
  const [bus] = tree.add(tree.main, type, undefined, {
    class: busClass,
    prefix: '0000:00',
    root: true,
    // a name that the machine gives is not counted
    ...(busClass === 'PCIE' && { name: 'pcie.0' }),
  }).buses;
  for (const text of taken) {
    const address = pciAddress(text);
    if (bus !== undefined && address !== undefined) bus.functions.add(address.slot * FUNCTIONS + address.fn);
  }
  return bus;
}

/**
 * Places of devices of channel I/O. A free number is looked for from that of the next free subchannel on. QEMU:
 * `css_create_sch`
 */
class CcwPlaces {
  readonly #taken = new Set<string>();
  #subchannels = 0;

  place(devno: string | undefined): string {
    const [, cssid, ssid, number] = /^([0-9a-f]+)\.([0-3])\.([0-9a-f]{1,4})$/i.exec(devno ?? '') ?? [];
    const start = this.#subchannels++;
    if (number !== undefined && cssid !== undefined && ssid !== undefined)
      return this.#take(`/${cssid.toLowerCase()}.${ssid}.${number.toLowerCase().padStart(4, '0')}`);
    for (let next = start; next < 0x10000; next++) {
      const place = `/fe.0.${next.toString(16).padStart(4, '0')}`;
      if (!this.#taken.has(place)) return this.#take(place);
    }
    return '/fe.0.ffff';
  }

  #take(place: string): string {
    this.#taken.add(place);
    return place;
  }
}

interface MmioTransports {
  readonly base: number;
  readonly step: number;
  readonly count: number;
}

/** Finds where machines have their virtio-mmio transports, lowest first; QEMU fills the last one first. */
function mmioTransports({ machine, options, qemu }: Board): MmioTransports | undefined {
  switch (/^(microvm|virt)(?=$|-)/.exec(machine)?.[1]) {
    case 'microvm': {
      // with the second I/O APIC (since 6.0), which needs ACPI, there are interrupts for more of them
      const off = (name: string): boolean => switchOf(options.get(name)) === false;
      const two = compareVersion(qemu, '6.0') >= 0 && !off('acpi') && !off('ioapic2');
      return { base: 0xfeb00000, step: 0x200, count: two ? 24 : 8 };
    }
    case 'virt':
      return { base: 0x0a000000, step: 0x200, count: 32 };
    default:
      return undefined;
  }
}

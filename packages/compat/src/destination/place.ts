import { compareVersion } from '../versions.ts';
import { busOf, type DestinationDevice } from './destination.ts';
import { numberOf, switchOf } from './words.ts';

/** A device as the command line has it, before it has a place. */
export interface Unplaced extends DestinationDevice {
  readonly id?: string;
}

/** The machine whose buses the devices go to. */
export interface Board {
  /** `pc-q35-7.2`, `microvm`. */
  readonly machine: string;
  /** What stands behind it in `-M`. */
  readonly options: ReadonlyMap<string, string>;
  /** Version of the program. */
  readonly qemu: string;
}

/** Gives devices their addresses in the order in which QEMU makes them. */
export function placeDevices(board: Board, devices: readonly Unplaced[]): DestinationDevice[] {
  const pci = new PciPlaces(board.machine);
  const ccw = new CcwPlaces();
  const mmio = new MmioPlaces(board);
  return devices.map((device) => {
    switch (busOf(device.driver) ?? (OTHER_PCI.test(device.driver) ? 'pci' : undefined)) {
      case 'pci':
        return pci.place(device);
      case 'ccw':
        return { ...device, place: ccw.place(device) };
      case 'mmio':
        return mmio.place(device);
      default:
        return device;
    }
  });
}

/** PCI devices whose name does not end in `-pci`, as far as they take slots of common machines. */
const OTHER_PCI =
  /^(e1000e?|e1000-.*|rtl8139|pcnet|ne2k_pci|i8255\w+|vmxnet3|igb|VGA|cirrus-vga|qxl(-vga)?|vmware-svga|ati-vga|tulip|sungem|secondary-vga|bochs-display|virtio-vga.*|ich9-ahci|ahci|nvme|megasas.*|lsi\w*|mptsas\w*|am53c974|intel-hda|ich9-intel-hda|AC97|ES1370|qemu-xhci|nec-usb-xhci|piix3-usb-uhci|piix4-usb-uhci|usb-ehci|ich9-usb-.*|pcie-root-port|ioh3420|pcie-pci-bridge|pci-bridge|i82801b11-bridge|x3130-upstream|xio3130-downstream|vfio-pci.*|ivshmem-\w+|pvscsi|pvpanic-pci|i6300esb|edu|pci-testdev)$/;
const EXPRESS_PORT = /^(pcie-root-port|ioh3420|xio3130-downstream)$/;
const BRIDGE =
  /^(pcie-root-port|ioh3420|xio3130-downstream|x3130-upstream|pcie-pci-bridge|pci-bridge|i82801b11-bridge)$/;

interface Bus {
  /** `0000:00`, or the place of the bridge in front of it. */
  readonly prefix: string;
  readonly express: boolean;
  /** Slots that are taken; false: only functions of it, and more may come. */
  readonly taken: Set<number>;
}

class PciPlaces {
  readonly #buses = new Map<string, Bus>();
  readonly #root: Bus;

  constructor(machine: string) {
    const q35 = machine.includes('q35');
    // host bridge; PIIX3 with its functions, or ICH9
    this.#root = {
      prefix: '0000:00',
      express: false,
      taken: new Set(q35 ? [0, 31] : /i440fx/.test(machine) ? [0, 1] : [0]),
    };
    this.#buses.set('pci.0', this.#root).set('pcie.0', this.#root);
  }

  place(device: Unplaced): DestinationDevice {
    const { properties, driver, id } = device;
    const busName = properties.get('bus');
    const bus =
      busName === undefined
        ? this.#root
        : (this.#buses.get(busName.replace(/\.0$/, '')) ?? this.#buses.get(busName));
    if (bus === undefined) return device;
    const [slotText, functionText = '0'] = (properties.get('addr') ?? '').split('.');
    // QEMU reads addresses as hexadecimal, with or without 0x
    const said =
      slotText === undefined || slotText === ''
        ? undefined
        : Number.parseInt(slotText.replace(/^0x/, ''), 16);
    const slot = said ?? this.#free(bus);
    bus.taken.add(slot);
    const place = `${bus.prefix}:${slot.toString(16).padStart(2, '0')}.${functionText}`;
    if (id !== undefined && BRIDGE.test(driver))
      this.#buses.set(id, { prefix: place, express: EXPRESS_PORT.test(driver), taken: new Set() });
    return { ...device, place, express: bus.express };
  }

  #free({ taken }: Bus): number {
    for (let slot = 0; slot < 32; slot++) if (!taken.has(slot)) return slot;
    return 32;
  }
}

class CcwPlaces {
  readonly #taken = new Set<string>();

  place({ properties }: Unplaced): string {
    const [, cssid, ssid, devno] =
      /^([0-9a-f]+)\.([0-3])\.([0-9a-f]{1,4})$/i.exec(properties.get('devno') ?? '') ?? [];
    if (devno !== undefined && cssid !== undefined && ssid !== undefined)
      return this.#take(`/${cssid.toLowerCase()}.${ssid}.${devno.toLowerCase().padStart(4, '0')}`);
    for (let next = 0; next < 0x10000; next++) {
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

/** Where machines have their virtio-mmio transports, lowest first; QEMU fills the last one first. */
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

class MmioPlaces {
  readonly #free: number[];
  readonly #transports: MmioTransports | undefined;

  constructor(board: Board) {
    this.#transports = mmioTransports(board);
    this.#free = Array.from({ length: this.#transports?.count ?? 0 }, (_, index) => index);
  }

  place(device: Unplaced): DestinationDevice {
    const transports = this.#transports;
    const asked = numberOf(/^virtio-mmio-bus\.(\d+)$/.exec(device.properties.get('bus') ?? '')?.[1]);
    const slot = asked ?? this.#free.at(-1);
    if (transports === undefined || slot === undefined) return device;
    this.#free.splice(this.#free.indexOf(slot), 1);
    const address = (transports.base + slot * transports.step).toString(16).padStart(16, '0');
    return { ...device, place: `virtio-mmio@${address}` };
  }
}

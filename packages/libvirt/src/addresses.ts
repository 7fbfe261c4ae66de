import { child, type XmlElement } from './xml.ts';

/** Place of a device: the end of its type's name on that bus, and the properties that say the place. */
export interface Address {
  /** End of the type's name: `-pci`, `-ccw`, `-device`. */
  readonly suffix: string;
  readonly properties: ReadonlyMap<string, string>;
  /** True if the description says the place. */
  readonly said: boolean;
}

/** Places of devices by their `<address>`, and the names of the buses that controllers make. */
export class Addresses {
  readonly #buses = new Map<number, string>();
  readonly #byDefault: string;

  constructor(devices: readonly XmlElement[], machine: string) {
    this.#byDefault = machine.startsWith('s390') ? '-ccw' : '-pci';
    const root = /q35|^virt/.test(machine) ? 'pcie.0' : 'pci.0';
    this.#buses.set(0, root);
    for (const controller of devices) {
      if (controller.name !== 'controller' || controller.attributes.get('type') !== 'pci') continue;
      const index = Number(controller.attributes.get('index') ?? Number.NaN);
      if (!Number.isSafeInteger(index)) continue;
      const model = controller.attributes.get('model');
      const own = model === 'pcie-root' ? 'pcie.0' : `pci.${index}`;
      this.#buses.set(index, child(controller, 'alias')?.attributes.get('name') ?? own);
    }
  }

  of(element: XmlElement): Address {
    const attributes = child(element, 'address')?.attributes ?? new Map<string, string>();
    switch (attributes.get('type')) {
      case 'pci':
        return this.#pci(attributes);
      case 'ccw':
        return { suffix: '-ccw', properties: new Map([['devno', subchannel(attributes)]]), said: true };
      case 'virtio-mmio':
        return { suffix: '-device', properties: new Map(), said: true };
      default:
        return { suffix: this.#byDefault, properties: new Map(), said: false };
    }
  }

  #pci(attributes: ReadonlyMap<string, string>): Address {
    const number = (name: string): number => Number(attributes.get(name) ?? '0');
    const [bus, slot, fn] = [number('bus'), number('slot'), number('function')];
    const name = this.#buses.get(bus) ?? `pci.${bus}`;
    const addr = `0x${slot.toString(16)}${fn === 0 ? '' : `.0x${fn.toString(16)}`}`;
    const multifunction = attributes.get('multifunction');
    const properties = new Map([
      ['bus', name],
      ['addr', addr],
    ]);
    if (multifunction === 'on' || multifunction === 'off') properties.set('multifunction', multifunction);
    return { suffix: '-pci', properties, said: true };
  }
}

/** Writes the place of a subchannel: `fe.0.0005`. */
function subchannel(attributes: ReadonlyMap<string, string>): string {
  const hex = (name: string): string => Number(attributes.get(name) ?? '0').toString(16);
  return `${hex('cssid')}.${hex('ssid')}.${hex('devno').padStart(4, '0')}`;
}

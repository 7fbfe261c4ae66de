import { StateError } from '@virtkit/vmstate';
import { Addresses } from './addresses.ts';
import { boardWords } from './board.ts';
import { type Described, describe } from './devices.ts';
import { optionText } from './qemu-words.ts';
import { child, parseXml, valueAt, type XmlElement } from './xml.ts';

/** Machine as its management describes it, in words of QEMU. */
export interface MachineDescription {
  /** Name of the machine in its management: the domain of libvirt, the VM of KubeVirt or Proxmox. */
  readonly name: string;
  /** Name of the machine type, `pc-q35-7.2`; undefined: the description does not say. */
  readonly machine: string | undefined;
  /** Command line of QEMU, the program first: the same devices at the same places, nothing behind them. */
  readonly command: readonly string[];
  /**
   * Sentences about what was not understood, or is not said in the description. With one of them, nothing certain can
   * be said of a load.
   */
  readonly unknown: readonly string[];
  /** Ids of the devices whose places the description does not say: the management gives them. */
  readonly unplaced: readonly string[];
}

/** Largest number of devices of a domain. libvirt's own limits are below. */
const DEVICES_MAX = 4096;

/**
 * Describes the machine that libvirt starts for a domain's XML: of `virsh dumpxml`, in the header of a save file, from
 * a migration's cookie, in KubeVirt's launcher.
 *
 * @throws StateError `xml` for what is no XML or no domain, `limit` for one that is too large
 */
export function describeDomain(text: string): MachineDescription {
  const domain = domainIn(parseXml(text));
  const os = child(domain, 'os');
  const type = child(os, 'type');
  const arch = type?.attributes.get('arch') ?? 'x86_64';
  const machine = type?.attributes.get('machine');
  if (type !== undefined && type.text !== 'hvm') refuse(`a domain of type ${type.text}, and no QEMU machine`);
  const devices = inOrder(child(domain, 'devices')?.children ?? []);
  if (devices.length > DEVICES_MAX) refuse(`${devices.length} devices, at most ${DEVICES_MAX} are read`);
  const addresses = new Addresses(devices, machine ?? '');
  const described: Described = { words: [], devices: [], unknown: [], unplaced: [], numbers: new Map() };
  for (const element of devices) describe(element, { arch, machine: machine ?? '', addresses }, described);
  override(domain, described);
  const board = boardWords(domain);
  return {
    name: child(domain, 'name')?.text ?? '',
    machine,
    command: [
      `qemu-system-${arch === 'i686' ? 'i386' : arch}`,
      '-nodefaults',
      ...board.words,
      ...described.words,
      ...described.devices.flatMap(({ driver, properties }) => ['-device', optionText(driver, properties)]),
      ...passed(domain),
    ],
    unknown: [...board.unknown, ...described.unknown],
    unplaced: described.unplaced,
  };
}

/** Sorts elements in the order in which QEMU needs them: buses in front of what is on them. */
function inOrder(elements: readonly XmlElement[]): XmlElement[] {
  const rank = ({ name, attributes }: XmlElement): number => {
    if (name !== 'controller') return Number.MAX_SAFE_INTEGER;
    const index = attributes.get('type') === 'pci' ? Number(attributes.get('index')) : Number.NaN;
    return Number.isSafeInteger(index) ? index : Number.MAX_SAFE_INTEGER - 1;
  };
  return [...elements].sort((a, b) => rank(a) - rank(b));
}

function refuse(reason: string): never {
  throw new StateError('xml', reason, {});
}

/**
 * Finds a domain on its own, or inside of what libvirt keeps of one: `<domstatus>`, `<domainsnapshot>`,
 * `<qemumigration>`.
 */
function domainIn(root: XmlElement): XmlElement {
  if (root.name === 'domain') return root;
  const inside = child(root, 'domain');
  return inside ?? refuse(`the XML is <${root.name}>, and no <domain>`);
}

/** Lists arguments that `<qemu:commandline>` passes to QEMU as they are. */
function passed(domain: XmlElement): string[] {
  return domain.children
    .filter(({ name }) => name.endsWith(':commandline'))
    .flatMap(({ children }) => children)
    .filter(({ name }) => name.endsWith(':arg'))
    .flatMap(({ attributes }) => attributes.get('value') ?? []);
}

/** Changes the properties that `<qemu:override>` names of the device with an alias. */
function override(domain: XmlElement, { devices }: Described): void {
  const byId = new Map(devices.map((device) => [device.properties.get('id'), device] as const));
  const inside = (name: string, of: readonly XmlElement[]): XmlElement[] =>
    of.flatMap(({ children }) => children).filter((each) => each.name.endsWith(`:${name}`));
  const overrides = domain.children.filter(({ name }) => name.endsWith(':override'));
  for (const device of inside('device', overrides)) {
    const there = byId.get(device.attributes.get('alias'));
    for (const property of inside('property', inside('frontend', [device]))) {
      const name = valueAt(property, '@name') ?? '';
      if (property.attributes.get('type') === 'remove') there?.properties.delete(name);
      else there?.properties.set(name, valueAt(property, '@value') ?? '');
    }
  }
}

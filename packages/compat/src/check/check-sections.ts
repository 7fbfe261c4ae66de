// Sections that are not virtio's: QEMU refuses a stream with one that it does not have.
import {
  compareVersion,
  notKnown,
  numberOf,
  propertyNames,
  type QemuDevice,
  refusal,
  switchOf,
  type Verdict,
} from '@virtkit/core/qemu';
import { type MigrationStream, type StreamSection, splitIdstr } from '@virtkit/migration';
import { hex } from '@virtkit/vmstate';
import { boardHas, knownBoard } from '../destination/board-sections.ts';
import type { BoardWords, Destination } from '../destination/destination.ts';
import { XHCI_PORTS } from '../destination/inner-buses.ts';
import { type OtherDevice, otherDevice, otherTypes } from '../destination/other-devices.ts';
import { type CpuNumbers, cpuNumbers } from '../destination/topology.ts';
import { badConfig, unknownSection } from '../qemu-says.ts';
import type { Target } from '../target.ts';

/** Place that a section is compared with. */
interface Where {
  readonly section: StreamSection;
  readonly destination: Destination;
  readonly board: BoardWords;
  readonly target: Target;
  readonly cpus: CpuNumbers;
}

/**
 * Verdicts over the sections of the board and of devices that are not virtio: each must be at the target as well. One of which that
 * is not known makes the answer `unknown`.
 */
export function checkSections(
  stream: MigrationStream,
  destination: Destination,
  board: BoardWords,
  target: Target,
): Verdict[] {
  const { machine = '', cpus: count, devices } = destination;
  const cpus = cpuNumbers(board.options, machine, count, devices);
  return stream.sections.flatMap((section) => {
    const where = { section, destination, board, target, cpus };
    return splitIdstr(section.header.idstr).path === '' ? withoutPlace(where) : atPlace(where);
  });
}

/** Verdicts over sections of devices without a place, which are counted. */
function withoutPlace(where: Where): Verdict[] {
  const { section, destination, board } = where;
  const { idstr, instanceId } = section.header;
  const kind = knownBoard(destination.machine ?? '', board.arch);
  // the sections of virtio-mmio and of other machines' boards are looked at elsewhere, or not at all
  if (kind === undefined || /^(virtio|vhost)/.test(idstr)) return [];
  const numbers = CPU_NUMBERS[idstr];
  if (numbers !== undefined) return checkCpu(where, numbers);
  const own = boardHas(kind, idstr, board);
  if (own === 'yes') return [];
  if (own !== undefined) return switchedOff(where, own.option);
  const there = count(idstr, where);
  if (there === undefined) return [sectionNotKnown(where)];
  if (instanceId < there) return [];
  const [what, property] = COUNTED[idstr] ?? [idstr, `-device ${otherTypes(idstr).join(' or ')}`];
  return there === 0 && COUNTED[idstr] === undefined
    ? missing(where, `the target has no ${what}`, property)
    : missing(where, `the source had ${instanceId + 1} ${what}, and the target ${there}`, property);
}

/** Sections that each CPU has, and the number by which they are known. */
const CPU_NUMBERS: Readonly<Record<string, keyof CpuNumbers>> = {
  cpu: 'indices',
  cpu_common: 'indices',
  apic: 'apicIds',
};

function checkCpu(where: Where, numbers: keyof CpuNumbers): Verdict[] {
  const { instanceId } = where.section.header;
  const there = where.cpus[numbers];
  if (there.has(instanceId)) return [];
  const what = numbers === 'apicIds' ? 'APIC id' : 'number';
  return missing(
    where,
    `the source had a CPU of ${what} ${instanceId}, and none of the target's ${there.size} has that`,
    '-smp',
  );
}

/** Words for sections that are counted, and the option that makes one. */
const COUNTED: Readonly<Record<string, readonly [string, string]>> = {
  slirp: ['networks of kind user', '-netdev user'],
  serial: ['serial ports', '-serial'],
  parallel_isa: ['parallel ports', '-parallel'],
};

/** Counts the sections of a name that the target has; undefined: that is not known. */
function count(idstr: string, { destination: { devices }, board }: Where): number | undefined {
  switch (idstr) {
    case 'slirp':
      return board.userNetworks;
    case 'serial':
      return board.serialPorts;
    case 'parallel_isa':
      return board.parallelPorts;
    case 'fdc':
      return (board.floppies ? 1 : 0) + devices.filter(({ driver }) => driver === 'isa-fdc').length;
    case 'pflash_cfi01':
      return board.flash.size;
    case 'sclpconsole':
      return board.serialPorts > 0 ? 1 : 0;
    case 'vga':
      return devices.filter(({ driver }) => /^(isa-vga|vmware-svga)$/.test(driver)).length;
    default:
      if (otherTypes(idstr).length === 0) return undefined;
      return devices.filter(({ driver }) => otherDevice(driver)?.section === idstr).length;
  }
}

/** Cards that keep addresses and settings in a memory with a section of its own. From streams of QEMU 5.2, 7.2, 10.0 and 11.1. */
const WITH_EEPROM = /^(i82\d.*|tulip|dc390)$/;

/**
 * Pattern of places on a PCI bus, also behind bridges, and of what is attached there by USB or SCSI; devices of channel
 * I/O alike.
 */
const PLACE =
  /^(?:[0-9a-f]{4}:[0-9a-f]{2}(?::[0-9a-f]{2}\.[0-7])+|\/[0-9a-f]+\.\d\.[0-9a-f]{4})(\/[\d.]+)?(\/\d+:\d+:\d+)?$/;

function atPlace(where: Where): Verdict[] {
  const { destination, board, section } = where;
  const { path, name } = splitIdstr(section.header.idstr);
  const kind = knownBoard(destination.machine ?? '', board.arch);
  const places = destination.devices.filter(({ place }) => place !== undefined);
  const there = places.find(({ place }) => place === path);
  const own = kind === undefined ? undefined : boardHas(kind, section.header.idstr, board);
  if (own === 'yes') return [];
  // what the board leaves out, the command line may have put there
  if (own !== undefined && there === undefined) return switchedOff(where, own.option);
  if (!PLACE.test(path)) return [];
  // virtio devices are looked at elsewhere, but for those with a section of their own beside it
  if (name.startsWith('virt') && name !== 'virtio-vga') return [];
  if (there === undefined)
    return destination.placed ? missing(where, `the target has no device at ${path}`, placeOf(path)) : [];
  if (/^(virtio|vhost)-/.test(there.driver) && otherDevice(there.driver) === undefined) return [];
  const row = otherDevice(there.driver);
  if (row === undefined) return [sectionNotKnown(where)];
  if (name === 'eeprom' && WITH_EEPROM.test(there.driver)) return [];
  if (row.section === name)
    return [
      ...checkForm(where, name),
      ...checkIdentity(where, row, there),
      ...checkOtherProperties(section.header.idstr, there),
    ];
  return missing(
    where,
    `the target has ${there.driver} at ${path}, ${row.section === undefined ? 'which has no section' : `whose section is ${row.section}`}`,
    placeOf(path),
  );
}

/**
 * Sections whose form changed with QEMU, whatever the machine type: the bytes before and since, and the last version that
 * was tried before and the first since.
 */
const FORM_CHANGED: Readonly<
  Record<string, readonly [before: number, since: number, last: string, first: string]>
> = {
  pciespscsi: [425, 426, '10.0', '11.1'],
};

/** Verdicts over a section that another version of QEMU writes in another form. */
function checkForm({ section: { header, body }, target: { qemu } }: Where, name: string): Verdict[] {
  const [before, since, last, first] = FORM_CHANGED[name] ?? [];
  if (last === undefined || first === undefined) return [];
  const there =
    compareVersion(qemu.name, last) <= 0 ? before : compareVersion(qemu.name, first) >= 0 ? since : undefined;
  if (there === body.length) return [];
  const known = there === before;
  const reason = `the section has ${body.length} bytes, and QEMU ${qemu.name} ${known ? `reads ${before}` : 'may read another form'}`;
  const advice = 'move to a QEMU of the version of the source, or without this device';
  if (!known) return [notKnown('section', header.idstr, reason, { advice })];
  const qemuSays = `Missing section footer for ${header.idstr}`;
  return [refusal('section', header.idstr, reason, { qemuSays, advice })];
}

function placeOf(path: string): string {
  return /:\d+:\d+$/.test(path)
    ? 'channel, scsi-id, lun'
    : /\/[\d.]+$/.test(path)
      ? 'port, bus'
      : 'addr, bus';
}

/** Length in bytes of the version of `PCIDevice`, which stands in front of configuration space in a section. */
const VERSION_BYTES = 4;

/** Verdicts over identities: types that share a section differ in what they say they are. */
function checkIdentity(
  { section: { header, body } }: Where,
  { bus, pci, classCode }: OtherDevice,
  { driver, properties }: QemuDevice,
): Verdict[] {
  const config = body.subarray(VERSION_BYTES);
  if (config.length < CONFIG_BYTES || bus !== 'pci') return [];
  const differs = (at: number, there: number, reason: string, property: string): Verdict =>
    refusal('config-space', `${header.idstr} / config[${hex(at)}]`, reason, {
      qemuSays: badConfig(at, (config[at] ?? 0).toString(16), there.toString(16)),
      property,
      advice: 'give the target the device that the source had, with the same properties',
    });
  const ids = pci?.split(':').flatMap((word) => [word.slice(2), word.slice(0, 2)]) ?? [];
  const other = ids.findIndex((byte, at) => Number.parseInt(byte, 16) !== config[at]);
  if (other >= 0)
    return [
      differs(
        other,
        Number.parseInt(ids[other] ?? '', 16),
        `the source had another type than ${driver} there`,
        'driver',
      ),
    ];
  const subclass = Number.parseInt(classCode?.slice(2) ?? '', 16);
  if (classCode !== undefined && subclass !== config[SUBCLASS])
    return [differs(SUBCLASS, subclass, `the source had another type than ${driver} there`, 'driver')];
  const functions = switchOf(properties.get('multifunction')) === true ? MULTIFUNCTION : 0;
  const here = config[HEADER_TYPE] ?? 0;
  // ports and bridges are looked at with all that is theirs
  if (
    (here & MULTIFUNCTION) !== functions &&
    !/bridge|port/.test(driver) &&
    header.idstr.split(':').length === 3
  )
    return [
      differs(
        HEADER_TYPE,
        (here & ~MULTIFUNCTION) | functions,
        `multifunction of the ${driver} is not as at the source`,
        'multifunction',
      ),
    ];
  return /xhci/.test(driver) ? checkPorts(header.idstr, body.length, properties) : [];
}

const CONFIG_BYTES = 256;
const SUBCLASS = 0x0a;
const HEADER_TYPE = 0x0e;
const MULTIFUNCTION = 0x80;

/** Names of properties of devices that are not virtio, and decide nothing in a load or are looked at. */
const HARMLESS = propertyNames(
  'id bus addr multifunction acpi-index bootindex romfile rombar romsize mac netdev chassis chassis_nr slot port hotplug shpc',
  'io-reserve mem-reserve pref64-reserve pref32-reserve bus-reserve p2 p3 xres yres edid vgamem_mb vgamem ram_size vram_size',
  'ram_size_mb vram_size_mb vram64_size_mb max_outputs serial wwn drive channel scsi-id lun removable logical_block_size',
  'physical_block_size min_io_size opt_io_size discard_granularity rotation_rate product vendor ver device_id write-cache',
  'share-rw rerror werror cyls heads secs bios-chs-trans audiodev mixer cad debug chardev index iobase irq display head filter',
  'guest-reset guest-resets-all hostbus hostaddr hostport vendorid productid pcap loglevel memdev master firstport masterbus',
  'port_index port_wwn dpofua msos-desc tpmdev opaque unit attached streaming vectors',
);

/** Verdicts over properties of which it is not known what they change of the device's state. */
function checkOtherProperties(idstr: string, { driver, properties }: QemuDevice): Verdict[] {
  return [...properties.keys()]
    .filter((property) => !HARMLESS.has(property))
    .map((property) =>
      notKnown(
        'property',
        idstr,
        `the target's ${driver} has ${property}=${properties.get(property)}, and virtkit does not know what that means for a load`,
        {
          property,
          advice:
            'give the target the value that the source had, or ask QEMU itself (virtkit check --qemu BINARY)',
        },
      ),
    );
}

/**
 * Length in bytes of the section of an xHCI controller without ports, and of a port in it. From QEMU 5.2, 7.2, 10.0 and
 * 11.1.
 */
const [XHCI_BYTES, XHCI_PORT_BYTES] = [5311, 4];

function checkPorts(idstr: string, bytes: number, properties: ReadonlyMap<string, string>): Verdict[] {
  const ports = (name: string): number => numberOf(properties.get(name)) ?? XHCI_PORTS;
  const there = ports('p2') + ports('p3');
  const here = (bytes - XHCI_BYTES) / XHCI_PORT_BYTES;
  if (here === there) return [];
  if (!Number.isInteger(here) || here < 0)
    return [
      notKnown(
        'property',
        idstr,
        'how many ports, slots and interrupts the controller had at the source is not known',
        {
          property: 'p2, p3, slots, intrs',
          advice: 'give the target the same p2, p3, slots and intrs as at the source',
        },
      ),
    ];
  return [
    refusal(
      'property',
      idstr,
      `the USB controller has ${here} ports of USB 2 and 3 in the stream, and ${there} at the target`,
      {
        qemuSays: `Missing section footer for ${idstr}`,
        property: 'p2, p3',
        advice: 'give the target the same p2 and p3 (libvirt: ports of the controller) as at the source',
      },
    ),
  ];
}

function switchedOff(where: Where, option: string): Verdict[] {
  if (option === 'hpet') return missing(where, 'the target has no HPET', 'hpet (of the machine)');
  return missing(
    where,
    `the source had it, and the target's machine has ${option}=${where.board.options.get(option) ?? 'off'}`,
    `${option} (of the machine)`,
  );
}

function missing({ section: { header }, target }: Where, reason: string, property: string): Verdict[] {
  return [
    refusal('no-device', header.idstr, reason, {
      qemuSays: unknownSection(target.qemu, header.idstr, header.instanceId),
      property,
      advice: 'start the target with what the source had',
    }),
  ];
}

function sectionNotKnown({ section: { header } }: Where): Verdict {
  return notKnown('section', header.idstr, 'whether the target has this section is not known to virtkit', {
    advice: 'start the target with the devices and options of the source; ask QEMU itself to be certain',
  });
}

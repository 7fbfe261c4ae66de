import { StateError } from '@virtkit/vmstate';
import type { Destination, DestinationDevice } from './destination.ts';
import { busOf } from './destination.ts';
import { placeDevices, type Unplaced } from './place.ts';
import { bytesOf, numberOf, optionWords, shellWords, switchOf } from './words.ts';

/** Back ends that hand packets over with a virtio header, and what they do of it is the host kernel's to say. */
const VNET_HEADER = /^(tap|vhost-user|vhost-vdpa)$/;
/** Options that take no value; all others have one. */
const FLAGS = new Set(
  [
    'S s h help version usb nodefaults no-user-config preconfig only-migratable daemonize snapshot nographic enable-kvm',
    'no-reboot no-shutdown no-acpi no-hpet no-fd-bootchk mem-prealloc async-teardown singlestep enable-sync-profile',
    'enable-fips perfmap jitdump semihosting old-param audio-help win2k-hack xen-attach xen-domid-restrict',
    'curses sdl full-screen portrait no-frame no-quit alt-grab ctrl-grab show-cursor',
  ].flatMap((line) => line.split(' ').map((name) => `-${name}`)),
);

interface Parsed {
  /** From the program's name: `x86_64`. */
  readonly arch: string;
  machine: string;
  machineOptions: ReadonlyMap<string, string>;
  memoryBytes: number;
  cpus: number;
  readonly devices: Unplaced[];
  readonly globals: [driver: string, property: string, value: string][];
  readonly networks: Map<string, NonNullable<DestinationDevice['network']>>;
  readonly readOnly: Set<string>;
  readonly backends: Map<string, number>;
  readonly drives: Unplaced[];
  readonly nics: Unplaced[];
  readonly unknown: string[];
  defaults: boolean;
  defaultNic: boolean;
  vga: string | undefined;
}

/** Machines whose addresses virtkit can tell. */
const PLACED = /^(x86_64|i386)\/(pc|microvm|q35)|^s390x\/|^(aarch64|arm)\/virt/;
const MIB = 2 ** 20;

/**
 * The destination that a QEMU command line makes: `qemu-system-x86_64 -M pc -m 1G -device virtio-blk-pci,…`. Words in front
 * of the program (`sudo`, `LC_ALL=C`) are skipped; without a program, the options begin at once.
 *
 * @param qemu version, for machines without one in their name (`pc`, `q35`)
 * @throws StateError `target` for text that is no command line
 */
export function parseCommandLine(text: string | readonly string[], qemu: string): Destination {
  const words = typeof text === 'string' ? shellWords(text) : text;
  const start = words.findIndex((word) => word.startsWith('-'));
  if (start < 0)
    throw new StateError('target', 'no options of QEMU in this command line', { text: words.join(' ') });
  const program = words.slice(0, start).join(' ');
  const arch = /qemu-system-(\w+)/.exec(program)?.[1] ?? 'x86_64';
  const parsed = fresh(arch);
  if (/qemu-system-x86_64-microvm/.test(program)) parsed.machine = 'microvm';
  for (let at = start; at < words.length; at++) {
    const option = (words[at] ?? '').replace(/^--/, '-');
    if (!option.startsWith('-')) continue;
    if (FLAGS.has(option)) flag(parsed, option);
    else take(parsed, option, words[++at] ?? '');
  }
  return built(parsed, qemu);
}

function fresh(arch: string): Parsed {
  return {
    arch,
    machine: arch === 's390x' ? 's390-ccw-virtio' : 'pc',
    machineOptions: new Map(),
    memoryBytes: 128 * MIB,
    cpus: 1,
    devices: [],
    globals: [],
    networks: new Map(),
    readOnly: new Set(),
    backends: new Map(),
    drives: [],
    nics: [],
    unknown: [],
    defaults: true,
    defaultNic: true,
    vga: undefined,
  };
}

function flag(parsed: Parsed, option: string): void {
  if (option === '-nodefaults') parsed.defaults = false;
  if (option === '-no-acpi') parsed.machineOptions = new Map([...parsed.machineOptions, ['acpi', 'off']]);
}

function take(parsed: Parsed, option: string, text: string): void {
  switch (option) {
    case '-M':
    case '-machine': {
      const { first, values } = optionWords(text, 'type');
      if (first !== '') parsed.machine = first;
      parsed.machineOptions = new Map([...parsed.machineOptions, ...values]);
      return;
    }
    case '-m': {
      const { first, values } = optionWords(text, 'size');
      parsed.memoryBytes = bytesOf(first, 'm') ?? bytesOf(values.get('size'), 'm') ?? parsed.memoryBytes;
      return;
    }
    case '-smp':
      parsed.cpus = cpusOf(text);
      return;
    case '-object': {
      const { first, values } = optionWords(text, 'qom-type');
      const [id, size] = [values.get('id'), bytesOf(values.get('size'), '')];
      if (first.startsWith('memory-backend-') && id !== undefined && size !== undefined)
        parsed.backends.set(id, size);
      return;
    }
    case '-device': {
      const { first, values } = optionWords(text, 'driver');
      const id = values.get('id');
      parsed.devices.push({ driver: first, properties: values, ...(id !== undefined && { id }) });
      return;
    }
    case '-global':
      takeGlobal(parsed, text);
      return;
    case '-vga':
      parsed.vga = text;
      return;
    default:
      takeBackend(parsed, option, text);
  }
}

function cpusOf(text: string): number {
  const { first, values } = optionWords(text, 'cpus');
  const parts = ['sockets', 'dies', 'clusters', 'cores', 'threads'].map(
    (key) => numberOf(values.get(key)) ?? 1,
  );
  return numberOf(first) ?? parts.reduce((all, each) => all * each, 1);
}

/** `driver.property=value`, or `driver=…,property=…,value=…`. */
function takeGlobal({ globals }: Parsed, text: string): void {
  const [, driver, property, value] = /^([^.=,]+)\.([^=,]+)=(.*)$/.exec(text) ?? [];
  if (driver !== undefined && property !== undefined) globals.push([driver, property, value ?? '']);
  else {
    const { values } = optionWords(text, 'driver');
    globals.push([values.get('driver') ?? '', values.get('property') ?? '', values.get('value') ?? '']);
  }
}

function takeBackend(parsed: Parsed, option: string, text: string): void {
  switch (option) {
    case '-netdev': {
      parsed.defaultNic = false;
      const { first, values } = optionWords(text, 'type');
      parsed.networks.set(values.get('id') ?? '', networkOf(first, values));
      return;
    }
    case '-nic':
    case '-net': {
      parsed.defaultNic = false;
      const { first, values } = optionWords(text, 'type');
      const driver = cardOf(values.get('model'), parsed.arch);
      if (option === '-net' || first === 'none') return;
      // no version of QEMU gives such a card interrupt vectors
      const properties = new Map([['vectors', '0'], ...values]);
      parsed.nics.push({ driver, properties, network: networkOf(first, values) });
      return;
    }
    case '-drive': {
      const { values } = optionWords(text, 'file');
      const id = values.get('id') ?? `virtio${parsed.drives.length}`;
      if (switchOf(values.get('readonly') ?? values.get('read-only')) === true) parsed.readOnly.add(id);
      if (values.get('if') === 'virtio')
        parsed.drives.push({ driver: 'virtio-blk', properties: new Map([['drive', id]]) });
      return;
    }
    case '-blockdev': {
      const { values } = optionWords(text, 'driver');
      if (switchOf(values.get('read-only')) === true) parsed.readOnly.add(values.get('node-name') ?? '');
      return;
    }
    default:
  }
}

/** A card by its model; empty: the machine's own. */
function cardOf(model: string | undefined, arch: string): string {
  return model === 'virtio' ? `virtio-net-${arch === 's390x' ? 'ccw' : 'pci'}` : (model ?? '');
}

function networkOf(
  kind: string,
  values: ReadonlyMap<string, string>,
): NonNullable<DestinationDevice['network']> {
  const fds = (values.get('fds') ?? values.get('vhostfds'))?.split(':').length;
  return {
    kind,
    queues: numberOf(values.get('queues')) ?? fds ?? 1,
    vnetHeader: VNET_HEADER.test(kind) && switchOf(values.get('vnet_hdr')) !== false,
  };
}

function built(parsed: Parsed, qemu: string): Destination {
  const machine = versioned(parsed.machine, parsed.arch, qemu);
  const backend = parsed.machineOptions.get('memory-backend');
  const virtio = machine.startsWith('s390') ? 'ccw' : 'pci';
  const drives = parsed.drives.map((drive) => ({ ...drive, driver: `virtio-blk-${virtio}` }));
  const nics = parsed.nics.map((nic) => (nic.driver === '' ? { ...nic, driver: ownCard(machine) } : nic));
  const made = [...boardDevices(parsed, machine), ...nics, ...parsed.devices, ...drives].map((device) =>
    connected(device, parsed),
  );
  return {
    machine,
    memory: {
      bytes: (backend === undefined ? undefined : parsed.backends.get(backend)) ?? parsed.memoryBytes,
      ...(backend !== undefined && { block: backend }),
    },
    cpus: parsed.cpus,
    devices: PLACED.test(`${parsed.arch}/${machine}`)
      ? placeDevices({ machine, options: parsed.machineOptions, qemu }, made)
      : made,
    unknown: parsed.unknown,
  };
}

/** `pc` and the other names without a version stand for the newest machine of the program. */
function versioned(machine: string, arch: string, qemu: string): string {
  const full: Readonly<Record<string, string>> = {
    pc: 'pc-i440fx',
    'pc-i440fx': 'pc-i440fx',
    q35: 'pc-q35',
    's390-ccw-virtio': 's390-ccw-virtio',
    's390-ccw': 's390-ccw-virtio',
    pseries: 'pseries',
    ...(/^(aarch64|arm|m68k)$/.test(arch) && { virt: 'virt' }),
  };
  const name = full[machine];
  return name === undefined ? machine : `${name}-${qemu}`;
}

/** The card of a machine for which none is named. */
function ownCard(machine: string): string {
  if (machine.startsWith('s390')) return 'virtio-net-ccw';
  if (machine.startsWith('virt')) return 'virtio-net-pci';
  return machine.includes('q35') ? 'e1000e' : 'e1000';
}

/** Devices behind the names that `-vga` takes. */
const DISPLAYS: Readonly<Record<string, string>> = {
  std: 'VGA',
  cirrus: 'cirrus-vga',
  qxl: 'qxl-vga',
  virtio: 'virtio-vga',
  vmware: 'vmware-svga',
};

/** What a machine puts on its PCI bus unless `-nodefaults` forbids it. */
function boardDevices({ defaults, defaultNic, vga, devices }: Parsed, machine: string): Unplaced[] {
  const none = new Map<string, string>();
  const card = defaults && defaultNic ? [{ driver: ownCard(machine), properties: none }] : [];
  if (/^(s390|virt)/.test(machine)) return card;
  if (!/^pc-/.test(machine)) return [];
  const display = devices.some(({ driver }) => /vga|^VGA$|^qxl/i.test(driver));
  const showsVga = vga === undefined ? defaults && !display : vga !== 'none';
  return [...(showsVga ? [{ driver: DISPLAYS[vga ?? 'std'] ?? 'VGA', properties: none }] : []), ...card];
}

/** With its globals (which an own property overrides) and what it is connected to. */
function connected(device: Unplaced, { globals, networks, readOnly }: Parsed): Unplaced {
  const bus = busOf(device.driver);
  const families = [
    device.driver,
    device.driver.replace(/-(pci|ccw)$/, '-device'),
    ...(bus === undefined ? [] : [{ pci: 'virtio-pci', ccw: 'virtio-ccw-device', mmio: 'virtio-mmio' }[bus]]),
    'virtio-device',
    'pci-device',
  ];
  const properties = new Map<string, string>();
  for (const [driver, property, value] of globals)
    if (families.includes(driver)) properties.set(property, value);
  for (const [property, value] of device.properties) properties.set(property, value);
  const network = device.network ?? networks.get(properties.get('netdev') ?? '');
  return {
    ...device,
    properties,
    ...(network !== undefined && { network }),
    readOnly: readOnly.has(properties.get('drive') ?? ''),
  };
}

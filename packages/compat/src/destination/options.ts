import { bytesOf } from '@virtkit/core/qemu';
import { isHarmless, optionName, takesValue } from './qemu-options.ts';
import { driverOfOption } from './qemu-types.ts';
import { optionWords, set } from './words.ts';

/** Option of a group, as QEMU keeps it: `-set` and `-readconfig` reach it by its id. */
export interface Opts {
  readonly id?: string;
  readonly values: Map<string, string>;
}

/** Groups of options that are read here, and the key that the first word of an option stands for. */
const GROUPS = {
  device: 'driver',
  drive: 'file',
  netdev: 'type',
  nic: 'type',
  net: 'type',
  numa: 'type',
  object: 'qom-type',
} as const;
type Group = keyof typeof GROUPS;

/** Pattern of groups of configuration files that decide nothing about a load. */
const HARMLESS_GROUPS =
  /^(chardev|mon|boot-opts|rtc|spice|vnc|trace|name|sandbox|icount|overcommit|action|fsdev|tpmdev|iscsi|fw_cfg|accel|realtime|semihosting-config|add-fd|acpi|option-rom|smbios|audiodev|plugin|msg|compat)$/;

/** Pattern of options of machines: looked at here, or without a place in what a load compares of virtio devices. */
const MACHINE_OPTIONS = new RegExp(
  `^(?:${[
    'type|accel|acpi|hpet|usb|pcie|ioapic2|memory-backend|memory\\..*|smp\\..*|rtc|pit|pic|isa-serial|auto-kernel-cmdline',
    'option-roms|x-option-roms|dump-guest-core|mem-merge|kernel-irqchip|kernel|initrd|append|dtb|dumpdtb|phandle-start|firmware',
    'graphics|vmport|smm|sata|smbus|i8042|fd-bootchk|nvdimm|nvdimm-persistence|hmat|suppress-vmdesc|enforce-config-section',
    'confidential-guest-support|boot\\..*|x-oem-id|x-oem-table-id|oem-id|oem-table-id|max-fw-size|max-ram-below-4g|acpi-index',
    'pcspk-audiodev|pflash[01]|default-bus-bypass-iommu|iommu|gic-version|secure|virtualization|highmem.*|compact-highmem|its',
    'dtb-randomness|dtb-kaslr-seed|ras|mte|aes-key-wrap|dea-key-wrap|loadparm|zpcii-disable|s390-squash-mcss|dt-compatible',
    'kvm-type|kvm-shadow-mem|igd-passthru|passthrough|cap-.*|x-.*|vsmt|ic-mode|resize-hpt|host-model|host-serial',
    'auxbus|smbios-entry-point-type|sgx-epc\\..*|memory-encryption|nmi|usb-.*|aux-ram-share|hv-balloon|sp-mem',
  ].join('|')})$`,
);

/** Types that stand behind the names that `-usbdevice` takes. */
const USB_DEVICES: Readonly<Record<string, string>> = {
  tablet: 'usb-tablet',
  mouse: 'usb-mouse',
  keyboard: 'usb-kbd',
  'wacom-tablet': 'usb-wacom-tablet',
  braille: 'usb-braille',
  u2f: 'u2f-passthru',
};

/** Reader of the file that `-readconfig` names; it answers undefined where the file cannot be read. */
export type ReadConfig = (name: string) => string | undefined;

/** Options of a command line, before anything is made of them. */
export class CommandOptions {
  /** Keys and values of `-machine`, and those of `-smp` as `smp.cpus`; `_` in keys is `-`. */
  readonly machine = new Map<string, string>();
  readonly memory = new Map<string, string>();
  readonly globals: (readonly [driver: string, property: string, value: string])[] = [];
  /** Devices given in JSON: QEMU makes them after all others, wherever they stand. */
  readonly jsonDevices: Opts[] = [];
  /** Sound cards of `-soundhw` and `-audio`: QEMU makes them before all other devices. */
  readonly sounds: string[] = [];
  /** Devices that `-usbdevice` names. */
  readonly usbDevices: Opts[] = [];
  /** Names of the block nodes that are read-only. */
  readonly readOnlyNodes = new Set<string>();
  /** Sizes of block nodes in bytes, where they are said. */
  readonly nodeBytes = new Map<string, number | undefined>();
  readonly unknown: string[] = [];
  /** Sentences about options that are not known. */
  readonly foreign: string[] = [];
  defaults = true;
  vga: string | undefined;
  /** True if an option names firmware that is not the program's own. */
  firmware = false;
  /** Values of `-serial` and `-parallel`, in their order. */
  readonly serial: string[] = [];
  readonly parallel: string[] = [];
  readonly #groups = new Map<string, Opts[]>();
  readonly #readConfig: ReadConfig | undefined;

  constructor(words: readonly string[], readConfig: ReadConfig | undefined) {
    this.#readConfig = readConfig;
    for (let at = 0; at < words.length; at++) {
      const word = words[at] ?? '';
      if (!word.startsWith('-') || word === '-') this.#take('hda', word);
      else if (takesValue(word)) this.#take(optionName(word), words[++at] ?? '');
      else this.#flag(optionName(word));
    }
  }

  /** Keys of `-machine` whose meaning for a load is not known. */
  get unknownMachineOptions(): string[] {
    return [...this.machine.keys()].filter((key) => !MACHINE_OPTIONS.test(key));
  }

  group(name: Group): readonly Opts[] {
    return this.#groups.get(name) ?? [];
  }

  #flag(name: string): void {
    switch (name) {
      case 'nodefaults':
        this.defaults = false;
        return;
      case 'no-acpi':
        set(this.machine, 'acpi', 'off');
        return;
      case 'no-hpet':
        set(this.machine, 'hpet', 'off');
        return;
      case 'usb':
        set(this.machine, 'usb', 'on');
        return;
      default:
        if (!isHarmless(name)) this.#notUnderstood(`-${name}`);
    }
  }

  #notUnderstood(what: string): void {
    this.foreign.push(`${what}: virtkit does not know what it makes of the machine`);
  }

  #take(name: string, text: string): void {
    switch (name) {
      case 'M':
      case 'machine':
        this.#merge(this.machine, '', optionWords(text, 'type').first, text, 'type');
        return;
      case 'smp':
        this.#merge(this.machine, 'smp.', '', text, 'cpus');
        return;
      case 'm':
        this.#merge(this.memory, '', '', text, 'size');
        return;
      case 'device':
        if (text.startsWith('{')) this.jsonDevices.push(optsOf(text, 'driver'));
        else this.#push('device', optsOf(text, 'driver'));
        return;
      case 'drive':
      case 'netdev':
      case 'nic':
      case 'net':
      case 'numa':
      case 'object':
        this.#push(name, optsOf(text, GROUPS[name]));
        return;
      case 'global':
        this.#global(text);
        return;
      case 'set':
        this.#set(text);
        return;
      case 'readconfig':
        this.#configFile(text);
        return;
      default:
        this.#takeShort(name, text);
    }
  }

  /** Reads the options that are short for others. */
  #takeShort(name: string, text: string): void {
    switch (name) {
      case 'hda':
      case 'hdb':
      case 'hdc':
      case 'hdd': {
        const index = name.charCodeAt(2) - 'a'.charCodeAt(0);
        this.#push('drive', optsOf(`file=${text.replaceAll(',', ',,')},index=${index},media=disk`, 'file'));
        return;
      }
      case 'cdrom':
        this.#push('drive', optsOf(`file=${text.replaceAll(',', ',,')},index=2,media=cdrom`, 'file'));
        return;
      case 'fda':
      case 'fdb':
        this.#push('drive', optsOf(`file=${text.replaceAll(',', ',,')},if=floppy`, 'file'));
        return;
      case 'blockdev': {
        const { values } = optionWords(text, 'driver');
        const name = values.get('node-name');
        if (name !== undefined) this.nodeBytes.set(name, bytesOf(values.get('size'), 'b'));
        if (name !== undefined && /^(on|yes|true|y)$/.test(values.get('read-only') ?? ''))
          this.readOnlyNodes.add(name);
        return;
      }
      case 'virtfs':
      case 'virtfs_synth':
        this.#push('device', { values: new Map([['driver', `${driverOfOption('virtfs')}-pci`]]) });
        return;
      case 'usbdevice':
        set(this.machine, 'usb', 'on');
        this.#usbDevice(text);
        return;
      case 'watchdog':
        this.#push('device', { values: new Map([['driver', text]]) });
        return;
      case 'audio': {
        const model = optionWords(text, 'driver').values.get('model');
        if (model !== undefined) this.sounds.push(model);
        return;
      }
      case 'soundhw':
        this.sounds.push(...(text === 'all' ? ['es1370', 'ac97', 'hda'] : text.split(',')));
        return;
      case 'vga':
        this.vga = text;
        return;
      case 'serial':
      case 'parallel':
        this[name].push(text);
        return;
      case 'pflash':
        this.#push('drive', optsOf(`file=${text.replaceAll(',', ',,')},if=pflash`, 'file'));
        return;
      case 'bios':
        this.firmware = true;
        return;
      default:
        if (!isHarmless(name)) this.#notUnderstood(`-${name} ${text}`);
    }
  }

  /** Reads `-usbdevice`: QEMU makes what it names before the devices of `-device`. */
  #usbDevice(text: string): void {
    const driver = USB_DEVICES[text];
    if (driver === undefined) this.#notUnderstood(`-usbdevice ${text}`);
    else this.usbDevices.push({ values: new Map([['driver', driver]]) });
  }

  #push(group: Group, opts: Opts): void {
    const list = this.#groups.get(group) ?? [];
    list.push(opts);
    this.#groups.set(group, list);
  }

  /** Merges an option that may be given several times: each adds to those before. */
  #merge(into: Map<string, string>, prefix: string, first: string, text: string, firstKey: string): void {
    const { first: value, values } = optionWords(text, firstKey);
    const said = first === '' ? value : first;
    if (said !== '') set(into, `${prefix}${firstKey}`, said);
    this.#mergeValues(into, prefix, values);
  }

  #mergeValues(into: Map<string, string>, prefix: string, values: ReadonlyMap<string, string>): void {
    for (const [key, value] of values) set(into, `${prefix}${key.replaceAll('_', '-')}`, value);
  }

  /** Reads `-global driver.property=value`, or `driver=…,property=…,value=…`. */
  #global(text: string): void {
    const [, driver, property, value] = /^([^.=]+)\.([^=]+)=([\s\S]*)$/.exec(text) ?? [];
    if (driver !== undefined && property !== undefined) this.globals.push([driver, property, value ?? '']);
    else this.#globalOf(optionWords(text, 'driver').values, optionWords(text, 'driver').first);
  }

  #globalOf(values: ReadonlyMap<string, string>, driver: string): void {
    this.globals.push([driver, values.get('property') ?? '', values.get('value') ?? '']);
  }

  /** Applies `-set group.id.property=value`, which changes an option that was given before. */
  #set(text: string): void {
    const [, group = '', id, key, value] = /^([^.]+)\.([^.]+)\.([^=]+)=([\s\S]*)$/.exec(text) ?? [];
    const opts = this.#groups.get(group)?.find((each) => each.id === id);
    if (opts !== undefined && key !== undefined) set(opts.values, key, value ?? '');
    else if (group in GROUPS || key === undefined)
      this.unknown.push(`-set ${text}: nothing of that id stands before it`);
  }

  #configFile(name: string): void {
    const text = this.#readConfig?.(name);
    if (text === undefined) this.unknown.push(`-readconfig ${name}: the file is not at hand`);
    else for (const section of sectionsOf(text)) this.#section(section);
  }

  #section({ group, id, values }: Section): void {
    if (group in GROUPS) {
      this.#push(group as Group, { values, ...(id !== undefined && { id }) });
    } else if (group === 'machine') this.#mergeValues(this.machine, '', values);
    else if (group === 'smp-opts') this.#mergeValues(this.machine, 'smp.', values);
    else if (group === 'memory') this.#mergeValues(this.memory, '', values);
    else if (group === 'global') this.#globalOf(values, values.get('driver') ?? '');
    else if (!HARMLESS_GROUPS.test(group)) this.#notUnderstood(`[${group}] of a configuration file`);
  }
}

function optsOf(text: string, firstKey: string): Opts {
  const { first, values } = optionWords(text, firstKey);
  const all = new Map([[firstKey, first], ...values]);
  const id = values.get('id');
  return { values: all, ...(id !== undefined && { id }) };
}

interface Section {
  readonly group: string;
  readonly id?: string;
  readonly values: Map<string, string>;
}

/**
 * Reads the sections of a configuration file: `[device "disk0"]`, then lines `driver = "virtio-blk-pci"`. QEMU:
 * `qemu_config_foreach`
 */
export function sectionsOf(text: string): Section[] {
  const sections: Section[] = [];
  for (const line of text.split('\n')) {
    const [, group, id] = /^\[([^\]\s"]+)(?:\s+"([^"]*)")?\s*\]/.exec(line) ?? [];
    if (group !== undefined) {
      sections.push({ group, values: new Map(), ...(id !== undefined && { id }) });
      continue;
    }
    const [, key, value] = /^\s*([^\s=#]+)\s*=\s*"([^"]*)"/.exec(line) ?? [];
    if (key !== undefined) sections.at(-1)?.values.set(key, value ?? '');
  }
  return sections;
}

/** Facts known of a program and its command line. */
export interface Parsed {
  /** Architecture, from the program's name: `x86_64`. */
  readonly arch: string;
  /** Version of QEMU: `7.2`. */
  readonly qemu: string;
  readonly options: CommandOptions;
  /**
   * Finds the machine type of a distribution that a name without a version stands for: `pc-q35` → `pc-q35-rhel9.6.0`.
   */
  readonly machineAlias?: (prefix: string) => string | undefined;
}

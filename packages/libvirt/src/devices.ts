import type { Addresses } from './addresses.ts';
import { kibibytes } from './board.ts';
import { type DeviceWords, optionText, switchText } from './qemu-words.ts';
import {
  ALIASES,
  BALLOON,
  CARD,
  DISK,
  DISKS,
  DISPLAYS,
  FILESYSTEM,
  INPUTS,
  NETWORKS,
  NO_DEVICE,
  PCI_CONTROLLER,
  PCI_CONTROLLERS,
  PLAIN,
  ROM,
  type Rule,
  SCSI_CONTROLLER,
  SCSI_CONTROLLERS,
  SERIAL_CONTROLLER,
  SOCKET,
  SOUND_CARDS,
  TX_MODES,
  USB_CONTROLLERS,
  VHOST_DISKS,
  VIDEO,
  VIRTIO_CARD,
  VIRTIO_DISK,
  VIRTIOFS,
} from './table.ts';
import { child, valueAt, type XmlElement } from './xml.ts';

/** Words for the devices of a domain: options that stand in front of them, the devices, and what is not known. */
export interface Described {
  readonly words: string[];
  readonly devices: DeviceWords[];
  readonly unknown: string[];
  readonly unplaced: string[];
  /** Number of ids of each kind that were given. */
  readonly numbers: Map<string, number>;
}

/** Machine whose devices are described. */
interface Machine {
  readonly arch: string;
  readonly machine: string;
  readonly addresses: Addresses;
}

/** Adds the words that an element of `<devices>` becomes. */
export function describe(element: XmlElement, machine: Machine, into: Described): void {
  new Describing(element, machine, into).describe();
}

class Describing {
  readonly #element: XmlElement;
  readonly #machine: Machine;
  readonly #into: Described;
  /** Id that the device got here, where the XML has none. */
  #own: string | undefined;

  constructor(element: XmlElement, machine: Machine, into: Described) {
    this.#element = element;
    this.#machine = machine;
    this.#into = into;
  }

  describe(): void {
    const { name } = this.#element;
    switch (name) {
      case 'disk':
        this.#disk();
        return;
      case 'controller':
        this.#controller();
        return;
      case 'interface':
        this.#card();
        return;
      case 'filesystem':
        this.#filesystem();
        return;
      case 'serial':
      case 'console':
      case 'channel':
        this.#port();
        return;
      case 'input':
        this.#input();
        return;
      case 'video':
        this.#video();
        return;
      case 'sound':
        this.#byModel(SOUND_CARDS, 'ich6');
        return;
      case 'watchdog':
        this.#watchdog();
        return;
      case 'memballoon':
        if (this.#value('@model') !== 'none') this.#virtio('virtio-balloon', BALLOON);
        return;
      case 'rng':
        this.#rng();
        return;
      case 'vsock':
        this.#virtio('vhost-vsock', SOCKET);
        return;
      case 'iommu':
        this.#iommu();
        return;
      case 'memory':
        this.#memory();
        return;
      case 'crypto':
        this.#crypto();
        return;
      case 'shmem':
        this.#plain(`ivshmem-${this.#value('model@type')?.endsWith('doorbell') ? 'doorbell' : 'plain'}`);
        return;
      case 'hostdev':
        this.#hostDevice();
        return;
      default:
        if (!NO_DEVICE.has(name) || this.#hasPlace()) this.#notKnown('what device it becomes');
    }
  }

  #value(path: string): string | undefined {
    return valueAt(this.#element, path);
  }

  #hasPlace(): boolean {
    return /^(pci|ccw|virtio-mmio)$/.test(this.#value('address@type') ?? '');
  }

  /** Says that something about the element is not known. */
  #notKnown(what: string): void {
    this.#into.unknown.push(`<${this.#title()}>: virtkit does not know ${what}`);
  }

  /** Makes the title of the element as a reader finds it: its name, and its alias, target or model. */
  #title(): string {
    const which =
      this.#value('alias@name') ?? this.#value('target@dev') ?? this.#value('@type') ?? this.#value('@model');
    return which === undefined ? this.#element.name : `${this.#element.name} ${which}`;
  }

  /** Finds the device's id: libvirt's alias where the XML has it, else one of the same form. */
  #id(otherwise?: string): string {
    const alias = this.#value('alias@name') ?? otherwise;
    if (alias !== undefined) return alias;
    this.#own ??= this.#next(ALIASES.get(this.#element.name) ?? this.#element.name);
    return this.#own;
  }

  #next(kind: string): string {
    const count = this.#into.numbers.get(kind) ?? 0;
    this.#into.numbers.set(kind, count + 1);
    return `${kind}${count}`;
  }

  #apply(rules: readonly Rule[], properties: Map<string, string>): void {
    for (const [path, property, kind] of rules) {
      const text = this.#value(path);
      if (text === undefined || text === '') continue;
      const value = kind === 'switch' ? switchText(text) : text;
      if (value !== undefined) properties.set(property, value);
      else if (text !== 'auto' && text !== 'default')
        this.#notKnown(`the value ${path}="${text.slice(0, 40)}"`);
    }
  }

  /** Adds a device with its place. */
  #add(driver: string, id: string, properties: Map<string, string>): DeviceWords {
    const device = { driver, properties: new Map([['id', id], ...properties]) };
    this.#into.devices.push(device);
    return device;
  }

  /** Adds a virtio device: its type ends as its bus and its model say. */
  #virtio(stem: string, rules: readonly Rule[], more: ReadonlyMap<string, string> = new Map()): DeviceWords {
    const { suffix, properties, said } = this.#machine.addresses.of(this.#element);
    const id = this.#id();
    if (!said) this.#into.unplaced.push(id);
    const own = new Map<string, string>();
    this.#apply(rules, own);
    if (suffix === '-pci') this.#rom(own);
    return this.#add(
      `${stem}${suffix}${suffix === '-pci' ? this.#generation() : ''}`,
      id,
      new Map([...own, ...more, ...properties]),
    );
  }

  /** Finds the end of a virtio type's name, `-transitional`, `-non-transitional` or nothing, as the model says. */
  #generation(): string {
    const model = this.#value('@model') ?? '';
    const [, end = ''] =
      /virtio(-transitional|-non-transitional)$/.exec(
        this.#element.name === 'interface' || this.#element.name === 'iommu'
          ? (this.#value('model@type') ?? '')
          : model,
      ) ?? [];
    return end;
  }

  #rom(properties: Map<string, string>): void {
    this.#apply(ROM, properties);
    const bar = properties.get('rombar');
    if (bar !== undefined) properties.set('rombar', bar === 'on' ? '1' : '0');
    if (switchText(this.#value('rom@enabled')) === 'off') properties.set('romfile', '');
  }

  /** Adds a device that is not virtio, on a PCI bus. */
  #plain(driver: string, rules: readonly Rule[] = [], id = this.#id()): void {
    if (driver === '') return;
    const { properties, said } = this.#machine.addresses.of(this.#element);
    if (!said) this.#into.unplaced.push(id);
    const own = new Map<string, string>();
    this.#apply(rules, own);
    this.#rom(own);
    this.#add(driver, id, new Map([...own, ...properties]));
  }

  #byModel(types: ReadonlyMap<string, string>, byDefault: string): void {
    const model = this.#value('@model') ?? byDefault;
    const driver = types.get(model);
    if (driver === undefined) this.#notKnown(`the model ${model}`);
    else this.#plain(driver);
  }

  #disk(): void {
    const bus = this.#value('target@bus') ?? busOfDisk(this.#value('target@dev') ?? '');
    const properties = new Map<string, string>();
    this.#apply(DISK, properties);
    this.#backing(properties);
    if (bus === 'virtio') {
      const vhost = VHOST_DISKS.get(this.#value('@type') ?? '');
      if (this.#value('@device') === 'lun') properties.set('scsi', 'on');
      const iothread = this.#value('driver@iothread');
      if (iothread !== undefined) this.#iothread(iothread, properties);
      this.#virtio(vhost ?? 'virtio-blk', VIRTIO_DISK, properties);
      return;
    }
    const cd = this.#value('@device') === 'cdrom';
    const driver = bus === 'scsi' && cd ? 'scsi-cd' : DISKS.get(bus);
    if (bus === 'scsi') this.#scsiPlace(properties);
    this.#add(driver ?? (cd ? 'ide-cd' : 'ide-hd'), this.#id(), properties);
  }

  #scsiPlace(properties: Map<string, string>): void {
    const number = (name: string): string => this.#value(`address@${name}`) ?? '0';
    properties.set('bus', `scsi${number('controller')}.0`);
    properties.set('channel', number('bus'));
    properties.set('scsi-id', number('target'));
    properties.set('lun', number('unit'));
  }

  #backing(properties: Map<string, string>): void {
    if (child(this.#element, 'shareable') !== undefined) properties.set('share-rw', 'on');
    const cache = this.#value('driver@cache') ?? 'default';
    if (cache !== 'default')
      properties.set('write-cache', /^(writethrough|directsync)$/.test(cache) ? 'off' : 'on');
    const onWrite = this.#value('driver@error_policy');
    const onRead = this.#value('driver@rerror_policy');
    const full = onWrite === 'enospace';
    if (onWrite !== undefined) properties.set('werror', full ? 'enospc' : onWrite);
    const read = onRead ?? (full ? undefined : onWrite);
    if (read !== undefined) properties.set('rerror', read);
    if (this.#value('@type') === 'vhostuser') return;
    const node = `node-${this.#id()}`;
    const readOnly = child(this.#element, 'readonly') === undefined ? 'off' : 'on';
    this.#into.words.push(
      '-blockdev',
      optionText('null-co', [
        ['size', '1073741824'],
        ['node-name', node],
        ['read-only', readOnly],
      ]).replace('null-co', 'driver=null-co'),
    );
    properties.set('drive', node);
  }

  #iothread(number: string, properties: Map<string, string>): void {
    const id = `iothread${number}`;
    if (!this.#into.numbers.has(id)) this.#into.words.push('-object', optionText('iothread', [['id', id]]));
    this.#into.numbers.set(id, 1);
    properties.set('iothread', id);
  }

  #controller(): void {
    const type = this.#value('@type');
    const index = this.#value('@index') ?? '0';
    const model = this.#value('@model');
    switch (type) {
      case 'pci':
        this.#pciController(index, model ?? '');
        return;
      case 'scsi':
        this.#scsiController(index, model ?? '');
        return;
      case 'virtio-serial': {
        this.#virtio('virtio-serial', SERIAL_CONTROLLER).properties.set(
          'id',
          this.#id(`virtio-serial${index}`),
        );
        return;
      }
      case 'usb': {
        const driver =
          model === undefined || model === 'default' ? 'piix3-usb-uhci' : USB_CONTROLLERS.get(model);
        if (driver === undefined) this.#notKnown(`the model ${model ?? ''}`);
        else if (this.#hasPlace()) this.#plain(driver, [], this.#id(index === '0' ? 'usb' : `usb${index}`));
        return;
      }
      case 'sata':
        // the first one is the chip set's own
        if (index !== '0' || !this.#machine.machine.includes('q35'))
          this.#plain('ich9-ahci', [], this.#id(`sata${index}`));
        return;
      case 'nvme':
        this.#plain('nvme', [], this.#id(`nvme${index}`));
        return;
      case 'ide':
      case 'fdc':
      case 'ccid':
      case 'isa':
        return;
      default:
        this.#notKnown('what device it becomes');
    }
  }

  #pciController(index: string, model: string): void {
    const driver = this.#value('model@name') ?? PCI_CONTROLLERS.get(model);
    if (driver === undefined) this.#notKnown(`the model ${model}`);
    else if (driver !== '' && !/^pcie?-root$/.test(model)) {
      this.#plain(driver, PCI_CONTROLLER, this.#id(`pci.${index}`));
    }
  }

  #scsiController(index: string, model: string): void {
    if (/^virtio-(scsi|transitional|non-transitional)$/.test(model)) {
      const properties = new Map<string, string>();
      const iothread = this.#value('driver@iothread');
      if (iothread !== undefined) this.#iothread(iothread, properties);
      this.#virtio('virtio-scsi', SCSI_CONTROLLER, properties).properties.set('id', this.#id(`scsi${index}`));
      return;
    }
    const driver = SCSI_CONTROLLERS.get(model);
    if (driver === undefined)
      this.#notKnown(`the SCSI controller ${model === '' ? 'that libvirt chooses' : model}`);
    else this.#plain(driver, [], this.#id(`scsi${index}`));
  }

  #card(): void {
    const model = this.#value('model@type') ?? '';
    if (this.#value('@type') === 'hostdev') {
      this.#plain('vfio-pci');
      return;
    }
    const properties = new Map<string, string>();
    this.#apply(CARD, properties);
    const id = this.#id();
    const queues = this.#value('driver@queues') ?? '1';
    this.#network(`host${id}`, queues, properties);
    if (!model.startsWith('virtio')) {
      if (model === '') this.#notKnown('which card libvirt chooses (there is no <model>)');
      const { properties: place, said } = this.#machine.addresses.of(this.#element);
      if (!said) this.#into.unplaced.push(id);
      this.#rom(properties);
      this.#add(model === '' ? 'rtl8139' : model, id, new Map([...properties, ...place]));
      return;
    }
    const mode = TX_MODES.get(this.#value('driver@txmode') ?? '');
    if (mode !== undefined) properties.set('tx', mode);
    if (this.#value('teaming@type') === 'persistent') properties.set('failover', 'on');
    const { properties: all, driver } = this.#virtio('virtio-net', VIRTIO_CARD, properties);
    all.set('id', id);
    if (!/^\d{1,4}$/.test(queues)) {
      this.#notKnown(`the number of queues ${queues.slice(0, 40)}`);
      return;
    }
    if (Number(queues) <= 1) return;
    all.set('mq', 'on');
    if (!driver.endsWith('-ccw')) all.set('vectors', String(2 * Number(queues) + 2));
  }

  /** Adds a network back end of the kind that libvirt uses, without the host's part. */
  #network(id: string, queues: string, properties: Map<string, string>): void {
    const type = this.#value('@type') ?? 'user';
    const isPasst = type === 'user' && this.#value('backend@type') === 'passt';
    const kind = isPasst ? 'stream' : (NETWORKS.get(type) ?? 'tap');
    const options: [string, string][] = [['id', id]];
    if (kind === 'tap' || kind.startsWith('vhost')) options.push(['queues', queues]);
    this.#into.words.push('-netdev', optionText(kind, options));
    properties.set('netdev', id);
  }

  #filesystem(): void {
    if (this.#value('driver@type') === 'virtiofs') {
      this.#virtio('vhost-user-fs', VIRTIOFS);
      return;
    }
    const fsdev = `fsdev-${this.#id()}`;
    this.#into.words.push('-fsdev', optionText('synth', [['id', fsdev]]));
    this.#virtio('virtio-9p', FILESYSTEM, new Map([['fsdev', fsdev]]));
  }

  #port(): void {
    const target = this.#value('target@type') ?? '';
    const id = this.#id();
    if (this.#value('address@type') === 'virtio-serial' || target === 'virtio') {
      const [controller, port] = [this.#value('address@controller') ?? '0', this.#value('address@port')];
      const name = this.#value('target@name');
      this.#chardev(id);
      this.#add(
        this.#element.name === 'console' ? 'virtconsole' : 'virtserialport',
        id,
        new Map([
          ['bus', `virtio-serial${controller}.0`],
          ...(port === undefined ? [] : [['nr', port] as const]),
          ['chardev', `char${id}`],
          ...(name === undefined ? [] : [['name', name] as const]),
        ]),
      );
    } else if (this.#element.name === 'serial') this.#serial(target, id);
  }

  #chardev(id: string): void {
    this.#into.words.push('-chardev', optionText('null', [['id', `char${id}`]]));
  }

  #serial(target: string, id: string): void {
    if (target === 'isa-serial' || target === '' || target === 'isa') {
      if (!/^(x86_64|i686|i386)$/.test(this.#machine.arch)) return;
      this.#chardev(id);
      this.#add(
        'isa-serial',
        id,
        new Map([
          ['chardev', `char${id}`],
          ['index', this.#value('target@port') ?? '0'],
        ]),
      );
    } else if (target === 'pci-serial') this.#plain('pci-serial');
  }

  #input(): void {
    if (this.#value('@bus') !== 'virtio') return;
    const type = this.#value('@type') ?? '';
    const driver = INPUTS.get(type);
    if (driver === undefined) this.#notKnown(`the type ${type}`);
    else this.#virtio(driver, PLAIN);
  }

  #video(): void {
    const model = this.#value('model@type') ?? '';
    const count = this.#into.numbers.get('display') ?? 0;
    this.#into.numbers.set('display', count + 1);
    const isFirst = this.#value('model@primary') === 'yes' || count === 0;
    if (model === 'virtio') {
      this.#virtioVideo(isFirst);
      return;
    }
    const driver = DISPLAYS.get(model)?.[isFirst ? 0 : 1];
    if (driver === undefined) this.#notKnown(`the model ${model}`);
    else this.#plain(driver, [], this.#id());
  }

  #virtioVideo(isFirst: boolean): void {
    const vhost = this.#value('driver@name') === 'vhostuser';
    const { suffix } = this.#machine.addresses.of(this.#element);
    const pc = /^(x86_64|i686|i386)$/.test(this.#machine.arch);
    const gl = switchText(this.#value('model/acceleration@accel3d')) === 'on' ? '-gl' : '';
    const kind = vhost ? 'vhost-user' : 'virtio';
    if (!(isFirst && pc && suffix === '-pci')) {
      this.#virtio(`${kind}-gpu${vhost ? '' : gl}`, VIDEO);
      return;
    }
    const device = this.#virtio(`${kind}-vga${vhost ? '' : gl}`, VIDEO);
    const at = this.#into.devices.indexOf(device);
    // its name does not say its bus
    this.#into.devices[at] = { ...device, driver: device.driver.replace(/-pci.*$/, '') };
  }

  #watchdog(): void {
    const model = this.#value('@model') ?? '';
    if (model === 'i6300esb') this.#plain('i6300esb');
    else if (model === 'diag288' || model === 'ib700') this.#add(model, this.#id('watchdog0'), new Map());
  }

  #rng(): void {
    const id = this.#id();
    this.#into.words.push('-object', optionText('rng-builtin', [['id', `obj${id}`]]));
    const properties = new Map([['rng', `obj${id}`]]);
    const bytes = this.#value('rate@bytes');
    if (bytes !== undefined)
      properties.set('max-bytes', bytes).set('period', this.#value('rate@period') ?? '1000');
    this.#virtio('virtio-rng', PLAIN, properties);
  }

  #iommu(): void {
    const model = this.#value('@model');
    if (model === 'virtio') this.#virtio('virtio-iommu', PLAIN);
    else if (model === 'intel') this.#add('intel-iommu', this.#id('iommu0'), new Map());
    else if (model !== 'smmuv3') this.#notKnown(`the model ${model ?? ''}`);
  }

  #memory(): void {
    const model = this.#value('@model') ?? '';
    const id = this.#id();
    const target = child(this.#element, 'target');
    const size = kibibytes(child(target, 'size'));
    if (size === undefined) {
      this.#notKnown('its size');
      return;
    }
    this.#into.words.push(
      '-object',
      optionText('memory-backend-ram', [
        ['id', `mem${id}`],
        ['size', `${size}k`],
      ]),
    );
    const memory = new Map([['memdev', `mem${id}`]]);
    for (const [path, property] of [
      ['block', 'block-size'],
      ['requested', 'requested-size'],
    ] as const) {
      const kib = kibibytes(child(target, path));
      if (kib !== undefined) memory.set(property, String(kib * 1024n));
    }
    if (model === 'virtio-mem' || model === 'virtio-pmem') this.#virtio(model, PLAIN, memory);
    else this.#add(model === 'nvdimm' ? 'nvdimm' : 'pc-dimm', id, memory);
  }

  #crypto(): void {
    const id = this.#id();
    this.#into.words.push('-object', optionText('cryptodev-backend-builtin', [['id', `obj${id}`]]));
    this.#virtio('virtio-crypto', PLAIN, new Map([['cryptodev', `obj${id}`]]));
  }

  /** Notes a device of the host, which has no state that another host loads. */
  #hostDevice(): void {
    if (this.#value('@type') === 'scsi_host') {
      this.#virtio('vhost-scsi', PLAIN);
      return;
    }
    if (this.#hasPlace() && /^(pci|mdev|scsi_host)$/.test(this.#value('@type') ?? ''))
      this.#plain(this.#value('address@type') === 'ccw' ? 'vfio-ccw' : 'vfio-pci');
  }
}

/** Finds what a disk is attached to by the name of its target, where the XML does not say it. */
function busOfDisk(device: string): string {
  if (device.startsWith('vd')) return 'virtio';
  if (device.startsWith('sd')) return 'scsi';
  return device.startsWith('fd') ? 'fdc' : 'ide';
}

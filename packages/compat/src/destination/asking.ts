import type { Destination } from './destination.ts';
import { type ReadConfig, sectionsOf } from './options.ts';
import { optionName, takesValue } from './qemu-options.ts';
import { busKind, typeOf } from './qemu-types.ts';
import { optionWords } from './words.ts';

/** Options that decide what a machine has, and touch nothing outside of it. Files that they name are only read. */
const KEPT = new Set(
  'm smp global numa vga watchdog boot kernel initrd append dtb bios L option-rom nodefaults no-acpi no-hpet usb'.split(
    ' ',
  ),
);
/**
 * Pattern of keys of `-machine` that are left out: accelerators, what is not at hand in another process, and a file
 * that would be written.
 */
const NOT_OF_A_MACHINE =
  /^(accel|kernel[-_]irqchip|confidential-guest-support|memory-encryption|kvm-.*|dumpdtb)$/;
/**
 * Pattern of properties of devices that name a file that would be made or written, wherever they are set, and what
 * would make another device of one.
 */
const NOT_OF_A_DEVICE = /^(jsonfile|driver)$/;

/**
 * Makes the words with which a QEMU makes the same devices without touching anything: no file is opened for writing or
 * locked, no network, no monitor, no character device. What is not known to be harmless is left out.
 */
export function askingWords(
  words: readonly string[],
  { memory }: Destination,
  arch: string,
  readConfig: ReadConfig | undefined,
): string[] {
  const asking: string[] = ['-no-user-config', '-S', '-display', 'none', '-monitor', 'none', '-accel', 'tcg'];
  const paths = new Set(
    memory?.blocks?.flatMap(({ name }) =>
      name.startsWith('/objects/') ? [name.slice('/objects/'.length)] : [],
    ),
  );
  const firmware = firmwareNodes(words);
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (!word.startsWith('-') || word === '-') {
      asking.push(
        '-drive',
        emptyDrive(
          new Map([
            ['index', '0'],
            ['media', 'disk'],
          ]),
        ),
      );
      continue;
    }
    const name = optionName(word);
    if (!takesValue(word)) {
      if (KEPT.has(name)) asking.push(word);
      continue;
    }
    at++;
    asking.push(...askingOption(name, words[at] ?? '', at, arch, paths, firmware, readConfig));
  }
  return asking;
}

function askingOption(
  name: string,
  text: string,
  at: number,
  arch: string,
  paths: ReadonlySet<string>,
  firmware: ReadonlySet<string>,
  readConfig: ReadConfig | undefined,
): string[] {
  switch (name) {
    case 'global':
      return globalWords(text);
    case 'M':
    case 'machine':
      return ['-machine', machineWords(text)];
    case 'device':
      return deviceWords(text, arch);
    case 'set':
      return setWords(text);
    case 'object':
      return objectWords(text, paths);
    case 'drive':
      return ['-drive', emptyDrive(driveValues(text))];
    case 'hda':
    case 'hdb':
    case 'hdc':
    case 'hdd':
      return [
        '-drive',
        emptyDrive(
          new Map([
            ['index', String(name.charCodeAt(2) - 97)],
            ['media', 'disk'],
          ]),
        ),
      ];
    case 'cdrom':
      return [
        '-drive',
        emptyDrive(
          new Map([
            ['index', '2'],
            ['media', 'cdrom'],
          ]),
        ),
      ];
    case 'blockdev': {
      const { first, values } = optionWords(text, 'driver');
      if (firmware.has(values.get('node-name') ?? '')) return ['-blockdev', readOnlyNode(first, values)];
      const node = values.get('node-name');
      const readOnly = values.get('read-only') === 'on' ? [['read-only', 'on'] as const] : [];
      return node === undefined
        ? []
        : [
            '-blockdev',
            joined('driver=null-co', [['size', String(EMPTY_BYTES)], ['node-name', node], ...readOnly]),
          ];
    }
    case 'chardev':
      return ['-chardev', joined('null', [['id', optionWords(text, 'backend').values.get('id') ?? '']])];
    case 'serial':
    case 'parallel':
      return [`-${name}`, text === 'none' ? 'none' : 'null'];
    case 'readconfig':
      return sectionsOf(readConfig?.(text) ?? '').flatMap(({ group, id, values }, index) => {
        const all = [...values, ...(id === undefined ? [] : [['id', id] as const])];
        const option = { memory: 'm', 'smp-opts': 'smp' }[group] ?? group;
        return askingOption(
          option,
          all.map(([key, value]) => `${key}=${escaped(value)}`).join(','),
          (at + 1) * HUBS_OF_A_WORD + index,
          arch,
          paths,
          firmware,
          undefined,
        );
      });
    default:
      return KEPT.has(name) ? [`-${name}`, text] : networkWords(name, text, at);
  }
}

/** Step between the hub numbers of two words: the numbers of a file's sections lie between them. */
const HUBS_OF_A_WORD = 1000;

/** Length of an empty drive in bytes: large enough for every device that looks at the size. */
const EMPTY_BYTES = 2 ** 30;

function escaped(value: string): string {
  return value.replaceAll(',', ',,');
}

/**
 * Writes an option of these values. A key in which a comma or an equals sign is part of would be another one, and is
 * left out.
 */
function joined(first: string, values: Iterable<readonly [string, string]>): string {
  const pairs = [...values].filter(([key]) => !/[,=]/.test(key));
  return [escaped(first), ...pairs.map(([key, value]) => `${key}=${escaped(value)}`)].join(',');
}

function machineWords(text: string): string {
  const { first, values } = optionWords(text, 'type');
  const kept = [...values].filter(([key]) => !NOT_OF_A_MACHINE.test(key));
  return joined(first, kept).replace(/^,/, '');
}

function driveValues(text: string): ReadonlyMap<string, string> {
  const { first, values } = optionWords(text, 'file');
  return first === '' ? values : new Map([...values, ['file', first]]);
}

/** Makes a node for firmware, whose size counts: its file is opened, but for reading alone and without a lock. */
function readOnlyNode(driver: string, values: ReadonlyMap<string, string>): string {
  const kept = [...values].filter(([key]) => /^(node-name|file|filename|size|offset)$/.test(key));
  return joined(driver, [
    ...kept,
    ['read-only', 'on'],
    ...(driver === 'file' ? [['locking', 'off'] as const] : []),
  ]);
}

/**
 * Lists the names of the block nodes with a machine's firmware: those that `-machine pflash0=` names, and the nodes
 * below them.
 */
function firmwareNodes(words: readonly string[]): ReadonlySet<string> {
  const under = new Map<string, string>();
  const nodes: string[] = [];
  words.forEach((word, at) => {
    const [name, text = ''] = [optionName(word), words[at + 1]];
    if (name === 'blockdev') {
      const { values } = optionWords(text, 'driver');
      under.set(values.get('node-name') ?? '', values.get('file') ?? '');
    } else if (name === 'machine' || name === 'M') {
      const { values } = optionWords(text, 'type');
      nodes.push(values.get('pflash0') ?? '', values.get('pflash1') ?? '');
    }
  });
  const found = new Set<string>();
  for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
    if (node === '' || found.has(node)) continue;
    found.add(node);
    nodes.push(under.get(node) ?? '');
  }
  return found;
}

/** Makes a drive with nothing behind it; of flash, its file, for reading alone. */
function emptyDrive(values: ReadonlyMap<string, string>): string {
  const file = values.get('file') ?? values.get('file.filename');
  if (values.get('if') === 'pflash' && file !== undefined)
    return joined('if=pflash', [
      ['format', 'raw'],
      ['readonly', 'on'],
      ['unit', values.get('unit') ?? values.get('index') ?? '0'],
      ['file.driver', 'file'],
      ['file.locking', 'off'],
      ['file.filename', file],
    ]);
  const kept = ['if', 'id', 'index', 'media', 'bus', 'unit', 'readonly', 'read-only'].flatMap((key) => {
    const value = values.get(key);
    return value === undefined ? [] : [[key, value] as const];
  });
  return joined('file.driver=null-co', [['file.size', String(EMPTY_BYTES)], ['format', 'raw'], ...kept]);
}

/**
 * Pattern of types that would touch a device of the host. In a QEMU that is only asked, a device that does nothing
 * stands in their place.
 */
const OF_THE_HOST =
  /^(canokey|vfio|vhost|usb-host|usb-redir|ivshmem|virtio-input-host|ccid-card|tpm-|scsi-block|scsi-generic|x-pci-proxy|u2f|xen)/;

function deviceWords(text: string, arch: string): string[] {
  const { first, values } = optionWords(text, 'driver');
  if (!OF_THE_HOST.test(first)) {
    const isWritten = [...values.keys()].some((key) => NOT_OF_A_DEVICE.test(key));
    return ['-device', isWritten ? joined(first, withoutFiles(values)) : text];
  }
  if (busKind(typeOf(first, arch)) !== 'pci') return [];
  const place = [...values].filter(([key]) => /^(bus|addr|multifunction|id)$/.test(key));
  return ['-device', joined('pci-testdev', place)];
}

function withoutFiles(values: ReadonlyMap<string, string>): [string, string][] {
  return [...values].filter(([key]) => !NOT_OF_A_DEVICE.test(key));
}

/** Makes the words of `-set device.ID.PROPERTY=VALUE`. */
function setWords(text: string): string[] {
  const [, key] = /^device\.[^.]*\.([^=]*)=/.exec(text) ?? [];
  return key === undefined || NOT_OF_A_DEVICE.test(key) ? [] : ['-set', text];
}

/** Makes the words of `-global DRIVER.PROPERTY=VALUE`, or `driver=,property=,value=`. */
function globalWords(text: string): string[] {
  const short = /^[^.=]+\.([^=]+)=/.exec(text)?.[1];
  const key = short ?? optionWords(text, 'driver').values.get('property') ?? '';
  return NOT_OF_A_DEVICE.test(key) ? [] : ['-global', text];
}

function objectWords(text: string, paths: ReadonlySet<string>): string[] {
  const { first, values } = optionWords(text, 'qom-type');
  const id = values.get('id') ?? '';
  if (first.startsWith('memory-backend-')) {
    const size = values.get('size') ?? '';
    const path = paths.has(id) ? 'on' : 'off';
    return [
      '-object',
      joined('memory-backend-ram', [
        ['id', id],
        ['size', size],
        ['x-use-canonical-path-for-ramblock-id', path],
      ]),
    ];
  }
  if (first === 'iothread' || first === 'throttle-group' || first === 'cryptodev-backend-builtin')
    return ['-object', joined(first, [['id', id]])];
  return /^rng-/.test(first) ? ['-object', joined('rng-builtin', [['id', id]])] : [];
}

/** Pattern of other options with a back end, which are given one that does nothing. */
const WITH_BACK_END = /^(netdev|nic|net|fsdev|virtfs|virtfs_synth|audiodev|audio)$/;

/** Makes the words for a network option with which no packet leaves: each card is on a hub of its own. */
function networkWords(name: string, text: string, hub: number): string[] {
  if (!WITH_BACK_END.test(name)) return [];
  const { first, values } = optionWords(text, 'type');
  const card = [...values].filter(([key]) => /^(model|mac|macaddr|addr|vectors|netdev)$/.test(key));
  switch (name) {
    case 'netdev':
      return [
        '-netdev',
        joined('hubport', [
          ['id', values.get('id') ?? ''],
          ['hubid', String(hub)],
        ]),
      ];
    case 'nic':
      return ['-nic', first === 'none' ? 'none' : joined('user', [['restrict', 'on'], ...card])];
    case 'net':
      return ['-net', first === 'nic' ? joined('nic', card) : first === 'none' ? 'none' : 'user,restrict=on'];
    case 'fsdev':
      return ['-fsdev', joined('synth', [['id', values.get('id') ?? '']])];
    case 'virtfs':
    case 'virtfs_synth':
      return ['-virtfs', joined('synth', [['mount_tag', values.get('mount_tag') ?? 'x']])];
    case 'audiodev':
      return ['-audiodev', joined('none', [['id', values.get('id') ?? '']])];
    case 'audio': {
      const model = values.get('model');
      return model === undefined ? [] : ['-audio', joined('driver=none', [['model', model]])];
    }
    default:
      return [];
  }
}

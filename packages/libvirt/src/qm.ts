import { StateError } from '@virtkit/vmstate';
import { type MachineOutline, processors } from './outline.ts';
import type { DeviceWords } from './qemu-words.ts';

/** Largest number of characters of a configuration. */
const CONF_MAX = 1 << 20;

/** Is the text what `qm showcmd` prints, QEMU's command line, and no configuration? */
export function isShownCommand(text: string): boolean {
  const [, program = ''] = /^\s*(\S+)\s+'?-/.exec(text) ?? [];
  return /kvm$|qemu-system-./.test(program);
}

/**
 * Describes the machine of a configuration of Proxmox VE, `/etc/pve/qemu-server/VMID.conf` or `qm config VMID`. What
 * Proxmox adds by itself differs from version to version and stands only in the command line, so that what is told of a
 * load is never a yes.
 *
 * @throws StateError `qm` for what is no configuration, `limit` for one that is too large
 */
export function describeQm(text: string): MachineOutline {
  if (text.length > CONF_MAX)
    throw new StateError(
      'limit',
      `a configuration of ${text.length} characters, at most ${CONF_MAX} are read`,
      {
        count: text.length,
        limit: CONF_MAX,
      },
    );
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    // snapshots and what is pending follow
    if (line.startsWith('[')) break;
    const [, key, value = ''] = /^([a-z]+\d*):(.*)$/s.exec(line) ?? [];
    if (key !== undefined) values.set(key, value.trim());
  }
  const known = ['memory', 'cores', 'scsihw', 'ostype', 'name', 'boot', 'vmgenid', 'smbios1'];
  if (!known.some((key) => values.has(key)))
    throw new StateError(
      'qm',
      'neither a configuration of Proxmox (KEY: VALUE lines) nor what qm showcmd prints',
      {},
    );
  const option = (key: string): ReadonlyMap<string, string> => optionsIn(values.get(key) ?? '', 'type');
  const machine = option('machine').get('type');
  const number = (key: string, byDefault: number): number => {
    const value = Number(values.get(key) ?? byDefault);
    return Number.isSafeInteger(value) && value > 0 ? value : byDefault;
  };
  const memory = Number(optionsIn(values.get('memory') ?? '512', 'current').get('current')) * 2 ** 20;
  const unknown = [
    'a configuration of Proxmox says less than the command line that is made of it: qm showcmd VMID on the target node prints that one',
  ];
  const plugged = /memory/.test(values.get('hotplug') ?? '') || values.get('numa') === '1';
  return {
    name: values.get('name') ?? '',
    machine: machine !== undefined && /-\d/.test(machine) ? machine : undefined,
    memoryBytes: Number.isSafeInteger(memory) && memory > 0 && !plugged ? memory : undefined,
    cpus: processors(number('vcpus', number('cores', 1) * number('sockets', 1)), unknown),
    cards: virtioCards(values).length,
    devices: cardsIn(values),
    unknown,
  };
}

function networkCards(values: ReadonlyMap<string, string>): ReadonlyMap<string, string>[] {
  return [...values].filter(([key]) => /^net\d+$/.test(key)).map(([, text]) => optionsIn(text, 'model'));
}

/** Finds the cards that are virtio: `net0: virtio=BC:24:11:00:00:01,bridge=vmbr0`, or `model=virtio` in its place. */
function virtioCards(values: ReadonlyMap<string, string>): ReadonlyMap<string, string>[] {
  return networkCards(values).filter((card) => card.has('virtio') || card.get('model') === 'virtio');
}

/**
 * Lists the words for all cards: properties that they have in common, since Proxmox gives queues to each card for
 * itself.
 */
function cardsIn(values: ReadonlyMap<string, string>): DeviceWords[] {
  const queues = new Set(networkCards(values).map((card) => card.get('queues') ?? '1'));
  const [count = '1'] = queues;
  if (queues.size !== 1 || !/^\d{1,2}$/.test(count) || Number(count) < 2) return [];
  const properties = new Map([
    ['mq', 'on'],
    ['vectors', String(2 * Number(count) + 2)],
  ]);
  return [{ driver: 'virtio-net-pci', properties }];
}

/** Reads options: `first,key=value,…`. */
function optionsIn(text: string, firstKey: string): ReadonlyMap<string, string> {
  const pairs = text.split(',').map((part): [string, string] => {
    const at = part.indexOf('=');
    return at < 0 ? [firstKey, part] : [part.slice(0, at), part.slice(at + 1)];
  });
  return new Map(pairs);
}

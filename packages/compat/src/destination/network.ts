import { numberOf, type QemuDevice, switchOf } from '@virtkit/core/qemu';
import type { CommandOptions, Opts, Parsed } from './options.ts';
import type { Unplaced } from './place.ts';
import { driverOfOption } from './qemu-types.ts';
import { set } from './words.ts';

export type Network = NonNullable<QemuDevice['network']>;

/**
 * Pattern of back ends that hand packets over with a virtio header, and what they do of it is the host kernel's to say.
 */
const VNET_HEADER = /^(tap|bridge|vhost-user|vhost-vdpa)$/;
/** Network of cards without a back end of their own, which are on a hub. */
const HUB: Network = { kind: 'hubport', queues: 1, vnetHeader: false };

/** Reads the networks of `-netdev`, by id. */
export function networksOf(options: CommandOptions): ReadonlyMap<string, Network> {
  return new Map(options.group('netdev').map((opts) => [opts.id ?? '', networkOf(opts)]));
}

function networkOf({ values }: Opts): Network {
  const kind = values.get('type') ?? '';
  const fds = (values.get('fds') ?? values.get('vhostfds'))?.split(':').length;
  return {
    kind,
    queues: numberOf(values.get('queues')) ?? fds ?? 1,
    vnetHeader: VNET_HEADER.test(kind) && switchOf(values.get('vnet_hdr')) !== false,
  };
}

/** Has the machine a card by default? With nothing said of networks it has one, and QEMU's own network behind it. */
function hasDefaultNic(options: CommandOptions): boolean {
  const said = (['netdev', 'nic', 'net'] as const).some((group) => options.group(group).length > 0);
  return options.defaults && !said;
}

/** Counts the back ends of kind `user`: each has a section of its own. */
export function userNetworks(options: CommandOptions): number {
  const said = (['netdev', 'nic', 'net'] as const)
    .flatMap((group) => options.group(group))
    .filter(({ values }) => values.get('type') === 'user').length;
  return said + (hasDefaultNic(options) ? 1 : 0);
}

/** Lists cards that `-nic` and `-net nic` make, in this order; or the one that a machine has by default. */
export function nicDevices(
  { arch, options }: Parsed,
  machine: string,
  networks: ReadonlyMap<string, Network>,
): Unplaced[] {
  const card = (model: string | undefined): string => cardOf(model, arch) ?? ownCard(machine);
  if (/^microvm/.test(machine)) return [];
  if (hasDefaultNic(options)) return [{ driver: card(undefined), properties: new Map(), network: HUB }];
  const nics = options.group('nic').filter(({ values }) => values.get('type') !== 'none');
  const net = options.group('net').filter(({ values }) => values.get('type') === 'nic');
  return [
    ...nics.map((opts) => ({
      driver: card(opts.values.get('model')),
      // no version of QEMU gives such a card interrupt vectors
      properties: new Map([['vectors', '0'], ...propertiesOf(opts)]),
      network: networkOf(opts),
    })),
    ...net.map((opts) => ({
      driver: card(opts.values.get('model')),
      properties: propertiesOf(opts),
      network: networks.get(opts.values.get('netdev') ?? '') ?? HUB,
    })),
  ];
}

/** Collects what of an option concerns the card and not its back end. */
function propertiesOf({ values }: Opts): Map<string, string> {
  const properties = new Map<string, string>();
  for (const key of ['mac', 'addr', 'vectors']) {
    const value = values.get(key);
    if (value !== undefined) set(properties, key, value);
  }
  const mac = values.get('macaddr');
  if (mac !== undefined) set(properties, 'mac', mac);
  return properties;
}

/** Finds a card by its model; undefined: the machine's own. */
function cardOf(model: string | undefined, arch: string): string | undefined {
  return model === 'virtio' ? `${driverOfOption('nic')}-${arch === 's390x' ? 'ccw' : 'pci'}` : model;
}

/** Finds the card of a machine for which none is named. */
function ownCard(machine: string): string {
  if (machine.startsWith('s390')) return `${driverOfOption('nic')}-ccw`;
  if (machine.startsWith('virt')) return `${driverOfOption('nic')}-pci`;
  return machine.includes('q35') ? 'e1000e' : 'e1000';
}

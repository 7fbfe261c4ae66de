import type { Endian, RingFeatures, VirtioState } from '@virtkit/core';
import type { BlkOptions } from '@virtkit/device-blk';
import type { NetOptions } from '@virtkit/device-net';
import type { PciMode, PciOptions } from '@virtkit/transport-pci';
import type { Made } from '@virtkit/visit';
import { machineVersion } from '../machines.ts';
import { compareVersion, type QemuVersion } from '../versions.ts';
import type { DestinationDevice } from './destination.ts';
import { bytesOf, numberOf, switchOf } from './numbers.ts';

/** What decides how a QEMU makes a device. */
export interface Making {
  readonly device: DestinationDevice;
  /** True: what the properties do not say is QEMU's default. False: it is as at the source. */
  readonly complete: boolean;
  readonly qemu: QemuVersion;
  readonly machine: string;
  /** Of the guest's CPU. */
  readonly endian: Endian;
  readonly cpus: number;
}

type Inferred = Omit<PciOptions, 'memory'>;

/** QEMU's properties of a device, and the defaults of its machine, in the words of virtkit's live devices. */
export function madeBy(making: Making, state: VirtioState): Made {
  const { device, complete, machine } = making;
  const queues = blkQueues(making, state);
  return {
    blk: (inferred) => blkOptions(making, inferred, queues),
    net: (inferred) => netOptions(making, inferred),
    pci: (inferred) => pciOptions(making, inferred, state, queues),
    rings: ringFeatures(making),
    ...version1(device, complete, machine),
  };
}

/** The version in a machine's name, or for machines without one the program's. */
export function since({ machine, qemu }: Making, version: string): boolean {
  return compareVersion(machineVersion(machine)?.version ?? qemu.name, version) >= 0;
}

/** Takes what is said, else the default if the command line is whole, else undefined: as at the source. */
function chosen<T>({ complete }: Making, said: T | undefined, byDefault: T): T | undefined {
  return said ?? (complete ? byDefault : undefined);
}

/** Leaves out what is undefined, so that it does not cover what was inferred. */
function defined<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const kept = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

export function ringFeatures(making: Making): RingFeatures {
  const on = (name: string): boolean | undefined => switchOf(making.device.properties.get(name));
  return defined({
    indirect: chosen(making, on('indirect_desc'), true),
    eventIdx: chosen(making, on('event_idx'), true),
    packed: chosen(making, on('packed'), false),
    inOrder: chosen(making, on('in_order'), false),
    notificationData: chosen(making, on('notification_data'), false),
    ringReset: chosen(making, on('queue_reset'), since(making, '7.2')),
    notifyOnEmpty: on('notify_on_empty'),
    anyLayout: on('any_layout'),
  });
}

/** A number of queues that stands for QEMU's own choice. */
const AUTOMATIC = 0xffff;

/** Since machine 5.2, a disk on PCI has a queue for each CPU. */
function blkQueues(making: Making, state: VirtioState): number {
  const number = numberOf(making.device.properties.get('num-queues'));
  const said = number === AUTOMATIC ? undefined : number;
  if (said !== undefined || !making.complete) return said ?? Math.max(state.queues.length, 1);
  const many = /-pci/.test(making.device.driver) && since(making, '5.2');
  return many ? Math.min(making.cpus, 1023) : 1;
}

function blkOptions(making: Making, inferred: BlkOptions, queues: number): BlkOptions {
  const { properties, readOnly } = making.device;
  const on = (name: string): boolean | undefined => switchOf(properties.get(name));
  const [four, threeOne] = [since(making, '5.0'), since(making, '4.0')];
  const block = bytesOf(properties.get('logical_block_size'), 'b');
  const physical = bytesOf(properties.get('physical_block_size'), 'b');
  return {
    ...inferred,
    queues,
    ...defined({
      queueSize: chosen(making, numberOf(properties.get('queue-size')), four ? 256 : 128),
      discard: chosen(making, on('discard'), threeOne),
      writeZeroes: chosen(making, on('write-zeroes'), threeOne),
      configWce: chosen(making, on('config-wce'), true),
      flushIfConfigWce: chosen(making, on('x-enable-wce-if-config-wce'), four),
      segMaxAdjust: chosen(making, on('seg-max-adjust'), four),
      writeCache: on('write-cache'),
      blockSize: block,
      physicalBlockExp:
        physical === undefined ? undefined : Math.max(0, Math.log2(physical / (block ?? 512))),
      readOnly: making.complete ? readOnly : undefined,
    }),
  };
}

/** Properties that are switches under the same name. */
const SWITCHES = {
  mrgRxbuf: 'mrg_rxbuf',
  status: 'status',
  ctrlVq: 'ctrl_vq',
  ctrlRx: 'ctrl_rx',
  ctrlVlan: 'ctrl_vlan',
  ctrlRxExtra: 'ctrl_rx_extra',
  ctrlMacAddr: 'ctrl_mac_addr',
  ctrlGuestOffloads: 'ctrl_guest_offloads',
  guestAnnounce: 'guest_announce',
} as const;

function netOptions(making: Making, inferred: NetOptions): NetOptions {
  const { properties, network } = making.device;
  const { complete } = making;
  const on = (name: string): boolean | undefined => switchOf(properties.get(name));
  const switches = Object.entries(SWITCHES).map(
    ([key, name]) => [key, chosen(making, on(name), true)] as const,
  );
  const { offloads, speed, mtu, ...others } = inferred;
  const asAtSource = complete ? {} : defined({ offloads, speed, mtu });
  const options: NetOptions = {
    ...others,
    ...asAtSource,
    ...defined(Object.fromEntries(switches)),
    ...defined({
      queuePairs: complete ? (network?.queues ?? 1) : undefined,
      mq: chosen(making, on('mq'), false),
      rxQueueSize: chosen(making, numberOf(properties.get('rx_queue_size')), 256),
      txQueueSize: chosen(making, numberOf(properties.get('tx_queue_size')), 256),
      rss: chosen(making, on('rss'), false),
      hashReport: chosen(making, on('hash'), false),
      standby: chosen(making, on('failover'), false),
      speed: numberOf(properties.get('speed')),
      mtu: numberOf(properties.get('host_mtu')),
      duplex: duplexOf(properties.get('duplex')),
    }),
  };
  if (!complete || network?.vnetHeader !== true) return options;
  // what a tap can do is the host kernel's to say: all that this QEMU knows, and what the state has
  return {
    ...options,
    offloads: {
      csum: true,
      tso: true,
      ufo: offloads ? (offloads.ufo ?? false) : false,
      uso: since(making, '8.2') && compareVersion(making.qemu.name, '8.2') >= 0,
      udpTunnel: offloads ? (offloads.udpTunnel ?? false) : false,
    },
  };
}

function duplexOf(value: string | undefined): 'half' | 'full' | undefined {
  return value === 'half' || value === 'full' ? value : undefined;
}

function pciOptions(making: Making, inferred: Inferred, state: VirtioState, queues: number): Inferred {
  const vectors =
    numberOf(making.device.properties.get('vectors')) ??
    defaultVectors(making, inferred.vectors, state, queues);
  return pciOptionsWith(making, inferred, vectors);
}

/** A function with that many interrupt vectors; undefined: those of the machine. */
export function pciOptionsWith(making: Making, inferred: Inferred, count: number | undefined): Inferred {
  const { device, complete } = making;
  const { properties } = device;
  const on = (name: string): boolean | undefined => switchOf(properties.get(name));
  const { ids, vectors: _vectors, machine: _machine, mode: _mode, pagePerVq, ...others } = inferred;
  const mode = modeOf(making, inferred);
  const version = /-\d+\.\d+$/.test(making.machine) ? making.machine : making.qemu.name;
  return {
    ...others,
    mode,
    machine: version,
    // identity follows from the mode
    ...(!complete && mode === inferred.mode && ids !== undefined && { ids }),
    ...(!complete && pagePerVq !== undefined && { pagePerVq }),
    ...defined({
      vectors: count,
      express: complete ? device.express === true && on('x-disable-pcie') !== true : undefined,
      pagePerVq: on('page-per-vq'),
      // without a modern interface it says nothing
      modernPioNotify: mode === 'legacy' ? false : chosen(making, on('modern-pio-notify'), false),
      aer: chosen(making, on('aer'), false),
      ats: chosen(making, on('ats'), false),
      multifunction: chosen(making, on('multifunction'), false),
      accessPlatform: chosen(making, on('iommu_platform'), false),
    }),
  };
}

/** `disable-legacy` and `disable-modern`; the former's default is `auto`: on behind a PCI Express port. */
function modeOf(making: Making, inferred: Inferred): PciMode {
  const { properties, driver, express } = making.device;
  const before = inferred.mode ?? 'transitional';
  const old = !since(making, '2.7');
  const noModern =
    switchOf(properties.get('disable-modern')) ?? (making.complete ? old : before === 'legacy');
  const byDefault = making.complete ? express === true && !old : before === 'modern';
  const kind = /-non-transitional$/.test(driver) ? true : /-transitional$/.test(driver) ? false : undefined;
  const noLegacy = switchOf(properties.get('disable-legacy')) ?? kind ?? byDefault;
  return noModern ? 'legacy' : noLegacy ? 'modern' : 'transitional';
}

/** One for each queue, and for configuration; older machines fix the number. Undefined: the machine's. */
function defaultVectors(
  making: Making,
  before: number | undefined,
  { queues: saved }: VirtioState,
  queues: number,
): number | undefined {
  const { device, complete } = making;
  if (/^virtio-net/.test(device.driver)) {
    if (!complete) return before;
    return since(making, '6.0') ? 2 * (device.network?.queues ?? 1) + 2 : undefined;
  }
  // a disk that had QEMU's default has it with another number of queues too
  if (!complete && before !== saved.length + 1) return before;
  return since(making, '2.12') ? queues + 1 : undefined;
}

export function version1(
  device: DestinationDevice,
  complete: boolean,
  machine: string,
): Pick<Made, 'version1'> {
  const { properties } = device;
  const revision = numberOf(properties.get('max_revision'));
  const forceLegacy = switchOf(properties.get('force-legacy'));
  if (/-ccw$/.test(device.driver)) {
    const old = /-2\.[0-4]$/.test(machine);
    if (revision !== undefined || complete) return { version1: (revision ?? (old ? 0 : 2)) > 0 };
  }
  if (/-device$/.test(device.driver) && (forceLegacy !== undefined || complete))
    return { version1: !(forceLegacy ?? true) };
  return {};
}

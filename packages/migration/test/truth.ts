/** Compares decoded devices with what QEMU (`x-query-virtio-*`, the PCI bus, guest memory) and the guest (sysfs) said of them. */
import {
  deviceNames,
  FEATURE,
  hasFeature,
  isModern,
  nameFeatures,
  nameStatus,
  negotiated,
} from '@virtkit/core';
import type { BlkState } from '@virtkit/device-blk';
import type {
  CaseInfo,
  GuestSysfsDevice,
  InflightQueue,
  Truth,
  VirtioDeviceTruth,
  VirtioFeatures,
  VirtioQueueTruth,
  VirtioStatus,
} from '@virtkit/lab';
import type { PciConfigState } from '@virtkit/transport-pci';
import type { DecodedVirtio } from '../src/index.ts';

/** A PCI function as the guest's bus showed it. */
export interface PciTruth {
  readonly slot: number;
  readonly function: number;
  /** Configuration space, hex. */
  readonly config: string;
  /** Offsets of 32-bit registers that were not read, because reading has side effects; their bytes mean nothing. */
  readonly config_not_read: readonly number[];
  /** Of each vector: address low, address high, data, control. */
  readonly msix_table?: readonly (readonly [number, number, number, number])[];
}

/** A corpus JSON file, as far as it is compared. */
export interface StreamTruth extends Pick<CaseInfo, 'arch'> {
  readonly guest_sysfs?: readonly GuestSysfsDevice[];
  readonly truth: Truth & { readonly pci?: readonly PciTruth[] };
  /** The same query behind the migration, for streams of running guests. */
  readonly virtio_after_migration?: readonly VirtioDeviceTruth[];
}

/** One value that is not what the truth says. */
export interface Difference {
  /** Title of the device and name of the value in QEMU's answer. */
  readonly path: string;
  readonly expected: unknown;
  readonly found: unknown;
}

/** Names of QEMU's devices whose section is called otherwise. */
const SECTION_NAMES: Readonly<Record<string, string>> = { 'virtio-serial': 'virtio-console' };

/** Of a balloon: QEMU asks the guest for free pages when a migration begins. */
const FREE_PAGE_HINT = 3;

/** Device types without a vmsd: QEMU saves nothing of them. */
const NOT_SAVED: ReadonlySet<string> = new Set(['virtio-pmem']);

/** The devices of QEMU's answer that have a section. */
function savedDevices({ truth }: StreamTruth): VirtioDeviceTruth[] {
  return truth.virtio.filter(({ name }) => !NOT_SAVED.has(name));
}

/** How many devices the stream must have: by QEMU, or where it cannot be asked (before 7.2) by the guest. */
export function deviceCount(info: StreamTruth): number {
  return savedDevices(info).length || (info.guest_sysfs ?? []).length;
}

/** Everything in which the decoded devices and the truth differ. */
export function compareWithTruth(devices: readonly DecodedVirtio[], info: StreamTruth): Difference[] {
  const later = info.virtio_after_migration ?? [];
  const pairs = pairDevices(devices, info);
  return [
    ...pairs.flatMap(({ decoded, truth }) => {
      const now = compareDevice(decoded, truth, info.arch);
      const after = later.find(({ path }) => path === truth.path);
      if (after === undefined) return now;
      const alsoAfter = new Set(compareDevice(decoded, after, info.arch).map(({ path }) => path));
      return now.filter(({ path }) => alsoAfter.has(path));
    }),
    ...unpaired(pairs, savedDevices(info)),
    ...(info.truth.blk_inflight ?? []).flatMap((queue) => compareInflight(pairs, queue)),
    ...(info.truth.pci ?? []).flatMap((pci) => comparePci(devices, pci)),
    ...(info.guest_sysfs ?? [])
      .filter(({ driver }) => driver !== '')
      .flatMap((sysfs) => compareSysfs(devices, sysfs)),
  ];
}

interface Pair {
  readonly decoded: DecodedVirtio;
  readonly truth: VirtioDeviceTruth;
}

/** Gives each device of QEMU's answer its section: of those with its name the one most like it, each only once. */
function pairDevices(devices: readonly DecodedVirtio[], { truth: { virtio }, arch }: StreamTruth): Pair[] {
  const left = new Set(devices);
  return virtio.flatMap((truth) => {
    const name = SECTION_NAMES[truth.name] ?? truth.name;
    const decoded = closest(
      [...left].filter(({ device }) => device.name === name),
      (one) => compareDevice(one, truth, arch),
    );
    if (decoded === undefined) return [];
    left.delete(decoded);
    return [{ decoded, truth }];
  });
}

function unpaired(pairs: readonly Pair[], virtio: readonly VirtioDeviceTruth[]): Difference[] {
  const paired = new Set(pairs.map(({ truth }) => truth));
  return virtio
    .filter((truth) => !paired.has(truth))
    .map(({ path, name }) => ({ path, expected: name, found: 'no such section' }));
}

function closest(
  candidates: readonly DecodedVirtio[],
  compare: (one: DecodedVirtio) => readonly Difference[],
): DecodedVirtio | undefined {
  return candidates.map((one) => ({ one, count: compare(one).length })).sort((a, b) => a.count - b.count)[0]
    ?.one;
}

function compareDevice(decoded: DecodedVirtio, truth: VirtioDeviceTruth, arch: string): Difference[] {
  return [
    ...(truth.status === undefined ? [] : compareStatus(decoded, truth.status, arch)),
    ...truth.queues
      .filter((queue) => queue['vring-num'] !== 0)
      .flatMap((queue) => compareQueue(decoded, queue)),
  ].map(({ path, ...values }) => ({ path: `${truth.path} ${path}`, ...values }));
}

export function differs(path: string, expected: unknown, found: unknown): Difference[] {
  return JSON.stringify(expected) === JSON.stringify(found) ? [] : [{ path, expected, found }];
}

function compareStatus({ device, state }: DecodedVirtio, truth: VirtioStatus, arch: string): Difference[] {
  const { subsections: sub } = state;
  return [
    ...differs(
      'status',
      textNames(truth.status.statuses, 'VIRTIO_CONFIG_S_'),
      nameStatus(state.status).sort(),
    ),
    // with free page hints, QEMU tells the guest of a migration when it begins: the truth was read before
    ...(hasFreePageHints(device, state) ? [] : differs('isr', truth.isr, state.isr)),
    ...differs('queue-sel', truth['queue-sel'], state.queueSel),
    ...differs('broken', truth.broken, sub.broken ?? false),
    ...differs('disabled', truth.disabled, sub.disabled ?? false),
    ...differs('started', truth.started, sub.started ?? false),
    ...differs('device-endian', truth['device-endian'], endianOf(negotiated(state), sub.deviceEndian, arch)),
    ...compareFeatures(
      negotiated(state),
      truth['guest-features'],
      device.known ? device.codec.device.features : undefined,
    ),
  ];
}

/** `NAME: explanation` → names without prefix, sorted. */
function hasFreePageHints({ name }: DecodedVirtio['device'], state: DecodedVirtio['state']): boolean {
  return name === 'virtio-balloon' && hasFeature(negotiated(state), FREE_PAGE_HINT);
}

function textNames(texts: readonly string[], prefix = ''): string[] {
  return texts.map((text) => (text.split(':')[0] ?? '').slice(prefix.length)).sort();
}

/** `arch` of targets whose byte order is big; corpus files call s390x `s390`. */
const BIG_ENDIAN_TARGETS: ReadonlySet<string> = new Set(['s390', 's390x', 'm68k', 'ppc64']);

/** The subsection, or what its absence stands for: little with VERSION_1, else the target's byte order. */
function endianOf(features: bigint, deviceEndian: number | undefined, arch: string): string {
  if (deviceEndian !== undefined) return ['unknown', 'little', 'big'][deviceEndian] ?? `${deviceEndian}`;
  return isModern(features) || !BIG_ENDIAN_TARGETS.has(arch) ? 'little' : 'big';
}

/** QEMU's names of bits that the specification calls otherwise: 33, and 30 in the lists of every device. */
const QEMU_FEATURE_NAMES: Readonly<Record<string, string>> = {
  VIRTIO_F_IOMMU_PLATFORM: 'VIRTIO_F_ACCESS_PLATFORM',
  VHOST_USER_F_PROTOCOL_FEATURES: 'VIRTIO_F_BAD_FEATURE',
};

/** Names and `unknown-dev-features` (each QEMU version knows other names) together must be the 64-bit value. */
function compareFeatures(
  features: bigint,
  truth: VirtioFeatures,
  names: Readonly<Record<number, string>> | undefined,
): Difference[] {
  const unknown = BigInt(truth['unknown-dev-features'] ?? 0);
  const texts = [...truth.transports, ...(names === undefined ? [] : (truth['dev-features'] ?? []))];
  const expected = textNames(texts).map((name) => QEMU_FEATURE_NAMES[name] ?? name);
  // of a device without a package, only the bits of rings and transports have names here
  const found = nameFeatures(features, names ?? {}).filter(
    ({ bit, name }) => !hasFeature(unknown, bit) && (names !== undefined || name !== undefined),
  );
  const missing = names === undefined ? 0n : unknown & ~features;
  return [
    ...differs('guest-features', expected.sort(), found.map(({ bit, name }) => name ?? `bit ${bit}`).sort()),
    ...differs('unknown-dev-features', '0', missing.toString()),
  ];
}

function compareQueue({ state }: DecodedVirtio, truth: VirtioQueueTruth): Difference[] {
  const index = truth['queue-index'];
  const queue = state.queues[index];
  const path = (name: string): string => `queue ${index} ${name}`;
  if (queue === undefined)
    return [{ path: path('vring-num'), expected: truth['vring-num'], found: 'no such queue' }];
  const ring = state.subsections.virtqueues?.[index] ?? { avail: 0n, used: 0n };
  const address = (name: 'vring-desc' | 'vring-avail' | 'vring-used', found: bigint): Difference[] =>
    differs(path(name), BigInt(truth[name]).toString(), found.toString());
  return [
    ...differs(path('vring-num'), truth['vring-num'], queue.num),
    ...address('vring-desc', queue.desc),
    // a device that cannot be modern saves the descriptor table's address alone: the others follow from it
    ...(state.subsections.virtqueues === undefined
      ? []
      : [...address('vring-avail', ring.avail), ...address('vring-used', ring.used)]),
    // absent where vhost has the queue
    ...(truth['last-avail-idx'] === undefined
      ? []
      : differs(path('last-avail-idx'), truth['last-avail-idx'], queue.lastAvailIdx)),
    ...comparePacked(state, truth),
  ];
}

/** Of split rings QEMU saves neither; it takes `used-idx` from guest memory. */
function comparePacked(state: DecodedVirtio['state'], truth: VirtioQueueTruth): Difference[] {
  if (!hasFeature(negotiated(state), FEATURE.RING_PACKED)) return [];
  const index = truth['queue-index'];
  const packed = state.subsections.packedVirtqueues?.[index] ?? { lastAvailIdx: 0, usedIdx: 0, inuse: 0 };
  return [
    ...differs(`queue ${index} packed last-avail-idx`, truth['last-avail-idx'], packed.lastAvailIdx),
    ...differs(`queue ${index} used-idx`, truth['used-idx'], packed.usedIdx),
    ...differs(`queue ${index} inuse`, truth.inuse, packed.inuse),
  ];
}

/** The heads of the requests that were taken from the ring and not returned. */
function compareInflight(pairs: readonly Pair[], truth: InflightQueue): Difference[] {
  const path = `${truth.device} queue ${truth.queue} requests`;
  const decoded = pairs.find((pair) => pair.truth.path === truth.device)?.decoded;
  if (decoded?.device.name !== 'virtio-blk')
    return [{ path, expected: 'virtio-blk', found: 'no such section' }];
  const { requests } = decoded.state.device as BlkState;
  const heads = requests.filter(({ queue = 0 }) => queue === truth.queue).map(({ element }) => element.index);
  return differs(path, truth.requests.map(({ head }) => head).sort(), heads.sort());
}

/** Register 0x06: the level of INTx, which follows the device and is not saved as it was read. */
const INTERRUPT_STATUS = { at: 0x06, bit: 0x08 } as const;

/** Devices whose path ends with that slot and function; behind bridges there may be more than one. */
function comparePci(devices: readonly DecodedVirtio[], truth: PciTruth): Difference[] {
  const address = `${truth.slot.toString(16).padStart(2, '0')}.${truth.function}`;
  const candidates = devices.filter(
    ({ device }) => device.codec.transport.name === 'pci' && device.path.endsWith(address),
  );
  const compare = (one: DecodedVirtio): Difference[] =>
    compareFunction(one.state.transport as PciConfigState, truth, address);
  const decoded = closest(candidates, compare);
  return decoded === undefined
    ? [{ path: `pci ${address}`, expected: 'virtio', found: 'no such section' }]
    : compare(decoded);
}

function compareFunction(
  { config, msixTable }: PciConfigState,
  truth: PciTruth,
  address: string,
): Difference[] {
  const expected = Buffer.from(truth.config, 'hex');
  const found = Buffer.from(config.subarray(0, expected.length));
  for (const bytes of [expected, found]) {
    bytes.writeUInt8(bytes.readUInt8(INTERRUPT_STATUS.at) & ~INTERRUPT_STATUS.bit, INTERRUPT_STATUS.at);
    for (const at of truth.config_not_read) bytes.fill(0, at, at + 4);
  }
  const table = msixTable.map(({ address: at, data, control }) => [
    Number(at & 0xffffffffn),
    Number(at >> 32n),
    data,
    control,
  ]);
  return [
    ...differs(`pci ${address} config`, expected.toString('hex'), found.toString('hex')),
    ...(truth.msix_table === undefined ? [] : differs(`pci ${address} msix_table`, truth.msix_table, table)),
  ];
}

/** Status and negotiated features as the guest's kernel shows them, against the section of that type that is most like it. */
function compareSysfs(devices: readonly DecodedVirtio[], sysfs: GuestSysfsDevice): Difference[] {
  const name = deviceNames[Number(sysfs.device)];
  const candidates = devices.filter(({ device }) => device.name === name);
  const bits = BigInt(`0b${[...sysfs.features_bit0_first].reverse().join('')}`);
  const compare = ({ state }: DecodedVirtio): Difference[] => [
    ...differs(`${sysfs.path} status`, Number(sysfs.status), state.status),
    ...differs(`${sysfs.path} features`, bits.toString(16), negotiated(state).toString(16)),
  ];
  const decoded = closest(candidates, compare);
  return decoded === undefined
    ? [{ path: sysfs.path, expected: sysfs.driver, found: 'no such section' }]
    : compare(decoded);
}

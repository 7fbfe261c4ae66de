// A QEMU that runs and was asked: what a target would say to its stream, as far as what it says of itself tells.
import {
  type DeviceLayer,
  type DeviceModel,
  type LiveDevice,
  MappedMemory,
  opaqueDevice,
  QUEUE_MAX,
  type VirtioState,
  virtioDevice,
} from '@virtkit/core';
import {
  type DeviceType,
  type Making,
  type QemuDevice,
  switchOf,
  typeNamed,
  type Verdict,
  versionRow,
} from '@virtkit/core/qemu';
import { type MigrationStream, type Registry, titleOf, type VirtioDevice } from '@virtkit/migration';
import { PciFunction } from '@virtkit/transport-pci';
import { type AskedQemu, askedDestination } from '../destination/asked.ts';
import type { Destination } from '../destination/destination.ts';
import { otherDevice } from '../destination/other-devices.ts';
import { busOf, sectionName } from '../destination/qemu-types.ts';
import { deviceTypes } from '../device-types.ts';
import { featureControl } from '../features/feature-control.ts';
import type { Target } from '../target.ts';
import { AnyDevice } from './any-device.ts';
import { sectionOfType } from './check-board.ts';
import { checkDoubtful } from './check-doubtful.ts';
import { checkFeatures } from './check-features.ts';
import { checkHost } from './check-host.ts';
import { checkMade } from './check-made.ts';
import { checkAround } from './check-stream.ts';
import { checkOutside } from './check-unmade.ts';
import type { Section } from './destined.ts';
import { madeTransport } from './made-transport.ts';
import { makingOf } from './making.ts';

/** Facts that a running QEMU tells of one of its virtio devices. */
export interface RunningDevice {
  /** Names of the features that the driver has negotiated: `VIRTIO_NET_F_MAC`, or `bit 40`. */
  readonly features: readonly string[];
  /** Names of the features that the device offers. */
  readonly offered: readonly string[];
  /** Numbers of entries of the rings, by queue. */
  readonly ringSizes: readonly number[];
}

/** Facts that a QEMU that runs tells of itself. */
export interface RunningMachine extends AskedQemu {
  /** Version of the QEMU: `7.2`. */
  readonly version: string;
  /**
   * Facts about devices, by id. Of devices that are not in it, nothing is known of what their drivers have negotiated.
   */
  readonly devices: ReadonlyMap<string, RunningDevice>;
}

/** Length in bytes of the guest memory of a device that is made to be asked and never runs. */
const MEMORY_BYTES = 4096;
/** Number of bits of each half of the feature set, which the subsections have in two halves. */
const HALF = 64n;
const FEATURE_BITS = 128;

/**
 * Verdicts over a move of a running machine to this QEMU, told without a stream: machine, memory, places, features that are negotiated,
 * configuration spaces and rings. What a device's own part of a stream would hold is not looked at.
 *
 * @throws StateError for an answer of the machine that is not one of QEMU's
 */
export function checkRunning(
  running: RunningMachine,
  target: Target,
  registry: Registry,
  types: readonly DeviceType[] = deviceTypes,
): Verdict[] {
  const source = askedDestination({ cpus: 0, devices: [], placed: false, unknown: [] }, running);
  const virtio = source.devices.flatMap((device) => virtioOf(device, registry, types) ?? []);
  const stream = streamOf(source, virtio);
  const { found, misplaced, there, endian } = checkAround(stream, target, types);
  const verdicts = [...found];
  const qemu = versionRow(running.version) ?? target.qemu;
  for (const each of virtio) {
    const { device, type, made } = each;
    const place = misplaced.get(device.section.header.idstr);
    if (place !== undefined) {
      verdicts.push(place);
      continue;
    }
    const common = { machine: source.machine ?? '', endian, cpus: source.cpus, qemu };
    const making = makingOf(device, target, there, type, endian);
    const said = running.devices.get(made.properties.get('id') ?? '');
    const here: Making = { ...common, device: connectedAs(made, said, making), complete: true };
    const state = stateOf(each, here, said);
    const section = {
      device,
      type,
      state,
      stream,
      destination: target.destination,
      machineTitle: there.title,
    };
    const found =
      making === undefined
        ? checkFeatures(titleOf(device), type, state, target)
        : checkMaking(section, making, target);
    const told = new Set(found.map(({ feature }) => feature));
    const title = titleOf(device);
    const host = [
      ...checkHost(title, type, state, target, making).filter(({ feature }) => !told.has(feature)),
      ...checkDoubtful(title, type, state, making, there),
    ];
    verdicts.push(
      ...(said === undefined
        ? [...found.map(perhaps), ...host.map((each) => (each.severity === 'refused' ? perhaps(each) : each))]
        : [...found, ...host]),
    );
  }
  return verdicts;
}

/** Verdicts over a running device in one that the target makes so. */
function checkMaking(section: Section, making: Making, target: Target): Verdict[] {
  const { type, state, device } = section;
  const onPci = busOf(making.device.driver) === 'pci';
  if (type.live !== undefined && onPci) {
    const own = `${titleOf(device)} / device`;
    // the device's own part was made here, and not by the machine
    return checkMade(section, type.live, making).filter(({ path }) => !path.startsWith(own));
  }
  return [
    ...(onPci ? checkOutside(section, making) : []),
    ...checkFeatures(
      titleOf(device),
      type,
      state,
      { ...target, properties: making.device.properties },
      making,
    ),
  ];
}

/** Name of the feature that a card offers only where the network behind it takes virtio headers. */
const OF_HEADERS = 'VIRTIO_NET_F_CSUM';

/**
 * Connects a device to the network that it must be connected to, by its features and queues; where they are not known,
 * to the target's.
 */
function connectedAs(
  made: QemuDevice,
  said: RunningDevice | undefined,
  making: Making | undefined,
): QemuDevice {
  const network =
    said === undefined
      ? making?.device.network
      : {
          kind: 'running',
          // a pair of queues each, and one for control
          queues: Math.max(1, Math.floor((said.ringSizes.length - 1) / 2)),
          vnetHeader: said.offered.includes(OF_HEADERS),
        };
  return { ...made, ...(network !== undefined && { network }) };
}

/** Weakens a verdict over a feature of which it is not known whether the driver has negotiated it. */
function perhaps(verdict: Verdict): Verdict {
  if (verdict.code !== 'feature') return verdict;
  const { qemuSays: _ofMore, ...rest } = verdict;
  return {
    ...rest,
    severity: 'unknown',
    reason: `${verdict.feature ?? 'a feature'} is offered, it is not known whether the guest uses it, and the target does not offer it`,
    advice: 'check a stream of the guest: virsh dump --live NAME FILE, without --memory-only',
  };
}

interface VirtioThere {
  readonly device: VirtioDevice;
  readonly type: DeviceType;
  readonly layer: DeviceLayer;
  readonly made: QemuDevice;
}

/**
 * Turns a device of the machine into one whose section is known by name; undefined for devices that are not virtio, or
 * not known.
 */
function virtioOf(
  made: QemuDevice,
  registry: Registry,
  types: readonly DeviceType[],
): VirtioThere | undefined {
  const name = sectionName(made.driver);
  const type = name === undefined ? undefined : typeNamed(types, name);
  const known = registry.devices.find((each) => each.name === name);
  const transport = registry.transports.find((each) => each.name === busOf(made.driver));
  if (name === undefined || type === undefined || known === undefined || transport === undefined)
    return undefined;
  if (made.place === undefined) return undefined;
  // of a type without a live device, its own part of a state is not at hand
  const layer: DeviceLayer = type.live === undefined ? opaqueDevice(name, known.virtioId) : known;
  const section = sectionNamed(`${made.place}/${name}`);
  return {
    device: { section, path: made.place, name, codec: virtioDevice(transport, layer), known: true },
    type,
    layer,
    made,
  };
}

function sectionNamed(idstr: string): MigrationStream['sections'][number] {
  const header = { kind: 'full' as const, id: 0, idstr, instanceId: 0, versionId: 0, offset: 0 };
  return { header, offset: 0, body: new Uint8Array(0) };
}

/** Makes a stream with the names of the machine's sections and blocks of RAM, and nothing in them. */
function streamOf(
  { devices, machine, ramBlocks }: Destination,
  virtio: readonly VirtioThere[],
): MigrationStream {
  const blocks = [...(ramBlocks ?? [])].map(([name, { used }]) => ({
    name,
    length: used,
    pages: 0,
    zeroPages: 0,
    encodedPages: 0,
  }));
  const known = new Set(virtio.map(({ made }) => made));
  const others = devices.flatMap((device) =>
    device.place === undefined || known.has(device) || otherDevice(device.driver) === undefined
      ? []
      : sectionNamed(`${device.place}/${sectionOfType(device.driver)}`),
  );
  return {
    version: 3,
    ...(machine !== undefined && { configuration: { name: machine } }),
    sections: [...virtio.map(({ device }) => device.section), ...others],
    commands: [],
    ram: { total: BigInt(blocks.reduce((sum, { length }) => sum + length, 0)), blocks, sections: 0 },
    complete: true,
    trailing: 0,
  };
}

/** Makes the state of a device that is made as the machine's, with what it says of features and rings. */
function stateOf(
  { type, layer, made }: VirtioThere,
  here: Making,
  said: RunningDevice | undefined,
): VirtioState {
  const live =
    busOf(made.driver) === 'pci' ? pciDevice(modelOf(layer, type, here, said), type, here) : undefined;
  const empty = live?.capture() ?? EMPTY;
  const most = type.live === undefined ? undefined : live?.offeredFeatures;
  const features = said === undefined ? (most ?? offered(type, made)) : bitsNamed(said.features, type);
  const sizes = said?.ringSizes ?? empty.queues.map(({ num }) => num);
  return {
    ...empty,
    guestFeatures: Number(features & 0xffffffffn),
    subsections: {
      ...empty.subsections,
      features64: features & ((1n << HALF) - 1n),
      ...(features >> HALF !== 0n && { features128: features >> HALF }),
    },
    queues: sizes.map((num, index) => ({ ...(empty.queues[index] ?? EMPTY_QUEUE), num })),
  };
}

const EMPTY_QUEUE = { num: 0, vringAlign: 0, desc: 0n, lastAvailIdx: 0, transport: {} };
const EMPTY: VirtioState = {
  ...{ transport: {}, status: 0, isr: 0, queueSel: 0, guestFeatures: 0, queues: [] },
  ...{ config: new Uint8Array(0), device: undefined, subsections: {} },
};

/** Options that no property decides, and a device must have: an address that is not looked at. */
const SAID_BY_NOBODY = { mac: new Uint8Array(6) };

/** Makes a device of the type as the machine makes it; one that does nothing for a type without a live device. */
function modelOf(
  layer: DeviceLayer,
  type: DeviceType,
  here: Making,
  said: RunningDevice | undefined,
): DeviceModel {
  if (type.live !== undefined)
    return type.live.make(type.live.unconnected(type.qemu.options?.(SAID_BY_NOBODY, here, EMPTY) ?? {}));
  const queueSizes = said?.ringSizes.map(() => QUEUE_MAX) ?? type.qemu.queues?.(here) ?? [];
  return new AnyDevice({ layer, queueSizes }, EMPTY);
}

/** Makes a device in the PCI function that a QEMU makes around it. */
function pciDevice(model: DeviceModel, type: DeviceType, here: Making): LiveDevice {
  const { pci, rings } = madeTransport(here, type, EMPTY);
  const options = pci?.({}) ?? {};
  const classCode = type.qemu.pci?.classes?.[here.device.driver];
  return new PciFunction(model, {
    memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(MEMORY_BYTES) }]),
    targetEndian: here.endian,
    ...options,
    ...(classCode !== undefined && { classCode }),
    rings: rings ?? {},
    setIntx: () => {},
    ...(options.vectors !== 0 && { sendMsi: () => {} }),
  }).device as LiveDevice;
}

/** Collects the features whose properties are on: more than any driver negotiates. */
function offered(type: DeviceType, { properties }: QemuDevice): bigint {
  let features = 0n;
  for (let bit = 0; bit < FEATURE_BITS; bit++) {
    const names = featureControl(bit, type).property?.split(', ') ?? [];
    if (names.some((name) => switchOf(properties.get(name)) === true)) features |= 1n << BigInt(bit);
  }
  return features;
}

/** Makes the set of the features of these names; those that virtkit does not know are left out. */
function bitsNamed(names: readonly string[], type: DeviceType): bigint {
  const wanted = new Set(names);
  let features = 0n;
  for (let bit = 0; bit < FEATURE_BITS; bit++)
    if (wanted.has(featureControl(bit, type).name) || wanted.has(`bit ${bit}`)) features |= 1n << BigInt(bit);
  return features;
}

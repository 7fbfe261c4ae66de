// A machine of which only the description is known: what a target would say to its stream, as far as that tells.
import { opaqueDevice, type TransportParts, type VirtioState, virtioDevice } from '@virtkit/core';
import {
  type DeviceType,
  type FeatureControl,
  isSince,
  type MachineOfQemu,
  type QemuDevice,
  switchOf,
  typeNamed,
  type Verdict,
} from '@virtkit/core/qemu';
import { type MigrationStream, machineEndian, type Registry, titleOf } from '@virtkit/migration';
import type { Destination } from '../destination/destination.ts';
import { busOf, sectionName } from '../destination/qemu-types.ts';
import { deviceTypes } from '../device-types.ts';
import { type MachineThere, machineThere } from '../distributions/machine-there.ts';
import { featureControl } from '../features/feature-control.ts';
import type { Target } from '../target.ts';
import { checkMigratable, checkUnderstood } from './check-board.ts';
import { checkDoubtful } from './check-doubtful.ts';
import { checkFeatures } from './check-features.ts';
import { checkHost } from './check-host.ts';
import { checkMachine, checkRelease, checkVersion } from './check-machine.ts';
import { checkProgram } from './check-program.ts';
import { makingOf } from './making.ts';

/** Facts about a machine beside its description. */
export interface InventoryOptions {
  /**
   * Features that drivers have negotiated, by the id of the device. Default: not known, and taken to be all that are
   * offered.
   */
  readonly features?: ReadonlyMap<string, bigint>;
  /** Device types that are known. */
  readonly types?: readonly DeviceType[];
}

const FEATURE_BITS = 128;
const HALF = 64n;

/**
 * Verdicts over a move of a machine to a target where there is no stream, and the machine is made there by the same description:
 * machine type, devices that the target's QEMU does not have, and features. What only a stream tells (rings, requests in flight) is
 * not looked at. A feature of which it is not known whether the guest uses it, and that the target does not offer, is `unknown`.
 *
 * @param target with the machine's description as its {@link Target.destination}
 */
export function checkInventory(
  target: Target,
  registry: Registry,
  { features, types = deviceTypes }: InventoryOptions = {},
): Verdict[] {
  const { destination } = target;
  if (destination === undefined) return [];
  const machine = destination.machine ?? '';
  const there = machineThere(machine, target);
  const stream: MigrationStream = {
    ...{ version: 3, configuration: { name: machine, capabilities: [] } },
    ...{ sections: [], commands: [], complete: true, trailing: 0 },
  };
  return [
    ...checkVersion(target),
    ...checkRelease(target, there),
    ...checkMachine(stream, { ...target, machine }),
    ...checkUnderstood(destination),
    ...checkMigratable(destination, target),
    ...checkProgram(destination, target),
    ...destination.devices.flatMap((device) =>
      checkDevice({ device, destination, there, target, registry, types }, features),
    ),
  ];
}

interface Item {
  readonly device: QemuDevice;
  readonly destination: Destination;
  readonly there: MachineThere;
  readonly target: Target;
  readonly registry: Registry;
  readonly types: readonly DeviceType[];
}

function checkDevice(item: Item, known: ReadonlyMap<string, bigint> | undefined): Verdict[] {
  const { device, destination, there, target, registry, types } = item;
  const name = sectionName(device.driver);
  const type = name === undefined ? undefined : typeNamed(types, name);
  const transport = registry.transports.find((each) => each.name === busOf(device.driver));
  if (name === undefined || type === undefined || transport === undefined) return [];
  const path = device.place ?? device.properties.get('id') ?? device.driver;
  const idstr = `${path}/${name}`;
  const header = { kind: 'full' as const, id: 0, idstr, instanceId: 0, versionId: 0, offset: 0 };
  const section: MigrationStream['sections'][number] = { header, offset: 0, body: new Uint8Array(0) };
  const virtio = {
    section,
    path,
    name,
    codec: virtioDevice(transport, opaqueDevice(name, type.layer.virtioId)),
    known: true,
  };
  const negotiated = known?.get(device.properties.get('id') ?? '');
  const making = makingOf(virtio, target, there, type, machineEndian(destination.machine ?? '', []));
  const state = stateWith(negotiated ?? offered(item, type));
  const special = { ...target, properties: making?.device.properties ?? target.properties };
  const title = titleOf(virtio);
  const refused = checkFeatures(title, type, state, special, making);
  const told = new Set(refused.map(({ feature }) => feature));
  const found = [
    ...refused,
    ...checkHost(title, type, state, target, making).filter(({ feature }) => !told.has(feature)),
    ...checkDoubtful(title, type, state, making, there),
  ];
  return negotiated === undefined ? found.map(perhaps) : found;
}

/** Weakens a verdict over a feature of which it is not known whether the driver has negotiated it. */
function perhaps(verdict: Verdict): Verdict {
  if (verdict.severity !== 'refused')
    return { ...verdict, reason: verdict.reason.replace(' is negotiated', ' may be in use') };
  const { qemuSays: _only, ...rest } = verdict;
  return {
    ...rest,
    severity: 'unknown',
    reason: `${verdict.feature ?? 'a feature'} may be in use (the description does not say), and the target does not offer it`,
  };
}

/**
 * Lists the features that a device of this description may have offered, and of which a target may not offer some:
 * those that the description switches on, and those that are on by the machine's version. What every version offers
 * needs no look.
 */
function offered({ device, destination, there, target }: Item, type: DeviceType): bigint {
  const at = { machine: there.upstream, qemu: target.qemu };
  const vnetHeader = device.network?.vnetHeader !== false || destination.devices.length === 0;
  let features = 0n;
  for (let bit = 0; bit < FEATURE_BITS; bit++) {
    const control = featureControl(bit, type);
    const { property } = control;
    if (property === undefined || !isOn(device, control, at)) continue;
    if (control.kernel !== undefined && !vnetHeader) continue;
    features |= 1n << BigInt(bit);
  }
  return features;
}

function isOn(
  { properties }: QemuDevice,
  { property = '', offByDefault, machine }: FeatureControl,
  at: MachineOfQemu,
): boolean {
  const said = property.split(', ').map((each) => switchOf(properties.get(each)));
  if (said.includes(false)) return false;
  return said.includes(true) || (offByDefault !== true && machine !== undefined && isSince(at, machine));
}

function stateWith(features: bigint): VirtioState<TransportParts> {
  const mask = (1n << HALF) - 1n;
  return {
    ...{ transport: {}, status: 0, isr: 0, queueSel: 0, queues: [] },
    guestFeatures: Number(features & 0xffff_ffffn),
    ...{ config: new Uint8Array(0), device: undefined },
    subsections: { features64: features & mask, features128: features >> HALF },
  };
}

import type { Endian, Finding, VirtioState } from '@virtkit/core';
import { type DeviceType, type Making, typeNamed, type Verdict } from '@virtkit/core/qemu';
import { decodeVirtio, type MigrationStream, titleOf, type VirtioDevice } from '@virtkit/migration';
import type { PciParts } from '@virtkit/transport-pci';
import { convertState } from '../convert/convert-state.ts';
import type { MachineThere } from '../distributions/machine-there.ts';
import type { Target } from '../target.ts';
import { checkDoubtful } from './check-doubtful.ts';
import { checkFeatures } from './check-features.ts';
import { checkHost } from './check-host.ts';
import { checkMade } from './check-made.ts';
import { checkUnmade } from './check-unmade.ts';
import { makingOf } from './making.ts';
import { checkClass, checkProperties } from './properties.ts';

/** Facts known around a device's section. */
export interface Around {
  readonly stream: MigrationStream;
  readonly types: readonly DeviceType[];
  /** Machine type of the target, else of the stream. */
  readonly machine: MachineThere;
  /** Byte order of the guest's CPU. */
  readonly endian: Endian;
}

/** Empty set of properties: a live device that was made with them has answered for them. */
const NO_PROPERTIES: ReadonlyMap<string, string> = new Map();

/**
 * Verdicts over a virtio device's section in the device that the target has in its place.
 * @throws StateError if the section cannot be read
 */
export function checkVirtio(device: VirtioDevice, target: Target, around: Around): Verdict[] {
  const { machine, endian, types } = around;
  const title = titleOf(device);
  const { state } = decodeVirtio(device);
  const type = typeNamed(types, device.name);
  const making = makingOf(device, target, machine, type, endian);
  const own = [
    ...checkFindings(title, device.codec.check(state)),
    ...(making === undefined ? [] : checkWords(title, device, type, state, making, around, target)),
  ];
  const refused = checkThere(device, type, state, target, making, around);
  const told = new Set(
    refused.filter(({ severity }) => severity === 'refused').map(({ feature }) => feature),
  );
  const there = [
    ...refused,
    ...checkHost(title, type, state, target, making).filter(({ feature }) => !told.has(feature)),
    ...checkDoubtful(title, type, state, making, machine),
  ];
  // what nobody said is the default of a machine that is not known
  const guessed = making?.complete === true && !machine.certain;
  return [...own, ...(guessed ? there.map(doubted) : there)];
}

/** Weakens a verdict that rests on a guess: a refusal becomes `unknown`. */
export function doubted(verdict: Verdict): Verdict {
  return verdict.severity === 'refused' ? { ...verdict, severity: 'unknown' } : verdict;
}

/** Verdicts over a state in the device that the target has in its place. */
function checkThere(
  device: VirtioDevice,
  type: DeviceType | undefined,
  state: VirtioState,
  target: Target,
  making: Making | undefined,
  around: Around,
): Verdict[] {
  const title = titleOf(device);
  const special = making === undefined ? target : { ...target, properties: making.device.properties };
  if (type === undefined) return checkFeatures(title, undefined, state, special);
  // a registry without the device type: its own part is bytes
  if (!device.known) return checkFeatures(title, type, state, special, making);
  const { qemu, properties } = special;
  const converted = convertState(title, type, state, {
    qemu,
    properties,
    machine: around.machine.upstream,
  }).verdicts;
  if (making === undefined) return [...converted, ...checkFeatures(title, type, state, target)];
  const section = {
    device,
    type,
    state,
    stream: around.stream,
    destination: target.destination,
    machineTitle: around.machine.title,
  };
  if (type.live === undefined)
    return [
      ...converted,
      ...checkUnmade(section, making),
      ...checkFeatures(title, type, state, special, making),
    ];
  const made = checkMade(section, type.live, making);
  const told = new Set(made.map(({ feature }) => feature));
  return [
    ...converted,
    ...made.filter(({ code }) => !converted.some((verdict) => verdict.code === code)),
    ...checkFeatures(title, type, state, { ...target, properties: NO_PROPERTIES }).filter(
      ({ feature }) => !told.has(feature),
    ),
  ];
}

/**
 * Verdicts from findings about the state in itself: QEMU refuses errors (or damages its memory), and loads what is only
 * a warning.
 */
function checkFindings(title: string, findings: readonly Finding[]): Verdict[] {
  return findings.map(({ code, severity, path, reason }) => ({
    code,
    severity: severity === 'error' ? 'refused' : 'note',
    path: `${title} / ${path}`,
    reason,
  }));
}

/** Verdicts over properties that no device is made with: those that nothing looks at, and the class. */
function checkWords(
  title: string,
  { codec }: VirtioDevice,
  type: DeviceType | undefined,
  state: VirtioState,
  making: Making,
  { types }: Around,
  target: Target,
): Verdict[] {
  const pci = codec.transport.name === 'pci' ? (state as VirtioState<PciParts>) : undefined;
  return [
    ...checkProperties(title, type, types, making, target),
    ...(pci === undefined ? [] : checkClass(title, pci.transport.config, making)),
  ];
}

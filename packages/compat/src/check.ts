import { type Endian, type Finding, negotiated, type VirtioState } from '@virtkit/core';
import type { BlkState } from '@virtkit/device-blk';
import type { NetState } from '@virtkit/device-net';
import {
  COMMAND,
  decodeVirtio,
  findVirtio,
  judgeStream,
  type MigrationStream,
  machineEndian,
  type Registry,
  titleOf,
  type VirtioDevice,
} from '@virtkit/migration';
import type { PciParts } from '@virtkit/transport-pci';
import { hex, isStateError } from '@virtkit/vmstate';
import { bitsOf, type FeatureControl, type FeatureKind, featureControl, isFeatureKind } from './control.ts';
import { convertState } from './convert.ts';
import { checkBoard, checkMigratable, checkUnderstood } from './destination/check-board.ts';
import {
  checkBlocks,
  checkCapabilities,
  checkMemory,
  checkPlaces,
  checkRoms,
} from './destination/check-destination.ts';
import { checkDevice } from './destination/check-device.ts';
import { checkOther } from './destination/check-other.ts';
import type { BoardWords } from './destination/destination.ts';
import { type Making, since } from './destination/made.ts';
import { makingOf } from './destination/making.ts';
import { switchOf } from './destination/numbers.ts';
import { checkClass, checkProperties } from './destination/properties.ts';
import { hasMachine, isQemuMachine, machineRange, machineVersion } from './machines.ts';
import { featuresUnsupported } from './qemu-says.ts';
import type { Target } from './target.ts';
import type { Verdict } from './verdict.ts';
import { compareVersion, type QemuVersion, whyUnknown } from './versions.ts';

/** Will this QEMU load this stream? Says everything that speaks against it, without starting one. */
export function checkStream(stream: MigrationStream, target: Target, registry: Registry): Verdict[] {
  const { destination } = target;
  const machine = target.machine ?? destination?.machine;
  const type = machine ?? stream.configuration?.name ?? '';
  const found = [
    ...checkVersion(target),
    ...checkMachine(stream, { ...target, ...(machine !== undefined && { machine }) }),
    ...checkCapabilities(stream, target),
    ...(destination === undefined
      ? []
      : [
          ...checkUnderstood(destination),
          ...checkMigratable(destination, target),
          ...(destination.ramBlocks === undefined
            ? [
                ...checkMemory(stream, destination).map((verdict) =>
                  verdict.code === 'ramblock' && !isQemuMachine(type) ? doubted(verdict) : verdict,
                ),
                ...checkRoms(stream, destination),
              ]
            : checkBlocks(stream, destination.ramBlocks)),
          ...checkBoard(stream, destination, target),
        ]),
    ...(destination?.ramBlocks === undefined ? checkRam(stream, target) : []),
    ...checkCommands(stream, target),
    ...checkSplitting(stream, registry),
  ];
  const misplaced = new Map(
    (destination === undefined ? [] : checkPlaces(stream, destination, target)).map(
      (verdict) => [verdict.path, verdict] as const,
    ),
  );
  const endian = machineEndian(type, stream.ram?.blocks);
  for (const section of stream.sections) {
    const place = misplaced.get(section.header.idstr);
    if (place !== undefined) {
      found.push(place);
      continue;
    }
    const device = findVirtio(section, registry);
    if (device === undefined) continue;
    const title = titleOf(device);
    try {
      found.push(...checkVirtio(device, target, { stream, machine: type, endian }));
    } catch (error) {
      if (!isStateError(error)) throw error;
      found.push({ code: error.code, severity: 'refused', path: title, reason: error.message });
    }
  }
  return found;
}

/** What a vmdesc may say against the bytes: they are read all the same. */
const HARMLESS: ReadonlySet<string> = new Set(['vmdesc-size', 'vmdesc-type', 'vmdesc-missing']);

/** Where two readers could see different sections, what one of them sees says nothing of the other. QEMU does not read the vmdesc. */
function checkSplitting(stream: MigrationStream, registry: Registry): Verdict[] {
  return judgeStream(stream, registry).map(({ code, path, reason }) => ({
    code,
    severity: HARMLESS.has(code) ? 'note' : 'unknown',
    path: path === '' ? 'stream' : path,
    reason,
  }));
}

/** The device that was made has answered for them. */
const NONE: ReadonlyMap<string, string> = new Map();

interface Around {
  readonly stream: MigrationStream;
  readonly machine: string;
  readonly endian: Endian;
}

function checkVirtio(device: VirtioDevice, target: Target, around: Around): Verdict[] {
  const { machine, endian } = around;
  const title = titleOf(device);
  const { state } = decodeVirtio(device);
  const making = makingOf(device, target, machine, endian);
  const own = [
    ...checkFindings(title, device.codec.check(state)),
    ...(making === undefined ? [] : checkWords(title, device, state, making, target)),
  ];
  const there = checkThere(device, state, target, making, around);
  // what nobody said is the default of a machine that is not known
  const guessed = making?.complete === true && !isQemuMachine(machine);
  return [...own, ...(guessed ? there.map(doubted) : there)];
}

/** A refusal that rests on a guess is none. */
function doubted(verdict: Verdict): Verdict {
  return verdict.severity === 'refused' ? { ...verdict, severity: 'unknown' } : verdict;
}

/** What speaks against a state in the device that the target has in its place. */
function checkThere(
  device: VirtioDevice,
  state: VirtioState,
  target: Target,
  making: Making | undefined,
  { stream, machine }: Around,
): Verdict[] {
  const title = titleOf(device);
  const kind = device.name === 'virtio-net' || device.name === 'virtio-blk' ? device.name : undefined;
  const special = making === undefined ? target : { ...target, properties: making.device.properties };
  if (!isFeatureKind(device.name)) return checkFeatures(title, undefined, state, special);
  // a registry without the device type: its own part is bytes
  if (!device.known) return checkFeatures(title, device.name, state, special, making);
  const converted = convertState(
    title,
    device.name,
    state as VirtioState<never, BlkState & NetState>,
    special,
    machine,
  );
  if (kind === undefined)
    return [
      ...converted.verdicts,
      ...(making === undefined
        ? []
        : checkOther(device, state, making, { stream, destination: target.destination })),
      ...checkFeatures(title, device.name, state, special, making),
    ];
  const made = making === undefined ? [] : checkDevice(device, kind, state, making);
  const told = new Set(made.map(({ feature }) => feature));
  return [
    ...converted.verdicts,
    ...made.filter(({ code }) => !converted.verdicts.some((verdict) => verdict.code === code)),
    ...checkFeatures(
      title,
      kind,
      state,
      making === undefined ? target : { ...target, properties: NONE },
    ).filter(({ feature }) => !told.has(feature)),
  ];
}

/** Nothing certain can be said of a QEMU that virtkit does not know. */
function checkVersion({ qemu }: Target): Verdict[] {
  const reason = whyUnknown(qemu.name);
  if (reason === undefined) return [];
  return [
    {
      code: 'version',
      severity: 'unknown',
      path: 'target / version',
      reason,
      advice: 'use a virtkit that knows this version, or start that QEMU with -incoming and the stream',
    },
  ];
}

function checkMachine({ configuration, version }: MigrationStream, target: Target): Verdict[] {
  const { qemu, machine } = target;
  const name = configuration?.name;
  if (name === undefined) {
    // nothing was read at all
    if (version === 0) return [];
    return [
      {
        code: 'machine',
        severity: 'depends',
        path: 'configuration',
        reason: 'the stream does not tell its machine type: 2.3 or older',
        advice: 'start the target with the same machine type',
      },
      ...unknownMachine(machine),
    ];
  }
  const found = [...new Set([name, machine])].flatMap((each) => unknownMachine(each));
  if (machine !== undefined && machine !== name) {
    // QEMU compares as many characters as it received
    const prefix = machine.startsWith(name);
    found.push({
      code: 'machine',
      severity: prefix ? 'note' : 'refused',
      path: 'configuration / machine',
      reason: `the stream is of machine type ${name}, the target runs ${machine}`,
      qemuSays: `Machine type received is '${name}' and local is '${machine}'`,
      advice: `start the target with -machine ${name}`,
    });
  }
  const versioned = machineVersion(name);
  if (versioned === undefined || hasMachine(qemu, versioned)) return found;
  const [oldest, newest] = machineRange(qemu, versioned.family);
  const range = oldest === '0.0' ? `up to ${newest}` : `from ${oldest} to ${newest}`;
  found.push({
    code: 'no-machine',
    severity: 'refused',
    path: 'configuration / machine',
    reason: `QEMU ${qemu.name} has no machine type ${name}: its versions reach ${range}`,
    qemuSays: 'unsupported machine type',
    advice: `run the source with a machine version ${range}`,
  });
  return found;
}

/** What a machine type of a distribution switches on, and whether the target has it, is not known. */
function unknownMachine(name: string | undefined): Verdict[] {
  if (name === undefined || isQemuMachine(name)) return [];
  return [
    {
      code: 'machine',
      severity: 'unknown',
      path: 'configuration / machine',
      reason: `"${name}" is none of the machine types that QEMU itself has, perhaps one of a distribution: what it switches on, and whether the target has it, is not known to virtkit. It is taken for the newest`,
      advice:
        "see the list of the target's -machine help; start it with -incoming and the stream to be certain",
    },
  ];
}

function checkRam({ configuration, ram }: MigrationStream, { qemu, destination }: Target): Verdict[] {
  const machine = configuration?.name ?? '';
  const sizes = firmwareSizes(qemu, machine, destination?.board);
  return (ram?.blocks ?? []).flatMap(({ name, length }): Verdict[] => {
    const local = sizes[name];
    if (local === undefined || local === length) return [];
    return [
      {
        code: 'ramblock-size',
        severity: 'refused',
        path: `ram / ${name}`,
        reason: `${hex(length)} bytes of firmware in the stream, and the one that QEMU ${qemu.name} ships has ${hex(local)}`,
        qemuSays: `Size mismatch: ${name}: ${hex(length)} != ${hex(local)}: Invalid argument`,
        advice: "give the target the source's firmware file (-bios)",
      },
    ];
  });
}

/** Blocks of the firmware that the program ships. Without ACPI, microvm has the small one in every version. */
function firmwareSizes(
  { firmware }: QemuVersion,
  machine: string,
  board: BoardWords | undefined,
): Readonly<Record<string, number>> {
  if (board?.ownFirmware === true) return {};
  if (machine === 'microvm' && switchOf(board?.options.get('acpi')) === false) return { 'pc.bios': 0x10000 };
  return firmware[machine] ?? {};
}

function checkCommands({ commands }: MigrationStream, { qemu }: Target): Verdict[] {
  if (qemu.switchoverStart || !commands.some(({ command }) => command === COMMAND.SWITCHOVER_START))
    return [];
  return [
    {
      code: 'command',
      severity: 'refused',
      path: 'commands / SWITCHOVER_START',
      reason: `QEMU ${qemu.name} does not know the command; it came with 10.0`,
      qemuSays: 'MIG_CMD 0xb unknown (len 0x0)',
      property: 'send-switchover-start',
      machine: '10.0',
      convertible: true,
    },
  ];
}

/** What the fields promise each other and do not keep: no QEMU loads that in peace. */
function checkFindings(title: string, findings: readonly Finding[]): Verdict[] {
  return findings.map(({ code, severity, path, reason }) => ({
    code,
    severity: severity === 'error' ? 'refused' : 'note',
    path: `${title} / ${path}`,
    reason,
  }));
}

/** What a device's properties say beside what it is made with. */
function checkWords(
  title: string,
  { name, codec }: VirtioDevice,
  state: VirtioState,
  making: Making,
  target: Target,
): Verdict[] {
  const pci = codec.transport.name === 'pci' ? (state as VirtioState<PciParts>) : undefined;
  return [
    ...checkProperties(title, name, making, target),
    ...(pci === undefined ? [] : checkClass(title, pci.transport.config, making)),
  ];
}

/** Negotiated features that the target does not offer, by what the caller says of it and by what its version knows. */
export function checkFeatures(
  title: string,
  kind: FeatureKind | undefined,
  state: VirtioState,
  target: Target,
  making?: Making,
): Verdict[] {
  const features = negotiated(state);
  const missing = bitsOf(features)
    .map((bit) => featureControl(bit, kind))
    .filter((control) => isMissing(control, kind, target, making));
  const set = missing.reduce((bits, { bit }) => bits | (1n << BigInt(bit)), 0n);
  const qemuSays = featuresUnsupported(target.qemu, features, set, target.features);
  return missing.map(({ name, property, machine, spec, qemu }) => ({
    code: 'feature',
    severity: 'refused',
    path: `${title} / features`,
    reason: cameLater(qemu, target)
      ? `${name} is negotiated, and QEMU ${target.qemu.name} does not have it (it came with ${qemu})`
      : `${name} is negotiated, and the target does not offer it`,
    qemuSays,
    feature: name,
    ...(property !== undefined && { property }),
    ...(machine !== undefined && { machine }),
    spec,
    advice:
      property === undefined
        ? 'use the same device at the target'
        : `switch ${property} on at the target, or off at the source before the guest starts`,
  }));
}

function isMissing(
  control: FeatureControl,
  kind: FeatureKind | undefined,
  target: Target,
  making: Making | undefined,
): boolean {
  const { bit, property = '', qemu } = control;
  if (property.split(', ').some((each) => switchOf(target.properties.get(each)) === false)) return true;
  if (isOffUnsaid(control, making) || cameLater(qemu, target)) return true;
  const { features } = target;
  return features !== undefined && ((features >> BigInt(bit)) & 1n) === 0n && concerns(kind, features);
}

function cameLater(version: string | undefined, { qemu }: Target): boolean {
  return version !== undefined && compareVersion(version, qemu.name) > 0;
}

/** Off on a whole command line that does not say it: by default, or by the age of the machine. */
function isOffUnsaid(
  { property, offByDefault, machine }: FeatureControl,
  making: Making | undefined,
): boolean {
  if (making?.complete !== true || property === undefined) return false;
  if (making.device.properties.has(property)) return false;
  return offByDefault === true || (machine !== undefined && !since(making, machine));
}

/** A set without MAC (bit 5 of a card, always offered) and with SEG_MAX (bit 2) and GEOMETRY (bit 4) is a disk's. */
function concerns(kind: FeatureKind | undefined, features: bigint): boolean {
  const has = (bit: bigint): boolean => ((features >> bit) & 1n) === 1n;
  const looks = has(4n) && has(6n) && has(10n) && !has(16n) ? 'virtio-blk' : 'virtio-net';
  return kind === looks;
}

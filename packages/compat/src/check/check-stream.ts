import type { Endian } from '@virtkit/core';
import { type DeviceType, refusal, type Verdict } from '@virtkit/core/qemu';
import {
  findVirtio,
  judgeStream,
  type MigrationStream,
  machineEndian,
  type Registry,
  titleOf,
} from '@virtkit/migration';
import { isStateError } from '@virtkit/vmstate';
import type { Destination } from '../destination/destination.ts';
import { deviceTypes } from '../device-types.ts';
import { type MachineThere, machineThere } from '../distributions/machine-there.ts';
import type { Target } from '../target.ts';
import { checkBoard, checkMigratable, checkUnderstood } from './check-board.ts';
import { checkBlocks, checkCapabilities, checkMemory, checkPlaces, checkRoms } from './check-destination.ts';
import { checkCommands, checkFirmware, checkMachine, checkRelease, checkVersion } from './check-machine.ts';
import { checkProgram } from './check-program.ts';
import { checkVirtio, doubted } from './check-virtio.ts';

/**
 * Verdicts over a load of this stream by this QEMU: everything that speaks against it, told without starting one.
 *
 * @param types the device types that are known
 */
export function checkStream(
  stream: MigrationStream,
  target: Target,
  registry: Registry,
  types: readonly DeviceType[] = deviceTypes,
): Verdict[] {
  const around = checkAround(stream, target, types);
  const found = [...around.found, ...checkSplitting(stream, registry)];
  const { misplaced, there, endian } = around;
  for (const section of stream.sections) {
    const place = misplaced.get(section.header.idstr);
    if (place !== undefined) {
      found.push(place);
      continue;
    }
    const device = findVirtio(section, registry);
    if (device === undefined) continue;
    try {
      found.push(...checkVirtio(device, target, { stream, types, machine: there, endian }));
    } catch (error) {
      if (!isStateError(error)) throw error;
      found.push(refusal(error.code, titleOf(device), error.message));
    }
  }
  return found;
}

/** Verdicts over a stream without a look into its devices, and what is needed for that look. */
export interface AroundDevices {
  readonly found: readonly Verdict[];
  /** Verdicts over sections whose device is not where they need it, by the section's name. */
  readonly misplaced: ReadonlyMap<string, Verdict>;
  readonly there: MachineThere;
  readonly endian: Endian;
}

/**
 * Verdicts over machine, memory and places: of the sections, their names alone are looked at, but for ports and
 * bridges.
 */
export function checkAround(
  stream: MigrationStream,
  target: Target,
  types: readonly DeviceType[],
): AroundDevices {
  const machine = target.machine ?? target.destination?.machine;
  const type = machine ?? stream.configuration?.name ?? '';
  const there = machineThere(type, target);
  const destination = withDefaults(target.destination, there);
  const found = [
    ...checkVersion(target),
    ...checkRelease(target, there),
    ...checkMachine(stream, { ...target, ...(machine !== undefined && { machine }) }),
    ...checkCapabilities(stream, target),
    ...(destination === undefined
      ? []
      : [
          ...checkUnderstood(destination),
          ...checkMigratable(destination, target),
          ...checkProgram(destination, target),
          ...(destination.ramBlocks === undefined
            ? [
                ...checkMemory(stream, destination).map((verdict) =>
                  verdict.code === 'ramblock' && !there.certain ? doubted(verdict) : verdict,
                ),
                ...checkRoms(stream, destination),
              ]
            : checkBlocks(stream, destination.ramBlocks)),
          // what nobody said is the default of a machine that is not known
          ...checkBoard(stream, destination, target).map((verdict) =>
            there.certain ? verdict : doubted(verdict),
          ),
        ]),
    ...(destination?.ramBlocks === undefined ? checkFirmware(stream, target) : []),
    ...checkCommands(stream, target),
  ];
  const misplaced = new Map(
    (destination === undefined ? [] : checkPlaces(stream, destination, target, types)).map(
      (verdict) => [verdict.path, verdict] as const,
    ),
  );
  return { found, misplaced, there, endian: machineEndian(type, stream.ram?.blocks) };
}

/** Completes a destination with the options that its machine type has by itself, where nothing else is said. */
function withDefaults(
  destination: Destination | undefined,
  { options }: MachineThere,
): Destination | undefined {
  if (destination?.board === undefined || options.size === 0) return destination;
  const { board } = destination;
  return { ...destination, board: { ...board, options: new Map([...options, ...board.options]) } };
}

/** Codes of findings about a vmdesc that contradicts the bytes: QEMU reads the bytes all the same. */
const HARMLESS: ReadonlySet<string> = new Set(['vmdesc-size', 'vmdesc-type', 'vmdesc-missing']);

/** Verdicts over places where two readers could see different sections: then what virtkit sees says nothing of what QEMU sees. */
function checkSplitting(stream: MigrationStream, registry: Registry): Verdict[] {
  return judgeStream(stream, registry).map(({ code, path, reason }) => ({
    code,
    severity: HARMLESS.has(code) ? 'note' : 'unknown',
    path: path === '' ? 'stream' : path,
    reason,
  }));
}

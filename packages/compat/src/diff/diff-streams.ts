import { negotiated, type VirtioState } from '@virtkit/core';
import { type DeviceType, type FieldRule, typeNamed } from '@virtkit/core/qemu';
import {
  decodeVirtio,
  findVirtio,
  type MigrationStream,
  type Registry,
  type StreamSection,
  titleOf,
  type VirtioDevice,
} from '@virtkit/migration';
import { hex, isStateError, type Json } from '@virtkit/vmstate';
import { deviceTypes } from '../device-types.ts';
import { bitsOf, featureControl } from '../features/feature-control.ts';
import type { Difference } from './difference.ts';
import { fieldRules } from './field-rules.ts';
import { diffPci } from './pci-config.ts';

/** Compares two streams by fields: A as the one to load, B as one that the destination itself wrote. */
export function diffStreams(
  a: MigrationStream,
  b: MigrationStream,
  registry: Registry,
  types: readonly DeviceType[] = deviceTypes,
): Difference[] {
  const known: Known = { registry, types };
  return [...diffConfiguration(a, b), ...diffRam(a, b), ...diffSections(a, b, known)];
}

/** Facts known of devices. */
interface Known {
  readonly registry: Registry;
  readonly types: readonly DeviceType[];
}

function diffConfiguration(a: MigrationStream, b: MigrationStream): Difference[] {
  const found: Difference[] = [];
  const [nameA, nameB] = [a.configuration?.name, b.configuration?.name];
  if (nameA !== nameB) {
    found.push({
      path: 'configuration / machine',
      a: nameA,
      b: nameB,
      weight: 'refused',
      reason: 'QEMU loads a stream of its own machine type only',
    });
  }
  const [ofA, ofB] = [a, b].map((stream) => new Set(stream.configuration?.capabilities));
  for (const name of new Set([...(ofA ?? []), ...(ofB ?? [])])) {
    const [inA, inB] = [ofA?.has(name) === true, ofB?.has(name) === true];
    if (inA === inB) continue;
    found.push({
      path: `configuration / capability ${name}`,
      a: inA,
      b: inB,
      weight: 'refused',
      reason: 'must be set alike on both sides',
    });
  }
  return found;
}

function diffRam(a: MigrationStream, b: MigrationStream): Difference[] {
  const sizes = (stream: MigrationStream): Map<string, number> =>
    new Map((stream.ram?.blocks ?? []).map(({ name, length }) => [name, length]));
  const [inA, inB] = [sizes(a), sizes(b)];
  if (inA.size === 0 || inB.size === 0) return [];
  return [...new Set([...inA.keys(), ...inB.keys()])].flatMap((name): Difference[] => {
    const [left, right] = [inA.get(name), inB.get(name)];
    if (left === right) return [];
    const base = { path: `ram / ${name}`, a: left, b: right };
    if (left === undefined)
      return [{ ...base, weight: 'state', reason: 'only the destination has it: it stays as it is' }];
    if (right === undefined)
      return [{ ...base, weight: 'refused', reason: 'the destination has no such block' }];
    // /rom@… blocks grow and shrink
    if (name.startsWith('/rom@'))
      return [{ ...base, weight: 'may-refuse', reason: 'resized if the destination can' }];
    return [{ ...base, weight: 'refused', reason: 'blocks must have the same size' }];
  });
}

/** Sorts sections by device. A device that is sent in pieces, or twice, has several. */
function sectionsByDevice({ sections }: MigrationStream): Map<string, StreamSection[]> {
  const found = new Map<string, StreamSection[]>();
  for (const section of sections) {
    const key = `${section.header.idstr} ${section.header.instanceId}`;
    const list = found.get(key);
    if (list === undefined) found.set(key, [section]);
    else list.push(section);
  }
  return found;
}

function diffSections(a: MigrationStream, b: MigrationStream, known: Known): Difference[] {
  const [inA, inB] = [sectionsByDevice(a), sectionsByDevice(b)];
  const found: Difference[] = [];
  for (const [key, sections] of inA) {
    const others = inB.get(key);
    inB.delete(key);
    if (others === undefined) found.push(...diffWhole(sections.slice(0, 1), [], known));
    else if ([...sections, ...others].some(({ header }) => header.kind !== 'full'))
      found.push(...diffPieces(sections, others));
    else found.push(...diffWhole(sections, others, known));
  }
  for (const sections of inB.values()) found.push(...diffWhole([], sections.slice(0, 1), known));
  return found;
}

/** Compares sections that each hold all of a device: there is one, unless somebody put the stream together by hand. */
function diffWhole(a: readonly StreamSection[], b: readonly StreamSection[], known: Known): Difference[] {
  const found: Difference[] = [];
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    const [left, right] = [a[at], b[at]];
    if (left !== undefined && right !== undefined) found.push(...diffSection(left, right, known));
    else if (left !== undefined)
      found.push({
        path: left.header.idstr,
        a: 'present',
        b: undefined,
        weight: 'refused',
        reason: 'the destination has no such device (or no such instance)',
      });
    else if (right !== undefined)
      found.push({
        path: right.header.idstr,
        a: undefined,
        b: 'present',
        weight: 'state',
        reason: 'only the destination has it: it keeps its initial state',
      });
  }
  return found;
}

/**
 * Compares what is sent in pieces while the machine runs: how many there are, and what is in each, says nothing about a
 * load.
 */
function diffPieces(a: readonly StreamSection[], b: readonly StreamSection[]): Difference[] {
  const [first, other] = [a[0], b[0]];
  if (first === undefined || other === undefined) return [];
  const found = diffVersion(first, other);
  const same =
    a.length === b.length && a.every(({ body }, at) => sameBytes(body, b[at]?.body ?? new Uint8Array()));
  if (same) return found;
  const show = (pieces: readonly StreamSection[]): string =>
    `${pieces.reduce((sum, { body }) => sum + body.length, 0)} bytes in ${pieces.length} pieces`;
  found.push({
    path: first.header.idstr,
    a: show(a),
    b: show(b),
    weight: 'state',
    reason: 'sent in pieces while the machine ran',
  });
  return found;
}

function diffVersion(a: StreamSection, b: StreamSection): Difference[] {
  const [versionA, versionB] = [a.header.versionId, b.header.versionId];
  if (versionA === versionB) return [];
  return [
    {
      path: `${a.header.idstr} / version`,
      a: versionA,
      b: versionB,
      weight: versionA > versionB ? 'refused' : 'may-refuse',
      reason:
        versionA > versionB
          ? 'the destination reads older versions only'
          : 'the destination may not read a version that old',
    },
  ];
}

function diffSection(a: StreamSection, b: StreamSection, { registry, types }: Known): Difference[] {
  const found = diffVersion(a, b);
  if (sameBytes(a.body, b.body)) return found;
  const [left, right] = [findVirtio(a, registry), findVirtio(b, registry)];
  if (left !== undefined && right !== undefined) {
    try {
      const type = typeNamed(types, left.name);
      found.push(...diffVirtio(titleOf(left), type, decode(left), decode(right)));
    } catch (error) {
      if (!isStateError(error)) throw error;
      found.push({
        path: a.header.idstr,
        a: error.message,
        b: undefined,
        weight: 'may-refuse',
        reason: 'not readable',
      });
    }
  } else {
    found.push({
      path: a.header.idstr,
      a: `${a.body.length} bytes`,
      b: `${b.body.length} bytes`,
      weight: a.body.length === b.body.length ? 'state' : 'may-refuse',
    });
  }
  return found;
}

interface Decoded {
  readonly transport: string;
  readonly state: VirtioState;
  readonly json: Json;
}

function decode(device: VirtioDevice): Decoded {
  const { codec } = device;
  const { state } = decodeVirtio(device);
  return { transport: codec.transport.name, state, json: codec.toJSON(state) };
}

function diffVirtio(title: string, type: DeviceType | undefined, a: Decoded, b: Decoded): Difference[] {
  const rules = [...(type?.differences ?? []), ...fieldRules];
  const found: Difference[] = [];
  const missing = negotiated(a.state) & ~negotiated(b.state);
  for (const bit of bitsOf(negotiated(a.state) ^ negotiated(b.state))) {
    const control = featureControl(bit, type);
    const inA = ((missing >> BigInt(bit)) & 1n) === 1n;
    found.push({
      path: `${title} / features / ${control.name}`,
      a: inA,
      b: !inA,
      weight: inA ? 'may-refuse' : 'state',
      ...(inA && {
        reason: `loads only if the destination offers it${control.property === undefined ? '' : ` (property ${control.property})`}`,
      }),
    });
  }
  const fieldsOfA = new Map(flatten(a.json, ''));
  const fieldsOfB = new Map(flatten(b.json, ''));
  for (const path of new Set([...fieldsOfA.keys(), ...fieldsOfB.keys()])) {
    const [left, right] = [fieldsOfA.get(path), fieldsOfB.get(path)];
    if (left === right || FEATURE_FIELDS.test(path)) continue;
    if (a.transport === 'pci' && path === 'transport.config') {
      found.push(
        ...diffPci(a.state.transport, b.state.transport).map((each) => ({
          ...each,
          path: `${title} / ${each.path}`,
        })),
      );
      continue;
    }
    found.push({ path: `${title} / ${path}`, a: left, b: right, ...weigh(rules, path, left, right) });
  }
  return found;
}

/** Pattern of the paths of fields that are compared bit by bit instead. */
const FEATURE_FIELDS = /^(guestFeatures|subsections\.features(64|128))$/;

function weigh(
  rules: readonly FieldRule[],
  path: string,
  a: Json | undefined,
  b: Json | undefined,
): Pick<Difference, 'weight' | 'reason'> {
  for (const { pattern, weight, reason, when } of rules) {
    if (pattern.test(path) && when(a, b)) return { weight, reason };
  }
  return { weight: 'state' };
}

/** Lists the leaves of a JSON value by path. Presence of objects that may be absent is a leaf of its own. */
function* flatten(json: Json, path: string): Generator<readonly [string, Json]> {
  if (typeof json !== 'object' || json === null) {
    yield [path, json];
    return;
  }
  if (Array.isArray(json)) {
    yield [`${path}.length`, json.length];
    for (const [index, item] of json.entries()) yield* flatten(item as Json, `${path}[${index}]`);
    return;
  }
  if (/^subsections\.\w+$/.test(path)) yield [`${path}.present`, true];
  for (const [key, value] of Object.entries(json))
    yield* flatten(value as Json, path === '' ? key : `${path}.${key}`);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** Writes a value as a line of text shows it. */
export function showJson(value: Json | undefined): string {
  if (value === undefined) return '(absent)';
  return typeof value === 'number' && value > 9 ? `${value} (${hex(value)})` : String(value);
}

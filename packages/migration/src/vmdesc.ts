import { StateError } from '@virtkit/vmstate';
import { type JsonMembers, type JsonText, readJsonText } from './json-text.ts';
import { be32 } from './split.ts';
import { TYPE } from './wire.ts';

/** A field in a vmdesc. Everything is optional: the text comes from a stranger. */
export interface DescField {
  readonly name?: string;
  readonly type?: string;
  readonly size?: number;
  readonly array_len?: number;
  readonly index?: number;
  readonly struct?: DescVmsd;
  /**
   * `vstruct`, `qtailq`, `qlist`, `gtree`, `tmp` have the members of the nested vmsd directly in the field, and repeat the keys
   * for each element: here they are apart.
   */
  readonly elements?: readonly DescVmsd[];
}

/** A vmsd in a vmdesc. */
export interface DescVmsd {
  readonly vmsd_name?: string;
  readonly version?: number;
  readonly fields?: readonly DescField[];
  readonly subsections?: readonly DescVmsd[];
}

/** A device in a vmdesc. */
export interface DescDevice extends DescVmsd {
  readonly name?: string;
  readonly instance_id?: number;
  /** Of devices with an old-style handler. */
  readonly size?: number;
}

/** What QEMU writes behind the end of a stream, for its own `analyze-migration.py`. */
export interface Vmdesc {
  readonly page_size?: number;
  readonly configuration?: DescVmsd;
  readonly devices: readonly DescDevice[];
}

/**
 * Reads a vmdesc. Members of the wrong type are left out: nothing depends on them but names.
 * @throws StateError `vmdesc`
 */
export function parseVmdesc(text: Uint8Array): Vmdesc {
  const top = readText(text);
  const devices = top.get('devices');
  if (!Array.isArray(devices)) throw vmdescError('the vmdesc has no list of devices', text);
  const [pageSize, configuration] = [top.get('page_size'), top.get('configuration')];
  return {
    ...(isMembers(configuration) && { configuration: toVmsd(configuration) }),
    ...(isCount(pageSize) && { page_size: pageSize }),
    devices: devices.filter(isMembers).map(toDevice),
  };
}

function readText(text: Uint8Array): ReadonlyMap<string, JsonText> {
  let json: JsonText;
  try {
    json = readJsonText(textOf(text));
  } catch {
    throw vmdescError('the vmdesc is not JSON', text);
  }
  return new Map(isMembers(json) ? json.members : []);
}

function vmdescError(reason: string, text: Uint8Array): StateError {
  return new StateError('vmdesc', reason, { bytes: text.length }, { layer: 'stream', path: 'vmdesc' });
}

function toDevice(json: JsonMembers): DescDevice {
  const [name, instanceId, size] = [
    memberOf(json, 'name'),
    memberOf(json, 'instance_id'),
    memberOf(json, 'size'),
  ];
  return {
    ...(typeof name === 'string' && { name }),
    ...(isCount(instanceId) && { instance_id: instanceId }),
    ...(isCount(size) && { size }),
    ...toVmsd(json),
  };
}

function toVmsd(json: JsonMembers): DescVmsd {
  const [name, version] = [memberOf(json, 'vmsd_name'), memberOf(json, 'version')];
  const [fields, subsections] = [memberOf(json, 'fields'), memberOf(json, 'subsections')];
  return {
    ...(typeof name === 'string' && { vmsd_name: name }),
    ...(isCount(version) && { version }),
    ...(Array.isArray(fields) && { fields: fields.filter(isMembers).map(toField) }),
    ...(Array.isArray(subsections) && { subsections: subsections.filter(isMembers).map(toVmsd) }),
  };
}

/** There are thousands. Members are in QEMU's order, so that the text can be made again. */
function toField(json: JsonMembers): DescField {
  const field: Mutable<DescField> = {};
  const name = memberOf(json, 'name');
  if (typeof name === 'string') field.name = name;
  const count = memberOf(json, 'array_len');
  if (isCount(count)) field.array_len = count;
  const index = memberOf(json, 'index');
  if (isCount(index)) field.index = index;
  const type = memberOf(json, 'type');
  if (typeof type === 'string') field.type = type;
  const struct = memberOf(json, 'struct');
  if (isMembers(struct)) field.struct = toVmsd(struct);
  const elements = elementsOf(json);
  if (elements.length > 0) field.elements = elements;
  const size = memberOf(json, 'size');
  if (isCount(size)) field.size = size;
  return field;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A nested vmsd begins at each `vmsd_name`. */
function elementsOf({ members }: JsonMembers): DescVmsd[] {
  if (!members.some(([key]) => key === 'vmsd_name')) return [];
  const starts = members.flatMap(([key], index) => (key === 'vmsd_name' ? [index] : []));
  return starts.map((start, index) => toVmsd({ members: members.slice(start, starts[index + 1]) }));
}

function memberOf({ members }: JsonMembers, wanted: string): JsonText | undefined {
  for (const member of members) if (member[0] === wanted) return member[1];
  return undefined;
}

function isMembers(json: JsonText | undefined): json is JsonMembers {
  return typeof json === 'object' && json !== null && 'members' in json;
}

/**
 * The vmdesc at the end of `bytes`, found as analyze-migration.py does: JSON never contains NUL, and the first byte of
 * the length in front of it is one.
 */
export function findVmdesc(
  bytes: Uint8Array,
): { readonly start: number; readonly vmdesc: Vmdesc } | undefined {
  const brace = bytes.lastIndexOf(0) + 1;
  const start = bytes.indexOf(0x7b, Math.max(brace, 5));
  if (start < 5 || start - brace > 3) return undefined;
  const length = be32(bytes, start - 4);
  if (bytes[start - 5] !== TYPE.VMDESCRIPTION || start + length !== bytes.length) return undefined;
  try {
    return { start, vmdesc: parseVmdesc(bytes.subarray(start)) };
  } catch {
    return undefined;
  }
}

/** Bytes of a device's section by its vmdesc; undefined if the text is not usable. */
export function deviceSize(device: DescDevice): number | undefined {
  return device.fields === undefined ? undefined : vmsdSize(device);
}

/** Bytes of a vmsd's fields and subsections; undefined if a size is missing. */
export function vmsdSize({ fields = [], subsections = [] }: DescVmsd): number | undefined {
  let sum = 0;
  for (const { size, array_len: count = 1 } of fields) {
    if (size === undefined) return undefined;
    sum += size * count;
  }
  for (const subsection of subsections) {
    const size = vmsdSize(subsection);
    if (size === undefined) return undefined;
    // type byte, counted name, be32 version
    sum += 2 + (subsection.vmsd_name ?? '').length + 4 + size;
  }
  return sum;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** Names in a vmdesc are ASCII; anything else survives as Latin-1. */
function textOf(text: Uint8Array): string {
  let out = '';
  for (let at = 0; at < text.length; at += 8192)
    out += String.fromCharCode.apply(null, text.subarray(at, at + 8192) as unknown as number[]);
  return out;
}

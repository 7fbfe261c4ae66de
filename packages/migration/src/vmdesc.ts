import { StateError } from '@virtkit/vmstate';
import type { SectionHeader } from './events.ts';
import { JsonReader } from './json-reader.ts';
import type { DescDevice, DescField, DescVmsd, Vmdesc } from './vmdesc-model.ts';
import { be32, TYPE } from './wire.ts';

/** Longest vmdesc that is read, in bytes. One of a guest with a thousand processors has ten million. */
export const VMDESC_MAX = 32 << 20;
/**
 * Smallest number of bytes of text for each object, on average: QEMU's shortest has 36, and each costs about a hundred
 * in memory.
 */
const BYTES_PER_OBJECT = 32;
/** Number of objects that are read of any vmdesc, however short its text is. */
const OBJECTS_FREE = 4096;

/**
 * Reads a vmdesc. Members of the wrong type are left out: nothing depends on them but names.
 *
 * What is kept has less than four times the text's bytes: a text of more than one object in 32 bytes is refused.
 *
 * @param maxBytes longest text that is read
 * @throws StateError `vmdesc`, `limit`
 */
export function parseVmdesc(text: Uint8Array, maxBytes: number = VMDESC_MAX): Vmdesc {
  if (text.length > maxBytes)
    throw vmdescError('limit', `a vmdesc of ${text.length} bytes, at most ${maxBytes} are read`, text);
  const vmdesc = readText(text);
  if (vmdesc.devices === undefined) throw vmdescError('vmdesc', 'the vmdesc has no list of devices', text);
  return { ...vmdesc, devices: vmdesc.devices };
}

function readText(text: Uint8Array): Partial<Vmdesc> {
  const input = new JsonReader(textOf(text), OBJECTS_FREE + Math.floor(text.length / BYTES_PER_OBJECT));
  try {
    const vmdesc = readTop(input);
    input.end();
    return vmdesc;
  } catch (error) {
    if (error instanceof RangeError)
      throw vmdescError('limit', `the vmdesc has ${error.message} in ${text.length} bytes`, text);
    throw vmdescError('vmdesc', 'the vmdesc is not JSON', text);
  }
}

function vmdescError(code: string, reason: string, text: Uint8Array): StateError {
  return new StateError(code, reason, { bytes: text.length }, { layer: 'stream', path: 'vmdesc' });
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function readTop(input: JsonReader): Partial<Vmdesc> {
  const top: Partial<Mutable<Vmdesc>> = {};
  readObject(input, (key) => {
    if (key === 'page_size') setCount(top, key, input);
    else if (key === 'configuration' && top.configuration === undefined) {
      const read = readVmsd(input);
      if (read !== undefined) top.configuration = read;
    } else if (key === 'devices' && top.devices === undefined) {
      const read = readList(input, readDevice);
      if (read !== undefined) top.devices = read;
    } else input.skip();
  });
  return top;
}

function readDevice(input: JsonReader): DescDevice | undefined {
  const device: Mutable<DescDevice> = {};
  const there = readObject(input, (key) => {
    if (key === 'name') setText(device, key, input);
    else if (key === 'instance_id' || key === 'size') setCount(device, key, input);
    else vmsdMember(input, device, key);
  });
  return there ? device : undefined;
}

function readVmsd(input: JsonReader): DescVmsd | undefined {
  const vmsd: Mutable<DescVmsd> = {};
  return readObject(input, (key) => vmsdMember(input, vmsd, key)) ? vmsd : undefined;
}

/** Takes the value of a key that a vmsd may have. */
function vmsdMember(input: JsonReader, vmsd: Mutable<DescVmsd>, key: string): void {
  if (key === 'vmsd_name') setText(vmsd, key, input);
  else if (key === 'version') setCount(vmsd, key, input);
  else if (key === 'fields' && vmsd.fields === undefined) {
    const read = readList(input, readField);
    if (read !== undefined) vmsd.fields = read;
  } else if (key === 'subsections' && vmsd.subsections === undefined) {
    const read = readList(input, readVmsd);
    if (read !== undefined) vmsd.subsections = read;
  } else input.skip();
}

/** Reads a field, of which there are thousands. Members are in QEMU's order, so that the text can be made again. */
function readField(input: JsonReader): DescField | undefined {
  const field: Mutable<DescField> = {};
  const elements: Mutable<DescVmsd>[] = [];
  const last: { size?: number } = {};
  const there = readObject(input, (key) => {
    if (key === 'name' || key === 'type') setText(field, key, input);
    else if (key === 'array_len' || key === 'index') setCount(field, key, input);
    else if (key === 'size') setCount(last, key, input);
    else if (key === 'struct' && field.struct === undefined) {
      const read = readVmsd(input);
      if (read !== undefined) field.struct = read;
    } else elementMember(input, field, elements, key);
  });
  if (last.size !== undefined) field.size = last.size;
  return there ? field : undefined;
}

/** Takes a member of an element: a nested vmsd begins at each `vmsd_name`. */
function elementMember(
  input: JsonReader,
  field: Mutable<DescField>,
  elements: Mutable<DescVmsd>[],
  key: string,
): void {
  if (key === 'vmsd_name') {
    input.count();
    elements.push({});
    field.elements = elements;
  }
  const element = elements.at(-1);
  if (element === undefined) input.skip();
  else vmsdMember(input, element, key);
}

/** Reads an object; anything else is passed over, and answered with false. */
function readObject(input: JsonReader, member: (key: string) => void): boolean {
  if (input.kind === 'object') {
    input.object(member);
    return true;
  }
  input.skip();
  return false;
}

/** Reads a list. Items that are no objects are left out. */
function readList<T>(input: JsonReader, read: (input: JsonReader) => T | undefined): T[] | undefined {
  if (input.kind !== 'list') {
    input.skip();
    return undefined;
  }
  const items: T[] = [];
  input.list(() => {
    const item = read(input);
    if (item !== undefined) items.push(item);
  });
  return items;
}

/** Takes a text, if it is one and the key comes for the first time. */
function setText<K extends string>(into: { [key in K]?: string }, key: K, input: JsonReader): void {
  if (input.kind !== 'string' || into[key] !== undefined) input.skip();
  else into[key] = input.string();
}

/** Takes a number, if it is one that counts and the key comes for the first time. */
function setCount<K extends string>(into: { [key in K]?: number }, key: K, input: JsonReader): void {
  if (input.kind !== 'other' || into[key] !== undefined) {
    input.skip();
    return;
  }
  const value = input.number();
  if (isCount(value)) into[key] = value;
}

/**
 * Finds the vmdesc at the end of `bytes`, as analyze-migration.py does: JSON never contains NUL, and the first byte of
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

/** Devices of a vmdesc by name and instance; the n-th section of a name has the n-th entry. */
export class DeviceList {
  readonly #entries = new Map<string, { readonly devices: DescDevice[]; taken: number }>();

  constructor(vmdesc: Vmdesc | undefined) {
    for (const device of vmdesc?.devices ?? []) {
      const key = `${device.name}/${device.instance_id}`;
      const entry = this.#entries.get(key);
      if (entry === undefined) this.#entries.set(key, { devices: [device], taken: 0 });
      else entry.devices.push(device);
    }
  }

  /** Takes the next entry for a section. */
  next({ idstr, instanceId }: Pick<SectionHeader, 'idstr' | 'instanceId'>): DescDevice | undefined {
    const entry = this.#entries.get(`${idstr}/${instanceId}`);
    return entry?.devices[entry.taken++];
  }
}

/** Finds the size in bytes of a device's section by its vmdesc; undefined if the text is not usable. */
export function deviceSize(device: DescDevice): number | undefined {
  return device.fields === undefined ? undefined : vmsdSize(device);
}

/** Finds the size in bytes of a vmsd's fields and subsections; undefined if a size is missing. */
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

function isCount(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0;
}

/** Reads the text of a vmdesc. Names in it are ASCII; anything else survives as Latin-1. */
function textOf(text: Uint8Array): string {
  let out = '';
  for (let at = 0; at < text.length; at += 8192)
    out += Reflect.apply(String.fromCharCode, undefined, text.subarray(at, at + 8192));
  return out;
}

import { hex, isStateError, StateError } from './errors.ts';
import { bigFromJson, bigToJson, bytesFromJson, bytesToJson, type Json, jsonError } from './json.ts';
import type { Reader } from './reader.ts';
import { demand, demandBig, type Writer } from './writer.ts';

/**
 * One piece of wire format: bytes ⇄ value ⇄ JSON. `C` is what the layout depends on besides the fields before it.
 *
 * Structures made by `vmstate()` are fields too, so that they nest.
 */
export interface Field<T, C = unknown> {
  /** Type name in QEMU's vmdesc. */
  readonly type: string;
  /** QEMU's name of the field, where it is not the property's name in snake_case. */
  readonly wire?: string;
  /** Number of elements of an array that is one value in the state, each with an equal share of the bytes. */
  readonly repeat?: number;
  /** False if elements of this kind differ in layout, by conditions or subsections. */
  readonly uniform?: boolean;
  /** Fewest bytes the field can take: lets an array refuse a count before it allocates. */
  readonly minSize: number;
  /** Reads the field at the cursor. @throws StateError `truncated`, `value`, … */
  decode(input: Reader, context: C): T;
  /** Writes the field. @throws StateError `value` if the value does not fit the field */
  encode(output: Writer, value: T, context: C): void;
  /** The value as JSON: 64-bit numbers as `"0x…"`, bytes as hexadecimal digits. */
  toJSON(value: T): Json;
  /** Reads the value from the form that {@link toJSON} writes. @throws StateError `json` */
  fromJSON(json: Json): T;
}

/** The value type of a field or declaration. */
// biome-ignore lint/suspicious/noExplicitAny: an inference position, not a value
export type ValueOf<F> = F extends Field<infer T, any> ? T : never;

type Integer = Field<number> & { readonly low: number; readonly high: number };

function integer(
  type: string,
  minSize: number,
  low: number,
  high: number,
  read: (input: Reader) => number,
  write: (output: Writer, value: number) => void,
): Integer {
  return {
    type,
    minSize,
    low,
    high,
    decode: read,
    encode: (output, value) => write(output, demand(value, low, high)),
    toJSON: (value) => value,
    fromJSON: (json) => {
      if (typeof json !== 'number') throw jsonError(type, json);
      return demand(json, low, high);
    },
  };
}

/** Field of one byte, unsigned. */
export const u8: Integer = /* @__PURE__ */ integer(
  'uint8',
  1,
  0,
  0xff,
  (r) => r.u8(),
  (w, v) => w.u8(v),
);
/** Field of two bytes, unsigned, big-endian. */
export const u16: Integer = /* @__PURE__ */ integer(
  'uint16',
  2,
  0,
  0xffff,
  (r) => r.u16(),
  (w, v) => w.u16(v),
);
/** Field of four bytes, unsigned, big-endian. */
export const u32: Integer = /* @__PURE__ */ integer(
  'uint32',
  4,
  0,
  0xffffffff,
  (r) => r.u32(),
  (w, v) => w.u32(v),
);
/** Field of four bytes, signed, big-endian. */
export const s32: Integer = /* @__PURE__ */ integer(
  'int32',
  4,
  -0x80000000,
  0x7fffffff,
  (r) => r.s32(),
  (w, v) => w.u32(v >>> 0),
);

function integer64(type: string, low: bigint, high: bigint, read: (input: Reader) => bigint): Field<bigint> {
  return {
    type,
    minSize: 8,
    decode: read,
    encode: (output, value) => output.u64(BigInt.asUintN(64, demandBig(value, low, high))),
    toJSON: bigToJson,
    fromJSON: (json) => demandBig(bigFromJson(json), low, high),
  };
}

/**
 * Field of eight bytes, unsigned, big-endian. Its value is a bigint: guests choose the addresses, and all 64 bits come
 * back as they were.
 */
export const u64: Field<bigint> = /* @__PURE__ */ integer64('uint64', 0n, 0xffffffffffffffffn, (r) =>
  r.u64(),
);
/** Field of eight bytes, signed, big-endian. */
export const s64: Field<bigint> = /* @__PURE__ */ integer64('int64', -(1n << 63n), (1n << 63n) - 1n, (r) =>
  r.s64(),
);

/** Field of one byte. Any value but 0 is true, and is written as 1. QEMU: `vmstate_info_bool`. */
export const bool: Field<boolean> = {
  type: 'bool',
  minSize: 1,
  decode: (input) => input.u8() !== 0,
  encode: (output, value) => output.u8(value ? 1 : 0),
  toJSON: (value) => value,
  fromJSON: (json) => {
    if (typeof json !== 'boolean') throw jsonError('true or false', json);
    return json;
  },
};

/** Field of exactly `length` raw bytes. Its value is a copy. */
export function buffer(length: number): Field<Uint8Array> {
  return {
    type: 'buffer',
    minSize: length,
    decode: (input) => input.copy(length),
    encode: (output, value) => output.raw(demandLength(value, length)),
    toJSON: bytesToJson,
    fromJSON: (json) => demandLength(bytesFromJson(json), length),
  };
}

/** Field of all bytes that are left, whatever they mean. */
export const rest: Field<Uint8Array> = {
  type: 'buffer',
  minSize: 0,
  decode: (input) => input.copy(input.remaining),
  encode: (output, value) => output.raw(value),
  toJSON: bytesToJson,
  fromJSON: bytesFromJson,
};

/** Field of a 48-bit Ethernet address; `52:54:00:12:34:56` in JSON. */
export const macAddress: Field<Uint8Array> = {
  ...buffer(6),
  toJSON: (value) => Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join(':'),
  fromJSON: (json) => {
    if (typeof json !== 'string' || !/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(json))
      throw jsonError('MAC address', json);
    return bytesFromJson(json.replaceAll(':', ''));
  },
};

/** Field of `count` elements one after the other, without framing. */
export function array<T, C = unknown>(element: Field<T, C>, count: number): Field<readonly T[], C> {
  return {
    type: element.type,
    uniform: element.uniform !== false,
    minSize: element.minSize * count,
    decode: (input, context) => decodeElements(input, element, count, context),
    encode: (output, value, context) => {
      if (value.length !== count) throw lengthError(value.length, count);
      encodeElements(output, element, value, context);
    },
    toJSON: (value) => value.map((item) => element.toJSON(item)),
    fromJSON: (json) => {
      const items = elementsFromJson(element, json);
      if (items.length !== count) throw lengthError(items.length, count);
      return items;
    },
  };
}

/**
 * Field of a count, at most `limit`, and that many elements behind it. QEMU has the count as a field of its own, called
 * `wire`.
 */
export function counted<T, C = unknown>(
  count: Field<number>,
  element: Field<T, C>,
  limit: number,
  what = 'elements',
  wire = 'count',
): Field<readonly T[], C> {
  return {
    type: element.type,
    minSize: count.minSize,
    decode: (input, context) => {
      const at = input.position;
      const length = readCount(input, wire, count);
      if (length > limit || length < 0) throw countError(what, length, limit, at);
      return decodeElements(input, element, length, context);
    },
    encode: (output, value, context) => {
      if (value.length > limit) throw countError(what, value.length, limit);
      writeCount(output, wire, count, value.length);
      encodeElements(output, element, value, context);
    },
    toJSON: (value) => value.map((item) => element.toJSON(item)),
    fromJSON: (json) => elementsFromJson(element, json),
  };
}

/**
 * Field of a length, at most `limit`, and that many bytes behind it. QEMU has the length as a field of its own, called
 * `wire`.
 */
export function countedBytes(length: Field<number>, limit: number, wire = 'length'): Field<Uint8Array> {
  return {
    type: 'buffer',
    minSize: length.minSize,
    decode: (input) => {
      const at = input.position;
      const size = readCount(input, wire, length);
      if (size > limit || size < 0) throw countError('bytes', size, limit, at);
      const content = input.trace?.enter('bytes', 'bytes', 'buffer', input.position);
      const value = input.copy(size);
      if (content !== undefined) content.part = 'content';
      input.trace?.leave(input.position, value);
      return value;
    },
    encode: (output, value) => {
      if (value.length > limit) throw countError('bytes', value.length, limit);
      writeCount(output, wire, length, value.length);
      const content = output.trace?.enter('bytes', 'bytes', 'buffer', output.offset);
      if (content !== undefined) content.part = 'content';
      output.raw(value);
      output.trace?.leave(output.offset, value);
    },
    toJSON: bytesToJson,
    fromJSON: bytesFromJson,
  };
}

/**
 * Field of a length, and that many bytes of text behind it (one byte a character, so that any bytes come back as they
 * were).
 */
export function countedText(length: Field<number>, limit: number, wire?: string): Field<string> {
  const bytes = countedBytes(length, limit, wire);
  return {
    ...bytes,
    decode: (input) => latin1(bytes.decode(input, undefined)),
    encode: (output, value) => bytes.encode(output, fromLatin1(value), undefined),
    toJSON: (value) => value,
    fromJSON: (json) => {
      if (typeof json !== 'string') throw jsonError('text', json);
      return json;
    },
  };
}

/**
 * Field of a list of any length, QEMU's `qtailq` and `qlist`: a byte 1 before each element, a byte 0 behind the last.
 * Any byte but 0 announces an element.
 */
export function list<T, C = unknown>(
  element: Field<T, C>,
  limit: number,
  type = 'qtailq',
): Field<readonly T[], C> {
  return {
    type,
    minSize: 1,
    decode: (input, context) => {
      const items: T[] = [];
      for (;;) {
        const at = input.position;
        if (input.u8() === 0) return items;
        if (items.length >= limit) throw countError('list elements', items.length + 1, limit, at);
        items.push(decodeElement(input, element, items.length, context));
      }
    },
    encode: (output, value, context) => {
      if (value.length > limit) throw countError('list elements', value.length, limit);
      for (let i = 0; i < value.length; i++) {
        output.u8(1);
        encodeElement(output, element, value[i] as T, i, context);
      }
      output.u8(0);
    },
    toJSON: (value) => value.map((item) => element.toJSON(item)),
    fromJSON: (json) => elementsFromJson(element, json),
  };
}

/**
 * Field of an element, or of nothing when QEMU's null-pointer marker (byte 0x30) stands in its place: no element can
 * begin with it.
 */
export function nullable<T, C = unknown>(element: Field<T, C>): Field<T | null, C> {
  return {
    type: element.type,
    minSize: Math.min(1, element.minSize),
    uniform: element.uniform !== false,
    decode: (input, context) => {
      if (input.peek() !== NULL_MARKER) return element.decode(input, context);
      input.take(1);
      return null;
    },
    encode: (output, value, context) => {
      const at = output.offset;
      if (value === null) output.u8(NULL_MARKER);
      else element.encode(output, value, context);
      // the format has no way to tell the two apart
      if (value !== null && output.bytes[at] === NULL_MARKER)
        throw new StateError(
          'value',
          `the element begins with ${hex(NULL_MARKER)}, which stands for no element`,
          {
            value: NULL_MARKER,
          },
        );
    },
    toJSON: (value) => (value === null ? null : element.toJSON(value)),
    fromJSON: (json) => (json === null ? null : element.fromJSON(json)),
  };
}

/** Byte that stands for a null pointer. QEMU: `VMS_NULLPTR_MARKER`. */
const NULL_MARKER = 0x30;

/** Narrows a field to the values for which `test` holds. `expected` completes the error "…, expected …". */
export function refine<T extends number | bigint, C = unknown>(
  field: Field<T, C>,
  test: (value: T) => boolean,
  expected: string,
): Field<T, C> {
  const verify = (value: T, offset?: number): T => {
    if (test(value)) return value;
    throw new StateError(
      'value',
      `${hex(value)} found, ${expected} expected`,
      { value, expected },
      { offset },
    );
  };
  return {
    ...field,
    decode: (input, context) => {
      const at = input.position;
      return verify(field.decode(input, context), at);
    },
    encode: (output, value, context) => field.encode(output, verify(value), context),
    fromJSON: (json) => verify(field.fromJSON(json)),
  };
}

/** Decides a field's context, so that it can stand in places that have none to give. */
export function withContext<T, C>(field: Field<T, C>, context: C): Field<T> {
  return {
    ...field,
    decode: (input) => field.decode(input, context),
    encode: (output, value) => field.encode(output, value, context),
  };
}

/** Gives a field the type name that QEMU's vmdesc has for it (`int32 le`, `pci config`, …). */
export function typed<T, C>(type: string, field: Field<T, C>): Field<T, C> {
  return { ...field, type };
}

/** Gives a field the name that QEMU has for it, where that is not the property's name in snake_case. */
export function named<T, C>(wire: string, field: Field<T, C>): Field<T, C> {
  return { ...field, wire };
}

export function decodeElements<T, C>(input: Reader, element: Field<T, C>, count: number, context: C): T[] {
  if (!(count * Math.max(element.minSize, 1) <= input.remaining) && count > 0) {
    throw new StateError(
      'truncated',
      `${count} elements of at least ${element.minSize} bytes wanted, ${input.remaining} bytes left`,
      { count, size: element.minSize, available: input.remaining },
      { offset: input.position },
    );
  }
  const items = new Array<T>(count);
  for (let i = 0; i < count; i++) items[i] = decodeElement(input, element, i, context);
  return items;
}

function decodeElement<T, C>(input: Reader, element: Field<T, C>, index: number, context: C): T {
  const trace = input.trace;
  const start = input.position;
  trace?.enter(`[${index}]`, String(index), element.type, start);
  try {
    const value = element.decode(input, context);
    trace?.leave(input.position, value);
    return value;
  } catch (error) {
    throw isStateError(error) ? error.within(`[${index}]`, undefined, start) : error;
  }
}

/** Reads the length in front of a counted field, as a field of its own in a trace. */
function readCount(input: Reader, wire: string, field: Field<number>): number {
  const node = input.trace?.enter('length', wire, field.type, input.position);
  if (node !== undefined) node.part = 'count';
  const value = field.decode(input, undefined);
  input.trace?.leave(input.position, value);
  return value;
}

function writeCount(output: Writer, wire: string, field: Field<number>, value: number): void {
  const node = output.trace?.enter('length', wire, field.type, output.offset);
  if (node !== undefined) node.part = 'count';
  field.encode(output, value, undefined);
  output.trace?.leave(output.offset, value);
}

function encodeElements<T, C>(output: Writer, element: Field<T, C>, values: readonly T[], context: C): void {
  for (let i = 0; i < values.length; i++) encodeElement(output, element, values[i] as T, i, context);
}

export function encodeElement<T, C>(
  output: Writer,
  element: Field<T, C>,
  value: T,
  index: number,
  context: C,
): void {
  output.trace?.enter(`[${index}]`, String(index), element.type, output.offset);
  try {
    element.encode(output, value, context);
  } catch (error) {
    throw isStateError(error) ? error.within(`[${index}]`) : error;
  }
  output.trace?.leave(output.offset, value);
}

function elementsFromJson<T, C>(element: Field<T, C>, json: Json): T[] {
  if (!Array.isArray(json)) throw jsonError('array', json);
  return json.map((item: Json, index) => {
    try {
      return element.fromJSON(item);
    } catch (error) {
      throw isStateError(error) ? error.within(`[${index}]`) : error;
    }
  });
}

function demandLength(value: Uint8Array, length: number): Uint8Array {
  if (value.length !== length) throw lengthError(value.length, length);
  return value;
}

function lengthError(found: number, expected: number): StateError {
  return new StateError('length', `length ${found}, ${expected} expected`, { found, expected });
}

function countError(what: string, count: number, limit: number, offset?: number): StateError {
  return new StateError('count', `${count} ${what}, at most ${limit} allowed`, { count, limit }, { offset });
}

/** Turns bytes into text of the same length. */
export function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** The reverse of {@link latin1}. @throws StateError `value` for characters above U+00FF */
export function fromLatin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => demand(character.charCodeAt(0), 0, 0xff));
}

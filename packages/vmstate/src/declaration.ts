import { isStateError, StateError } from './errors.ts';
import { array, buffer, type Field, type ValueOf } from './field.ts';
import { type Json, jsonError } from './json.ts';
import type { Reader } from './reader.ts';
import { peekSubsection, SUBSECTION, type SubsectionHeader } from './subsection.ts';
import type { Trace } from './trace.ts';
import type { Writer } from './writer.ts';

// biome-ignore lint/suspicious/noExplicitAny: the combinator's own position: each use infers the real type
type AnyField<C> = Field<any, C>;
type Fields<C> = Readonly<Record<string, AnyField<C>>>;
type Simplify<T> = { [K in keyof T]: T[K] };
type Values<F> = { readonly [K in keyof F]: ValueOf<F[K]> };
type Also<S, F> = Simplify<S & F>;

/** Options of a subsection. */
export interface SubsectionOptions<S, C> {
  /** Version that is written; 1 unless said. A declaration in a subsection brings its own. */
  readonly version?: number;
  /** Oldest version that is read. */
  readonly minimum?: number;
  /**
   * Condition under which a sender writes the subsection. Without it the subsection is written when the state has it.
   */
  readonly needed?: (state: S, context: C) => boolean;
}

/**
 * A structure of the migration format, declared once: codec, TypeScript type ({@link ValueOf}), JSON form, field paths,
 * byte ranges and vmdesc come from it. Each method answers a new declaration with more in it; the wire order is the
 * order of the calls, subsections last.
 *
 * `S` is the state, `C` what the layout depends on besides the state itself.
 */
export interface VMState<S extends object, C = unknown> extends Field<S, C> {
  /** The vmsd's name; subsections are called `name/…`. */
  readonly name: string;
  /** Version that is written. QEMU: `version_id`. */
  readonly version: number;
  /** The oldest version that is read. QEMU: `minimum_version_id`. */
  readonly minimum: number;
  /** Adds fields that are always there. */
  fields<F extends Fields<C>>(fields: F): VMState<Also<S, Values<F>>, C>;
  /** Adds fields that are there when `present` says so, from the fields before them or from the context. */
  when<F extends Fields<C>>(
    present: (state: S, context: C) => boolean,
    fields: F,
  ): VMState<Also<S, Partial<Values<F>>>, C>;
  /** Adds fields that came with a version of the structure. */
  since<F extends Fields<C>>(version: number, fields: F): VMState<Also<S, Partial<Values<F>>>, C>;
  /**
   * Adds an array with as many elements as fields in front of it say. The element's name, if it has one, is the
   * array's.
   */
  array<K extends string, T>(
    key: K,
    element: Field<T, C>,
    count: (state: S) => number,
  ): VMState<Also<S, { readonly [P in K]: readonly T[] }>, C>;
  /** Adds a field of bytes, as many as fields in front of it say. */
  bytes<K extends string>(
    key: K,
    length: (state: S) => number,
  ): VMState<Also<S, { readonly [P in K]: Uint8Array }>, C>;
  /** Adds bytes that nobody uses. */
  unused(length: number): VMState<S, C>;
  /** Adds an optional part with a name of its own on the wire: `name/…`. */
  subsection<K extends string, T>(
    key: K,
    name: string,
    field: Field<T, C>,
    options?: SubsectionOptions<S, C>,
  ): VMState<Also<S, { readonly [P in K]?: T }>, C>;
  /** Decodes a body that came under a version number, as top-level sections and subsections do. */
  decodeVersion(input: Reader, version: number, context: C): S;
}

type Loose = Record<string, unknown>;

/** One part of a declaration, without its type: the methods of `vmstate()` keep the types right. */
interface Part<C> {
  readonly key: string;
  readonly wire: string;
  readonly field: AnyField<C>;
  /** Makes the field that a state wants, for arrays whose length is computed from the state. */
  readonly resolve?: (state: Loose) => AnyField<C>;
  readonly present?: (state: Loose, context: C) => boolean;
  readonly since?: number;
  readonly hidden?: boolean;
}

interface SubsectionPart<C> extends SubsectionHeader {
  readonly key: string;
  readonly field: AnyField<C>;
  readonly needed?: ((state: Loose, context: C) => boolean) | undefined;
}

interface Shape<C> {
  readonly name: string;
  readonly version: number;
  readonly minimum: number;
  /** True if the state has a property `version`: more than one can be read, and the one read is written again. */
  readonly ranged: boolean;
  readonly parts: readonly Part<C>[];
  readonly subsections: readonly SubsectionPart<C>[];
  /** Answer of {@link isUniform} for this declaration, found once. */
  readonly uniform: boolean;
}

/** Turns a property's name into QEMU's: `lastAvailIdx` → `last_avail_idx`. */
export function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * Begins a declaration.
 *
 * @param name the vmsd's name in QEMU
 * @param version a number; or a range, and then the state keeps the version it was read with, to be written again
 */
export function vmstate<C = unknown>(name: string, version?: number): VMState<Record<never, never>, C>;
export function vmstate<C = unknown>(
  name: string,
  range: { readonly minimum: number; readonly version: number },
): VMState<{ readonly version: number }, C>;
export function vmstate<C>(
  name: string,
  range: number | { readonly minimum: number; readonly version: number } = 1,
): VMState<object, C> {
  const ranged = typeof range !== 'number';
  const { minimum, version } = ranged ? range : { minimum: range, version: range };
  return build<C>({ name, version, minimum, ranged, parts: [], subsections: [] });
}

function build<C>(draft: Omit<Shape<C>, 'uniform'>): VMState<object, C> {
  const shape: Shape<C> = { ...draft, uniform: isUniform(draft) };
  const add = (...parts: readonly Part<C>[]): VMState<object, C> =>
    build({ ...shape, parts: [...shape.parts, ...parts] });
  const expand = (fields: Fields<C>, condition: Partial<Part<C>>): Part<C>[] =>
    Object.entries(fields).map(([key, field]) => ({
      ...condition,
      key,
      wire: field.wire ?? snakeCase(key),
      field,
    }));
  const computed = (key: string, resolve: (state: Loose) => AnyField<C>, element?: AnyField<C>): Part<C> => ({
    key,
    wire: element?.wire ?? snakeCase(key),
    field: element === undefined ? buffer(0) : array(element, 0),
    resolve,
  });
  const methods = {
    fields: (fields: Fields<C>) => add(...expand(fields, {})),
    when: (present: (state: Loose, context: C) => boolean, fields: Fields<C>) =>
      add(...expand(fields, { present })),
    since: (since: number, fields: Fields<C>) => add(...expand(fields, { since })),
    array: (key: string, element: AnyField<C>, count: (state: Loose) => number) =>
      add(computed(key, (state) => array(element, demandCount(count(state))), element)),
    bytes: (key: string, length: (state: Loose) => number) =>
      add(computed(key, (state) => buffer(demandCount(length(state))))),
    unused: (length: number) =>
      add({ key: `unused${shape.parts.length}`, wire: 'unused', field: unusedBytes(length), hidden: true }),
    subsection: (
      key: string,
      name: string,
      field: AnyField<C>,
      options: SubsectionOptions<Loose, C> = {},
    ) => {
      const own: { version?: number; minimum?: number } = isDeclaration(field) ? field : {};
      const version = options.version ?? own.version ?? 1;
      const minimum = options.minimum ?? own.minimum ?? version;
      const part = { key, name, field, version, minimum, needed: options.needed };
      return build({ ...shape, subsections: [...shape.subsections, part] });
    },
  };
  const codec = {
    type: 'struct',
    uniform: shape.uniform,
    name: shape.name,
    version: shape.version,
    minimum: shape.minimum,
    minSize: shape.parts.reduce(
      (sum, part) => sum + (part.present || part.since || part.resolve ? 0 : part.field.minSize),
      0,
    ),
    decode: (input: Reader, context: C) => decode(shape, input, shape.version, context),
    decodeVersion: (input: Reader, version: number, context: C) => decode(shape, input, version, context),
    encode: (output: Writer, state: object, context: C) => encode(shape, output, state as Loose, context),
    toJSON: (state: object) => toJSON(shape, state as Loose),
    fromJSON: (json: Json) => fromJSON(shape, json),
  };
  // The methods above are untyped inside; VMState's signatures are what callers see, and what the type tests hold.
  return { ...codec, ...methods } as unknown as VMState<object, C>;
}

/** Refuses a length, computed from the fields before, that is negative or no whole number. */
function demandCount(count: number): number {
  if (Number.isSafeInteger(count) && count >= 0) return count;
  throw new StateError('count', `${count} elements, 0 or more expected`, { count });
}

function unusedBytes(length: number): Field<undefined> {
  return {
    type: 'unused_buffer',
    minSize: length,
    decode: (input) => void input.take(length),
    encode: (output) => output.zeros(length),
    toJSON: () => null,
    fromJSON: () => undefined,
  };
}

function isDeclaration(field: object): field is {
  readonly version: number;
  readonly minimum: number;
  readonly decodeVersion: VMState<object, unknown>['decodeVersion'];
} {
  return 'decodeVersion' in field;
}

/**
 * Can QEMU describe an array of this structure in one entry, because all elements must look alike? QEMU:
 * `vmsd_can_compress`.
 */
function isUniform<C>({ parts, subsections }: Pick<Shape<C>, 'parts' | 'subsections'>): boolean {
  return (
    subsections.length === 0 &&
    parts.every((part) => part.present === undefined && part.field.uniform !== false)
  );
}

function markVmsd<C>(trace: Trace, shape: Shape<C>, version: number): void {
  trace.current.vmsd = { name: shape.name, version, uniform: shape.uniform };
}

/** Marks a trace's node as a subsection that is a single field: in QEMU that is a vmsd, too. */
function markField<C>({ current }: Trace, { name, field, key }: SubsectionPart<C>, version: number): void {
  current.vmsd = { name, version, field: field.wire ?? snakeCase(key) };
}

function enterPart<C>(trace: Trace, part: Part<C>, field: AnyField<C>, start: number): void {
  const node = trace.enter(part.key, part.wire, field.type, start);
  if (field.repeat !== undefined) node.repeat = field.repeat;
  if (part.present !== undefined) node.conditional = true;
}

function enterSubsection<C>(trace: Trace, { key, name, field }: SubsectionPart<C>, start: number): void {
  const node = trace.enter(key, name, field.type, start, true);
  if (field.repeat !== undefined) node.repeat = field.repeat;
}

function isPresent<C>(part: Part<C>, state: Loose, version: number, context: C): boolean {
  if (part.present !== undefined) return part.present(state, context);
  return part.since === undefined || part.since <= version;
}

function decode<C>(shape: Shape<C>, input: Reader, version: number, context: C): Loose {
  const state: Loose = {};
  if (shape.ranged) state['version'] = version;
  if (input.trace !== undefined) markVmsd(input.trace, shape, version);
  const { parts } = shape;
  let at = 0;
  let start = input.position;
  try {
    for (; at < parts.length; at++) {
      const part = parts[at] as Part<C>;
      if (!isPresent(part, state, version, context)) continue;
      start = input.position;
      const field = part.resolve === undefined ? part.field : part.resolve(state);
      const trace = input.trace;
      if (trace !== undefined) enterPart(trace, part, field, start);
      const value: unknown = field.decode(input, context);
      trace?.leave(input.position, value);
      if (part.hidden !== true) state[part.key] = value;
    }
  } catch (error) {
    throw isStateError(error) ? error.within(parts[at]?.key ?? '', undefined, start) : error;
  }
  if (shape.subsections.length > 0) decodeSubsections(shape, input, state, context);
  return state;
}

function decodeSubsections<C>(shape: Shape<C>, input: Reader, state: Loose, context: C): void {
  for (;;) {
    const start = input.position;
    const found = peekSubsection(input, shape.name);
    if (found === undefined) return;
    const part = shape.subsections.find((candidate) => candidate.name === found);
    if (part === undefined) {
      throw new StateError(
        'unknown-subsection',
        `subsection "${found}" is not known in "${shape.name}"`,
        { subsection: found, vmsd: shape.name },
        { offset: start },
      );
    }
    if (state[part.key] !== undefined) {
      throw new StateError(
        'duplicate-subsection',
        `subsection "${found}" comes twice`,
        { subsection: found },
        { offset: start },
      );
    }
    if (input.trace !== undefined) enterSubsection(input.trace, part, start);
    try {
      state[part.key] = decodeSubsection(part, input, context);
    } catch (error) {
      throw isStateError(error) ? error.within(part.key, undefined, start) : error;
    }
    input.trace?.leave(input.position, state[part.key]);
  }
}

function decodeSubsection<C>(part: SubsectionPart<C>, input: Reader, context: C): unknown {
  input.take(2 + part.name.length);
  const at = input.position;
  // QEMU keeps the low 8 bits of the word: vmstate_subsection_load
  const version = input.u32() & 0xff;
  if (version > part.version || version < part.minimum) throw versionError(part, version, at);
  if (isDeclaration(part.field)) return part.field.decodeVersion(input, version, context);
  if (input.trace !== undefined) markField(input.trace, part, version);
  return part.field.decode(input, context);
}

/** Makes the error for a version that cannot be read. */
export function versionError(part: SubsectionHeader, version: number, offset: number): StateError {
  const known = part.minimum === part.version ? `${part.version}` : `${part.minimum} to ${part.version}`;
  const relation = version > part.version ? 'too new' : 'too old';
  return new StateError(
    'version',
    `version ${version} of "${part.name}" is ${relation}, known: ${known}`,
    { version, minimum: part.minimum, maximum: part.version },
    { offset },
  );
}

function encode<C>(shape: Shape<C>, output: Writer, state: Loose, context: C): void {
  const version = shape.ranged ? (state['version'] as number) : shape.version;
  if (output.trace !== undefined) markVmsd(output.trace, shape, version);
  if (!Number.isInteger(version) || version > shape.version || version < shape.minimum)
    throw versionError(shape, version, output.offset).within('version');
  const { parts } = shape;
  let at = 0;
  try {
    for (; at < parts.length; at++) {
      const part = parts[at] as Part<C>;
      const value = state[part.key];
      if (!isPresent(part, state, version, context)) {
        if (value !== undefined) throw presenceError('unexpected');
        continue;
      }
      if (value === undefined && part.hidden !== true) throw presenceError('missing');
      const field = part.resolve === undefined ? part.field : part.resolve(state);
      const trace = output.trace;
      if (trace !== undefined) enterPart(trace, part, field, output.offset);
      field.encode(output, value, context);
      trace?.leave(output.offset, value);
    }
  } catch (error) {
    throw isStateError(error) ? error.within(parts[at]?.key ?? '') : error;
  }
  for (const part of shape.subsections) encodeSubsection(part, output, state, context);
}

function encodeSubsection<C>(part: SubsectionPart<C>, output: Writer, state: Loose, context: C): void {
  const value = state[part.key];
  const needed = part.needed === undefined ? value !== undefined : part.needed(state, context);
  if (!needed) return;
  try {
    if (value === undefined) throw presenceError('missing');
    if (output.trace !== undefined) enterSubsection(output.trace, part, output.offset);
    output.u8(SUBSECTION);
    output.u8(part.name.length);
    for (let i = 0; i < part.name.length; i++) output.u8(part.name.charCodeAt(i));
    output.u32(subsectionVersion(part, value));
    if (output.trace !== undefined) markField(output.trace, part, part.version);
    part.field.encode(output, value, context);
    output.trace?.leave(output.offset, value);
  } catch (error) {
    throw isStateError(error) ? error.within(part.key) : error;
  }
}

/**
 * Finds the version to write of a subsection: a declaration with a range of versions keeps its own in the state; all
 * others are written in their newest one.
 */
function subsectionVersion<C>(part: SubsectionPart<C>, value: unknown): number {
  if (part.minimum === part.version || !isDeclaration(part.field)) return part.version;
  const version = (value as { readonly version?: unknown }).version;
  return typeof version === 'number' ? version : part.version;
}

function presenceError(which: 'missing' | 'unexpected'): StateError {
  return which === 'missing'
    ? new StateError('missing', 'the field is required here, and the state does not have it')
    : new StateError('unexpected', 'the state has the field, and it has no place here');
}

function toJSON<C>(shape: Shape<C>, state: Loose): Json {
  const json: Record<string, Json> = {};
  if (shape.ranged) json['version'] = state['version'] as number;
  for (const { key, field, hidden } of [...shape.parts, ...shape.subsections] as readonly Part<C>[]) {
    const value = state[key];
    if (value !== undefined && hidden !== true) json[key] = field.toJSON(value);
  }
  return json;
}

function fromJSON<C>(shape: Shape<C>, json: Json): object {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw jsonError(`object (${shape.name})`, json);
  const source = json as Readonly<Record<string, Json>>;
  const state: Loose = {};
  const known = new Set<string>();
  if (shape.ranged) {
    known.add('version');
    if (typeof source['version'] !== 'number')
      throw jsonError('version number', source['version']).within('version');
    state['version'] = source['version'];
  }
  for (const part of [...shape.parts, ...shape.subsections] as readonly Part<C>[]) {
    if (part.hidden === true) continue;
    known.add(part.key);
    const value = source[part.key];
    try {
      if (value !== undefined) {
        // a computed length comes from the fields before it; the array itself is checked when it is written
        state[part.key] = (part.resolve === undefined ? part.field : part.resolve(state)).fromJSON(value);
      } else if (isRequired(part, shape)) throw jsonError('a value', value);
    } catch (error) {
      throw isStateError(error) ? error.within(part.key) : error;
    }
  }
  for (const key of Object.keys(source)) {
    if (!known.has(key))
      throw new StateError('json', `"${key}" is not a field of "${shape.name}"`, { key }, { path: key });
  }
  return state;
}

function isRequired<C>(part: Part<C>, shape: Shape<C>): boolean {
  return part.present === undefined && part.since === undefined && shape.parts.includes(part);
}

import {
  bytesToJson,
  type Field,
  hex,
  isStateError,
  peekSubsection,
  Reader,
  Trace,
  type TraceNode,
} from '@virtkit/vmstate';
import type { StreamSection } from './model.ts';
import { declarationOf, type Registry, registeredSection } from './registry.ts';
import { vmsdSize } from './vmdesc.ts';
import type { DescField, DescVmsd } from './vmdesc-model.ts';

/**
 * Decodes the fields of a section that is no virtio device: by its declaration in the registry, else by the stream's
 * own vmdesc. Undefined if neither is there or fits the bytes (QEMU 7.2 describes arrays with null pointers wrongly).
 */
export function describeSection(section: StreamSection, registry: Registry): TraceNode | undefined {
  const { idstr } = section.header;
  const registered = registeredSection(idstr, registry);
  const declared = declarationOf(idstr, registry);
  return (
    (registered && byDeclaration(section, registered)) ??
    (section.description && byVmdesc(section, section.description)) ??
    (declared && byDeclaration(section, declared))
  );
}

function byDeclaration(section: StreamSection, field: Field<unknown>): TraceNode | undefined {
  const input = new Reader(section.body, section.offset);
  const trace = new Trace(section.header.idstr, section.offset);
  input.trace = trace;
  try {
    trace.root.value = field.decode(input, undefined);
  } catch (error) {
    if (isStateError(error)) return undefined;
    throw error;
  }
  trace.root.end = input.position;
  return input.remaining === 0 ? trace.root : undefined;
}

/**
 * Decodes a body by its entry in the stream's vmdesc. Undefined if the sizes do not add up. What the text does not
 * break down is one node with its bytes.
 */
export function byVmdesc(section: StreamSection, description: DescVmsd): TraceNode | undefined {
  const input = new Reader(section.body, section.offset);
  const trace = new Trace(section.header.idstr, section.offset);
  try {
    new DescReader(input, trace).vmsd(description);
  } catch (error) {
    if (isStateError(error)) return undefined;
    throw error;
  }
  trace.root.end = input.position;
  return input.remaining === 0 ? trace.root : undefined;
}

/** Largest number of fields of a section, for each of its bytes: a hostile text could ask for many that have none. */
const FIELDS_PER_BYTE = 4;
/** Number of fields that are walked for any body, however short it is. */
const FIELDS_FREE = 4096;

/** Walk through a body along its description in the vmdesc. */
class DescReader {
  readonly #input: Reader;
  readonly #trace: Trace;
  readonly #fieldsMax: number;
  #fields = 0;

  constructor(input: Reader, trace: Trace) {
    this.#input = input;
    this.#trace = trace;
    this.#fieldsMax = FIELDS_FREE + FIELDS_PER_BYTE * input.remaining;
  }

  vmsd({ vmsd_name: name = '', version = 1, fields = [], subsections = [] }: DescVmsd): void {
    this.#trace.current.vmsd = { name, version };
    const runs = repeatedNames(fields);
    for (const field of fields) this.#field(field, runs);
    for (const subsection of subsections) {
      const { vmsd_name: own = '' } = subsection;
      this.#enter(own, own, 'struct', true);
      this.#subsectionHeader(own);
      this.vmsd(subsection);
      this.#leave(undefined);
    }
  }

  #subsectionHeader(name: string): void {
    const input = this.#input;
    if (peekSubsection(input, name.slice(0, -1)) !== name) throw input.truncated(6 + name.length);
    input.take(6 + name.length);
  }

  /** @param runs how many elements of that name came before, for names that come again (null pointers split an array) */
  #field(field: DescField, runs: Map<string, number>): void {
    const { name = '', type = '', size = 0, array_len: count, index } = field;
    const before = runs.get(name);
    if (before !== undefined) runs.set(name, before + (count ?? 1));
    if (count === undefined) {
      const at = index ?? before;
      this.#one(field, at === undefined ? name : `${name}[${at}]`, inside(field));
      return;
    }
    this.#enter(name, name, type);
    if (type === 'buffer' || size === 0) this.#leave(this.#input.copy(size * count));
    else {
      const within = inside(field);
      for (let i = 0; i < count; i++) this.#one(field, `[${(before ?? 0) + i}]`, within);
      this.#leave(undefined);
    }
  }

  #one(field: DescField, name: string, within: Inside | undefined): void {
    const { type = '', size = 0 } = field;
    this.#enter(name, field.name ?? '', type);
    if (within === undefined) this.#leave(readScalar(this.#input, type, size));
    else {
      if (within.list) this.#list(within.vmsds, type === 'gtree');
      else for (const vmsd of within.vmsds) this.vmsd(vmsd);
      this.#leave(undefined);
    }
  }

  /**
   * Reads a list: a byte 1 stands in front of each element, a byte 0 behind the last. A tree has the number of its
   * elements in front, and keys.
   */
  #list(vmsds: readonly DescVmsd[], tree: boolean): void {
    const input = this.#input;
    const count = tree ? input.u32() : vmsds.length;
    const keys = tree && vmsds.length === 2 * count;
    for (let i = 0; i < count; i++) {
      this.#mark(true);
      this.#enter(`[${i}]`, String(i), 'struct');
      if (tree && !keys) {
        this.#enter('key', 'key', 'uint64');
        this.#leave(input.u64());
      }
      const pair = keys ? vmsds.slice(2 * i, 2 * i + 2) : vmsds.slice(i, i + 1);
      for (const vmsd of pair) this.vmsd(vmsd);
      this.#leave(undefined);
    }
    this.#mark(false);
  }

  /** Reads the byte that says whether an element follows. */
  #mark(more: boolean): void {
    const input = this.#input;
    if ((input.u8() !== 0) !== more) throw input.truncated(0);
  }

  #enter(name: string, wire: string, type: string, subsection = false): void {
    if (++this.#fields > this.#fieldsMax) throw this.#input.truncated(0);
    this.#trace.enter(name, wire, type, this.#input.position, subsection);
  }

  #leave(value: unknown): void {
    this.#trace.leave(this.#input.position, value);
  }
}

/** Parts of a field that its description breaks down, accounting for exactly its bytes. */
interface Inside {
  readonly vmsds: readonly DescVmsd[];
  readonly list: boolean;
}

function inside({ type = '', size, struct, elements = [] }: DescField): Inside | undefined {
  const vmsds = struct === undefined ? elements : [struct];
  if (vmsds.length === 0) return undefined;
  const bytes = vmsds.reduce((sum, vmsd) => sum + (vmsdSize(vmsd) ?? Number.NaN), 0);
  const list = type === 'qtailq' || type === 'qlist' || type === 'gtree';
  if (!list) return vmsds.length === 1 && bytes === size ? { vmsds, list } : undefined;
  // marks and the end; of a tree the number, and keys of 8 bytes that have no description, or one each
  const framed = bytes + vmsds.length + 1;
  const fits =
    type === 'gtree'
      ? [4 + framed + 8 * vmsds.length, 4 + framed - vmsds.length / 2].includes(size ?? -1)
      : framed === size;
  return fits ? { vmsds, list } : undefined;
}

/**
 * Finds the names that several fields in a row have, each with the count 0: QEMU 10 and later write so what stands
 * between null pointers.
 */
function repeatedNames(fields: readonly DescField[]): Map<string, number> {
  const seen = new Set<string>();
  const repeated = new Map<string, number>();
  for (const { name = '', index } of fields) {
    if (index !== undefined) continue;
    if (seen.has(name)) repeated.set(name, 0);
    seen.add(name);
  }
  return repeated;
}

function readScalar(input: Reader, type: string, size: number): unknown {
  // QEMU compares unsigned numbers under the name `int64 equal`
  const signed = (type.startsWith('int') && type !== 'int64 equal') || type === 'timer';
  const number = signed || type.startsWith('uint') || type === 'bool' || type === 'int64 equal';
  if (number && size === 1)
    return type === 'bool' ? input.u8() !== 0 : signed ? (input.u8() << 24) >> 24 : input.u8();
  if (number && size === 2) return signed ? (input.u16() << 16) >> 16 : input.u16();
  if (number && size === 4) return signed ? input.s32() : input.u32();
  if (number && size === 8) return signed ? input.s64() : input.u64();
  if (size === 1 && (type === 'nullptr' || type === 'ptr-marker')) {
    input.take(1);
    return null;
  }
  return input.copy(size);
}

/**
 * Writes a value for people: numbers in hexadecimal behind the decimal where that helps, bytes as hexadecimal digits.
 */
export function showValue(value: unknown, type = ''): string {
  if (value instanceof Uint8Array)
    return value.length > 64
      ? `${bytesToJson(value.subarray(0, 64))}… (${value.length} bytes)`
      : bytesToJson(value);
  if (typeof value === 'bigint') return hex(value);
  if (typeof value === 'number')
    return Math.abs(value) > 9 && type !== 'bool' ? `${value} (${hex(value)})` : String(value);
  return String(value);
}

import { bytesToJson, type Field, hex, isStateError, Reader, Trace, type TraceNode } from '@virtkit/vmstate';
import type { StreamSection } from './model.ts';
import { type Registry, splitIdstr } from './virtio.ts';
import type { DescField, DescVmsd } from './vmdesc.ts';

/**
 * The fields of a section that is no virtio device: by its declaration in the registry, else by the stream's own vmdesc.
 * Undefined if neither is there or fits the bytes (QEMU 7.2 describes arrays with null pointers wrongly).
 */
export function describeSection(section: StreamSection, registry: Registry): TraceNode | undefined {
  const { name } = splitIdstr(section.header.idstr);
  const declared = registry.sections?.[name];
  if (declared !== undefined) {
    const root = byDeclaration(section, declared);
    if (root !== undefined) return root;
  }
  return section.description === undefined ? undefined : byVmdesc(section, section.description);
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

/** Decodes a body by what QEMU wrote about it. Undefined if the sizes do not add up. */
export function byVmdesc(section: StreamSection, description: DescVmsd): TraceNode | undefined {
  const input = new Reader(section.body, section.offset);
  const trace = new Trace(section.header.idstr, section.offset);
  try {
    readVmsd(input, trace, description);
  } catch (error) {
    if (isStateError(error)) return undefined;
    throw error;
  }
  trace.root.end = input.position;
  return input.remaining === 0 ? trace.root : undefined;
}

function readVmsd(input: Reader, trace: Trace, vmsd: DescVmsd): void {
  trace.current.vmsd = { name: vmsd.vmsd_name ?? '', version: vmsd.version ?? 1 };
  for (const field of vmsd.fields ?? []) readField(input, trace, field);
  for (const subsection of vmsd.subsections ?? []) {
    const name = subsection.vmsd_name ?? '';
    trace.enter(name, name, 'struct', input.position, true);
    input.take(2 + name.length + 4);
    readVmsd(input, trace, subsection);
    trace.leave(input.position, undefined);
  }
}

function readField(input: Reader, trace: Trace, field: DescField): void {
  const { name = '', type = '', size = 0, array_len: count, index } = field;
  if (count === undefined) {
    readOne(input, trace, field, index === undefined ? name : `${name}[${index}]`, type, size);
    return;
  }
  // a compressed array of numbers is one node a number: a hostile count runs out of bytes first
  trace.enter(name, name, type, input.position);
  if (type === 'buffer' || size === 0) trace.leave(input.position, input.copy(size * count));
  else {
    for (let i = 0; i < count; i++) readOne(input, trace, field, `[${i}]`, type, size);
    trace.leave(input.position, undefined);
  }
}

function readOne(
  input: Reader,
  trace: Trace,
  field: DescField,
  name: string,
  type: string,
  size: number,
): void {
  const end = input.offset + size;
  trace.enter(name, field.name ?? '', type, input.position);
  const nested = field.struct ?? (field.fields !== undefined ? field : undefined);
  if (nested !== undefined && nests(type, nested, size)) {
    readVmsd(input, trace, nested);
    input.offset = end;
    trace.leave(input.position, undefined);
    return;
  }
  trace.leave(input.position + size, readScalar(input, type, size));
}

/** Does the nested description account for exactly these bytes? */
function nests(type: string, vmsd: DescVmsd, size: number): boolean {
  if (type !== 'struct' && type !== 'vstruct') return false;
  return sizeOf(vmsd) === size;
}

function sizeOf(vmsd: DescVmsd): number {
  const fields = (vmsd.fields ?? []).reduce(
    (sum, field) => sum + (field.size ?? 0) * (field.array_len ?? 1),
    0,
  );
  return (vmsd.subsections ?? []).reduce(
    (sum, sub) => sum + 6 + (sub.vmsd_name ?? '').length + sizeOf(sub),
    fields,
  );
}

function readScalar(input: Reader, type: string, size: number): unknown {
  const signed = type.startsWith('int') || type === 'timer';
  const number = signed || type.startsWith('uint') || type === 'bool' || type === 'uint64_t';
  if (number && size === 1)
    return type === 'bool' ? input.u8() !== 0 : signed ? (input.u8() << 24) >> 24 : input.u8();
  if (number && size === 2) return signed ? (input.u16() << 16) >> 16 : input.u16();
  if (number && size === 4) return signed ? input.s32() : input.u32();
  if (number && size === 8) return signed ? input.s64() : input.u64();
  return input.copy(size);
}

/** A value for people: numbers in hex behind the decimal where that helps, bytes as hex digits. */
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

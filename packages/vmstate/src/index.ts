/**
 * QEMU's VMState wire format: structures declared once as data, and from the declaration the codec, the TypeScript
 * type, the JSON form, the field paths, the byte ranges and the vmdesc.
 *
 * You bring:  bytes, or a state.
 * You get:    the other one; or one typed error with path and offset.
 * Not here:   any device, the migration stream around the sections. See `@virtkit/core`, `@virtkit/migration`.
 * @packageDocumentation
 */
export { type SubsectionOptions, snakeCase, type VMState, versionError, vmstate } from './declaration.ts';
export {
  type DescribeOptions,
  describe,
  type FieldDescription,
  type VmsdDescription,
  vmdescText,
} from './describe.ts';
export {
  type Facts,
  hex,
  inside,
  isStateError,
  joinPath,
  type Layer,
  type Place,
  StateError,
} from './errors.ts';
export {
  array,
  bool,
  buffer,
  counted,
  countedBytes,
  countedText,
  type Field,
  fromLatin1,
  latin1,
  list,
  macAddress,
  named,
  nullable,
  refine,
  rest,
  s32,
  s64,
  typed,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
  withContext,
} from './field.ts';
export { bigFromJson, bigToJson, bytesFromJson, bytesToJson, type Json, jsonError } from './json.ts';
export { plainBytes, Reader } from './reader.ts';
export { sparseArray } from './sparse.ts';
export { peekSubsection, SUBSECTION, type SubsectionHeader } from './subsection.ts';
export { leaves, nameIn, nodeAt, Trace, type TraceNode, type TraceVmsd } from './trace.ts';
export { demand, demandBig, Writer } from './writer.ts';

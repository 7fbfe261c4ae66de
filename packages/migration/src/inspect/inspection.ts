// A stream and its devices as JSON: the form of `virtkit inspect --json`.
import type { Endian, Finding } from '@virtkit/core';
import { bytesToJson, hex, type Json, type StateError, type TraceNode } from '@virtkit/vmstate';
import { describeSection } from '../describe.ts';
import { judgeStream } from '../judge.ts';
import { machineEndian } from '../machine-layout.ts';
import type { MigrationStream, StreamSection } from '../model.ts';
import type { Registry } from '../registry.ts';
import { type Examined, summarizeDevice } from './examine.ts';
import { fieldsUnder, fieldValue } from './fields.ts';

/** Stream as far as it could be read. */
export interface ReadStream {
  /** Content of the stream that was read. */
  readonly stream: MigrationStream;
  /** Error that ended the reading before the stream's end. */
  readonly error: StateError | undefined;
  /** Number of bytes that were read. */
  readonly bytes: number;
}

/** Options of {@link inspectionOf}. */
export interface InspectionOptions {
  /** Layers that other sections are decoded with. */
  readonly registry: Registry;
  /** Virtio devices that are told. */
  readonly devices: readonly Examined[];
  /** Is this section told? Default: all sections are. */
  readonly section?: (section: StreamSection) => boolean;
  /** True to tell the fields of sections that are no virtio devices, with their bytes. */
  readonly otherFields?: boolean;
  /** True to tell the fields of virtio devices, with their bytes. */
  readonly deviceFields?: boolean;
  /** Path of the one field that is told. */
  readonly path?: string | undefined;
}

/** Writes a stream and its devices in the documented JSON form (`schema/inspect.schema.json` of `@virtkit/cli`). */
export function inspectionOf({ stream, bytes, error }: ReadStream, options: InspectionOptions): Json {
  const { devices, registry, section: told = () => true } = options;
  const machine = stream.configuration?.name ?? '';
  const guest = machineEndian(machine, stream.ram?.blocks);
  const findings = judgeStream(stream, registry);
  const virtio = new Set(devices.map(({ device }) => device.section));
  return {
    format: 1,
    bytes,
    complete: stream.complete && error === undefined,
    ...(error !== undefined && { error: errorJson(error) }),
    ...(findings.length > 0 && { findings: findings.map(findingJson) }),
    machine: machine === '' ? null : machine,
    capabilities: stream.configuration?.capabilities ?? [],
    ram: (stream.ram?.blocks ?? []).map(({ name, length, pages, zeroPages, encodedPages }) => ({
      name,
      length,
      pages,
      zeroPages,
      encodedPages,
    })),
    sections: stream.sections
      .filter(told)
      .map((section) => sectionJson(section, !virtio.has(section), options)),
    devices: devices.map((examined) => deviceJson(examined, guest, options)),
  };
}

/** @param opaque not a virtio device: its fields are nowhere else */
function sectionJson(section: StreamSection, opaque: boolean, options: InspectionOptions): Json {
  const { header, offset, body } = section;
  const detailed = opaque && options.otherFields === true;
  const root = detailed ? describeSection(section, options.registry) : undefined;
  return {
    idstr: header.idstr,
    id: header.id,
    kind: header.kind,
    instanceId: header.instanceId,
    versionId: header.versionId,
    offset,
    size: body.length,
    ...(root !== undefined && { fields: fieldsJson(root, section, options.path) }),
    ...(detailed && root === undefined && { bytes: bytesToJson(body) }),
  };
}

/** Lists a section's fields with byte ranges and values; what has no value of its own is told as bytes. */
function fieldsJson(root: TraceNode, { body, offset }: StreamSection, path: string | undefined): Json {
  return fieldsUnder(root, path).map(({ path: here, node }) => ({
    path: here,
    wire: node.wire,
    type: node.type,
    start: node.start,
    end: node.end,
    ...(node.type !== 'absent' && {
      value:
        fieldValue(node) === undefined
          ? bytesToJson(body.subarray(node.start - offset, node.end - offset))
          : plainJson(fieldValue(node)),
    }),
  }));
}

/** Turns a decoded value into JSON: 64-bit numbers as `"0x…"`, bytes as hexadecimal digits. */
function plainJson(value: unknown): Json {
  if (typeof value === 'bigint') return hex(value);
  if (value instanceof Uint8Array) return bytesToJson(value);
  if (Array.isArray(value)) return value.map(plainJson);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainJson(item)]));
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null;
}

function deviceJson(examined: Examined, guest: Endian, options: InspectionOptions): Json {
  const { device, decoded, error, findings } = examined;
  const { header, offset, body } = device.section;
  const head = {
    name: device.name,
    path: device.path,
    transport: device.codec.transport.name,
    known: device.known,
    sectionId: header.id,
    versionId: header.versionId,
    offset,
    size: body.length,
  };
  if (decoded === undefined) return { ...head, error: error === undefined ? null : errorJson(error) };
  return {
    ...head,
    summary: summarizeDevice(decoded, guest),
    state: device.codec.toJSON(decoded.state),
    findings: findings.map(findingJson),
    ...(options.deviceFields === true && {
      fields: fieldsJson(decoded.root, device.section, options.path),
    }),
  };
}

/** Turns one finding into the documented JSON form. */
export function findingJson({
  code,
  severity,
  layer,
  path,
  reason,
  offset,
}: Finding & { readonly offset?: number }): Json {
  return { code, severity, layer, path, reason, ...(offset !== undefined && { offset }) };
}

/** Turns an error into the documented JSON form. */
export function errorJson(
  error: Pick<StateError, 'code' | 'path' | 'reason'> & {
    readonly layer?: string | undefined;
    readonly offset?: number | undefined;
  },
): Json {
  return {
    code: error.code,
    layer: error.layer ?? null,
    path: error.path,
    reason: error.reason,
    offset: error.offset ?? null,
  };
}

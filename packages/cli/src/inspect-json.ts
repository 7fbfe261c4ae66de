import type { Endian } from '@virtkit/core';
import { machineEndian, type StreamSection } from '@virtkit/migration';
import { bytesToJson, hex, type Json, type TraceNode } from '@virtkit/vmstate';
import { type Examined, fieldsOf, findingJson, findingsOf, matches, summarize } from './device.ts';
import { fieldsUnder, fieldValue } from './field-path.ts';
import type { InspectOptions } from './inspect-options.ts';
import type { Read } from './read.ts';

/** The documented JSON form: `schema/inspect.schema.json`. */
export function jsonText(
  read: Read,
  devices: readonly Examined[],
  others: readonly StreamSection[],
  options: InspectOptions,
): string {
  return `${JSON.stringify(toJson(read, devices, new Set(others), options), null, 2)}\n`;
}

function toJson(
  { stream, bytes, error }: Read,
  devices: readonly Examined[],
  others: ReadonlySet<StreamSection>,
  options: InspectOptions,
): Json {
  const machine = stream.configuration?.name ?? '';
  const guest = machineEndian(machine, stream.ram?.blocks);
  const findings = findingsOf(stream);
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
      .filter((section) => matches(section, options.device))
      .map((section) => sectionJson(section, others.has(section), options)),
    devices: devices.map((examined) => deviceJson(examined, guest, options)),
  };
}

/** @param opaque not a virtio device: its fields are nowhere else */
function sectionJson(section: StreamSection, opaque: boolean, options: InspectOptions): Json {
  const { header, offset, body } = section;
  const detailed = opaque && (options.hex === true || options.device !== undefined);
  const root = detailed ? fieldsOf(section) : undefined;
  return {
    idstr: header.idstr,
    id: header.id,
    kind: header.kind,
    instanceId: header.instanceId,
    versionId: header.versionId,
    offset,
    size: body.length,
    ...(root !== undefined && { fields: fieldsJson(root, body, offset, options) }),
    ...(detailed && root === undefined && { bytes: bytesToJson(body) }),
  };
}

/** Byte ranges and values; what has no value of its own is bytes. */
function fieldsJson(root: TraceNode, body: Uint8Array, offset: number, options: InspectOptions): Json {
  return fieldsUnder(root, options.path).map(({ path, node }) => ({
    path,
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

/** A decoded value as JSON: 64-bit numbers as `"0x…"`, bytes as hex digits. */
function plainJson(value: unknown): Json {
  if (typeof value === 'bigint') return hex(value);
  if (value instanceof Uint8Array) return bytesToJson(value);
  if (Array.isArray(value)) return value.map(plainJson);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainJson(item)]));
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null;
}

function deviceJson(examined: Examined, guest: Endian, options: InspectOptions): Json {
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
    summary: summarize(decoded, guest),
    state: device.codec.toJSON(decoded.state),
    findings: findings.map(({ code, severity, layer, path, reason, offset: at }) => ({
      code,
      severity,
      layer,
      path,
      reason,
      ...(at !== undefined && { offset: at }),
    })),
    ...((options.hex === true || options.path !== undefined) && {
      fields: fieldsJson(decoded.root, body, offset, options),
    }),
  };
}

export function errorJson(error: {
  readonly code: string;
  readonly layer?: string | undefined;
  readonly path: string;
  readonly reason: string;
  readonly offset?: number | undefined;
}): Json {
  return {
    code: error.code,
    layer: error.layer ?? null,
    path: error.path,
    reason: error.reason,
    offset: error.offset ?? null,
  };
}

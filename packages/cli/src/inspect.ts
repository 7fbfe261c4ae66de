import { nameFeatures, nameStatus, negotiated, type VirtioState } from '@virtkit/core';
import { COMMANDS, type MigrationStream, type StreamSection, showValue, titleOf } from '@virtkit/migration';
import { hex, type Json, leaves, nodeAt, type TraceNode } from '@virtkit/vmstate';
import pc from 'picocolors';
import { type Examined, examine, fieldsOf, matches, summarize } from './device.ts';
import type { Read } from './read.ts';

/** Options of `virtkit inspect`. */
export interface InspectOptions {
  readonly json?: boolean;
  readonly hex?: boolean;
  readonly device?: string;
  readonly path?: string;
}

/** What `inspect` prints on stdout. */
export function inspect(read: Read, options: InspectOptions): string {
  const { stream } = read;
  const devices = examine(stream).filter(({ device }) => matches(device.section, options.device));
  if (options.json === true) return `${JSON.stringify(toJson(read, devices, options), null, 2)}\n`;
  const machine = stream.configuration?.name ?? '';
  const others =
    options.device === undefined
      ? []
      : otherSections(stream, devices).filter((section) => matches(section, options.device));
  const parts = [
    ...(options.device === undefined && options.path === undefined ? [overview(read)] : []),
    ...devices.map((device) => deviceText(device, machine, options)),
    ...others.map((section) => sectionText(section, options)),
  ];
  return parts.length === 0 ? 'no such device\n' : parts.join('\n');
}

function otherSections(stream: MigrationStream, devices: readonly Examined[]): StreamSection[] {
  const known = new Set(devices.map(({ device }) => device.section));
  return stream.sections.filter((section) => !known.has(section));
}

function overview({ stream, bytes }: Read): string {
  const { configuration, ram, commands, libvirt } = stream;
  const lines = [
    ...(libvirt === undefined ? [] : [`libvirt save file, header of ${libvirt.bytes.length} bytes in front`]),
    `${pc.bold('migration stream')} of ${bytes} bytes, machine ${configuration?.name ?? '(not told: 2.3 or older)'}`,
    ...(configuration?.uuid === undefined ? [] : [`uuid ${configuration.uuid}`]),
    ...(configuration?.capabilities === undefined
      ? []
      : [`capabilities ${configuration.capabilities.join(', ')}`]),
    ...(commands.length === 0
      ? []
      : [`commands ${commands.map(({ command }) => COMMANDS[command] ?? command).join(', ')}`]),
  ];
  for (const block of ram?.blocks ?? []) {
    const pages = block.pages + block.zeroPages + block.encodedPages;
    lines.push(
      `ram ${block.name}: ${hex(block.length)} bytes, ${pages} pages sent (${block.zeroPages} zero)`,
    );
  }
  const sections = stream.sections.map(({ header }) => header.idstr);
  lines.push(`${sections.length} sections: ${[...new Set(sections)].join(', ')}`);
  return `${lines.join('\n')}\n`;
}

function deviceText(examined: Examined, machine: string, options: InspectOptions): string {
  const { device, decoded, error } = examined;
  const { header, offset, body } = device.section;
  const title = `${pc.bold(titleOf(device))}  ${device.codec.transport.name}, section ${header.id} version ${header.versionId}, ${body.length} bytes at ${hex(offset)}`;
  if (decoded === undefined) return `${title}\n  ${pc.red('not readable')}: ${error?.message ?? ''}\n`;
  if (options.hex === true || options.path !== undefined)
    return `${title}\n${treeText(decoded.root, body, offset, options)}`;
  const { state } = decoded;
  const features = nameFeatures(negotiated(state), device.codec.device.features);
  const lines = [
    title,
    `  status       ${hex(state.status)}  ${nameStatus(state.status).join(' ')}`,
    `  isr          ${hex(state.isr)}    queue_sel ${state.queueSel}`,
    `  features     ${hex(negotiated(state))}`,
    ...features.map(({ bit, name }) => `    ${String(bit).padStart(3)} ${name ?? '(no name known)'}`),
    `  flags        ${flags(state)}`,
    ...queueTable(state),
    ...requestLines(state),
    ...jsonLines(summarize(decoded, machine)['configSpace'], 'config space'),
    ...jsonLines(device.codec.device.saveDevice(state.device).toJSON(state.device), 'device'),
    ...jsonLines(transportJson(examined), 'transport'),
    ...examined.findings.map(
      (finding) =>
        `  ${finding.severity === 'error' ? pc.red('error') : pc.yellow('warning')}  ${finding.path}: ${finding.reason}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}

function flags({ subsections: sub }: VirtioState): string {
  const endian = sub.deviceEndian === undefined ? [] : [`device_endian ${sub.deviceEndian}`];
  return (
    [...(['started', 'broken', 'disabled'] as const).filter((key) => sub[key] === true), ...endian].join(
      ', ',
    ) || '-'
  );
}

function transportJson({ device, decoded }: Examined): Json {
  if (decoded === undefined) return null;
  const { transport } = device.codec;
  return transport.describe?.(decoded.state.transport) ?? transport.config.toJSON(decoded.state.transport);
}

function queueTable(state: VirtioState): string[] {
  const packed = state.subsections.packedVirtqueues;
  const head = [
    'queue',
    'num',
    'desc',
    'avail',
    'used',
    'last_avail_idx',
    ...(packed === undefined ? [] : ['used_idx', 'inuse']),
    'vector',
  ];
  const rows = state.queues.map((queue, index) => {
    const ring = state.subsections.virtqueues?.[index];
    const slot = packed?.[index];
    const { vector } = queue.transport as { readonly vector?: number };
    return [
      String(index),
      String(queue.num),
      hex(queue.desc),
      ring === undefined ? '-' : hex(ring.avail),
      ring === undefined ? '-' : hex(ring.used),
      String(queue.lastAvailIdx),
      ...(packed === undefined ? [] : [String(slot?.usedIdx ?? 0), String(slot?.inuse ?? 0)]),
      vector === undefined ? '-' : vector === 0xffff ? 'none' : String(vector),
    ];
  });
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  return [head, ...rows].map(
    (row) => `  ${row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  ')}`,
  );
}

/** Requests in flight, for device types that have them in a list. */
function requestLines(state: VirtioState): string[] {
  const { requests } = state.device as {
    readonly requests?: readonly {
      readonly queue?: number;
      readonly element: {
        readonly index: number;
        readonly out: readonly { readonly len: bigint }[];
        readonly in: readonly { readonly len: bigint }[];
      };
    }[];
  };
  if (requests === undefined) return [];
  const sum = (segments: readonly { readonly len: bigint }[]): bigint =>
    segments.reduce((total, { len }) => total + len, 0n);
  return [
    `  in flight    ${requests.length === 0 ? 'none' : `${requests.length} requests`}`,
    ...requests.map(
      ({ queue = 0, element }) =>
        `    queue ${queue} head ${element.index}: ${element.out.length} segments to the device (${sum(element.out)} bytes), ${element.in.length} from it (${sum(element.in)} bytes)`,
    ),
  ];
}

/** JSON as an indented tree: what fits a line stays on it. */
function jsonLines(json: Json | undefined, label: string, indent = '  '): string[] {
  if (json === undefined || json === null) return [];
  const flat = typeof json === 'string' ? json : JSON.stringify(json);
  if (typeof json !== 'object' || flat.length < 70)
    return [`${indent}${label.padEnd(24)} ${flat.length > 140 ? `${flat.slice(0, 136)}…` : flat}`];
  return [
    `${indent}${label}`,
    ...Object.entries(json).flatMap(([key, value]) => jsonLines(value as Json, key, `${indent}  `)),
  ];
}

function sectionText(section: StreamSection, options: InspectOptions): string {
  const root = fieldsOf(section);
  const title = `${pc.bold(section.header.idstr)}  section ${section.header.id} version ${section.header.versionId}, ${section.body.length} bytes at ${hex(section.offset)}`;
  if (root === undefined) return `${title}\n  no usable description: ${showValue(section.body)}\n`;
  return `${title}\n${treeText(root, section.body, section.offset, options)}`;
}

/** Every field with its byte range; `--path` picks one, `--hex` adds the bytes. */
function treeText(root: TraceNode, body: Uint8Array, offset: number, options: InspectOptions): string {
  const path = options.path?.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase()) ?? '';
  const from = nodeAt(root, path);
  if (from === undefined) return `  no field "${path}"\n`;
  const found =
    from.children.length === 0 && from !== root ? [{ path, node: from }] : [...leaves(from, path)];
  const lines = found.map(({ path: name, node }) => {
    const bytes = body.subarray(node.start - offset, node.end - offset);
    const shown =
      node.type === 'absent'
        ? `(${node.end - node.start} bytes as in unused entries)`
        : showValue(printable(node.value), node.type);
    const raw =
      options.hex === true && node.type !== 'absent' && !(node.value instanceof Uint8Array)
        ? `  ${pc.dim(showValue(bytes))}`
        : '';
    return `  ${hex(node.start)}..${hex(node.end)}  ${name} = ${shown}${raw}`;
  });
  return `${lines.join('\n')}\n`;
}

function printable(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? hex(item) : item));
}

/** The documented JSON form: `schema/inspect.schema.json`. */
function toJson({ stream, bytes, error }: Read, devices: readonly Examined[], options: InspectOptions): Json {
  const machine = stream.configuration?.name ?? '';
  return {
    format: 1,
    bytes,
    complete: stream.complete && error === undefined,
    ...(error !== undefined && { error: errorJson(error) }),
    machine: machine === '' ? null : machine,
    capabilities: stream.configuration?.capabilities ?? [],
    ram: (stream.ram?.blocks ?? []).map(({ name, length, pages, zeroPages, encodedPages }) => ({
      name,
      length,
      pages,
      zeroPages,
      encodedPages,
    })),
    sections: stream.sections.map(({ header, offset, body }) => ({
      idstr: header.idstr,
      id: header.id,
      kind: header.kind,
      instanceId: header.instanceId,
      versionId: header.versionId,
      offset,
      size: body.length,
    })),
    devices: devices.map((examined) => deviceJson(examined, machine, options)),
  };
}

function deviceJson(examined: Examined, machine: string, options: InspectOptions): Json {
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
    summary: summarize(decoded, machine),
    state: device.codec.toJSON(decoded.state),
    findings: findings.map(({ code, severity, layer, path, reason, offset: at }) => ({
      code,
      severity,
      layer,
      path,
      reason,
      ...(at !== undefined && { offset: at }),
    })),
    ...(options.hex === true && {
      fields: [...leaves(decoded.root)].map(({ path, node }) => ({
        path,
        type: node.type,
        start: node.start,
        end: node.end,
      })),
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

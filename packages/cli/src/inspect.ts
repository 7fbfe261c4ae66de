import { type Endian, nameFeatures, nameStatus, negotiated, type VirtioState } from '@virtkit/core';
import {
  type MigrationStream,
  machineEndian,
  type StreamSection,
  showValue,
  titleOf,
} from '@virtkit/migration';
import {
  type Examined,
  type FoundField,
  fieldsUnder,
  fieldValue,
  findField,
  summarizeDevice,
} from '@virtkit/migration/inspect';
import { hex, type Json, snakeCase, type TraceNode } from '@virtkit/vmstate';
import { examine, fieldsOf, findingsOf, findingText, matches } from './device.ts';
import { jsonText } from './inspect-json.ts';
import type { InspectOptions } from './inspect-options.ts';
import { commandLines, tableText } from './inspect-table.ts';
import { colors as pc, textOf } from './output.ts';
import type { Read } from './read.ts';

/** Result of `virtkit inspect`. */
export interface Inspection {
  /** Text for stdout. */
  readonly text: string;
  /** Name of what was asked for and is not there. */
  readonly missing: string | undefined;
  /** False if a device that was asked for cannot be read. */
  readonly readable: boolean;
}

/** Writes the devices of a stream, for people or as JSON. */
export function inspect(read: Read, options: InspectOptions): Inspection {
  const { stream } = read;
  const devices = examine(stream).filter(({ device }) => matches(device.section, options.device));
  const others = otherSections(stream, devices).filter((section) => matches(section, options.device));
  const text = options.json === true ? jsonText(read, devices, options) : '';
  const parts = options.json === true ? [] : humanParts(read, devices, others, options);
  return {
    text: text + parts.join('\n'),
    missing: read.error === undefined ? missing(devices, others, options) : undefined,
    readable: devices.every(({ error }) => error === undefined),
  };
}

/** Was nothing more asked for than what there is? */
function isShort({ all, hex, device, path }: InspectOptions): boolean {
  return all !== true && hex !== true && device === undefined && path === undefined;
}

function humanParts(
  read: Read,
  devices: readonly Examined[],
  others: readonly StreamSection[],
  options: InspectOptions,
): string[] {
  const { device, path } = options;
  const { stream } = read;
  if (isShort(options)) return stream.version === 0 ? [] : [tableText(read, devices)];
  // without a header there is nothing to say: the error says it
  const head = device === undefined && path === undefined && stream.version !== 0 ? [overview(read)] : [];
  const guest = machineEndian(stream.configuration?.name ?? '', stream.ram?.blocks);
  return [
    ...head,
    ...devices
      .filter(({ decoded }) => path === undefined || decoded === undefined || findField(decoded.root, path))
      .map((examined) => deviceText(examined, guest, options)),
    ...(device === undefined ? [] : others)
      .filter((section) => path === undefined || fieldAt(section, path))
      .map((section) => sectionText(section, options)),
  ];
}

/** Names what was asked for, if nothing of it is there. */
function missing(
  devices: readonly Examined[],
  others: readonly StreamSection[],
  { device, path }: InspectOptions,
): string | undefined {
  if (device !== undefined && devices.length + others.length === 0)
    return `no section with "${device}" in its name`;
  if (path === undefined) return undefined;
  const found =
    devices.some(({ decoded }) => decoded !== undefined && findField(decoded.root, path) !== undefined) ||
    (device !== undefined && others.some((section) => fieldAt(section, path) !== undefined));
  return found ? undefined : `no field "${path}"`;
}

function fieldAt(section: StreamSection, path: string): FoundField | undefined {
  const root = fieldsOf(section);
  return root && findField(root, path);
}

function otherSections(stream: MigrationStream, devices: readonly Examined[]): StreamSection[] {
  const known = new Set(devices.map(({ device }) => device.section));
  return stream.sections.filter((section) => !known.has(section));
}

function overview(read: Read): string {
  const { stream, bytes } = read;
  const { configuration, ram, libvirt } = stream;
  const lines = [
    ...(libvirt === undefined ? [] : [`libvirt save file, header of ${libvirt.bytes.length} bytes in front`]),
    `${pc.bold('migration stream')} of ${bytes} bytes, machine ${configuration?.name ?? '(not told: 2.3 or older)'}`,
    ...(configuration?.uuid === undefined ? [] : [`uuid ${configuration.uuid}`]),
    ...(configuration?.capabilities === undefined
      ? []
      : [`capabilities ${configuration.capabilities.join(', ')}`]),
    ...commandLines(read),
  ];
  for (const block of ram?.blocks ?? []) {
    const pages = block.pages + block.zeroPages + block.encodedPages;
    lines.push(
      `ram ${block.name}: ${hex(block.length)} bytes, ${pages} pages sent (${block.zeroPages} zero)`,
    );
  }
  const sections = stream.sections.map(({ header }) => header.idstr);
  lines.push(`${sections.length} sections: ${[...new Set(sections)].join(', ')}`);
  lines.push(...findingsOf(stream).map((finding) => pc.red(findingText(finding))));
  return textOf(lines);
}

function deviceText(examined: Examined, guest: Endian, options: InspectOptions): string {
  const { device, decoded, error } = examined;
  const { header, offset, body } = device.section;
  const title = `${pc.bold(titleOf(device))}  ${device.codec.transport.name}, section ${header.id} version ${header.versionId}, ${body.length} bytes at ${hex(offset)}`;
  if (decoded === undefined) return `${title}\n  ${pc.red('not readable')}: ${error?.message ?? ''}\n`;
  if (options.hex === true || options.path !== undefined)
    return `${title}\n${treeText(decoded.root, body, offset, options)}`;
  const { state } = decoded;
  const features = nameFeatures(negotiated(state), device.codec.device.features);
  const { configSpace, rest } = summarizeDevice(decoded, guest);
  const lines = [
    title,
    `  status       ${hex(state.status)}  ${nameStatus(state.status).join(' ')}`,
    `  isr          ${hex(state.isr)}    queue_sel ${state.queueSel}`,
    `  features     ${hex(negotiated(state))}`,
    ...features.map(({ bit, name }) => `    ${String(bit).padStart(3)} ${name ?? '(no name known)'}`),
    `  flags        ${flags(state)}`,
    ...queueTable(state),
    ...requestLines(state),
    ...jsonLines(configSpace, 'config space'),
    ...jsonLines(device.codec.device.saveDevice(state.device).toJSON(state.device), 'device'),
    ...jsonLines(rest, 'behind it'),
    ...jsonLines(transportJson(examined), 'transport'),
    ...examined.findings.map(
      (finding) =>
        `  ${finding.severity === 'error' ? pc.red('error') : pc.yellow('warning')}  ${finding.path}: ${finding.reason}`,
    ),
  ];
  return textOf(lines);
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

/** Lists requests in flight, for device types that have them in a list. */
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

function isEmpty(json: Json): boolean {
  return typeof json === 'object' && json !== null && Object.keys(json).length === 0;
}

/** Writes JSON as an indented tree: what fits a line stays on it. */
function jsonLines(json: Json | undefined, label: string, indent = '  '): string[] {
  if (json === undefined || json === null || isEmpty(json)) return [];
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

/** Writes every field with its byte range; `--path` picks one, `--hex` adds the bytes. */
function treeText(root: TraceNode, body: Uint8Array, offset: number, options: InspectOptions): string {
  const lines = fieldsUnder(root, options.path).map(({ path, node }) => {
    const bytes = body.subarray(node.start - offset, node.end - offset);
    const value = fieldValue(node);
    const isBytes = value instanceof Uint8Array || value === undefined || isLong(value);
    const shown =
      node.type === 'absent'
        ? `(${node.end - node.start} bytes as in unused entries)`
        : showValue(isBytes ? bytes : printable(value), node.type);
    const raw =
      options.hex === true && node.type !== 'absent' && !isBytes ? `  ${pc.dim(showValue(bytes))}` : '';
    const wire = wireName(path, node);
    return `  ${hex(node.start)}..${hex(node.end)}  ${path}${wire === undefined ? '' : pc.dim(` (${wire})`)} = ${shown}${raw}`;
  });
  return textOf(lines);
}

/** Is this an array that is better shown as bytes? */
function isLong(value: unknown): boolean {
  return Array.isArray(value) && value.length > 16;
}

/** Finds QEMU's name of a field, where it is not the last part of the path in snake_case. */
function wireName(path: string, { name, wire }: TraceNode): string | undefined {
  if (name.startsWith('[') || wire === name || wire === snakeCase(name) || path.endsWith(wire))
    return undefined;
  return wire;
}

function printable(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? hex(item) : item));
}

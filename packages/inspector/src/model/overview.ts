// A stream at a glance.
import { nameStatus } from '@virtkit/core';
import { machineVersion } from '@virtkit/core/qemu';
import { COMMANDS, judgeStream, type MigrationStream } from '@virtkit/migration';
import { type Examined, outlineOf } from '@virtkit/migration/inspect';
import type { StateError } from '@virtkit/vmstate';
import { savedDomain } from './ask.ts';
import type { Opened } from './read.ts';
import { registry } from './registry.ts';
import type { DeviceCard, Overview, RamBlockMap, SectionRow, Stretch, Trouble } from './types.ts';

/** Makes what a page shows first of a stream. */
export function overviewOf(opened: Opened, devices: readonly Examined[]): Overview {
  const { stream, source, error, packing, bytes } = opened;
  const { configuration, libvirt } = stream;
  const since = machineVersion(configuration?.name ?? '')?.version;
  const sections = sectionRows(stream, devices);
  return {
    name: source.name,
    ...(source.size !== undefined && { fileBytes: source.size }),
    ...(packing !== undefined && { packing }),
    bytes,
    complete: stream.complete && error === undefined,
    ...(error !== undefined && { error: troubleOf(error) }),
    findings: judgeStream(stream, registry).map(troubleOf),
    ...(configuration !== undefined && { machine: configuration.name }),
    ...(since !== undefined && { since }),
    ...(configuration?.uuid !== undefined && { uuid: configuration.uuid }),
    capabilities: configuration?.capabilities ?? [],
    commands: runs(stream.commands.map(({ command }) => COMMANDS[command] ?? String(command))),
    ...(libvirt !== undefined && { libvirtBytes: libvirt.bytes.length }),
    hasDomain: savedDomain(stream) !== undefined,
    ram: ramMaps(opened),
    sections,
    devices: devices.map((examined) => cardOf(examined, stream)),
    stretches: stretchesOf(opened, sections),
  };
}

/** Turns an error or a finding into plain data. */
export function troubleOf(
  trouble: Pick<StateError, 'code' | 'path' | 'reason'> & {
    readonly severity?: 'error' | 'warning';
    readonly layer?: string | undefined;
    readonly offset?: number | undefined;
  },
): Trouble {
  const { severity = 'error', code, layer = '', path, reason, offset } = trouble;
  return { severity, code, layer, path, reason, ...(offset !== undefined && { offset }) };
}

/** Says a name that comes many times in a row once. */
function runs(names: readonly string[]): string[] {
  const found: { readonly name: string; count: number }[] = [];
  for (const name of names) {
    const last = found.at(-1);
    if (last?.name === name) last.count++;
    else found.push({ name, count: 1 });
  }
  return found.map(({ name, count }) => (count === 1 ? name : `${name} × ${count}`));
}

function sectionRows(stream: MigrationStream, devices: readonly Examined[]): SectionRow[] {
  const numbers = new Map(devices.map(({ device }, number) => [device.section, number]));
  return stream.sections.map((section) => {
    const { idstr, id, kind, instanceId, versionId } = section.header;
    const device = numbers.get(section);
    return {
      idstr,
      id,
      kind,
      instanceId,
      versionId,
      offset: section.offset,
      size: section.body.length,
      ...(device !== undefined && { device }),
    };
  });
}

function cardOf(examined: Examined, stream: MigrationStream): DeviceCard {
  const { device, decoded, error, findings } = examined;
  return {
    ...outlineOf(examined),
    section: stream.sections.indexOf(device.section),
    name: device.name,
    path: device.path,
    transport: device.codec.transport.name,
    known: device.known,
    statusBits: decoded === undefined ? [] : nameStatus(decoded.state.status),
    findings: error === undefined ? findings.map(troubleOf) : [troubleOf(error)],
  };
}

function ramMaps({ stream, cells }: Opened): RamBlockMap[] {
  return (stream.ram?.blocks ?? []).map(({ name, length, pages, zeroPages, encodedPages }, index) => ({
    name,
    length,
    pages,
    zeroPages,
    encodedPages,
    ...(cells[index] ?? { cellBytes: length, cells: new Uint8Array(1) }),
  }));
}

/** Length of a footer in bytes: its type, and the section's number. */
const FOOTER_BYTES = 5;

/**
 * Cuts the stream from its first byte to its last into stretches. Each section begins with its header and goes on to
 * where the next one begins.
 */
function stretchesOf(opened: Opened, sections: readonly SectionRow[]): Stretch[] {
  const { stream, ramStarts, bytes } = opened;
  type Start = Omit<Stretch, 'end'>;
  const starts: Start[] = [
    ...stream.sections.map(
      ({ header: { idstr, offset } }, section): Start => ({
        kind: sections[section]?.device === undefined ? 'section' : 'virtio',
        name: idstr,
        start: offset,
        section,
      }),
    ),
    ...ramStarts.map((start): Start => ({ kind: 'ram', name: 'ram', start })),
  ].sort((a, b) => a.start - b.start);
  const [first] = starts;
  if (first === undefined || first.start > 0)
    starts.unshift({ kind: first === undefined ? 'unread' : 'head', name: 'head', start: 0 });
  const last = stream.sections.at(-1);
  const behind = last === undefined ? bytes : last.offset + last.body.length + FOOTER_BYTES;
  const end = bytes - stream.trailing;
  if (behind < end)
    starts.push(
      stream.complete
        ? { kind: 'vmdesc', name: 'end, and what QEMU says of the sections', start: behind }
        : { kind: 'unread', name: 'not read', start: behind },
    );
  if (stream.trailing > 0) starts.push({ kind: 'trailing', name: 'behind the end', start: end });
  return starts.map((start, index) => ({ ...start, end: starts[index + 1]?.start ?? bytes }));
}

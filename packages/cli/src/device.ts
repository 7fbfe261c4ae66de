import {
  type Endian,
  FEATURE,
  type Finding,
  hasFeature,
  nameFeatures,
  nameStatus,
  negotiated,
} from '@virtkit/core';
import {
  type DecodedVirtio,
  decodeVirtio,
  decodeVirtioState,
  describeSection,
  findVirtio,
  judgeStream,
  type MigrationStream,
  type StreamFinding,
  type StreamSection,
  titleOf,
  type VirtioDevice,
} from '@virtkit/migration';
import { hex, isStateError, type Json, nodeAt, StateError, type TraceNode } from '@virtkit/vmstate';
import { registry } from './registry.ts';

/** A virtio device in a stream: decoded, or why not. */
export interface Examined {
  readonly device: VirtioDevice;
  readonly decoded?: DecodedVirtio;
  readonly error?: StateError;
  readonly findings: readonly (Finding & { readonly offset?: number })[];
}

/** All virtio devices of a stream. */
export function examine(stream: MigrationStream): Examined[] {
  return stream.sections.flatMap((section) => {
    const device = findVirtio(section, registry);
    return device === undefined ? [] : [examineDevice(device)];
  });
}

function examineDevice(device: VirtioDevice): Examined {
  try {
    const decoded = decodeVirtio(device);
    const findings = device.codec.check(decoded.state).map((finding) => {
      const offset = nodeAt(decoded.root, finding.path)?.start;
      return offset === undefined ? finding : { ...finding, offset };
    });
    return { device, decoded, findings };
  } catch (error) {
    if (isStateError(error)) return { device, error, findings: [] };
    throw error;
  }
}

/** What does not fit together in the stream itself: where two readers could see different devices. */
export function findingsOf(stream: MigrationStream): StreamFinding[] {
  return judgeStream(stream, registry);
}

/** What a vmdesc may say against the bytes: they are read all the same. */
const HARMLESS: ReadonlySet<string> = new Set(['vmdesc-size', 'vmdesc-type', 'vmdesc-missing']);

/** @throws StateError for a stream that two readers could take apart differently: what is made of it could be another one */
export function demandClear(stream: MigrationStream): void {
  const first = findingsOf(stream).find(({ code: each }) => !HARMLESS.has(each));
  if (first === undefined) return;
  const { code, reason, facts, layer, path, offset } = first;
  throw new StateError(code, reason, facts, { layer, path, ...(offset !== undefined && { offset }) });
}

/** One finding in a line. */
export function findingText({
  severity,
  layer,
  path,
  reason,
  offset,
}: Finding & { readonly offset?: number }): string {
  const place = [layer, path].filter((part) => part !== '').join(': ');
  return `${severity}: ${place}: ${reason}${offset === undefined ? '' : ` (at byte ${hex(offset)})`}`;
}

/** One finding in the documented JSON form. */
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

/** What is wrong with a device, if anything. */
export type Checked = Pick<Examined, 'device' | 'error' | 'findings'>;

/** The virtio devices of a stream, without the place of each field: a guest stands still meanwhile. */
export function checkDevices({ sections }: Pick<MigrationStream, 'sections'>): Checked[] {
  return sections.flatMap((section) => {
    const device = findVirtio(section, registry);
    if (device === undefined) return [];
    try {
      return [{ device, findings: device.codec.check(decodeVirtioState(device)) }];
    } catch (error) {
      if (isStateError(error)) return [{ device, error, findings: [] }];
      throw error;
    }
  });
}

/** Does the section's name or the device's title have this in it? */
export function matches(section: StreamSection, wanted: string | undefined): boolean {
  return (
    wanted === undefined ||
    section.header.idstr.includes(wanted) ||
    titleOf(splitTitle(section)).includes(wanted)
  );
}

function splitTitle(section: StreamSection): { readonly name: string; readonly path: string } {
  const slash = section.header.idstr.lastIndexOf('/');
  return {
    path: section.header.idstr.slice(0, Math.max(slash, 0)),
    name: section.header.idstr.slice(slash + 1),
  };
}

/** Fields of a section that is not virtio. */
export function fieldsOf(section: StreamSection): TraceNode | undefined {
  return describeSection(section, registry);
}

/** Byte order of the configuration space: little-endian with VERSION_1, else the guest's. */
export function configEndian({ state }: DecodedVirtio, guest: Endian): Endian {
  if (hasFeature(negotiated(state), FEATURE.VERSION_1)) return 'little';
  const said = state.subsections.deviceEndian;
  if (said !== undefined) return said === 2 ? 'big' : 'little';
  return guest;
}

/** Names that go with the numbers of a device's state. `guest`: byte order of the guest's CPU. */
export function summarize(decoded: DecodedVirtio, guest: Endian): { readonly [key: string]: Json } {
  const { device, state } = decoded;
  const { transport, device: type } = device.codec;
  const rest = state.rest === undefined ? undefined : type.describeRest?.(state.rest);
  return {
    statusBits: nameStatus(state.status),
    negotiatedFeatures: `0x${negotiated(state).toString(16)}`,
    features: nameFeatures(negotiated(state), type.features).map(({ bit, name }) => ({
      bit,
      name: name ?? null,
    })),
    ...(type.describeConfig !== undefined && {
      configSpace: type.describeConfig(state.config, configEndian(decoded, guest)),
    }),
    ...(rest !== undefined && { rest }),
    ...(transport.describe !== undefined && { transport: transport.describe(state.transport) }),
  };
}

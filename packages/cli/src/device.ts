import type { Finding } from '@virtkit/core';
import {
  decodeVirtioState,
  describeSection,
  findVirtio,
  judgeStream,
  type MigrationStream,
  type StreamFinding,
  type StreamSection,
  titleOf,
} from '@virtkit/migration';
import { type Examined, examineDevices } from '@virtkit/migration/inspect';
import { hex, isStateError, StateError, type TraceNode } from '@virtkit/vmstate';
import { registry } from './registry.ts';

/** Examines all virtio devices of a stream. */
export function examine(stream: MigrationStream): Examined[] {
  return examineDevices(stream, registry);
}

/** Lists what does not fit together in the stream itself: where two readers could see different devices. */
export function findingsOf(stream: MigrationStream): StreamFinding[] {
  return judgeStream(stream, registry);
}

/** Codes of findings about a vmdesc that contradicts the bytes: they are read all the same. */
const HARMLESS: ReadonlySet<string> = new Set(['vmdesc-size', 'vmdesc-type', 'vmdesc-missing']);

/**
 * Refuses a stream that two readers could take apart differently: what is made of it could be another one. @throws
 * StateError
 */
export function demandClear(stream: MigrationStream): void {
  const first = findingsOf(stream).find(({ code: each }) => !HARMLESS.has(each));
  if (first === undefined) return;
  const { code, reason, facts, layer, path, offset } = first;
  throw new StateError(code, reason, facts, { layer, path, ...(offset !== undefined && { offset }) });
}

/** Writes one finding in a line. */
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

/** Troubles of a device, if it has any. */
export type Checked = Pick<Examined, 'device' | 'error' | 'findings'>;

/** Checks the virtio devices of a stream, without the place of each field: a guest stands still meanwhile. */
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

/** Does the section's name or the device's title contain the wanted text? */
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

/** Lists the fields of a section that is not virtio. */
export function fieldsOf(section: StreamSection): TraceNode | undefined {
  return describeSection(section, registry);
}

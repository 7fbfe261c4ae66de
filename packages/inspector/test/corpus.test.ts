// What the page shows of each stream of the corpus is what `virtkit inspect --json` prints of it.
import { isDeepStrictEqual } from 'node:util';
import { expect, test } from 'vitest';
import { Session } from '../src/model/session.ts';
import { blobSource } from '../src/model/source.ts';
import type { FieldNode, Overview } from '../src/model/types.ts';
import { blobOf, names } from './corpus.ts';

/** What of the documented JSON is compared. */
interface Inspection {
  readonly bytes: number;
  readonly complete: boolean;
  readonly machine: string | null;
  readonly capabilities: readonly string[];
  readonly ram: readonly Record<'name' | 'length' | 'pages' | 'zeroPages' | 'encodedPages', unknown>[];
  readonly sections: readonly (Section & { readonly fields?: readonly Field[]; readonly bytes?: string })[];
  readonly devices: readonly {
    readonly name: string;
    readonly path: string;
    readonly transport: string;
    readonly known: boolean;
    readonly offset: number;
    readonly summary: { readonly statusBits: readonly string[]; readonly features: readonly Feature[] };
    readonly findings: readonly { readonly code: string; readonly path: string; readonly reason: string }[];
    readonly fields?: readonly Field[];
  }[];
}

interface Section {
  readonly idstr: string;
  readonly id: number;
  readonly kind: string;
  readonly instanceId: number;
  readonly versionId: number;
  readonly offset: number;
  readonly size: number;
}

interface Field {
  readonly path: string;
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

interface Feature {
  readonly bit: number;
  readonly name: string | null;
}

/** All streams, each with its fields, where there is time; else a third of them, and the fields of each twelfth. */
const IS_LONG = process.env['VIRTKIT_SLOW'] !== undefined;
/** Streams of which each takes seconds: pictures of a GPU, bitmaps of a disk, and memory that is device state. */
const LARGE = /gpu-io|dirtybitmaps|pseries-slof|microvm-mmio-legacy-io/;
const streams = IS_LONG ? names : names.filter((name, index) => index % 3 === 0 && !LARGE.test(name));
const sampled = new Set(IS_LONG ? names : names.filter((_, index) => index % 12 === 0));
if (!IS_LONG) console.warn(`SKIPPED: ${names.length - streams.length} streams (VIRTKIT_SLOW=1 opens all)`);

/** The last fields of a tree, as the command lists them. */
function leaves(nodes: readonly FieldNode[]): Field[] {
  return nodes.flatMap(({ path, type, start, end, value, children }) => {
    if (value === undefined) return leaves(children);
    return end === start && /^(struct|subsections)$/.test(type) ? [] : [{ path, type, start, end }];
  });
}

const places = (fields: readonly Field[]): Field[] =>
  fields.map(({ path, type, start, end }) => ({ path, type, start, end }));

/** As `toEqual`, which takes long over long lists that are the same. */
function same(found: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(found, expected)) expect(found).toEqual(expected);
}

/** The overview in the command's words. */
function shown({ bytes, complete, machine, capabilities, ram, sections }: Overview) {
  return {
    bytes,
    complete,
    machine: machine ?? null,
    capabilities,
    ram: ram.map(({ cells: _cells, cellBytes: _cellBytes, ...block }) => block),
    sections: sections.map(({ device: _device, ...section }) => section),
  };
}

test.each(streams)('%s', async (name) => {
  const session = new Session();
  const overview = await session.open(blobSource(await blobOf(name), name));
  const inspection = JSON.parse(session.json(sampled.has(name))) as Inspection;
  const { devices, sections, ...stream } = inspection;
  same(shown(overview), {
    ...Object.fromEntries(Object.keys(shown(overview)).map((key) => [key, Reflect.get(stream, key)])),
    sections: sections.map(({ fields: _fields, bytes: _bytes, ...section }) => section),
  });
  expect(
    overview.devices.map(({ name: type, path, transport, known, statusBits }) => ({
      type,
      path,
      transport,
      known,
      statusBits,
    })),
  ).toEqual(
    devices.map(({ name: type, path, transport, known, summary }) => ({
      type,
      path,
      transport,
      known,
      statusBits: summary.statusBits,
    })),
  );
  for (const [number, section] of overview.sections.entries()) {
    if (!sampled.has(name)) break;
    const detail = await session.detail(number);
    const device = section.device === undefined ? undefined : devices[section.device];
    const fields = device?.fields ?? sections[number]?.fields ?? [];
    same(places(leaves(detail.fields)), places(fields));
    expect(detail.virtio?.features.map(({ bit, name: said }) => ({ bit, name: said ?? null }))).toEqual(
      device?.summary.features,
    );
  }
  // the ruler has every byte once
  let at = 0;
  for (const { start, end } of overview.stretches) {
    expect(start).toBe(at);
    at = end;
  }
  expect(at).toBe(overview.bytes);
});

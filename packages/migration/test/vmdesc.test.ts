/** What we say of a structure's layout, against what QEMU says of it at the end of each stream. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { s390Css, s390Flic } from '@virtkit/transport-ccw';
import { pciDevice } from '@virtkit/transport-pci';
import {
  describe,
  type Field,
  leaves,
  Reader,
  Trace,
  type TraceNode,
  vmdescText,
  withContext,
} from '@virtkit/vmstate';
import { expect, test } from 'vitest';
import {
  byVmdesc,
  configuration,
  type DescVmsd,
  globalState,
  type MigrationStream,
  parseStream,
  type StreamSection,
  timers,
} from '../src/index.ts';
import { parserOptions } from './registry.ts';
import { findVmdescText } from './roundtrip.ts';

const corpus = fileURLToPath(new URL('../../lab/streams', import.meta.url));
const streams = readdirSync(corpus).flatMap((version) =>
  readdirSync(join(corpus, version))
    .filter((file) => file.endsWith('.mig.gz'))
    .map((file) => ({ version, file })),
);

/** Everything that we declare and QEMU describes, by vmsd. virtio itself is one field without an inside in QEMU's text. */
const declared: Readonly<Record<string, Field<unknown>>> = {
  timer: timers,
  globalstate: globalState,
  s390_css: s390Css,
  'qemu-s390-flic': withContext(s390Flic, { ais: true }),
  PCIDevice: pciDevice,
};

/** What QEMU 7.2 writes of these is another form, or wrong: an array with null pointers is as long as its first element. */
const not72: ReadonlySet<string> = new Set(['globalstate', 's390_css']);

const compared = new Map<string, number>();

function compare(
  name: string,
  field: Field<unknown>,
  bytes: Uint8Array,
  expected: DescVmsd,
  version: string,
): void {
  const input = new Reader(bytes);
  input.trace = new Trace(name);
  field.decode(input, undefined);
  input.trace.root.end = input.position;
  const nullType = version.startsWith('10.') ? 'nullptr' : 'ptr-marker';
  const ours = describe(input.trace.root, { nullType });
  expect(vmdescText(ours), name).toBe(vmdescText(vmsdOnly(expected)));
  compared.set(name, (compared.get(name) ?? 0) + 1);
}

/** Without what a device has besides. */
function vmsdOnly({ vmsd_name, version, fields, subsections }: DescVmsd): unknown {
  return { vmsd_name, version, fields, ...(subsections !== undefined && { subsections }) };
}

/** Structures inside a section, as the vmdesc has them, with their bytes. */
function* structures(
  section: StreamSection,
  node: TraceNode,
  vmsd: DescVmsd,
): Generator<{ readonly bytes: Uint8Array; readonly vmsd: DescVmsd }> {
  yield { bytes: section.body.subarray(node.start - section.offset, node.end - section.offset), vmsd };
  const children = node.children.filter(({ subsection }) => !subsection);
  for (const [index, field] of (vmsd.fields ?? []).entries()) {
    const child = children[index];
    if (field.struct !== undefined && field.array_len === undefined && child !== undefined)
      yield* structures(section, child, field.struct);
  }
}

function compareSections({ sections }: MigrationStream, version: string): void {
  for (const section of sections) {
    const { description } = section;
    const root = description && byVmdesc(section, description);
    if (description === undefined || root === undefined) continue;
    for (const { bytes, vmsd } of structures(section, root, description)) {
      const name = vmsd.vmsd_name ?? '';
      const field = declared[name];
      if (field === undefined || (version.startsWith('7.') && not72.has(name))) continue;
      compare(name, field, bytes, vmsd, version);
    }
  }
}

/** Every byte is in a field, but for marks in lists and headers of subsections. */
function expectCovered(section: StreamSection, root: TraceNode): void {
  let at = section.offset;
  const astray: string[] = [];
  for (const { path, node } of leaves(root)) {
    if (node.start < at || node.end < node.start) astray.push(path);
    at = node.end;
  }
  expect(astray, section.header.idstr).toEqual([]);
  expect(at, section.header.idstr).toBeLessThanOrEqual(section.offset + section.body.length);
}

test.each(streams)('$version $file: text, our declarations and the bytes agree', ({ version, file }) => {
  const bytes = gunzipSync(readFileSync(join(corpus, version, file)));
  const stream = parseStream(bytes, parserOptions);
  const text = findVmdescText(bytes);
  if (text === undefined || stream.vmdesc === undefined) return;
  // sections of an old kind have the last two keys the other way round
  const expected = text.replaceAll(/"size": (\d+), "type": "buffer"/g, '"type": "buffer", "size": $1');
  expect(vmdescText(stream.vmdesc)).toBe(expected);
  const whole = stream.vmdesc.configuration;
  if (whole !== undefined) compare('configuration', configuration, bytes.subarray(9), whole, version);
  compareSections(stream, version);
  for (const section of stream.sections) {
    if (section.description === undefined) continue;
    const root = byVmdesc(section, section.description);
    const wrong = version.startsWith('7.') && section.header.idstr === 's390_css';
    expect(root === undefined, section.header.idstr).toBe(wrong);
    if (root !== undefined) expectCovered(section, root);
  }
});

test('all of them were compared', () => {
  expect([...compared.keys()].sort()).toEqual([...Object.keys(declared), 'configuration'].sort());
});

/** The command's output for every stream of the corpus: as documented, nothing forgotten, nothing that is no text. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Json } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { check } from '../src/check.ts';
import { convert } from '../src/convert.ts';
import { examine } from '../src/device.ts';
import { diff } from '../src/diff.ts';
import { explainText } from '../src/explain.ts';
import { inspect } from '../src/inspect.ts';
import { readInput } from '../src/read.ts';
import { stepsText } from '../src/steps.ts';
import { verify } from '../src/verify.ts';
import { violations } from './schema.ts';

const corpus = fileURLToPath(new URL('../../lab/streams', import.meta.url));
const files = readdirSync(corpus).flatMap((version) =>
  readdirSync(join(corpus, version))
    .filter((file) => file.endsWith('.mig.gz'))
    .map((file) => join(version, file)),
);

interface Shown {
  readonly sections: readonly {
    readonly idstr: string;
    readonly fields?: readonly unknown[];
    readonly bytes?: string;
  }[];
  readonly devices: readonly {
    readonly fields: readonly { readonly path: string; readonly value?: Json }[];
  }[];
}

test.each(files)('%s', async (file) => {
  const read = await readInput(join(corpus, file), true);
  const texts = [
    inspect(read, {}).text,
    inspect(read, { hex: true }).text,
    verify(read, false).text,
    ...examine(read.stream).flatMap((device) => [stepsText(device, 'save'), stepsText(device, 'load')]),
  ];
  for (const text of texts)
    expect(text.match(/.*(undefined|NaN|\[object|no usable description).*/)?.[0]).toBeUndefined();
  const json: unknown = JSON.parse(inspect(read, { json: true, hex: true }).text);
  expect(violations('inspect', json)).toEqual([]);
  expect(violations('verify', JSON.parse(verify(read, true).text))).toEqual([]);
  const shown = json as Shown;
  // every section's bytes are accounted for, by fields or as they are
  const unseen = shown.sections.filter(
    ({ idstr, fields, bytes }) => fields === undefined && bytes === undefined && !/virtio|vhost/.test(idstr),
  );
  expect(unseen).toEqual([]);
  expect(shown.devices.filter(({ fields }) => fields.length < 10)).toEqual([]);
});

describe('the schema', () => {
  test('finds what is not as it says', async () => {
    const read = await readInput(join(corpus, '10.0.13/q100-s390-io.mig.gz'), false);
    const json = JSON.parse(inspect(read, { json: true }).text);
    expect(violations('inspect', json)).toEqual([]);
    json.devices[0].state.queues[0].extra = 1;
    delete json.devices[1].state.status;
    json.format = 2;
    json.devices[0].state.subsections.features64 = 5;
    expect(violations('inspect', json).sort()).toEqual([
      '/devices/0/state/queues/0: must NOT have additional properties {"additionalProperty":"extra"}',
      '/devices/0/state/subsections/features64: must be string {"type":"string"}',
      `/devices/1/state: must have required property 'status' {"missingProperty":"status"}`,
      '/format: must be equal to constant {"allowedValue":1}',
    ]);
  });

  test.each([
    ['7.2.22/q72-pc-fullram-tiny.mig.gz', '10.0.13/q100-s390-io.mig.gz'],
    ['10.0.13/q100-s390-io.mig.gz', '10.0.13/q100-s390-legacy-io.mig.gz'],
  ])('check and diff of %s', async (a, b) => {
    const reads = [await readInput(join(corpus, a), false), await readInput(join(corpus, b), false)] as const;
    for (const target of ['qemu-7.2', 'qemu-10.0', 'qemu-11.1', 'qemu-7.2,machine=pc-q35-6.0,features=0x1'])
      expect(violations('check', JSON.parse(check(reads[0], { target }, true).text))).toEqual([]);
    const differences = JSON.parse(diff(...reads, true).text);
    expect(violations('diff', differences)).toEqual([]);
    expect(differences.differences.length).toBeGreaterThan(0);
  });

  test('explain', () => {
    const log = [
      'qemu-system-x86_64: Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef',
      'qemu-system-x86_64: VQ 0 size 0x100 Guest index 0x5a inconsistent with Host index 0x12: delta 0xff48',
      'qemu-system-x86_64: Failed to load virtio-net:virtio',
    ].join('\n');
    const json = JSON.parse(explainText(log, true).text);
    expect(violations('explain', json)).toEqual([]);
    expect(json.messages.length).toBe(3);
  });

  test('convert', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'virtkit-schema-'));
    const input = join(corpus, '10.0.13/q100-s390-io.mig.gz');
    const json = await convert(input, join(directory, 'out.mig'), { target: 'qemu-11.1' });
    expect(violations('convert', JSON.parse(JSON.stringify({ format: 1, ...json })))).toEqual([]);
    rmSync(directory, { recursive: true });
  });
});

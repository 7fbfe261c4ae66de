/** The command's output for every stream of the corpus: as documented, nothing forgotten, nothing that is no text. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Json } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { examine } from '../src/device.ts';
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
    expect(violations('inspect', json)).toEqual([
      '$.format: 2',
      '$.devices[0].state.queues[0]: extra is not described',
      '$.devices[0].state.subsections.features64: number is no string',
      '$.devices[0].state.subsections.features64: 5',
      '$.devices[1].state: no status',
    ]);
  });
});

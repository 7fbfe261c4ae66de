import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { acceptVirtio, findVirtio, parseStream } from '@virtkit/migration';
import { isStateError } from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { examine } from '../src/device.ts';
import { inspect } from '../src/inspect.ts';
import { readInput } from '../src/read.ts';
import { registry } from '../src/registry.ts';
import { stepsText } from '../src/steps.ts';
import { verify } from '../src/verify.ts';
import { violations } from './schema.ts';

const names = [
  '10.0.13/q100-s390-legacy-io',
  '7.2.22/q72-microvm-mmio-inflight',
  '10.0.13/q100-q35-packed-inflight',
  '7.2.22/q72-pc-fullram-tiny',
  '7.2.22/q72-q35-others-io',
  '10.0.13/q100-q35-iommu-io',
];
const originals = names.map(
  (name) =>
    new Uint8Array(gunzipSync(readFileSync(new URL(`../../lab/streams/${name}.mig.gz`, import.meta.url)))),
);

/** A few bytes overwritten anywhere, then perhaps a piece removed or doubled. */
const mutation = fc.record({
  stream: fc.nat(originals.length - 1),
  writes: fc.array(
    fc.record({
      at: fc.double({ min: 0, max: 0.9999, noNaN: true }),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
    }),
    { maxLength: 6 },
  ),
  splice: fc.option(
    fc.record({
      at: fc.double({ min: 0, max: 0.9999, noNaN: true }),
      length: fc.nat(300),
      again: fc.boolean(),
    }),
  ),
});

function apply({
  stream,
  writes,
  splice,
}: typeof mutation extends fc.Arbitrary<infer T> ? T : never): Uint8Array {
  const bytes = (originals[stream] ?? new Uint8Array(0)).slice();
  for (const write of writes)
    bytes.set(
      write.bytes.subarray(0, bytes.length - Math.floor(write.at * bytes.length)),
      Math.floor(write.at * bytes.length),
    );
  if (splice === null) return bytes;
  const at = Math.floor(splice.at * bytes.length);
  const from = splice.again ? at : at + splice.length;
  const head = bytes.subarray(0, splice.again ? at + splice.length : at);
  return new Uint8Array(Buffer.concat([head, bytes.subarray(from)]));
}

describe('mutated real streams', () => {
  test('what is found about a stream itself keeps to the schemas as well', async () => {
    const home = mkdtempSync(join(tmpdir(), 'virtkit-mutate-'));
    const file = join(home, 'stream');
    try {
      // the section in which the second beginning lies has two ends
      writeFileSync(file, apply({ stream: 0, writes: [], splice: { at: 0, length: 221, again: true } }));
      const read = await readInput(file, true);
      const inspected: unknown = JSON.parse(inspect(read, { json: true }).text);
      expect(inspected).toMatchObject({ findings: [{ code: 'ambiguous', layer: 'stream' }] });
      expect(violations('inspect', inspected)).toEqual([]);
      const verified: unknown = JSON.parse(verify(read, true).text);
      expect(verified).toMatchObject({ findings: [{ code: 'ambiguous', layer: 'stream' }] });
      expect(violations('verify', verified)).toEqual([]);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });

  test('give no exception but ours, in bounded time', () => {
    fc.assert(
      fc.property(mutation, (change) => {
        const bytes = apply(change);
        const start = performance.now();
        try {
          for (const section of parseStream(bytes, { accepts: acceptVirtio(registry) }).sections) {
            const device = findVirtio(section, registry);
            device?.codec.load(section.body, section.offset);
          }
        } catch (error) {
          if (!isStateError(error)) throw error;
          expect(error.message.length).toBeGreaterThan(10);
        }
        expect(performance.now() - start).toBeLessThan(5000);
      }),
      { numRuns: 400 },
    );
  }, 120_000);

  test('are shown, checked and stepped through without an exception, whatever is in them', async () => {
    const home = mkdtempSync(join(tmpdir(), 'virtkit-mutate-'));
    const file = join(home, 'stream');
    try {
      await fc.assert(
        fc.asyncProperty(mutation, async (change) => {
          writeFileSync(file, apply(change));
          const read = await readInput(file, true);
          expect(violations('inspect', JSON.parse(inspect(read, { json: true, hex: true }).text))).toEqual(
            [],
          );
          expect(violations('verify', JSON.parse(verify(read, true).text))).toEqual([]);
          for (const options of [{}, { hex: true }, { device: '' }, { path: 'queues[0]' }])
            inspect(read, options);
          for (const device of examine(read.stream)) {
            if (device.error === undefined) stepsText(device, 'save') && stepsText(device, 'load');
          }
        }),
        { numRuns: 120 },
      );
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  }, 120_000);
});

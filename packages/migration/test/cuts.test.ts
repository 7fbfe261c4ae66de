// How a stream is cut into chunks says nothing: real streams, cut anywhere.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StreamCollector, StreamParser } from '../src/index.ts';

const corpus = fileURLToPath(new URL('../../lab/streams', import.meta.url));
const IS_LONG = process.env['VIRTKIT_SLOW'] === '1';
/** Compressed; the others are as they are, only longer. */
const SMALL = 40_000;

const files = readdirSync(corpus).flatMap((version) =>
  readdirSync(join(corpus, version))
    .filter((file) => file.endsWith('.gz'))
    .map((file) => join(corpus, version, file))
    .filter((path) => IS_LONG || statSync(path).size < SMALL),
);

/** What is found, with all bytes of the sections. */
function found(stream: Uint8Array, lengths: () => number): unknown {
  const collector = new StreamCollector();
  const parser = new StreamParser(collector);
  for (let at = 0; at < stream.length; ) {
    const length = lengths();
    parser.push(stream.subarray(at, at + length));
    at += length;
  }
  parser.end();
  return collector
    .partial()
    .sections.map(({ header, body }) => [
      header.idstr,
      header.instanceId,
      header.kind,
      Buffer.from(body).toString('base64'),
    ]);
}

test('the same sections, however a stream is cut', { timeout: 600_000 }, () => {
  expect(files.length).toBeGreaterThan(0);
  fc.assert(
    fc.property(
      fc.constantFrom(...files),
      fc.constantFrom(300, 3000, 30_000, 70_000),
      fc.infiniteStream(fc.nat(1 << 20)),
      (path, most, stream) => {
        const bytes = gunzipSync(readFileSync(path));
        const cut = found(bytes, () => 1 + (Number(stream.next().value) % most));
        expect(cut).toEqual(found(bytes, () => bytes.length));
      },
    ),
    { numRuns: IS_LONG ? 2000 : 25 },
  );
});

// Streams that are cut or damaged: what was read is shown, with words for where it broke; never an exception, never a hang.
import { readFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { Session } from '../src/model/session.ts';
import { blobSource } from '../src/model/source.ts';
import type { Overview } from '../src/model/types.ts';
import { pathOf } from './corpus.ts';

const packed = readFileSync(pathOf('10.0.13/q100-s390-io'));
const plain = gunzipSync(packed);

const opened = (bytes: Uint8Array): Promise<Overview> =>
  new Session().open(blobSource(new Blob([Uint8Array.from(bytes)]), 'damaged'));

/** Damage that is told in a sentence. */
async function expectWords(bytes: Uint8Array, words?: RegExp): Promise<Overview> {
  const overview = await opened(bytes);
  expect(overview.complete).toBe(false);
  expect(overview.error?.reason).toMatch(words ?? /\w+ \w+/);
  expect(overview.error?.reason).not.toMatch(/undefined|NaN|\[object/);
  return overview;
}

describe('a stream that is cut', () => {
  const cuts = Array.from({ length: 60 }, (_, n) => Math.floor((n * plain.length) / 60));
  test.each(cuts)('at byte %d', async (length) => {
    const overview = await expectWords(plain.subarray(0, length));
    expect(overview.bytes).toBe(length);
    expect(overview.stretches.at(-1)?.end ?? 0).toBe(length);
  });
});

test.each([
  ['nothing at all', () => new Uint8Array(0), /there are no bytes at all/],
  ['text', () => Buffer.from('this is a text file, and it is no stream'), /not a migration stream/],
  ['a memory dump', () => Buffer.from(`KDUMP   ${' '.repeat(200)}`), /memory dump \(kdump-compressed\)/],
  [
    'xz',
    () => Buffer.concat([Buffer.from('fd377a585a00', 'hex'), Buffer.alloc(200)]),
    /xz data: unpack it first/,
  ],
  ['gzip that is cut', () => packed.subarray(0, 2000), /gzip data cannot be unpacked/],
  ['gzip of text', () => gzipSync('no stream'.repeat(100)), /not a migration stream/],
  [
    'zstd of nothing that makes sense',
    () => Buffer.concat([Buffer.from('28b52ffd', 'hex'), Buffer.alloc(200, 0xa5)]),
    /zstd data cannot be unpacked/,
  ],
] as const)('%s', async (_what, make, words) => {
  await expectWords(make(), words);
});

test('what a cut gzip still has is shown', async () => {
  const { devices, error } = await opened(packed.subarray(0, -8));
  expect(error?.code).toBe('gzip');
  expect(devices.map(({ name }) => name)).toContain('virtio-net');
});

test('every byte of a device that is turned over is read or told', async () => {
  const whole = await opened(plain);
  const section = whole.sections.find(({ device }) => device !== undefined);
  if (section === undefined) throw new Error('no device');
  for (let at = section.offset; at < section.offset + 400; at += 7) {
    const bytes = Uint8Array.from(plain);
    bytes[at] = (bytes[at] ?? 0) ^ 0xff;
    const session = new Session();
    const overview = await session.open(blobSource(new Blob([bytes]), 'damaged'));
    for (const number of overview.sections.keys()) await session.detail(number);
    if (overview.error !== undefined) expect(overview.error.reason).toMatch(/\w+ \w+/);
  }
});

test('who opens another stream, or gives up, hears no more of the first', async () => {
  const session = new Session();
  const first = session.open(blobSource(new Blob([Uint8Array.from(plain)]), 'first'));
  const second = session.open(blobSource(new Blob([Uint8Array.from(plain)]), 'second'));
  await expect(first).rejects.toMatchObject({ name: 'AbortError' });
  await expect(second).resolves.toMatchObject({ name: 'second' });
});

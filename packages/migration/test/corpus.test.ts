import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { titleOf } from '../src/index.ts';
import { decodeDevices } from './registry.ts';
import { firstDifference, reencode, rewriteStream } from './roundtrip.ts';
import { compareWithTruth, deviceCount, type StreamTruth } from './truth.ts';
import { compareOthers } from './truth-others.ts';

const corpus = fileURLToPath(new URL('../../lab/streams', import.meta.url));
const SUFFIX = '.mig.gz';
const CHUNKS = [65_536, 997];
// dirty bitmaps of 1 MiB, whose end is searched for, take some seconds
const TIMEOUT_MS = 60_000;

const streams = readdirSync(corpus).flatMap((version) =>
  readdirSync(join(corpus, version))
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => ({ version, name: file.slice(0, -SUFFIX.length) })),
);

describe.each(streams)('$version $name', ({ version, name }) => {
  test('is written as it was read, is consistent, and says what QEMU said', { timeout: TIMEOUT_MS }, () => {
    const stream = gunzipSync(readFileSync(join(corpus, version, `${name}${SUFFIX}`)));
    const info = JSON.parse(readFileSync(join(corpus, version, `${name}.json`), 'utf8')) as StreamTruth;
    for (const chunk of [stream.length, ...CHUNKS]) {
      expect(rewriteStream(stream, chunk), `chunks of ${chunk}`).toEqual({ difference: -1, complete: true });
    }
    const devices = decodeDevices(stream);
    expect(devices).toHaveLength(deviceCount(info));
    for (const decoded of devices) {
      const { device, state } = decoded;
      const { fromState, fromJson } = reencode(decoded);
      expect(firstDifference(fromState, device.section.body), titleOf(device)).toBe(-1);
      expect(firstDifference(fromJson, device.section.body), `${titleOf(device)} by JSON`).toBe(-1);
      expect(
        device.codec.check(state).filter(({ severity }) => severity === 'error'),
        titleOf(device),
      ).toEqual([]);
    }
    expect(compareWithTruth(devices, info)).toEqual([]);
    expect(compareOthers(devices, info)).toEqual([]);
  });
});

test('there is a corpus', () => {
  expect(streams.length).toBeGreaterThan(0);
});

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { acceptVirtio, decodeVirtio, findVirtio, parseStream, type VirtioDevice } from '@virtkit/migration';
import { isStateError, leaves, type StateError } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { registry } from '../src/registry.ts';

const streams = new URL('../../lab/streams/', import.meta.url);
const load = (name: string): Uint8Array =>
  new Uint8Array(gunzipSync(readFileSync(new URL(`${name}.mig.gz`, streams))));
const read = (bytes: Uint8Array): ReturnType<typeof parseStream> =>
  parseStream(bytes, { accepts: acceptVirtio(registry) });

/** The error of `body`, which must be ours if there is one. */
function errorOf(body: () => unknown): StateError | undefined {
  try {
    body();
  } catch (error) {
    if (isStateError(error)) return error;
    throw error;
  }
  return undefined;
}

function devicesOf(name: string): VirtioDevice[] {
  return read(load(name)).sections.flatMap((section) => findVirtio(section, registry) ?? []);
}

const cases = [
  '10.0.13/q100-s390-legacy-io',
  '7.2.22/q72-pc-idle',
  '7.2.22/q72-microvm-mmio-inflight',
  '10.0.13/q100-q35-packed-io',
  '10.0.13/q100-q35-mq-tap',
];

describe('a stream cut off', () => {
  const bytes = load('10.0.13/q100-s390-legacy-io');
  test('gives one error with an offset, wherever it is cut', () => {
    const end = bytes.lastIndexOf(0x7e) + 5;
    for (let length = 0; length < bytes.length; length++) {
      const error = errorOf(() => read(bytes.subarray(0, length)));
      // right behind the EOF byte a stream is complete: QEMU loads it, too
      if (error === undefined)
        expect(bytes[length - 1], `cut at ${length}, last footer before ${end}`).toBe(0);
      else expect(error.offset, error.message).toBeTypeOf('number');
    }
  }, 120_000);
});

describe.each(cases)('%s', (name) => {
  test('a body cut at every byte gives one error with layer, path and offset', () => {
    for (const { section, codec } of devicesOf(name)) {
      const step = section.body.length > 100_000 ? 97 : 7;
      for (let length = 0; length < section.body.length; length += step) {
        const error = errorOf(() => codec.decode(section.body.subarray(0, length)));
        // cut between two subsections, a body is whole
        if (error !== undefined)
          expect([error.layer, error.path !== '', error.offset], error.message).toEqual([
            expect.any(String),
            true,
            expect.any(Number),
          ]);
      }
    }
  });

  test('every number set to 0, 1, its maximum and the next power of two loads or gives one error', () => {
    for (const device of devicesOf(name)) {
      const { section, codec } = device;
      const { root } = decodeVirtio(device);
      for (const { path, node } of leaves(root)) {
        const size = node.end - node.start;
        if (size > 8 || node.type === 'absent') continue;
        for (const value of [0n, 1n, (1n << BigInt(8 * size)) - 1n, 65n, 129n, 1025n]) {
          const body = section.body.slice();
          for (let i = 0; i < size; i++)
            body[node.start - section.offset + i] = Number((value >> BigInt(8 * (size - 1 - i))) & 0xffn);
          const start = performance.now();
          const error = errorOf(() => codec.load(body, section.offset));
          expect(performance.now() - start, path).toBeLessThan(1000);
          if (error !== undefined)
            expect([error.layer, error.path !== ''], `${path} = ${value}: ${error.message}`).toEqual([
              expect.any(String),
              true,
            ]);
        }
      }
    }
  }, 120_000);
});

describe('the container', () => {
  const bytes = load('10.0.13/q100-s390-legacy-io');
  const patched = (at: number, ...values: number[]): Uint8Array => {
    const copy = bytes.slice();
    copy.set(values, at);
    return copy;
  };
  test.each([
    ['no stream', () => Uint8Array.from(Buffer.from('this is a text file, not a stream')), 'magic'],
    ['nothing at all', () => new Uint8Array(0), 'truncated'],
    ['version 2', () => patched(7, 2), 'version'],
    ['a machine name of 4 GiB', () => patched(9, 0xff, 0xff, 0xff, 0xff), 'count'],
  ])('%s', (_name, make, code) => {
    expect(errorOf(() => read(make()))?.code).toBe(code);
  });

  test('names an unknown subsection, and one that comes twice', () => {
    const [device] = devicesOf('7.2.22/q72-pc-idle');
    if (device === undefined) throw new Error('no device');
    const { section, codec } = device;
    const text = Buffer.from(section.body);
    const at = text.indexOf('virtio/started');
    const unknown = section.body.slice();
    unknown[at + 13] = 0x78;
    expect(errorOf(() => codec.decode(unknown))).toMatchObject({
      code: 'unknown-subsection',
      layer: 'core',
      facts: { subsection: 'virtio/startex' },
    });
    const started = section.body.subarray(at - 2);
    const twice = new Uint8Array([...section.body, ...started]);
    expect(errorOf(() => codec.decode(twice))).toMatchObject({ code: 'duplicate-subsection', layer: 'core' });
  });
});

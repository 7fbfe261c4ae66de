import { growthOf } from '@virtkit/lab/growth.ts';
import { expect, test } from 'vitest';
import { checkStream, diffStreams, parseTarget } from '../src/index.ts';
import { readStream, registry } from './corpus.ts';

const stream = readStream('q72-pc-idle');

// Linear work measures 1.0 to 1.5, for large heaps cost more; what looks at all pairs measures 1.9.

/** A stream of as many devices as somebody likes, none of which the target has. */
function withDevices(count: number): typeof stream {
  const [first] = stream.sections;
  if (first === undefined) throw new Error('no sections in the stream');
  const sections = Array.from({ length: count }, (_, at) => ({
    ...first,
    header: { ...first.header, idstr: `0000:${at.toString(16)}:02.0/virtio-blk` },
    body: new Uint8Array(4),
  }));
  return { ...stream, sections };
}

test('check against a command line takes time that is linear in the sections', () => {
  const target = parseTarget('qemu-7.2', {
    commandLine: 'qemu-system-x86_64 -M pc-i440fx-7.2 -nodefaults -device virtio-blk-pci,drive=d',
  });
  expect(growthOf(withDevices, (many) => checkStream(many, target, registry), 6000)).toBeLessThan(1.7);
});

test('diff takes time that is linear in the sections, and in the capabilities', () => {
  const named = (count: number): typeof stream => ({
    ...withDevices(count),
    configuration: {
      name: 'pc',
      capabilities: Array.from({ length: count }, (_, at) => `capability ${at}`),
    },
  });
  const compare = (many: typeof stream): void => void diffStreams(many, named(10), registry);
  expect(growthOf(named, compare, 4000)).toBeLessThan(1.7);
});

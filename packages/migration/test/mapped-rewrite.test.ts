// Changed pages in a mapped-ram file, by real files of QEMU.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { RamImage, StreamParser } from '@virtkit/migration';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ChangedPage, StreamRewriter } from '../src/rewrite.ts';

const PAGE = 4096;
const streamOf = (name: string): Buffer =>
  gunzipSync(readFileSync(new URL(`../../lab/streams/${name}.mig.gz`, import.meta.url)));

function ramOf(stream: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const ram = new RamImage();
  const parser = new StreamParser(ram);
  parser.push(stream);
  parser.end();
  return ram.blocks;
}

/** Written on with other pages, read in pieces of so many bytes. */
function rewritten(stream: Uint8Array, pages: readonly ChangedPage[], piece: number): Buffer {
  const chunks: Uint8Array[] = [];
  const rewriter = new StreamRewriter((bytes, start, end) => chunks.push(bytes.slice(start, end)), { pages });
  const parser = new StreamParser(rewriter);
  for (let at = 0; at < stream.length; at += piece) parser.push(stream.subarray(at, at + piece));
  parser.end();
  return Buffer.concat(chunks);
}

describe.each([
  '10.0.13/q100-pc-mappedram',
  '11.1.2/q111-pc-mappedram-multifd',
  '11.1.2/q111-s390-mappedram',
])('%s', (name) => {
  const stream = streamOf(name);
  const blocks = ramOf(stream);
  const [[block, memory] = ['', new Uint8Array(0)]] = blocks;

  test('unchanged, it stays as it is', () => {
    for (const piece of [stream.length, 65_536, 1003])
      expect(rewritten(stream, [], piece).equals(stream)).toBe(true);
  });

  test('with other pages, there or not, in whatever pieces it comes', () => {
    const page = fc.integer({ min: 0, max: memory.length / PAGE - 1 });
    const changes = fc.uniqueArray(fc.tuple(page, fc.integer({ min: 1, max: 255 })), {
      selector: ([at]) => at,
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(changes, fc.constantFrom(stream.length, 65_536, 5001), (list, piece) => {
        const pages = list.map(([at, value]) => ({
          block,
          offset: at * PAGE,
          bytes: new Uint8Array(PAGE).fill(value),
        }));
        const expected = Buffer.from(memory);
        for (const { offset, bytes } of pages) expected.set(bytes, offset);
        const written = rewritten(stream, pages, piece);
        expect(written.length).toBe(stream.length);
        const found = ramOf(written);
        expect(Buffer.compare(found.get(block) ?? Buffer.alloc(0), expected)).toBe(0);
        for (const [other, bytes] of blocks)
          if (other !== block) expect(Buffer.compare(found.get(other) ?? Buffer.alloc(0), bytes)).toBe(0);
      }),
      { numRuns: 12 },
    );
  });
});

test.each([
  ['10.0.13/q100-pc-mappedram', '10.0.13/q100-pc-fullram-tiny'],
  ['10.0.13/q100-pc-mappedram-multifd', '10.0.13/q100-pc-fullram-tiny'],
  ['11.1.2/q111-pc-mappedram', '11.1.2/q111-pc-fullram-tiny'],
  ['11.1.2/q111-s390-mappedram', '11.1.2/q111-s390-fullram-tiny'],
])('%s has the memory of %s', (mapped, plain) => {
  const [here, there] = [ramOf(streamOf(mapped)), ramOf(streamOf(plain))];
  expect([...here.keys()]).toEqual([...there.keys()]);
  for (const [name, bytes] of here) {
    const other = there.get(name) ?? new Uint8Array(0);
    expect(other.length).toBe(bytes.length);
    // the program of the PC counts, and was stopped at another moment
    expect(bytes.filter((value, at) => value !== other[at]).length, name).toBeLessThanOrEqual(16);
  }
});

test('pages that are no pages, and a bitmap that has no room', () => {
  const mapped = { version: 1, pageSize: 4096n, bitmapOffset: 0n, pagesOffset: 4096n };
  const take = (change: object): unknown =>
    new RamImage().ramBlock({ name: 'pc.ram', length: 1 << 30, mapped: { ...mapped, ...change } });
  expect(() => take({})).toThrow(/no room for the bitmap of 262144 pages/);
  for (const pageSize of [0n, 1n, 3000n, 1n << 40n])
    expect(() => take({ pageSize })).toThrow(`mapped-ram pages of ${pageSize} bytes`);
});

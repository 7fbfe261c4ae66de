// A stream of many gigabytes, in little memory. VIRTKIT_SLOW=1 runs it, VIRTKIT_STREAM_GB says how many; they are not on the disk.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { StreamParser, StreamWriter, TYPE } from '@virtkit/migration';
import { expect, test } from 'vitest';
import { Session } from '../src/model/session.ts';
import type { Source } from '../src/model/source.ts';
import { pathOf } from './corpus.ts';

const IS_LONG = process.env['VIRTKIT_SLOW'] !== undefined;
const GIGABYTES = Number(process.env['VIRTKIT_STREAM_GB'] ?? 4);
if (!IS_LONG) console.warn('SKIPPED: a stream of some gigabytes (VIRTKIT_SLOW=1 runs it)');

const PAGE = 4096;
/** Of a record with a page: its head, for the block of the page before, and the page. */
const RECORD = 8 + PAGE;

/** A stream of the corpus, with so many pages more in its last section of RAM: the same pages again and again. */
function enlarged(name: string, pages: number): Source {
  const whole = gunzipSync(readFileSync(pathOf(name)));
  const [front, back] = atLastPage(whole);
  // flags PAGE and CONTINUE: the first page of the block before, once more
  const batch = new Uint8Array(1000 * RECORD);
  for (let n = 0; n < 1000; n++) {
    new DataView(batch.buffer).setBigUint64(n * RECORD, 0x28n);
    batch.fill(n, n * RECORD + 8, (n + 1) * RECORD);
  }
  return {
    name,
    size: undefined,
    async *chunks() {
      yield front;
      for (let n = 0; n < pages; n += 1000) yield batch;
      yield back;
    },
  };
}

/** In front of and behind the first end of a section of RAM that has pages. */
function atLastPage(whole: Uint8Array): readonly [Uint8Array, Uint8Array] {
  let written = 0;
  let at = 0;
  let hasPages = false;
  const writer = new StreamWriter((_bytes, start, end) => {
    written += end - start;
  });
  const mark = writer.ramMark.bind(writer);
  const page = writer.ramPage.bind(writer);
  writer.ramPage = (flags, offset, block) => {
    hasPages = true;
    page(flags, offset, block);
  };
  writer.ramMark = (flags, offset) => {
    if (hasPages && at === 0) at = written;
    mark(flags, offset);
  };
  const parser = new StreamParser(writer);
  parser.push(whole);
  parser.end();
  if (at === 0 || whole[0] === TYPE.EOF) throw new Error('the stream has no pages');
  return [whole.subarray(0, at), whole.subarray(at)];
}

test.runIf(IS_LONG)(`${GIGABYTES} GB are opened within 300 MB`, { timeout: 3_600_000 }, async () => {
  const pages = Math.ceil((GIGABYTES * 2 ** 30) / RECORD / 1000) * 1000;
  const source = enlarged('7.2.22/q72-pc-fullram-tiny', pages);
  const before = process.memoryUsage.rss();
  let most = 0;
  const session = new Session();
  const overview = await session.open(source, () => {
    most = Math.max(most, process.memoryUsage.rss() - before);
  });
  expect(overview.error).toBeUndefined();
  expect(overview.complete).toBe(true);
  expect(overview.bytes).toBeGreaterThan(GIGABYTES * 2 ** 30);
  expect(overview.devices.length).toBeGreaterThan(0);
  console.info(`${overview.bytes} bytes, ${Math.round(most / 2 ** 20)} MiB at most`);
  expect(most).toBeLessThan(300 * 2 ** 20);
});

// Reads of a file in the background have a buffer each: how many and how large together is bounded, whatever is asked for.
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { AsyncFile } from '../src/node/async-file.ts';
import { OpenFile } from '../src/node/open-file.ts';
import { pattern } from './machine.ts';

const MIB = 1 << 20;
const CONTENT = pattern(4 * MIB, 3);
let dir = '';
beforeAll(() => {
  dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-async-'));
  fs.writeFileSync(join(dir, 'disk'), CONTENT);
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

type Callback = (error: NodeJS.ErrnoException | null, count: number) => void;
/** The form in which it is called. */
type Read = (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
  done: Callback,
) => void;

/** Watches Node's reads: how many are under way, and the buffers that they go into. */
function watched() {
  const seen = { now: 0, most: 0, bytes: 0, mostBytes: 0, longest: 0 };
  const real: Read = fs.read;
  const read: Read = (fd, buffer, offset, length, position, done) => {
    seen.now++;
    seen.bytes += buffer.length;
    seen.most = Math.max(seen.most, seen.now);
    seen.mostBytes = Math.max(seen.mostBytes, seen.bytes);
    seen.longest = Math.max(seen.longest, length);
    real(fd, buffer, offset, length, position, (error, count) => {
      seen.now--;
      seen.bytes -= buffer.length;
      done(error, count);
    });
  };
  const spy = vi.spyOn(fs, 'read').mockImplementation(read as typeof fs.read);
  return { seen, stop: () => spy.mockRestore() };
}

test.each([
  ['many small ones: 64 at a time', 1000, 512, { most: 64, mostBytes: 64 * 512, longest: 512 }],
  ['many large ones: 16 MiB at a time', 40, 4 * MIB, { most: 16, mostBytes: 16 * MIB, longest: MIB }],
])('%s', async (_what, count, length, expected) => {
  const open = new OpenFile(fs.openSync(join(dir, 'disk'), 'r'), 'disk');
  const file = new AsyncFile(open);
  const { seen, stop } = watched();
  try {
    const targets = Array.from({ length: count }, () => new Uint8Array(length));
    await Promise.all(
      targets.map((target, n) => file.read((n % 4) * 512, new ArraySpans(target), 0, length)),
    );
    expect(seen).toMatchObject({ ...expected, now: 0, bytes: 0 });
    for (const [n, target] of targets.entries()) {
      const from = (n % 4) * 512;
      const there = Math.min(length, CONTENT.length - from);
      expect(Buffer.compare(target.subarray(0, there), CONTENT.subarray(from, from + there))).toBe(0);
    }
  } finally {
    stop();
    await open.close();
  }
});

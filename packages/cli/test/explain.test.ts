/** What a person reads first: the answers to logs of real threads, and the shape of an answer. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { explainText } from '../src/explain.ts';
import { violations } from './schema.ts';

describe('the shape of an answer', () => {
  const log =
    'qemu-kvm: VQ 0 vring.num 1024 exceeds allocated max 256\nqemu-kvm: load of migration failed: Invalid argument';

  test('cause, cure and the line that was said come first', () => {
    const [cause, cure, said] = explainText(log, false).text.split('\n');
    expect(cause).toMatch(/^Cause: Queue 0 has 1024 entries in the stream/);
    expect(cure).toMatch(/^Cure: /);
    expect(said).toBe('Said: VQ 0 vring.num 1024 exceeds allocated max 256');
  });

  test('JSON has a format and a schema', () => {
    const json = JSON.parse(explainText(log, true).text);
    expect(violations('explain', json)).toEqual([]);
    expect(json.format).toBe(2);
    expect(json.answers).toMatchObject([{ vms: [], certainty: 'cause', code: 'ring-size' }]);
  });

  test('twenty further messages are shown, and how many more there are', () => {
    const lines = Array.from({ length: 30 }, (_, n) => `qemu-kvm: Failed to load a${n}:b`).join('\n');
    const { text } = explainText(`${log}\n${lines}`, false);
    expect(text.match(/^ {2}- Failed to load/gm)).toHaveLength(19);
    expect(text).toContain('and 11 more');
  });

  test('no answer to what is no message', () => {
    expect(explainText('hello', false)).toEqual({ known: false, text: '' });
  });
});

interface Thread {
  /** Where the log was pasted. */
  readonly source: string;
  readonly log: readonly string[];
  /** What the first line of the answer says, and the second. */
  readonly cause: string;
  readonly cure: string;
}

const threads = JSON.parse(
  readFileSync(new URL('threads.json', import.meta.url), 'utf8'),
) as readonly Thread[];

describe('who reads only the first three lines knows what to do', () => {
  test.each(threads)('$source', ({ log, cause, cure }) => {
    const [first, second] = explainText(log.join('\n'), false).text.split('\n');
    expect(first).toMatch(/^Cause/);
    expect(first).toMatch(new RegExp(cause));
    expect(second).toMatch(/^Cure: /);
    expect(second).toMatch(new RegExp(cure));
    // the name is the same on both sides, or QEMU would have said so
    if (log.join().includes('unsupported. Allowed')) expect(second).not.toMatch(/same machine type/);
  });
});

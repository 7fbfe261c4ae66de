// The ledger of the specification: it fits the sources and the tests, and what does not fit is found.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const tool = fileURLToPath(new URL('../../../.ci/musts.mjs', import.meta.url));
const ledger = readFileSync(new URL('../../../.ci/musts.txt', import.meta.url), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'virtkit-musts-'));
afterAll(() => rmSync(folder, { recursive: true }));

function run(...args: string[]): { status: number | null; out: string; complaints: string[] } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [tool, ...args], { encoding: 'utf8' });
  return { status, out: stdout, complaints: stderr.split('\n').filter((line) => line !== '') };
}

/** What is said of a ledger with one line changed. The line is the only one that begins so. */
function changed(begin: string, change: (line: string) => string): string[] {
  const lines = ledger.split('\n');
  const at = lines.findIndex((line) => line.startsWith(begin));
  expect(lines.filter((line) => line.startsWith(begin))).toHaveLength(1);
  lines[at] = change(lines[at] ?? '');
  const path = join(folder, 'musts.txt');
  writeFileSync(path, lines.join('\n'));
  const { status, complaints } = run('--ledger', path);
  expect(status).toBe(complaints.length > 0 ? 1 : 0);
  return complaints;
}

test('every requirement has its row, every row its source and its test, every citation its row', () => {
  const { status, out, complaints } = run();
  expect(complaints).toEqual([]);
  expect(status).toBe(0);
  expect(out).toMatch(/^§2\.4\.1\t2 of 2\t/m);
  expect(out).toMatch(/^together\t\d+ of \d+\t/m);
});

test('the rows of a part', () => {
  const { out } = run('2.4');
  expect(out).toContain('1.3 §2.4.1/1 MUST: ');
  expect(out).not.toContain('§2.5');
});

const RESET = '2 | MUST NOT | no notification and no access to rings until initialised again';

test.each<[string, string, (line: string) => string, RegExp]>([
  ['a row is missing', RESET, () => '', /§2\.4\.1: requirement 2 has no row$/],
  ['a row is there twice', RESET, (line) => `${line}\n${line}`, /§2\.4\.1: requirement 2 has 2 rows$/],
  ['a row is unreadable', RESET, (line) => line.replace('MUST NOT', 'must not'), /cannot be read/],
  ['a verdict is none', RESET, (line) => line.replace('| met |', '| hardly |'), /cannot be read/],
  [
    'the section has more requirements',
    '== Virtio 1.3 §2.4.1 ',
    (line) => line.replace(/2$/, '3'),
    /requirement 3 has no row$/,
  ],
  [
    'a source does not cite the section',
    RESET,
    (line) => line.replace('core/src/live/device-core.ts', 'core/src/live/chain.ts'),
    /chain\.ts does not cite 1\.3 §2\.4\.1$/,
  ],
  [
    'a source is not there',
    RESET,
    (line) => line.replace('core/src/live/device-core.ts', 'core/src/live/devise.ts'),
    /there is no packages\/core\/src\/live\/devise\.ts$/,
  ],
  [
    'a part of a line is not there',
    RESET,
    (line) => line.replace('device-core.ts |', 'device-core.ts: no such line |'),
    /^musts: musts\.txt:\d+: 0 lines of .* have “no such line”$/,
  ],
  [
    'a test is not there',
    RESET,
    (line) => `${line} or does it`,
    /async\.test\.ts has no test “nothing that comes late touches memory or does it”$/,
  ],
  [
    'a test is no test',
    RESET,
    (line) => line.replace('async.test.ts', 'machine.ts'),
    /machine\.ts is no test$/,
  ],
  [
    'a cited section is not in the ledger',
    '== Virtio 1.3 §6.1 ',
    () => '',
    /packages\/core\/src\/live\/device-core\.ts:\d+: 1\.3 §6\.1 is not in the ledger$/,
  ],
  [
    'a cited level is not in the ledger',
    '== Virtio 1.3 §6.1 ',
    (line) => line.replace('MAY', 'MUST'),
    /packages\/core\/src\/live\/device-core\.ts:\d+: 1\.3 §6\.1 has no MAY$/,
  ],
])('found: %s', (_name, begin, change, complaint) => {
  const complaints = changed(begin, change);
  expect(complaints.filter((line) => complaint.test(line)).length).toBeGreaterThan(0);
});

// The ledger of error texts: each has an answer or a reason why it has none, and what has neither is found.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const census = readFileSync(join(root, '.ci/errors.txt'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'virtkit-errors-'));
afterAll(() => rmSync(folder, { recursive: true }));

function run(...args: string[]): { status: number | null; out: string; complaints: string[] } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--conditions=@virtkit/source', '.ci/errors.mjs', ...args],
    { encoding: 'utf8', cwd: root },
  );
  return { status, out: stdout, complaints: stderr.split('\n').filter((line) => line !== '') };
}

/** What is said of a census that has these rows and no others, with this scope. */
function judged(rows: readonly string[], scope: string): { status: number | null; complaints: string[] } {
  const paths = [join(folder, 'census.txt'), join(folder, 'scope.txt')] as const;
  writeFileSync(paths[0], `${rows.join('\n')}\n`);
  writeFileSync(paths[1], scope);
  return run('--census', paths[0], '--scope', paths[1]);
}

test('every error text has an answer or a reason, of every version', () => {
  const { status, out, complaints } = run();
  expect(complaints).toEqual([]);
  expect(status).toBe(0);
  const [, explained] =
    /(\d+) explained, \d+ out of scope, \d+ open; [\d.]+ % of those in scope/.exec(out) ?? [];
  expect(Number(explained)).toBeGreaterThan(2000);
  for (const version of ['5.2', '7.2', '8.2', '9.2', '10.0', '10.2', '11.1'])
    expect(
      census.match(new RegExp(`^qemu-(?:[\\d. ]* )?${version.replace('.', '\\.')}[ \\t]`, 'gm'))?.length,
    ).toBeGreaterThan(700);
}, 60_000);

const KNOWN = 'qemu-7.2\tmigration/savevm.c\tMissing section footer for %s';
const NEW = 'qemu-12.0\tmigration/savevm.c\tThe flux of %s is over %d';

test.each<[string, readonly string[], string, RegExp]>([
  ['a text has neither', [KNOWN, NEW], '', /no answer and no row: migration\/savevm\.c: The flux of/],
  ['less than 95 % are explained', [KNOWN, NEW], 'migration/savevm.c\tflux\t?\n', /less than 95 %/],
  ['a row is about no text', [KNOWN], 'migration/savevm.c\tflux\tno error\n', /a row about no text/],
])(
  '%s',
  (_name, rows, scope, complaint) => {
    const { status, complaints } = judged(rows, scope);
    expect(complaints).toEqual([expect.stringMatching(complaint)].concat(complaints.slice(1)));
    expect(status).toBe(1);
  },
  60_000,
);

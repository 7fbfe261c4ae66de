/** What hostile input may cost, at each entry point that reads it: time that grows with its bytes, and memory within a limit. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { growthOfAsync } from '@virtkit/lab/growth.ts';
import { describe, expect, test } from 'vitest';
import { BUDGETS, taken } from './budgets.ts';

describe('eight times the bytes take about eight times as long:', () => {
  test.each(BUDGETS)('$name', { timeout: 180_000 }, async (budget) => {
    const growth = await growthOfAsync(budget.make, (input) => taken(budget, input), budget.size);
    expect(growth).toBeLessThan(1.7);
  });
});

/** Objects of the largest inputs, of 16 MiB, fit into so much. What keeps an object for each few bytes takes a gigabyte. */
const HEAP_MIB = 192;
/** Arrays beside the heap, with the program itself. */
const RESIDENT_KIB = 640 << 10;

/** Runs a program of this folder. */
function run(program: string, ...args: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(
    process.execPath,
    [
      '--import',
      'tsx',
      '--conditions=@virtkit/source',
      `--max-old-space-size=${HEAP_MIB}`,
      fileURLToPath(new URL(program, import.meta.url)),
      ...args,
    ],
    { encoding: 'utf8', cwd: fileURLToPath(new URL('..', import.meta.url)) },
  );
}

test('all of them in a process with a small heap', { timeout: 300_000 }, () => {
  const { status, stdout, stderr } = run('budgets-run.ts');
  const lines = stdout.trim().split('\n');
  const what = `${lines.at(-1)}: ${stderr.slice(-2000)}`;
  expect(status, what).toBe(0);
  const [, kib] = /^all, in (\d+) KiB$/.exec(lines.at(-1) ?? '') ?? [];
  expect(Number(kib), what).toBeLessThan(RESIDENT_KIB);
  expect(lines).toHaveLength(BUDGETS.length + 1);
});

test('64 MiB more of device state take at most four times as much memory', { timeout: 300_000 }, () => {
  const [less, more] = [32, 96].map((mib) => {
    const { status, stdout, stderr } = run('kept-run.ts', String(mib));
    expect(status, stderr).toBe(0);
    const [length, kib] = stdout.trim().split(' ').map(Number);
    expect(length).toBe(mib << 20);
    return kib ?? Number.NaN;
  });
  expect((more ?? Number.NaN) - (less ?? Number.NaN)).toBeLessThan((4 * 64) << 10);
});

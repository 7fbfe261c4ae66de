// All tests, and the line with their numbers: `N passed, N failed, N skipped`.
//
// Half of the tests drive real QEMUs, browsers and servers beside each other, and a machine that does much else can make one of
// them fail that has no defect. So up to three files in which something failed run a second time, alone. What passes then is named
// FLAKY and counted as passed; what fails again has failed.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** More failed files than this are no accident. */
const SECOND_CHANCES = 3;

const folder = mkdtempSync(join(tmpdir(), 'virtkit-tests-'));
try {
  process.exitCode = main(process.argv.slice(2));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function main(args) {
  const first = run(args);
  if (first.result === undefined) return first.code || 1;
  const { passed, failed, skipped, strays, files } = first.result;
  const sum = { passed, failed, skipped };
  if (files.length > 0 && files.length <= SECOND_CHANCES && strays === 0) {
    console.log(`\n${files.length} files failed. They run once more, alone.\n`);
    for (const file of files) again(file, sum);
  }
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
  return sum.failed > 0 || (first.code !== 0 && failed === 0) ? 1 : 0;
}

/** Runs a file alone, and puts its numbers in the place of those that it had. */
function again(file, sum) {
  const { result, code } = run([file.path, '--maxWorkers=1']);
  if (result === undefined) return;
  for (const kind of ['passed', 'failed', 'skipped']) sum[kind] += result[kind] - file[kind];
  if (code === 0) console.log(`FLAKY: ${file.path} failed among the others, and passed alone.`);
}

function run(args) {
  const into = join(folder, 'result.json');
  rmSync(into, { force: true });
  const { status } = spawnSync(
    process.execPath,
    [
      'node_modules/vitest/vitest.mjs',
      'run',
      '--reporter=default',
      '--reporter=./.ci/count-reporter.ts',
      ...args,
    ],
    { stdio: 'inherit', env: { ...process.env, VIRTKIT_RESULT: into } },
  );
  const code = status ?? 1;
  try {
    return { code, result: JSON.parse(readFileSync(into, 'utf8')) };
  } catch {
    return { code, result: undefined };
  }
}

// Changes the sources in small ways, one at a time, and counts which changes the package's own tests notice (Stryker).
//
// `node .ci/pnpm.mjs mutants`                            all files that .ci/mutants.json names
// `node .ci/pnpm.mjs mutants core`                       those of one package
// `node .ci/pnpm.mjs mutants core src/live/in-order.ts`  some files of a package, named in the list or not
//
// Prints a line a file: mutants, killed, without a test, survived, and what is known to change nothing (equivalent mutants, with
// their reason in .ci/mutants.json). Survivors are listed in .mutants/PACKAGE.txt. Tests that need a QEMU or a browser do not take
// part: those that kill must run everywhere. Sources are changed where they stand, and put back: run it in a worktree of its own.
//
// VIRTKIT_MUTANTS_QUICK=1  all changes in one process, one test after the other: twenty times faster, for tests that are quick
// VIRTKIT_MUTANTS_AGAIN=1  then: what is known of the same sources is not tried again: after a run that was cut off, or for tests that are new
// VIRTKIT_MUTANTS_LONGEST  then: tests that take more milliseconds try nothing; default 1000
// VIRTKIT_MUTANTS_JOBS   else how many run at once; default 2
// VIRTKIT_MUTANTS_TESTS  only these tests of the package, with commas between: `test/live/in-order.test.ts`. Quick while tests are
//                        being written; what they kill is the least that all tests kill
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path/posix';
import { fileURLToPath } from 'node:url';
import { quick } from './mutants-quick.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = `${root}.mutants`;
/** Tests that need more than Node. */
const ELSEWHERE = ['**/*qemu*.test.ts', '**/browser.test.ts', '**/rtc.test.ts'];
/** @type {{ packages: Record<string, { files: string[], tests?: string[] }>, equivalent: { file: string, code: string, mutant: string, why: string }[] }} */
const list = JSON.parse(readFileSync(`${root}.ci/mutants.json`, 'utf8'));

const isQuick = process.env['VIRTKIT_MUTANTS_QUICK'] === '1';
const someTests = process.env['VIRTKIT_MUTANTS_TESTS']?.split(',');

const [only, ...named] = process.argv.slice(2);
const chosen = only === undefined ? Object.keys(list.packages) : [only];
let poor = 0;
for (const name of chosen) {
  const known = list.packages[name];
  const files = named.length > 0 ? named : (known?.files ?? []);
  if (files.length === 0) throw new Error(`no files of ${name} in .ci/mutants.json, and none named`);
  const tests = someTests ?? known?.tests ?? ['test/**/*.test.ts'];
  poor += report(name, isQuick ? await quickly(name, files, tests) : run(name, files, tests));
}
process.exitCode = poor > 0 ? 1 : 0;

/**
 * @param {string} name
 * @param {string[]} tests
 * @param {string} more settings of the tests
 * @returns {string} a configuration of vitest
 */
function testConfig(name, tests, more) {
  const path = `${out}/${name}.vitest.config.mjs`;
  const globs = tests.map((test) => join('packages', name, test));
  writeFileSync(
    path,
    `import base from ${JSON.stringify(`${root}vitest.config.ts`)};\nexport default { ...base, root: ${JSON.stringify(root)}, test: { ...base.test, include: ${JSON.stringify(globs)}, exclude: ${JSON.stringify(ELSEWHERE)}, reporters: ['default'], ${more} } };\n`,
  );
  return path;
}

/**
 * @param {string} name
 * @param {string[]} files
 * @param {string[]} tests
 */
async function quickly(name, files, tests) {
  mkdirSync(out, { recursive: true });
  const runner = JSON.stringify(`${root}.ci/mutants-runner.mjs`);
  // time is watched by the runner
  const more = `runner: ${runner}, fileParallelism: false, maxWorkers: 1, testTimeout: 1e8, hookTimeout: 1e8, dangerouslyIgnoreUnhandledErrors: true`;
  return quick(name, files, testConfig(name, tests, more), out);
}

/**
 * @param {string} name
 * @param {string[]} files
 * @param {string[]} tests
 */
function run(name, files, tests) {
  mkdirSync(out, { recursive: true });
  const json = `${out}/${name}.json`;
  rmSync(json, { force: true });
  const folder = `packages/${name}`;
  const vitest = testConfig(name, tests, '');
  const config = `${out}/${name}.stryker.json`;
  writeFileSync(
    config,
    JSON.stringify({
      testRunner: 'vitest',
      vitest: { configFile: vitest },
      plugins: ['@stryker-mutator/vitest-runner'],
      coverageAnalysis: 'perTest',
      mutate: files.map((file) => `${folder}/${file}`),
      // it would want TypeScript's JavaScript API, which version 7 has not
      tsconfigFile: 'none.json',
      inPlace: true,
      tempDirName: '.mutants/tmp',
      reporters: ['json'],
      jsonReporter: { fileName: json },
      concurrency: Number(process.env['VIRTKIT_MUTANTS_JOBS'] ?? 2),
      timeoutMS: 20_000,
      allowEmpty: true,
      disableTypeChecks: false,
    }),
  );
  const stryker = `${root}node_modules/@stryker-mutator/core/bin/stryker.js`;
  const { status, stdout, stderr } = spawnSync(process.execPath, [stryker, 'run', config], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (status !== 0 && !existsSync(json)) throw new Error(`${stdout}\n${stderr}`);
  return JSON.parse(readFileSync(json, 'utf8'));
}

/**
 * @param {string} name
 * @param {{ files: Record<string, { source: string, mutants: { status: string, replacement: string, mutatorName: string, location: { start: { line: number, column: number }, end: { line: number, column: number } } }[] }> }} result
 * @returns {number} files that are below the aim
 */
function report(name, { files }) {
  const survivors = [];
  let below = 0;
  for (const [file, { source, mutants }] of Object.entries(files)) {
    const count = { killed: 0, equivalent: 0, survived: 0, untested: 0 };
    for (const mutant of mutants) {
      const code = excerpt(source, mutant.location);
      if (['Killed', 'Timeout', 'RuntimeError', 'CompileError'].includes(mutant.status)) count.killed++;
      else if (['Ignored', 'Pending'].includes(mutant.status)) continue;
      else if (isEquivalent(file, code, mutant.replacement)) count.equivalent++;
      else {
        count[mutant.status === 'NoCoverage' ? 'untested' : 'survived']++;
        survivors.push(
          `${file}:${mutant.location.start.line}:${mutant.location.start.column} ${mutant.mutatorName}${mutant.status === 'NoCoverage' ? ' (no test)' : ''}\n  ${code}\n  ${mutant.replacement}`,
        );
      }
    }
    const judged = count.killed + count.survived + count.untested;
    const share = judged === 0 ? 100 : (100 * count.killed) / judged;
    if (share < 90) below++;
    console.log(
      `${share.toFixed(1).padStart(5)} %  ${file}: ${judged} mutants, ${count.killed} killed, ${count.survived} survived, ${count.untested} without a test, ${count.equivalent} equivalent`,
    );
  }
  writeFileSync(`${out}/${name}.txt`, `${survivors.join('\n')}\n`);
  return below;
}

/** @param {string} file @param {string} code @param {string} mutant */
function isEquivalent(file, code, mutant) {
  return list.equivalent.some((one) => file.endsWith(one.file) && one.code === code && one.mutant === mutant);
}

/**
 * @param {string} source
 * @param {{ start: { line: number, column: number }, end: { line: number, column: number } }} location
 */
function excerpt(source, { start, end }) {
  const lines = source.split('\n').slice(start.line - 1, end.line);
  lines[lines.length - 1] = (lines.at(-1) ?? '').slice(0, end.column - 1);
  lines[0] = (lines[0] ?? '').slice(start.column - 1);
  return lines.join('\n').replace(/\s+/g, ' ');
}

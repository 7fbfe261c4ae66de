import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';

/** What a run of the tests came to, as `.ci/test.mjs` reads it. */
export interface RunResult {
  readonly passed: number;
  readonly skipped: number;
  readonly failed: number;
  /** Test files in which something failed, from the top of the project, with the numbers of their tests. */
  readonly files: readonly FailedFile[];
  /** Errors that belong to no file. */
  readonly strays: number;
}

export interface FailedFile {
  readonly path: string;
  readonly passed: number;
  readonly skipped: number;
  readonly failed: number;
}

/** Writes what a run came to into the file that VIRTKIT_RESULT names. */
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const file = process.env['VIRTKIT_RESULT'];
    if (file !== undefined) writeFileSync(file, JSON.stringify(resultOf(modules, errors)));
  }
}

function resultOf(modules: readonly TestModule[], errors: readonly unknown[]): RunResult {
  const total = { passed: 0, skipped: 0, failed: 0, strays: 0 };
  const failed: FailedFile[] = [];
  const unhandled = errors.map(pathOf);
  for (const module of modules) {
    const counts = { passed: 0, skipped: 0, failed: 0 };
    // A file that does not even load counts as one failed test, and so does each error that no test caught.
    if (module.errors().length > 0) counts.failed++;
    // The tests of a group whose `beforeAll` failed are skipped: that is a failure all the same.
    for (const suite of module.children.allSuites()) if (suite.errors().length > 0) counts.failed++;
    counts.failed += unhandled.filter((path) => path === module.moduleId).length;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed') counts.passed++;
      else if (state === 'failed') counts.failed++;
      else counts.skipped++;
    }
    if (counts.failed > 0) failed.push({ path: relative(process.cwd(), module.moduleId), ...counts });
    total.passed += counts.passed;
    total.skipped += counts.skipped;
    total.failed += counts.failed;
  }
  const known = new Set(modules.map(({ moduleId }) => moduleId));
  total.strays = unhandled.filter((path) => path === undefined || !known.has(path)).length;
  total.failed += total.strays;
  return { ...total, files: failed };
}

/** The test file that was running when an error was thrown that nothing caught. */
function pathOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('VITEST_TEST_PATH' in error)) return undefined;
  const { VITEST_TEST_PATH: path } = error;
  return typeof path === 'string' ? path : undefined;
}

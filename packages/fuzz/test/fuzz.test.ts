/**
 * Two minutes of fuzzing, shared by all targets, where the fuzzer runs: what a change has broken is often found at once.
 * VIRTKIT_FUZZ_SECONDS takes another time for all together.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { bundle, fuzzTarget, whyNot } from '../src/jazzer.ts';
import { TARGETS } from '../src/targets.ts';
import { seedFolder } from '../src/work-folder.ts';

const seconds = Number(process.env['VIRTKIT_FUZZ_SECONDS'] ?? 120);
const share = Math.max(1, Math.round(seconds / TARGETS.length));
const reason = whyNot();
if (reason !== undefined)
  console.warn(
    `SKIPPED: fuzzing, for the fuzzer does not run here: ${reason}. VIRTKIT_FUZZ_ROOT may name a system with which it does (packages/fuzz/README.md)`,
  );

describe.skipIf(reason !== undefined)('what the fuzzer finds in a moment', () => {
  beforeAll(bundle, 300_000);

  test.each(TARGETS)('$name', { timeout: 300_000 + share * 1000 }, async (target) => {
    const report = await fuzzTarget(target, seedFolder(target), { seconds: share });
    expect(report.crash).toBeUndefined();
    // what is in the corpus was read at least
    expect(report.executions).toBeGreaterThan(0);
    expect(report.coverage).toBeGreaterThan(0);
  });
});

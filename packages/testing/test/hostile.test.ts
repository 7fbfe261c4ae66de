import { describe, expect, test } from 'vitest';
import { HOSTILE } from './hostile-targets.ts';

/** Each; hostile-run.ts does as many as one has time for. */
const OPERATIONS = 6000;

describe('a hostile guest: no exception, one fault at most until its reset, whole afterwards', () => {
  test.each(HOSTILE)('$name', { timeout: 120_000 }, async ({ run }) => {
    const report = await run(OPERATIONS, 7);
    expect(report.operations).toBe(OPERATIONS);
    // it got through to the rings, and broke them
    expect(report.faults).toBeGreaterThan(0);
    expect(report.moves).toBeGreaterThan(0);
  });
});

import { describe, expect, test } from 'vitest';
import { HOSTILE, strays } from './hostile-targets.ts';

/** Each; hostile-run.ts does as many as one has time for. */
const OPERATIONS = 4000;
const CHANGING_OPERATIONS = 1000;

/** Accesses to guest memory and bytes to back ends that a single operation may take: a ring of requests for the whole disk. */
const STEPS_MAX = 2 ** 25;

describe('a hostile guest: no exception, one fault at most until its reset, whole afterwards', () => {
  test.each(HOSTILE)('$name', { timeout: 120_000 }, async ({ run }) => {
    const report = await run(OPERATIONS, 7);
    expect(report.operations).toBe(OPERATIONS);
    expect(report.hardest).toBeLessThan(STEPS_MAX);
    // it got through to the rings, and broke them
    expect(report.faults).toBeGreaterThan(0);
    expect(report.moves).toBeGreaterThan(0);
    expect(strays).toEqual([]);
  });

  test.each(HOSTILE)(
    '$name, in memory that changes while the device reads it',
    { timeout: 120_000 },
    async ({ run }) => {
      const report = await run(CHANGING_OPERATIONS, 8, { changing: true });
      expect(report.operations).toBe(CHANGING_OPERATIONS);
      expect(strays).toEqual([]);
      expect(report.faults).toBeGreaterThan(0);
    },
  );
});

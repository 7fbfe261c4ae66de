// The inputs that the fuzzer found, and those that once were defects: each must pass, on every machine.
import { describe, expect, test } from 'vitest';
import { readCorpus } from '../src/corpus.ts';
import { TARGETS } from '../src/targets.ts';

describe('inputs that the fuzzer found', () => {
  test.each(TARGETS)('$name', { timeout: 300_000 }, async (target) => {
    const inputs = readCorpus(target.name);
    // a corpus that was not kept would pass as well
    expect(inputs.length).toBeGreaterThan(0);
    for (const input of inputs) {
      expect(input.length).toBeLessThanOrEqual(target.lengthMax);
      await target.run(input);
    }
  });
});

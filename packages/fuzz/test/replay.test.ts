// The inputs that the fuzzer found, and those that once were defects: each must pass, on every machine.
import { describe, expect, test } from 'vitest';
import { readCorpus } from '../src/corpus.ts';
import { rehearsal as client } from '../src/targets/client.ts';
import { rehearsal as frontEnd } from '../src/targets/front-end.ts';
import { TARGETS } from '../src/targets.ts';

describe('a peer that does everything right is served to its end', () => {
  test.each([
    ['vhost-user', frontEnd],
    ['vfio-user', client],
  ])('%s', async (_name, rehearsal) => {
    const { length, read, usedIdx } = await rehearsal();
    expect({ read, usedIdx }).toEqual({ read: length, usedIdx: 1 });
  });
});

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

import { findQemu } from '@virtkit/lab';
import { describe, expect, test } from 'vitest';
import { tabulate } from '../src/difference.ts';
import { chooseSetup, MODES } from '../src/modes.ts';
import { Random } from '../src/random.ts';
import { run } from '../src/run.ts';
import { nameSetup } from '../src/setup.ts';
import { shrink } from '../src/shrink.ts';

const OPERATIONS = 12_000;
const TIMEOUT_MS = 120_000;

const cases = MODES.flatMap((mode) => (['blk', 'net'] as const).map((device) => ({ mode, device })));

describe.each(cases)('$device, $mode drivers', ({ mode, device }) => {
  test('a real QEMU and ours read, write, interrupt and save the same', {
    timeout: TIMEOUT_MS,
  }, async (context) => {
    const binary = findQemu('x86_64');
    if (binary === undefined) {
      console.warn('SKIPPED: lockstep with QEMU: qemu-system-x86_64 is not installed');
      return context.skip('qemu-system-x86_64 is not installed');
    }
    let done = 0;
    for (let seed = 1; done < OPERATIONS; seed++) {
      const setup = chooseSetup(new Random(seed), mode, device);
      const result = await run({ binary, setup, seed, operations: OPERATIONS - done, migrateEvery: 2000 });
      done += result.operations;
      if (result.difference === undefined) continue;
      const shrunk = await shrink(binary, setup, result.history, result.difference, 60);
      expect.fail(
        `seed ${seed}: ${nameSetup(setup)}\n${tabulate(shrunk?.operations ?? [], shrunk?.difference ?? result.difference)}`,
      );
    }
    expect(done).toBeGreaterThanOrEqual(OPERATIONS);
  });
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectSame, Stories, Travel } from './migration.ts';
import { TestClock } from './pipe.ts';

/** Each kind of trouble is rare, so that others get their turn. */
function rare<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
}

const trouble = fc.record({
  kind: fc.constantFrom('closed' as const, 'silent' as const),
  /** Where the connection is cut. */
  forth: rare(fc.nat(40_000)),
  back: rare(fc.nat(24)),
  afterAgreement: rare(fc.nat(500)),
  /** How often something was written when either side is cancelled. */
  cancelSource: rare(fc.nat(8)),
  cancelDestination: rare(fc.nat(8)),
  failSource: rare(fc.constantFrom('pause' as const, 'save' as const, 'startLog' as const)),
  failDestination: rare(fc.constantFrom('load' as const, 'resume' as const)),
  chunk: fc.constantFrom(50, 1000, 1 << 20),
  scribbles: fc.nat(6),
  rounds: fc.integer({ min: 1, max: 4 }),
});

test('whatever happens at the same time, one machine runs, or none until it is decided', {
  timeout: 120_000,
}, async () => {
  const stories = new Stories();
  await fc.assert(
    fc.asyncProperty(trouble, async (wrong) => {
      const travel = new Travel();
      const clock = new TestClock();
      const pipe = travel.connect(wrong.kind);
      pipe.chunk = wrong.chunk;
      pipe.forth.limit = wrong.forth ?? pipe.forth.limit;
      pipe.back.limit = wrong.back ?? pipe.back.limit;
      pipe.afterAgreement = wrong.afterAgreement;
      const { source, destination } = travel;
      source.failing = wrong.failSource;
      destination.failing = wrong.failDestination;
      const [cancelSource, cancelDestination] = [new AbortController(), new AbortController()];
      let turns = 0;
      pipe.turn = () => {
        clock.pass(30);
        if (turns === wrong.cancelSource) cancelSource.abort();
        if (turns === wrong.cancelDestination) cancelDestination.abort();
        turns++;
        const { running } = travel.world;
        running?.step();
        running?.scribble(wrong.scribbles);
      };
      const outcome = await travel.move(
        {
          clock,
          downtimeLimitMs: 1,
          maxRounds: wrong.rounds,
          whenNotConverging: 'force',
          signal: cancelSource.signal,
        },
        { clock, signal: cancelDestination.signal },
      );
      clock.stop();
      source.failing = undefined;
      destination.failing = undefined;
      if (outcome.received.result === 'arrived') expectSame(destination.atResume, source.atPause);
      stories.add(await travel.settle(outcome));
    }),
    { numRuns: 500 },
  );
  expect(Object.keys(stories.counts).sort()).toEqual([
    'moved arrived',
    'stayed failed',
    'unknown arrived',
    'unknown failed',
  ]);
});

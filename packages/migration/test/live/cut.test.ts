import { expect, test } from 'vitest';
import { Stories, Travel } from './migration.ts';
import { TestClock } from './pipe.ts';

const DIRECTIONS = ['forth', 'back'] as const;
/** Both messages of the destination before its last word. */
const PONGS = 16;
const SHUT = 8;

/** Bytes of a whole migration in each direction: all of this guest's are alike. */
async function lengths(): Promise<{ forth: number; back: number; end: number }> {
  const travel = new Travel();
  const outcome = await travel.move();
  expect(await travel.settle(outcome)).toBe('moved arrived');
  const { forth, back } = travel.pipe;
  return { forth: forth.written, back: back.written, end: forth.record.at(-1)?.length ?? 0 };
}

test('cut at every byte of either direction, the guest runs on exactly one machine, or none until it is decided', {
  timeout: 180_000,
}, async () => {
  const whole = await lengths();
  expect(whole.back).toBe(PONGS + SHUT);
  const stories = new Stories();
  const travel = new Travel();
  for (const direction of DIRECTIONS) {
    for (let at = 0; at < whole[direction]; at++) {
      travel.connect()[direction].limit = at;
      stories.add(`${direction}: ${await travel.settle(await travel.move())}`);
    }
  }
  expect(whole.forth).toBeGreaterThan(20_000);
  expect(stories.counts).toEqual({
    'forth: stayed failed': whole.forth - whole.end,
    // the end of the stream was handed to the connection, and came or did not: only the destination knows
    'forth: unknown failed': whole.end,
    'back: stayed failed': PONGS,
    'back: unknown arrived': SHUT,
  });
});

test('a connection that goes silent at any byte is given up after a time, with the same outcomes', {
  timeout: 120_000,
}, async () => {
  const whole = await lengths();
  const stories = new Stories();
  const travel = new Travel();
  const clock = new TestClock();
  for (const direction of DIRECTIONS) {
    for (let at = 0; at < whole[direction]; at += at < 200 || at > whole[direction] - 600 ? 3 : 97) {
      travel.connect('silent')[direction].limit = at;
      const outcome = await travel.move({ clock }, { clock });
      stories.add(`${direction}: ${await travel.settle(outcome)}`);
      if (outcome.received.result === 'failed')
        expect(outcome.received.reason).toMatch(/^(timeout|refused)$/);
    }
  }
  clock.stop();
  expect(Object.keys(stories.counts).sort()).toEqual([
    'back: stayed failed',
    'back: unknown arrived',
    'forth: stayed failed',
    'forth: unknown failed',
  ]);
});

import { expect, test } from 'vitest';
import { type ReceiveOptions, receiveLive, type SendOptions, sendLive } from '../../src/live.ts';
import { type CutKind, Pipe } from './pipe.ts';
import { SmallMachine, SmallWorld } from './small.ts';

/** A source that runs, a destination that waits, and the connection between them. */
class Migration {
  readonly world = new SmallWorld();
  readonly source = new SmallMachine(this.world);
  readonly destination = new SmallMachine(this.world);
  readonly pipe: Pipe;

  constructor(kind: CutKind = 'closed') {
    this.pipe = new Pipe(kind);
    this.source.boot();
    for (let n = 0; n < 3; n++) this.source.step();
    // the guest works while it moves
    this.pipe.turn = () => this.world.running?.step();
  }

  async run(options: SendOptions = {}, receive: ReceiveOptions = {}) {
    const [sent, received] = await Promise.all([
      sendLive(this.pipe.a, this.source, options),
      receiveLive(this.pipe.b, this.destination, receive),
    ]);
    return { sent, received };
  }
}

/** After a migration, whatever came of it: one machine runs at most, and its guest works on. */
async function settle(
  { world, source, destination }: Migration,
  { sent, received }: Awaited<ReturnType<Migration['run']>>,
): Promise<string> {
  expect(world.faults).toEqual([]);
  const before = world.running;
  if (sent.result === 'unknown') {
    // the documented window: here or there is asked for
    expect(before).toBe(received.result === 'arrived' ? destination : undefined);
    if (received.result === 'failed') await sent.resume();
  } else {
    expect([sent.result, received.result]).toEqual(
      before === destination ? ['moved', 'arrived'] : ['stayed', 'failed'],
    );
  }
  const { running } = world;
  if (running === undefined) throw new Error('no machine runs');
  const { rounds } = running;
  for (let n = 0; n < 8; n++) running.step();
  expect(running.rounds).toBe(rounds + 4);
  expect(world.faults).toEqual([]);
  return `${sent.result} ${received.result}`;
}

test('a machine moves while its guest works', async () => {
  const migration = new Migration();
  const outcome = await migration.run();
  expect(outcome.sent).toMatchObject({ result: 'moved', progress: { phase: 'done' } });
  expect(outcome.received.result).toBe('arrived');
  expect(migration.world.running).toBe(migration.destination);
  expect(
    Buffer.compare(migration.destination.atResume ?? Buffer.of(), migration.source.atPause ?? Buffer.of()),
  ).toBe(0);
  await settle(migration, outcome);
});

test('the connection is cut at every byte', async () => {
  const whole = new Migration();
  await whole.run();
  const outcomes = new Map<string, number>();
  for (const direction of ['forth', 'back'] as const) {
    for (let at = 0; at < whole.pipe[direction].written; at++) {
      const migration = new Migration();
      migration.pipe[direction].limit = at;
      const outcome = await migration.run();
      const key = `${direction} ${await settle(migration, outcome)}`;
      outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
    }
  }
  // handed over, and not heard of: where the end of the stream or the last word were cut
  expect([...outcomes.keys()].sort()).toEqual([
    'back stayed failed',
    'back unknown arrived',
    'forth stayed failed',
    'forth unknown failed',
  ]);
  expect(outcomes.get('back unknown arrived')).toBe(8);
});

import { expect } from 'vitest';
import {
  type ReceiveOptions,
  type ReceiveOutcome,
  receiveLive,
  type SendOptions,
  type SendOutcome,
  sendLive,
} from '../../src/live.ts';
import { type CutKind, Pipe } from './pipe.ts';
import { SmallMachine, SmallWorld } from './small.ts';

/** How both sides ended. */
export interface Outcome {
  readonly sent: SendOutcome;
  readonly received: ReceiveOutcome;
}

/** A guest on one of two machines, and the connections over which it moves, one after the other. */
export class Travel {
  readonly world = new SmallWorld();
  source = new SmallMachine(this.world);
  destination = new SmallMachine(this.world);
  pipe = new Pipe();

  constructor() {
    this.source.boot();
    for (let n = 0; n < 6; n++) this.source.step();
    this.connect();
  }

  /** A new connection; the guest works whenever something is written to it. */
  connect(kind: CutKind = 'closed'): Pipe {
    this.pipe = new Pipe(kind);
    this.pipe.turn = () => this.world.running?.step();
    return this.pipe;
  }

  async move(send: SendOptions = {}, receive: ReceiveOptions = {}): Promise<Outcome> {
    const [sent, received] = await Promise.all([
      // one round, however slow this computer is: all streams of this guest are alike
      sendLive(this.pipe.a, this.source, { downtimeLimitMs: 1e6, ...send }),
      receiveLive(this.pipe.b, this.destination, receive),
    ]);
    return { sent, received };
  }

  /**
   * Whatever came of it: of the two machines, the right one runs, or in the documented window none does until it is decided.
   * The guest then goes on, and finds on its disk what it wrote. Answers both results.
   */
  async settle({ sent, received }: Outcome): Promise<string> {
    const { world, source, destination } = this;
    const story = `${sent.result} ${received.result}`;
    expect(world.faults).toEqual([]);
    if (story === 'unknown failed') {
      expect(world.running).toBeUndefined();
      if (sent.result === 'unknown') await sent.resume();
    } else if (!['moved arrived', 'unknown arrived', 'stayed failed'].includes(story)) {
      throw new Error(`${story}: ${JSON.stringify({ sent, received })}`);
    }
    const expected = received.result === 'arrived' ? destination : source;
    expect(world.running).toBe(expected);
    const { rounds } = expected;
    for (let n = 0; n < 8; n++) expected.step();
    expect(expected.rounds).toBe(rounds + 4);
    expect(world.faults).toEqual([]);
    if (received.result === 'arrived') {
      this.source = destination;
      this.destination = new SmallMachine(world);
    }
    return story;
  }
}

/** Same bytes? Told without looking at each of them, which takes vitest long. */
export function expectSame(found: Uint8Array | undefined, expected: Uint8Array | undefined): void {
  expect(found?.length).toBe(expected?.length);
  const difference = found?.findIndex((byte, at) => byte !== expected?.[at]);
  expect(difference, 'first byte that differs').toBe(-1);
}

/** How often each story was told. */
export class Stories {
  readonly counts: Record<string, number> = {};

  add(story: string): void {
    this.counts[story] = (this.counts[story] ?? 0) + 1;
  }
}

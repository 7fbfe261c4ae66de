import { describe, expect, test } from 'vitest';
import type { ByteDuplex } from '../../src/live.ts';
import { Travel } from './migration.ts';
import { TestClock } from './pipe.ts';

// Peers that misbehave, at every step of the protocol, in both directions. Whatever they do: of two machines one has the guest, both
// sides come to an end, and neither takes more than there is room for.

type Direction = 'forth' | 'back';

/** What becomes of the message with which it begins, and of those behind it. */
type Fault =
  /** Nothing comes through any more, and who writes is not told. */
  | 'stalls'
  /** Nothing comes through, and who writes waits. */
  | 'takes nothing'
  | 'is cut'
  /** The direction ends, the other one stays open. */
  | 'ends'
  /** The message comes twice. */
  | 'says it twice'
  /** It comes when nobody waits any more. */
  | 'says it late'
  /** It comes in front of the one before it: that one is held back until then. */
  | 'says it early'
  /** It never comes; the ones behind it do. */
  | 'loses it'
  /** Behind it comes this, without end, and nothing else. */
  | { readonly floods: string; readonly bytes: Uint8Array };

const be = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const repeat = (of: Uint8Array, count: number): Uint8Array =>
  Uint8Array.from({ length: of.length * count }, (_, at) => of[at % of.length] ?? 0);

const FLOODS: Readonly<Record<Direction, readonly Fault[]>> = {
  forth: [
    { floods: 'nothing', bytes: be() },
    { floods: 'zeros', bytes: new Uint8Array(65536) },
    { floods: 'PINGs', bytes: repeat(be(8, 0, 2, 0, 4, 0, 0, 0, 1), 5000) },
    { floods: 'questions', bytes: repeat(be(8, 0, 2, 0, 4, 0x76, 0x69, 0x72, 0x74), 5000) },
    { floods: 'one question at a time', bytes: be(8, 0, 2, 0, 4, 0x76, 0x69, 0x72, 0x74) },
    { floods: 'empty commands', bytes: repeat(be(8, 0, 1, 0, 0), 10_000) },
    { floods: 'footers', bytes: repeat(be(0x7e, 0, 0, 0, 1), 10_000) },
    { floods: 'ends', bytes: repeat(be(0, 6, 0, 0, 0, 2, 0x7b, 0x7d), 8000) },
  ],
  back: [
    { floods: 'nothing', bytes: be() },
    { floods: 'zeros', bytes: new Uint8Array(65536) },
    { floods: 'PONGs', bytes: repeat(be(0, 2, 0, 4, 0, 0, 0, 1), 16) },
    { floods: 'agreements', bytes: be(0, 2, 0, 4, 0x76, 0x69, 0x72, 0x74) },
    { floods: 'last words', bytes: be(0, 1, 0, 4, 0, 0, 0, 1) },
  ],
};
const FAULTS: readonly Fault[] = [
  'stalls',
  'takes nothing',
  'is cut',
  'ends',
  'says it twice',
  'says it late',
  'says it early',
  'loses it',
];
const nameOf = (fault: Fault): string => (typeof fault === 'string' ? fault : `floods with ${fault.floods}`);

/** What becomes of it, at each step: the guest stays (s), moves (m), or is in doubt and there (t), or nowhere until that is settled (n). */
const EXPECTED: Readonly<Record<Direction, Readonly<Record<string, string>>>> = {
  forth: {
    stalls: 'sssn',
    'takes nothing': 'sssn',
    'is cut': 'sssn',
    ends: 'ssss',
    'says it twice': 'smsm',
    'says it late': 'sssn',
    'says it early': 'msss',
    'loses it': 'sssn',
  },
  back: {
    stalls: 'sst',
    'takes nothing': 'sst',
    'is cut': 'sst',
    ends: 'sst',
    'says it twice': 'mmm',
    'says it late': 'mst',
    'says it early': 'mms',
    'loses it': 'mst',
  },
};
const LETTERS: Readonly<Record<string, string>> = {
  'stayed failed': 's',
  'moved arrived': 'm',
  'unknown arrived': 't',
  'unknown failed': 'n',
};

/** How late is late: behind all time limits. */
const LATE_MS = 100_000;
const NEVER = new Promise<never>(() => {});

/** One direction of a connection, in which something goes wrong with the message of that number. */
class Wire {
  readonly #clock: TestClock;
  readonly #fault: Fault | undefined;
  readonly #at: number;
  #queue: Uint8Array[] = [];
  #held: Uint8Array | undefined;
  #wake: (() => void)[] = [];
  #ended = false;
  #flooding = false;
  cut = false;
  /** Messages that were written. */
  messages = 0;
  /** Bytes and chunks that were read. */
  bytes = 0;
  chunks = 0;

  constructor(clock: TestClock, fault: Fault | undefined, at: number) {
    this.#clock = clock;
    this.#fault = fault;
    this.#at = at;
  }

  async write(bytes: Uint8Array, sever: () => void): Promise<void> {
    if (this.cut) throw new Error('the connection was cut');
    const number = this.messages++;
    const fault = this.#fault;
    if (fault === undefined || number < this.#at - 1) return this.#deliver(bytes);
    if (number === this.#at - 1) {
      if (fault === 'says it early') this.#held = bytes;
      else this.#deliver(bytes);
      return;
    }
    switch (fault) {
      case 'stalls':
        return;
      case 'takes nothing':
        return NEVER;
      case 'is cut':
        sever();
        throw new Error('the connection was cut');
      case 'ends':
        this.end();
        return;
      default:
        this.#misplace(fault, number, bytes);
    }
  }

  #misplace(fault: Fault, number: number, bytes: Uint8Array): void {
    if (this.#flooding) return;
    const isIt = number === this.#at;
    if (isIt && fault === 'says it late') {
      this.#clock.after(LATE_MS, () => this.#deliver(bytes));
      return;
    }
    if (isIt && fault === 'loses it') return;
    this.#deliver(bytes);
    if (!isIt) return;
    if (fault === 'says it twice') this.#deliver(bytes);
    if (fault === 'says it early' && this.#held !== undefined) this.#deliver(this.#held);
    if (typeof fault === 'object') this.#flooding = true;
  }

  #deliver(bytes: Uint8Array): void {
    this.#queue.push(bytes.slice());
    this.wake();
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#queue.shift() ?? (this.#flooding ? this.#flood : undefined);
      if (chunk !== undefined && !this.#closed) {
        this.bytes += chunk.length;
        this.chunks++;
        return chunk;
      }
      if (this.cut || this.#ended || this.#closed) return undefined;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  #closed = false;

  get #flood(): Uint8Array | undefined {
    return typeof this.#fault === 'object' ? this.#fault.bytes.slice() : undefined;
  }

  end(): void {
    this.#ended = true;
    this.wake();
  }

  /** Who reads has closed. */
  close(): void {
    this.#closed = true;
    this.wake();
  }

  wake(): void {
    for (const each of this.#wake.splice(0)) each();
  }
}

async function move(direction: Direction, at: number, fault: Fault | undefined) {
  const travel = new Travel();
  const clock = new TestClock();
  const wires = {
    forth: new Wire(clock, direction === 'forth' ? fault : undefined, at),
    back: new Wire(clock, direction === 'back' ? fault : undefined, at),
  };
  const sever = (): void => {
    for (const wire of Object.values(wires)) {
      wire.cut = true;
      wire.wake();
    }
  };
  const end = (out: Wire, into: Wire): ByteDuplex => ({
    write: (bytes) => {
      travel.world.running?.step();
      return out.write(bytes, sever);
    },
    read: () => into.read(),
    close: () => {
      out.end();
      into.close();
    },
  });
  travel.pipe.turn = () => {};
  Object.defineProperty(travel.pipe, 'a', { value: end(wires.forth, wires.back) });
  Object.defineProperty(travel.pipe, 'b', { value: end(wires.back, wires.forth) });
  const outcome = await travel.move({ clock }, { clock, maxRounds: 4, maxDeviceState: 1 << 20 });
  const story = await travel.settle(outcome);
  // what comes late comes now, and changes nothing
  const { running } = travel.world;
  await new Promise<void>((resolve) => void clock.after(2 * LATE_MS, resolve));
  clock.stop();
  expect(travel.world.running).toBe(running);
  expect(travel.world.faults).toEqual([]);
  return { story, wires };
}

describe.each<Direction>(['forth', 'back'])('a peer that misbehaves, %s', (direction) => {
  test.each([...FAULTS, ...FLOODS[direction]].map((fault) => [nameOf(fault), fault] as const))(
    '%s',
    { timeout: 120_000 },
    async (_name, fault) => {
      const good = await move(direction, 0, undefined);
      expect(good.story).toBe('moved arrived');
      const steps = good.wires[direction].messages;
      let stories = '';
      for (let at = 0; at < steps; at++) {
        const { story, wires } = await move(direction, at, fault);
        stories += LETTERS[story] ?? story;
        // what is more than a whole migration is not listened to for long
        const wire = wires[direction];
        expect(wire.bytes).toBeLessThan(good.wires[direction].bytes + (6 << 20));
        expect(wire.chunks).toBeLessThan(120_000);
      }
      expect(stories).toBe(EXPECTED[direction][nameOf(fault)] ?? stories);
    },
  );
});

import { StreamWriter } from '@virtkit/migration';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ByteDuplex,
  comparedRam,
  type LiveMachine,
  type LiveSection,
  opaqueSection,
  receiveLive,
  sendLive,
} from '../../src/live.ts';
import { expectSame } from './migration.ts';
import { Pipe, TestClock } from './pipe.ts';

// What a guest writes into device state: it may look like anything that a stream has.

const PAGE = 4096;

/** A screen whose length stands in front of it, or one of the host's own that takes whatever comes. */
type Kind = 'counted' | 'any';

/** A machine with a screen that its guest paints. */
class Painted implements LiveMachine {
  readonly name = 'painted';
  readonly bytes = new Uint8Array(4 * PAGE).fill(1);
  readonly ram = comparedRam([{ name: 'ram', length: this.bytes.length, bytes: () => this.bytes }]);
  readonly sections: readonly LiveSection[];
  screen: Uint8Array;
  runs = false;

  constructor(kind: Kind, screen: Uint8Array) {
    this.screen = screen;
    const apply = (body: Uint8Array) => () => {
      this.screen = body.slice();
    };
    const own: LiveSection = {
      idstr: 'screen',
      versionId: 1,
      save: () => this.screen,
      load: apply,
      accepts: () => true,
    };
    const counted = opaqueSection({ name: 'screen', version: 1, save: () => this.screen, load: apply });
    const cpu = opaqueSection({
      name: 'cpu',
      version: 1,
      save: () => Uint8Array.of(1, 2, 3),
      load: () => () => {},
    });
    this.sections = [kind === 'any' ? own : counted, cpu];
  }

  pause(): void {
    this.runs = false;
  }

  resume(): void {
    this.runs = true;
  }
}

const ascii = (text: string): number[] => [...Buffer.from(text)];
const vmdesc = (text: string): number[] => [0, 6, 0, 0, text.length >> 8, text.length & 255, ...ascii(text)];
const footer = (id: number): number[] => [0x7e, 0, 0, 0, id];
const QUESTION = [8, 0, 2, 0, 4, 0x76, 0x69, 0x72, 0x74];
const CPU = [4, 0, 0, 0, 3, 3, ...ascii('cpu'), 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, ...footer(3)];
const ALL = vmdesc(
  '{"page_size":4096,"devices":[{"name":"screen","instance_id":0},{"name":"cpu","instance_id":0}]}',
);
const OTHER = vmdesc(
  '{"devices":[{"name":"screen","instance_id":0,"fields":[{"name":"data","size":99}]},{"name":"cpu","instance_id":0}]}',
);
const NONE = vmdesc('{"page_size":4096,"devices":[]}');

/** Pieces of a stream, for ids as a source that counts has them: screen 2, processor 3. */
const pieces = fc.constantFrom(
  [6, 0, 0, 0, 1, 0x7d],
  [0, 6, 0, 0, 0, 1, 0x7d],
  [...footer(2), ...NONE],
  [...footer(2), ...CPU, ...ALL],
  [...footer(2), ...CPU, ...QUESTION],
  [...footer(2), ...CPU, ...QUESTION, ...ALL],
  [...footer(2), ...QUESTION],
  footer(2),
  footer(3),
  CPU,
  QUESTION,
  ALL,
  NONE,
  [0],
  [0x7d],
  ascii('screen'),
);
const pattern = fc
  .array(pieces, { minLength: 1, maxLength: 3 })
  .map((parts) => Uint8Array.from(parts.flat()));

function paint(of: Uint8Array, length: number, from: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => of[(at + from) % of.length] ?? 0);
}

/** What was sent arrives, or nothing runs there; and of two machines, never do two run. */
async function move(kind: Kind, screen: Uint8Array, chunk: number): Promise<void> {
  const [source, destination] = [new Painted(kind, screen), new Painted(kind, new Uint8Array(0))];
  source.runs = true;
  const pipe = new Pipe();
  pipe.chunk = chunk;
  const clock = new TestClock();
  const [sent, received] = await Promise.all([
    sendLive(pipe.a, source, { clock }),
    receiveLive(pipe.b, destination, { clock }),
  ]);
  clock.stop();
  expect({ sent, received }).toMatchObject({ sent: { result: 'moved' }, received: { result: 'arrived' } });
  expectSame(destination.screen, screen);
  expect([source.runs, destination.runs]).toEqual([false, true]);
}

test('whatever a guest has written into a device, it moves, whole', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<Kind>('counted', 'any'),
      pattern,
      fc.integer({ min: 0, max: 20_000 }),
      fc.nat(200),
      fc.constantFrom(1 << 20, 4096, 1000, 137),
      (kind, of, length, from, chunk) => move(kind, paint(of, length, from), chunk),
    ),
    { numRuns: 250 },
  );
});

test.each<Kind>(['counted', 'any'])(
  'a megabyte of small ends of a stream moves: %s',
  async (kind) => {
    for (const of of [
      [6, 0, 0, 0, 1, 0x7d],
      [...footer(2), ...NONE],
      [...footer(2), ...CPU, ...QUESTION, ...ALL],
      QUESTION,
    ])
      for (const chunk of [1 << 20, of.length * 500])
        await move(kind, paint(Uint8Array.from(of), 1 << 20, 0), chunk);
  },
  120_000,
);

describe('a source whose section ids a guest can guess', () => {
  /** As QEMU and earlier versions of this package: they count. */
  function stream(screen: readonly number[], end: readonly number[]): Uint8Array {
    const chunks: Uint8Array[] = [];
    const out = new StreamWriter((bytes, start, stop) => chunks.push(bytes.slice(start, stop)));
    const ram = { id: 1, idstr: 'ram', instanceId: 0, versionId: 4, offset: 0 } as const;
    out.header(3);
    out.configuration({ name: 'painted' });
    out.command(1, new Uint8Array(0));
    out.section({ ...ram, kind: 'start' });
    out.ramSize(BigInt(4 * PAGE));
    out.ramBlock({ name: 'ram', length: 4 * PAGE });
    out.ramMark(0x10, 0);
    out.footer(1);
    out.section({ ...ram, kind: 'end' });
    out.ramMark(0x10, 0);
    out.footer(1);
    out.section({ kind: 'full', id: 2, idstr: 'screen', instanceId: 0, versionId: 1, offset: 0 });
    out.body(Uint8Array.from(screen));
    return Buffer.concat([...chunks, Uint8Array.from(end)]);
  }

  /** Says these, one after the other, and then nothing, or that it closes; with time between them. */
  async function say(kind: Kind, parts: readonly Uint8Array[], ends: 'closed' | 'silent', pause = 0) {
    const clock = new TestClock();
    const destination = new Painted(kind, new Uint8Array(0));
    const queue = [...parts];
    const answers: Uint8Array[] = [];
    const source: ByteDuplex = {
      read: async () => {
        const next = queue.shift();
        if (pause > 0 && next !== undefined && queue.length < parts.length - 1)
          await new Promise<void>((resolve) => void clock.after(pause, resolve));
        if (next !== undefined || ends === 'closed') return next;
        return new Promise(() => {});
      },
      write: async (bytes) => void answers.push(bytes),
      close: () => {},
    };
    const received = await receiveLive(source, destination, { clock, idleTimeoutMs: 5000 });
    clock.stop();
    return { received, destination, answers: Buffer.concat(answers).toString('hex') };
  }

  const AGREED = '0002000476697274';

  test('a small end in a screen of unknown length is no end: the screen goes on', async () => {
    const fake = [1, 2, 3, ...footer(2), ...CPU, ...ALL];
    const rest = [7, 7, 7, ...footer(2), ...CPU, ...ALL];
    for (const pause of [0, 100]) {
      const { received, destination } = await say(
        'any',
        [stream([], fake), Uint8Array.from(rest)],
        'silent',
        pause,
      );
      // which of both ends it is, nobody can tell
      expect(received).toMatchObject({ result: 'failed' });
      expect(destination.runs).toBe(false);
    }
  });

  test.each([
    ['lists nothing', NONE, /vmdesc/],
    ['lists other sizes', OTHER, /vmdesc/],
    ['is no text', [0, 6, 0, 0, 0, 1, 0x7d], /closed the connection/],
    ['is missing', [0], /closed the connection/],
  ] as const)('a connection that breaks behind a small end, whose vmdesc %s', async (_name, end, message) => {
    const { received, destination } = await say(
      'any',
      [stream([], [1, 2, 3, ...footer(2), ...CPU, ...end])],
      'closed',
    );
    expect(received).toMatchObject({ result: 'failed', message: expect.stringMatching(message) });
    expect(destination.runs).toBe(false);
  });

  test('a question that a guest wrote is answered, and not believed: the state goes on, and so does the destination', async () => {
    const fake = [1, 2, 3, ...footer(2), ...CPU, ...QUESTION];
    const { received, destination, answers } = await say(
      'any',
      [stream([], fake), Uint8Array.from([7, 7, 7, 7])],
      'closed',
    );
    expect(received).toMatchObject({ result: 'failed', reason: expect.stringMatching(/closed|refused/) });
    expect(destination.runs).toBe(false);
    expect(answers).toBe(`${AGREED}0001000400000001`);
  });

  test('an end that follows such a question at once, while the screen goes on', async () => {
    const fake = [1, 2, 3, ...footer(2), ...CPU, ...QUESTION];
    const { received, destination } = await say(
      'any',
      [stream([], fake), Uint8Array.from(ALL), Uint8Array.from([7, 7, 7, 7])],
      'closed',
      100,
    );
    expect(received).toMatchObject({ result: 'failed' });
    expect(destination.runs).toBe(false);
  });

  test('a screen that says its length is taken as it is', async () => {
    const fake = [1, 2, 3, ...footer(2), ...CPU, ...QUESTION, ...ALL];
    const screen = [0, 0, 0, fake.length, ...fake, ...footer(2), ...CPU];
    const { received, destination, answers } = await say(
      'counted',
      [stream([], [...screen, ...QUESTION]), Uint8Array.from(ALL)],
      'silent',
    );
    expect(received).toMatchObject({ result: 'arrived' });
    expect([...destination.screen]).toEqual(fake);
    expect(answers).toBe(`${AGREED}0001000400000000`);
  });
});

describe('behind the agreement', () => {
  /** A whole migration, of which the end is changed. */
  async function ended(change: (end: Uint8Array) => readonly Uint8Array[]) {
    const [source, destination] = [
      new Painted('counted', new Uint8Array(9)),
      new Painted('counted', new Uint8Array(0)),
    ];
    source.runs = true;
    const pipe = new Pipe();
    const { a } = pipe;
    let agreed = false;
    const clock = new TestClock();
    const [sent, received] = await Promise.all([
      sendLive(
        {
          write: async (bytes) => {
            if (agreed) for (const part of change(bytes)) await a.write(part);
            else await a.write(bytes);
          },
          read: async () => {
            const bytes = await a.read();
            agreed ||= pipe.back.written >= 16;
            return bytes;
          },
          close: () => a.close(),
        },
        source,
        { clock },
      ),
      receiveLive(pipe.b, destination, { clock, idleTimeoutMs: 2000 }),
    ]);
    clock.stop();
    expect(source.runs && destination.runs).toBe(false);
    return `${sent.result} ${received.result}`;
  }

  const cases: readonly [string, (end: Uint8Array) => readonly Uint8Array[], string][] = [
    ['the end, as it is', (end) => [end], 'moved arrived'],
    ['the end, byte by byte', (end) => [...end].map((byte) => Uint8Array.of(byte)), 'moved arrived'],
    ['the EOF byte alone', (end) => [end.slice(0, 1)], 'stayed failed'],
    ['all but the last byte', (end) => [end.slice(0, -1)], 'stayed failed'],
    ['another byte behind it', (end) => [Buffer.concat([end, Uint8Array.of(0)])], 'stayed failed'],
    ['another byte in front of it', (end) => [Buffer.concat([Uint8Array.of(8), end])], 'stayed failed'],
    ['a command in front of it', (end) => [Uint8Array.from([8, 0, 1, 0, 0]), end], 'stayed failed'],
    [
      'a longer text announced',
      (end) => [Uint8Array.from(end, (b, at) => (at === 4 ? b + 1 : b))],
      'stayed failed',
    ],
    ['nothing', () => [], 'stayed failed'],
  ];

  test.each(cases)('%s', async (_name, change, story) => {
    expect(await ended(change)).toBe(story);
  });
});

describe('a source that takes back where a section ended', () => {
  const bytesOf = (write: (out: StreamWriter) => void): number[] => {
    const chunks: Uint8Array[] = [];
    write(new StreamWriter((bytes, start, stop) => chunks.push(bytes.slice(start, stop))));
    return [...Buffer.concat(chunks)];
  };
  // no guest guesses them: the source itself says all of this
  const [PROCESSOR, SCREEN] = [0x12345678, 0x23456789];
  const header = (id: number, idstr: string): number[] =>
    bytesOf((out) => out.section({ kind: 'full', id, idstr, instanceId: 0, versionId: 1, offset: 0 }));
  const foot = (id: number): number[] => bytesOf((out) => out.footer(id));
  const screen = [1, 2, 3];
  const front = bytesOf((out) => {
    const ram = { id: 1, idstr: 'ram', instanceId: 0, versionId: 4, offset: 0 } as const;
    out.header(3);
    out.configuration({ name: 'painted' });
    out.command(1, new Uint8Array(0));
    out.section({ ...ram, kind: 'start' });
    out.ramSize(BigInt(4 * PAGE));
    out.ramBlock({ name: 'ram', length: 4 * PAGE });
    out.ramMark(0x10, 0);
    out.footer(1);
    out.section({ ...ram, kind: 'end' });
    out.ramMark(0x10, 0);
    out.footer(1);
  });
  const asked = [
    ...front,
    ...header(PROCESSOR, 'cpu'),
    ...[0, 0, 0, 3, 1, 2, 3],
    ...foot(PROCESSOR),
    ...header(SCREEN, 'screen'),
    ...screen,
    ...foot(SCREEN),
    ...QUESTION,
  ];
  const vmdescOf = (screenBytes: number): number[] =>
    vmdesc(
      JSON.stringify({
        page_size: 4096,
        devices: [
          ['cpu', 7],
          ['screen', screenBytes],
        ].map(([name, size]) => ({
          name,
          instance_id: 0,
          size,
          fields: [{ name: 'data', size, type: 'buffer' }],
        })),
      }),
    );

  async function say(end: readonly number[]) {
    const destination = new Painted('any', new Uint8Array(0));
    const pipe = new Pipe();
    const clock = new TestClock();
    const source = pipe.a;
    const receiving = receiveLive(pipe.b, destination, { clock });
    await source.write(Uint8Array.from(asked));
    // the agreement, behind which only the end may come
    expect(Buffer.from((await source.read()) ?? []).toString('hex')).toBe('0002000476697274');
    await source.write(Uint8Array.from(end));
    source.close();
    const received = await receiving;
    clock.stop();
    return { received, destination };
  }

  test('by an end whose text holds another end, which makes the section longer: refused, and no device is touched', async () => {
    // the text begins with bytes that the inner vmdesc gives to the screen
    const begin = [0, 6, 0, 0];
    const inner = vmdescOf(screen.length + foot(SCREEN).length + QUESTION.length + 6);
    const text = [...foot(SCREEN), ...inner];
    const { received, destination } = await say([...begin, text.length >> 8, text.length & 255, ...text]);
    expect(received).toMatchObject({
      result: 'failed',
      reason: 'refused',
      error: { code: 'changed' },
      message: expect.stringContaining('end elsewhere than they did'),
    });
    expect([destination.runs, destination.screen.length]).toEqual([false, 0]);
  });

  test('and one that leaves it as it was is taken', async () => {
    const { received, destination } = await say(vmdescOf(screen.length));
    expect(received).toMatchObject({ result: 'arrived' });
    expect([...destination.screen]).toEqual(screen);
    expect(destination.runs).toBe(true);
  });
});

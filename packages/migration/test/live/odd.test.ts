import { HostError } from '@virtkit/core';
import { describe, expect, test } from 'vitest';
import {
  comparedRam,
  type LiveMachine,
  type LiveSection,
  opaqueSection,
  receiveLive,
  sendLive,
} from '../../src/live.ts';
import { expectSame, type Outcome, Travel } from './migration.ts';
import { Pipe, TestClock } from './pipe.ts';
import type { SmallMachine } from './small.ts';

// Hosts whose own machine does not do what it should, or takes too long for it.

const NEVER = new Promise<never>(() => {});
const TIMES = { handOverTimeoutMs: 2000, idleTimeoutMs: 3000, machineTimeoutMs: 1000 };

/** A promise, and who keeps it. */
function deferred(): { readonly promise: Promise<void>; resolve(): void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** Moves in virtual time; the machines were changed before. */
async function move(travel: Travel, signal?: AbortSignal): Promise<Outcome> {
  const clock = new TestClock();
  const outcome = await travel.move({ clock, ...TIMES, ...(signal && { signal }) }, { clock, ...TIMES });
  clock.stop();
  return outcome;
}

function cpu({ sections }: SmallMachine): LiveSection {
  return sections.find(({ idstr }) => idstr === 'small-cpu') ?? fail('no processor');
}

function fail(what: string): never {
  throw new Error(what);
}

describe('a source that does not stop', () => {
  test('goes on after the time that a guest may stand still', async () => {
    const travel = new Travel();
    const { source, world } = travel;
    source.pause = () => {
      world.running = undefined;
      return NEVER;
    };
    const outcome = await move(travel);
    expect(outcome.sent).toMatchObject({
      result: 'stayed',
      reason: 'timeout',
      message: 'the guest stood still for 2000 ms, and has not stopped: its pause() has not answered',
    });
    expect(await travel.settle(outcome)).toBe('stayed failed');
    await expect(sendLive(new Pipe().a, source)).rejects.toThrow(HostError);
    await expect(receiveLive(new Pipe().b, source)).rejects.toThrow(
      'was asked to stop, and has not answered',
    );
  });

  test('goes on when it is cancelled', async () => {
    const travel = new Travel();
    const controller = new AbortController();
    travel.source.pause = () => {
      setImmediate(() => controller.abort());
      return NEVER;
    };
    const outcome = await move(travel, controller.signal);
    expect(outcome.sent).toMatchObject({ result: 'stayed', reason: 'cancelled' });
    expect(await travel.settle(outcome)).toBe('stayed failed');
  });

  test('and stops when nobody waits any more: it is told to go on again, and can be sent then', async () => {
    const travel = new Travel();
    const { source, world } = travel;
    const disk = deferred();
    const pause = source.pause.bind(source);
    source.pause = async () => {
      await disk.promise;
      pause();
    };
    const outcome = await move(travel);
    expect(await travel.settle(outcome)).toBe('stayed failed');
    disk.resolve();
    if (outcome.sent.result !== 'stayed') throw new Error(outcome.sent.result);
    await outcome.sent.stopping;
    expect(source.atPause).toBeDefined();
    expect(world.running).toBe(source);
    travel.connect();
    expect(await travel.settle(await move(travel))).toBe('moved arrived');
  });

  test('and neither goes on: that is said, now and later', async () => {
    const travel = new Travel();
    const { source } = travel;
    const disk = deferred();
    source.pause = () => disk.promise;
    source.resume = () => NEVER;
    const { sent } = await move(travel);
    expect(sent).toMatchObject({
      result: 'stayed',
      resumeError: expect.objectContaining({ reason: 'timeout' }),
      message: expect.stringContaining('its resume(): nothing for 1000 ms'),
    });
    source.resume = () => fail('it is broken');
    disk.resolve();
    await expect(sent.result === 'stayed' && sent.stopping).rejects.toThrow('it is broken');
  });
});

describe('a destination that does not start', () => {
  test('may run, and the source is not told that it may go on', async () => {
    const travel = new Travel();
    const { source, destination, world } = travel;
    const start = deferred();
    const resume = destination.resume.bind(destination);
    destination.resume = () => start.promise.then(resume);
    const { sent, received } = await move(travel);
    expect(received).toMatchObject({
      result: 'failed',
      mayRun: true,
      message: 'its resume(): nothing for 1000 ms',
    });
    expect(sent).toMatchObject({ result: 'unknown' });
    expect(world.running).toBeUndefined();
    for (const use of [sendLive(new Pipe().a, destination), receiveLive(new Pipe().b, destination)])
      await expect(use).rejects.toThrow('was asked to go on, and has not answered');
    // it does after all
    start.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    expect(world.running).toBe(destination);
    expect(world.faults).toEqual([]);
    // and is any machine
    [travel.source, travel.destination] = [destination, source];
    travel.connect();
    expect(await travel.settle(await move(travel))).toBe('moved arrived');
  });

  test('and does not stop again either', async () => {
    const travel = new Travel();
    travel.destination.resume = () => fail('no processor');
    travel.destination.pause = () => NEVER;
    const { sent, received } = await move(travel);
    expect(received).toMatchObject({
      mayRun: true,
      message: 'no processor; and it could not be stopped again: its pause(): nothing for 1000 ms',
    });
    expect(sent.result).toBe('unknown');
  });

  test('or only after the source has ceased to listen: it runs, and the source stands still', async () => {
    const travel = new Travel();
    const { destination } = travel;
    const clock = new TestClock();
    const resume = destination.resume.bind(destination);
    destination.resume = () => new Promise<void>((resolve) => void clock.after(5000, resolve)).then(resume);
    const outcome = await travel.move({ clock, ...TIMES }, { clock, ...TIMES, machineTimeoutMs: 10_000 });
    clock.stop();
    expect(await travel.settle(outcome)).toBe('unknown arrived');
  });
});

describe('a doubt that was settled', () => {
  async function doubt() {
    const travel = new Travel();
    travel.pipe.back.limit = 20;
    const { sent, received } = await move(travel);
    if (sent.result !== 'unknown' || received.result !== 'arrived') throw new Error('no doubt');
    return { travel, sent };
  }

  test('is settled once: what it left in memory does not start a machine that has another guest', async () => {
    const { travel, sent } = await doubt();
    const { source, destination } = travel;
    [travel.source, travel.destination] = [destination, source];
    travel.connect();
    const moving = move(travel);
    await expect(sent.resume()).rejects.toThrow('is being received: it cannot be resumed');
    expect(await travel.settle(await moving)).toBe('moved arrived');
    await expect(sent.resume()).rejects.toThrow('it cannot be resumed');
    expect(travel.world.faults).toEqual([]);
  });

  test('may be settled again when the machine did not go on', async () => {
    const { travel, sent } = await doubt();
    const { source, destination } = travel;
    destination.pause();
    source.failing = 'resume';
    await expect(sent.resume()).rejects.toThrow("the host's resume fails");
    source.failing = undefined;
    await sent.resume();
    expect(travel.world.running).toBe(source);
    await expect(sent.resume()).rejects.toThrow(HostError);
  });
});

describe('a machine that fails in any of its functions', () => {
  const cases: readonly [string, (machines: Travel) => void, string][] = [
    [
      'pause, later',
      ({ source }) => {
        source.pause = () => Promise.reject(new Error('x'));
      },
      'stayed failed',
    ],
    [
      'save',
      ({ source }) => {
        cpu(source).save = () => fail('x');
      },
      'stayed failed',
    ],
    [
      'describe',
      ({ source }) => {
        cpu(source).describe = () => fail('x');
      },
      'stayed failed',
    ],
    [
      'startLog',
      ({ source }) => {
        source.ram.startLog = () => fail('x');
      },
      'stayed failed',
    ],
    [
      'takeDirty',
      ({ source }) => {
        source.ram.takeDirty = () => fail('x');
      },
      'stayed failed',
    ],
    [
      'stopLog',
      ({ source }) => {
        source.ram.stopLog = () => fail('x');
      },
      'moved arrived',
    ],
    [
      'load',
      ({ destination }) => {
        cpu(destination).load = () => fail('x');
      },
      'stayed failed',
    ],
    [
      'accepts',
      ({ destination }) => {
        const section = cpu(destination);
        section.accepts = () => fail('x');
        section.lengths = () => undefined;
      },
      'stayed failed',
    ],
    [
      'lengths',
      ({ destination }) => {
        cpu(destination).lengths = () => fail('x');
      },
      'stayed failed',
    ],
    [
      'what load answers',
      ({ destination }) => {
        cpu(destination).load = () => () => fail('x');
      },
      'stayed failed',
    ],
    [
      'resume, when it runs already',
      ({ destination }) => {
        const resume = destination.resume.bind(destination);
        destination.resume = () => {
          resume();
          fail('x');
        };
      },
      'stayed failed',
    ],
    [
      'resume, later',
      ({ destination }) => {
        destination.resume = () => Promise.reject(new Error('x'));
      },
      'stayed failed',
    ],
  ];

  test.each(cases)('%s', async (_name, spoil, story) => {
    const travel = new Travel();
    spoil(travel);
    const outcome = await move(travel);
    expect(await travel.settle(outcome)).toBe(story);
    const wrong = [outcome.sent, outcome.received].filter(
      (each) => 'reason' in each && each.reason === 'error',
    );
    expect(wrong).toHaveLength(story === 'moved arrived' ? 0 : 1);
    for (const each of wrong) expect(each).toMatchObject({ error: new Error('x') });
  });

  test('the destination’s progress callback', async () => {
    const [source, destination] = [new Moving(1 << 21), new Moving(1 << 21)];
    source.bytes.fill(3);
    destination.runs = false;
    const pipe = new Pipe();
    const [sent, received] = await Promise.all([
      sendLive(pipe.a, source),
      receiveLive(pipe.b, destination, { onProgress: () => fail('x') }),
    ]);
    expect(sent).toMatchObject({ result: 'stayed', reason: 'refused' });
    expect(received).toMatchObject({ result: 'failed', reason: 'error', message: 'x' });
    expect([source.runs, destination.runs]).toEqual([true, false]);
  });
});

/** A machine whose memory can move to another buffer, as a WebAssembly memory does when it grows. */
class Moving implements LiveMachine {
  readonly name = 'moving';
  bytes: Uint8Array<ArrayBuffer>;
  readonly ram;
  readonly sections = [
    opaqueSection({ name: 'nothing', version: 1, save: () => new Uint8Array(0), load: () => () => {} }),
  ];
  runs = true;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.ram = comparedRam([{ name: 'ram', length, bytes: () => this.bytes }]);
  }

  pause(): void {
    this.runs = false;
  }

  resume(): void {
    this.runs = true;
  }

  /** The old buffer is of no use any more. */
  relocate(): void {
    this.bytes = new Uint8Array(structuredClone(this.bytes.buffer, { transfer: [this.bytes.buffer] }));
  }
}

test.each(['source', 'destination', 'both'])('memory that moves while it is moved: %s', async (who) => {
  const [source, destination] = [new Moving(1 << 20), new Moving(1 << 20)];
  destination.runs = false;
  for (let at = 0; at < source.bytes.length; at += 4096) source.bytes[at] = at >>> 12;
  const pipe = new Pipe();
  pipe.turn = () => {
    if (who !== 'destination') source.relocate();
    if (who !== 'source') destination.relocate();
  };
  const [sent, received] = await Promise.all([sendLive(pipe.a, source), receiveLive(pipe.b, destination)]);
  expect([sent.result, received.result]).toEqual(['moved', 'arrived']);
  expectSame(destination.bytes, source.bytes);
  expect([source.runs, destination.runs]).toEqual([false, true]);
});

describe('names and bytes of a host', () => {
  const options = { name: 'kettle', version: 1, save: () => new Uint8Array(0), load: () => () => {} };

  test('a machine with a name of more than 1024 bytes is not sent', async () => {
    const sent = (length: number): ReturnType<typeof sendLive> => {
      const { source, pipe } = new Travel();
      const { ram, sections } = source;
      const machine: LiveMachine = {
        name: 'n'.repeat(length),
        ram,
        sections,
        pause: () => source.pause(),
        resume: () => source.resume(),
      };
      return sendLive(pipe.a, machine, { ...TIMES, signal: AbortSignal.abort() });
    };
    await expect(sent(1025)).rejects.toThrow(HostError);
    await expect(sent(1025)).rejects.toThrow('1024');
    expect((await sent(1024)).result).toBe('stayed');
  });

  test("a section of the host's own with more than 16 MiB is refused, or with more than was said", () => {
    const counted = (count: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(4 + length);
      new DataView(bytes.buffer).setUint32(0, count);
      return bytes;
    };
    const load = (section: LiveSection, body: Uint8Array): unknown => section.load(body, section.versionId);
    const most = 16 << 20;
    expect(load(opaqueSection(options), counted(most, most))).toBeTypeOf('function');
    expect(() => load(opaqueSection(options), counted(most + 1, most + 1))).toThrow(`${most}`);
    expect(load(opaqueSection({ ...options, maxBytes: 3 }), counted(3, 3))).toBeTypeOf('function');
    expect(() => load(opaqueSection({ ...options, maxBytes: 3 }), counted(4, 4))).toThrow('3');
  });
});

import { HostError } from '@virtkit/core';
import { describe, expect, test } from 'vitest';
import { type LiveMachine, receiveLive, type SendProgress, sendLive } from '../../src/live.ts';
import { expectSame, Travel } from './migration.ts';
import { Pipe, TestClock } from './pipe.ts';
import type { SmallMachine } from './small.ts';

const PAGES = 16;

/** The same machine, and other in some things. */
function like(machine: SmallMachine, changes: Partial<LiveMachine>): LiveMachine {
  const { name, ram, sections } = machine;
  return { name, ram, sections, pause: () => machine.pause(), resume: () => machine.resume(), ...changes };
}

test('a machine moves while its guest works, and back again', async () => {
  const travel = new Travel();
  for (let n = 0; n < 6; n++) {
    const { source, destination } = travel;
    travel.connect();
    const outcome = await travel.move();
    expectSame(destination.atResume, source.atPause);
    expect(await travel.settle(outcome)).toBe('moved arrived');
  }
});

test('what the guest writes until it has stopped is moved', async () => {
  const travel = new Travel();
  const { source, destination } = travel;
  const pause = source.pause.bind(source);
  source.pause = async () => {
    await Promise.resolve();
    source.step();
    source.scribble(3);
    await Promise.resolve();
    pause();
  };
  const outcome = await travel.move();
  expectSame(destination.atResume, source.atPause);
  expect(await travel.settle(outcome)).toBe('moved arrived');
});

describe('rounds', () => {
  /** A connection that takes a second for each 64 KiB, and a guest that writes so many pages meanwhile. */
  function slow(pages: () => number): { travel: Travel; clock: TestClock; told: SendProgress[] } {
    const travel = new Travel();
    const clock = new TestClock();
    const { pipe, source } = travel;
    pipe.turn = () => {
      if (travel.world.running !== source) return;
      clock.pass(1000);
      source.step();
      source.scribble(pages());
    };
    return { travel, clock, told: [] };
  }

  test('go on until the rest fits into the standstill that is allowed', async () => {
    let left = 11;
    const { travel, clock, told } = slow(() => --left);
    const outcome = await travel.move({
      clock,
      downtimeLimitMs: 400,
      onProgress: (progress) => told.push(progress),
    });
    clock.stop();
    expect(await travel.settle(outcome)).toBe('moved arrived');
    const stops = told.filter(({ phase }) => phase === 'switch-over');
    expect(stops).toHaveLength(1);
    expect(stops[0]?.expectedDowntimeMs).toBeLessThanOrEqual(400);
    expect(stops[0]?.round).toBeGreaterThan(2);
    // in each round before, the rest was too much
    const ends = told
      .filter(({ phase, remainingBytes }) => phase === 'rounds' && remainingBytes > 0)
      .slice(1);
    expect(ends.length).toBeGreaterThan(2);
    expect(told.map(({ sentBytes }) => sentBytes)).toEqual(
      told.map(({ sentBytes }) => sentBytes).toSorted((a, b) => a - b),
    );
  });

  test('that never suffice end the migration, and the guest has not stood still', async () => {
    const { travel, clock } = slow(() => 11);
    const outcome = await travel.move({ clock, downtimeLimitMs: 10, maxRounds: 5 });
    clock.stop();
    expect(outcome.sent).toMatchObject({
      result: 'stayed',
      reason: 'not-converging',
      message: expect.stringMatching(/after 5 rounds, \d+ bytes are outstanding.*10 are allowed/),
    });
    expect(travel.source.atPause).toBeUndefined();
    expect(await travel.settle(outcome)).toBe('stayed failed');
  });

  test('that never suffice are cut short by force', async () => {
    const { travel, clock } = slow(() => 11);
    const { source, destination } = travel;
    const outcome = await travel.move({
      clock,
      downtimeLimitMs: 10,
      maxRounds: 5,
      whenNotConverging: 'force',
    });
    clock.stop();
    expect(outcome.sent.progress.round).toBe(5);
    expectSame(destination.atResume, source.atPause);
    expect(await travel.settle(outcome)).toBe('moved arrived');
  });
});

describe('a cancelled migration', () => {
  test('leaves the guest where it is, in every round and phase, from either side', async () => {
    const travel = new Travel();
    const moments: string[] = [];
    for (const side of ['source', 'destination'] as const) {
      for (let moment = 0; moment < 14; moment++) {
        const controller = new AbortController();
        const { signal } = controller;
        const clock = new TestClock();
        travel.connect();
        travel.pipe.turn = () => {
          if (travel.world.running !== travel.source) return;
          clock.pass(50);
          travel.source.step();
          travel.source.scribble(5);
        };
        let count = 0;
        const onProgress = ({ phase, round }: SendProgress): void => {
          if (count++ === moment) {
            moments.push(`${phase} ${round}`);
            controller.abort();
          }
        };
        const outcome = await travel.move(
          {
            clock,
            downtimeLimitMs: 1,
            maxRounds: 6,
            whenNotConverging: 'force',
            onProgress,
            ...(side === 'source' && { signal }),
          },
          side === 'destination' ? { signal } : {},
        );
        clock.stop();
        const story = await travel.settle(outcome);
        if (!signal.aborted) {
          expect([story, moment]).toEqual(['moved arrived', 13]);
          continue;
        }
        expect(story).toBe('stayed failed');
        const [cancelled, other] =
          side === 'source' ? [outcome.sent, outcome.received] : [outcome.received, outcome.sent];
        expect(cancelled).toMatchObject({ reason: 'cancelled' });
        expect(other).toMatchObject({ reason: expect.stringMatching(/closed|refused/) });
      }
    }
    expect(new Set(moments)).toEqual(
      new Set([1, 2, 3, 4, 5, 6].map((round) => `rounds ${round}`).concat('switch-over 6')),
    );
  });

  test('before it has begun: nothing is sent', async () => {
    const travel = new Travel();
    const outcome = await travel.move({ signal: AbortSignal.abort() });
    expect(outcome.sent).toMatchObject({ result: 'stayed', reason: 'cancelled', progress: { sentBytes: 0 } });
    expect(await travel.settle(outcome)).toBe('stayed failed');
  });

  test('that is cancelled behind the hand-over goes through', async () => {
    const travel = new Travel();
    const controller = new AbortController();
    const { destination } = travel;
    const resume = destination.resume.bind(destination);
    destination.resume = () => {
      controller.abort();
      resume();
    };
    const outcome = await travel.move({ signal: controller.signal }, { signal: controller.signal });
    expect(await travel.settle(outcome)).toBe('moved arrived');
  });
});

describe('a host whose machine fails', () => {
  test.each([
    ['source', 'startLog'],
    ['source', 'pause'],
    ['source', 'save'],
    ['destination', 'load'],
    ['destination', 'resume'],
  ] as const)('%s, %s: the guest goes on where it was', async (side, what) => {
    const travel = new Travel();
    travel[side].failing = what;
    const { source } = travel;
    const outcome = await travel.move();
    expect(outcome[side === 'source' ? 'sent' : 'received']).toMatchObject({
      reason: 'error',
      message: `${what === 'load' ? 'small-cpu: ' : ''}the host's ${what} fails`,
      error: expect.any(Error),
    });
    travel[side].failing = undefined;
    expect(await travel.settle(outcome)).toBe('stayed failed');
    expect(travel.source).toBe(source);
    // and the machines are none the worse for it
    travel.connect();
    expect(await travel.settle(await travel.move())).toBe('moved arrived');
  });

  test('source, progress callback', async () => {
    const travel = new Travel();
    for (const fatal of ['rounds', 'switch-over']) {
      travel.connect();
      const outcome = await travel.move({
        onProgress: ({ phase }) => {
          if (phase === fatal) throw new Error('no');
        },
      });
      expect(outcome.sent).toMatchObject({ result: 'stayed', reason: 'error', message: 'no' });
      expect(await travel.settle(outcome)).toBe('stayed failed');
    }
  });

  test('source, resume after a failure: it runs nowhere, and that is said', async () => {
    const travel = new Travel();
    travel.source.failing = 'resume';
    travel.destination.failing = 'load';
    const { sent } = await travel.move();
    expect(sent).toMatchObject({
      result: 'stayed',
      reason: 'refused',
      resumeError: new Error("the host's resume fails"),
      message: expect.stringContaining('and the machine does not go on'),
    });
  });

  test('destination, neither resumes nor stops: the source is not told that it may go on', async () => {
    const travel = new Travel();
    const { destination } = travel;
    destination.failing = 'resume';
    destination.pause = () => {
      throw new Error('it does not stop');
    };
    const { sent, received } = await travel.move();
    expect(received).toMatchObject({
      result: 'failed',
      message: expect.stringContaining('could not be stopped'),
    });
    expect(sent.result).toBe('unknown');
    expect(travel.world.running).toBeUndefined();
  });

  test('memory that changes its size ends the migration', async () => {
    const travel = new Travel();
    const [block] = travel.source.ram.blocks;
    if (block === undefined) throw new Error('no block');
    let looks = 0;
    const shrinking = { ...block, bytes: () => block.bytes().subarray(0, ++looks > 2 ? 4096 : block.length) };
    const machine = like(travel.source, { ram: { ...travel.source.ram, blocks: [shrinking] } });
    const sent = await sendLive(travel.pipe.a, machine);
    expect(sent).toMatchObject({ result: 'stayed', reason: 'error', error: expect.any(HostError) });
    expect(travel.world.running).toBe(travel.source);
  });
});

describe('a destination that is not alike refuses before its devices are touched', () => {
  const cases: readonly [string, (machine: SmallMachine) => Partial<LiveMachine>, RegExp][] = [
    [
      'another machine',
      () => ({ name: 'other' }),
      /Machine type received is 'virtkit-small-1.0' and local is 'other'/,
    ],
    [
      'a RAM block of another name',
      ({ ram }) => ({ ram: { ...ram, blocks: ram.blocks.map((block) => ({ ...block, name: 'rom' })) } }),
      /Unknown ramblock "ram", cannot accept migration/,
    ],
    [
      'less RAM',
      ({ ram, bytes }) => ({
        ram: { ...ram, blocks: [{ name: 'ram', length: 4096, bytes: () => bytes.subarray(0, 4096) }] },
      }),
      /65536 bytes of RAM, and this machine has 4096/,
    ],
    [
      'as much RAM in other blocks',
      ({ ram, bytes }) => ({
        ram: {
          ...ram,
          blocks: ['ram', 'more'].map((name) => ({
            name,
            length: 32768,
            bytes: () => bytes.subarray(0, 32768),
          })),
        },
      }),
      /Size mismatch: ram: 0x10000 != 0x8000/,
    ],
    [
      'no disk',
      ({ sections }) => ({ sections: sections.slice(1) }),
      /"0000:00:02.0\/virtio-blk" 0: this machine has none/,
    ],
    [
      'a device more',
      ({ sections }) => ({
        sections: [...sections, ...sections.map((each) => ({ ...each, instanceId: 7 }))],
      }),
      /section "0000:00:02.0\/virtio-blk" 7 did not come/,
    ],
    [
      'an older disk',
      ({ sections }) => ({
        sections: sections.map((each) => ({ ...each, versionId: 1, minimumVersionId: 1 })),
      }),
      /section version 2, known: 1 to 1/,
    ],
  ];

  test.each(cases)('%s', async (name, change, message) => {
    const travel = new Travel();
    const before = travel.destination.sections.map((section) => section.save());
    const machine = like(travel.destination, change(travel.destination));
    const [sent, received] = await Promise.all([
      sendLive(travel.pipe.a, travel.source),
      receiveLive(travel.pipe.b, machine),
    ]);
    expect(received).toMatchObject({
      result: 'failed',
      reason: 'refused',
      message: expect.stringMatching(message),
    });
    // before the source has opened a return path there is no way to say no
    const reason = name === 'another machine' ? 'closed' : 'refused';
    expect(sent).toMatchObject({ result: 'stayed', reason });
    expect(travel.destination.sections.map((section) => section.save())).toEqual(before);
    expect(await travel.settle({ sent, received })).toBe('stayed failed');
  });
});

describe('mistakes of the host program are told at once', () => {
  const machine = (): SmallMachine => new Travel().source;
  const wrong: readonly [string, () => Promise<unknown>, RegExp][] = [
    ['rounds', () => sendLive(new Travel().pipe.a, machine(), { maxRounds: 0 }), /maxRounds: 0, 1 or more/],
    [
      'time',
      () => receiveLive(new Travel().pipe.b, machine(), { idleTimeoutMs: Number.NaN }),
      /idleTimeoutMs: NaN/,
    ],
    [
      'a section twice',
      () => {
        const each = machine();
        return sendLive(new Travel().pipe.a, like(each, { sections: [...each.sections, ...each.sections] }));
      },
      /section "0000:00:02.0\/virtio-blk" 0 is there twice/,
    ],
    [
      'half a page',
      () => {
        const each = machine();
        const blocks = [{ name: 'ram', length: 100, bytes: () => each.bytes.subarray(0, 100) }];
        return receiveLive(new Travel().pipe.b, like(each, { ram: { ...each.ram, blocks } }));
      },
      /RAM block "ram" of 100 bytes: a multiple of 4096/,
    ],
  ];

  test('a guest that is sent twice, or sent when it has gone', async () => {
    const travel = new Travel();
    const { source, destination } = travel;
    const moving = travel.move();
    await expect(sendLive(new Pipe().a, source)).rejects.toThrow('is being sent: it cannot be sent');
    await expect(receiveLive(new Pipe().b, source)).rejects.toThrow('is being sent: it cannot be received');
    await expect(sendLive(new Pipe().a, destination)).rejects.toThrow('is being received: it cannot be sent');
    const outcome = await moving;
    expect(await travel.settle(outcome)).toBe('moved arrived');
    await expect(sendLive(new Pipe().a, source)).rejects.toThrow('has moved away: it cannot be sent');
    // and it may come back
    travel.destination = source;
    travel.connect();
    expect(await travel.settle(await travel.move())).toBe('moved arrived');
    expect(travel.world.running).toBe(source);
  });

  test('a machine that has a guest in part, or perhaps none', async () => {
    const travel = new Travel();
    const { source, destination } = travel;
    travel.pipe.back.limit = 20;
    expect((await travel.move()).sent.result).toBe('unknown');
    await expect(sendLive(new Pipe().a, source)).rejects.toThrow('may have moved away');
    const other = new Travel();
    other.pipe.forth.limit = 500;
    await other.settle(await other.move());
    await expect(sendLive(new Pipe().a, other.destination)).rejects.toThrow('was received in part');
    expect(travel.world.running).toBe(destination);
  });

  test.each(wrong)('%s', async (_name, start, message) => {
    await expect(start()).rejects.toThrow(HostError);
    await expect(start()).rejects.toThrow(message);
  });
});

test('the destination takes its bytes one at a time', async () => {
  const travel = new Travel();
  travel.pipe.chunk = 1;
  expect(await travel.settle(await travel.move())).toBe('moved arrived');
});

test('zero pages cost nine bytes', async () => {
  const travel = new Travel();
  const { sent } = await travel.move();
  expect(sent.progress.zeroPages).toBe(PAGES - 3);
  expect(sent.progress.sentBytes).toBeLessThan(7 * 4096);
});

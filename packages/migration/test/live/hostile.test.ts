import { StreamWriter } from '@virtkit/migration';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ReceiveOptions, receiveLive, type SendOptions, sendLive } from '../../src/live.ts';
import { Travel } from './migration.ts';
import { Pipe, TestClock } from './pipe.ts';
import { SmallMachine, SmallWorld } from './small.ts';

const RAM = { idstr: 'ram', id: 1, instanceId: 0, versionId: 4, offset: 0 } as const;
const EOS = 0x10;
const PAGE = new Uint8Array(4096).fill(7);
const HAND_OVER = Uint8Array.of(0x76, 0x69, 0x72, 0x74);

/** A source that says what it likes. Answers how the destination took it. */
async function say(
  speak: (out: StreamWriter, flush: () => Promise<void>) => void | Promise<void>,
  options: ReceiveOptions = {},
) {
  const world = new SmallWorld();
  const machine = new SmallMachine(world);
  const before = machine.sections.map((section) => section.save());
  const pipe = new Pipe();
  const source = pipe.a;
  let chunks: Uint8Array[] = [];
  const out = new StreamWriter((bytes, start, end) => chunks.push(bytes.slice(start, end)));
  const flush = async (): Promise<void> => {
    const bytes = Buffer.concat(chunks);
    chunks = [];
    await source.write(bytes);
  };
  const receiving = receiveLive(pipe.b, machine, options);
  const speaking = (async () => {
    await speak(out, flush);
    await flush();
    source.close();
  })();
  const outcome = await receiving;
  pipe.sever();
  speaking.catch(() => {});
  // whatever was said: nothing runs, and no device was touched
  if (outcome.result === 'failed') {
    expect(world.running).toBeUndefined();
    expect(machine.sections.map((section) => section.save())).toEqual(before);
  }
  const answers = Buffer.concat(pipe.back.record);
  return { outcome, machine, world, answers };
}

function begin(out: StreamWriter): void {
  out.header(3);
  out.configuration({ name: 'virtkit-small-1.0' });
  out.command(1, new Uint8Array(0));
}

function beginRam(out: StreamWriter): void {
  begin(out);
  out.section({ ...RAM, kind: 'start' });
  out.ramSize(65536n);
  out.ramBlock({ name: 'ram', length: 65536 });
  out.ramMark(EOS, 0);
  out.footer(1);
}

function endRam(out: StreamWriter): void {
  out.section({ ...RAM, kind: 'end' });
  out.ramMark(EOS, 0);
  out.footer(1);
}

/** The sections of a machine that is as it was made. */
function sections(
  out: StreamWriter,
  change: (index: number, body: Uint8Array) => Uint8Array = (_i, body) => body,
): void {
  new SmallMachine(new SmallWorld()).sections.forEach((section, index) => {
    const { idstr, versionId } = section;
    out.section({ kind: 'full', id: 2 + index, idstr, instanceId: 0, versionId, offset: 0 });
    out.body(change(index, section.save()));
    out.footer(2 + index);
  });
}

function end(out: StreamWriter): void {
  out.eof();
  const devices = new SmallMachine(new SmallWorld()).sections.map(({ idstr, save }) => {
    const size = save().length;
    return { name: idstr, instance_id: 0, size, fields: [{ name: 'data', size, type: 'buffer' }] };
  });
  out.vmdesc(Buffer.from(JSON.stringify({ page_size: 4096, devices })));
}

test('a stream that is written to a file and played back is taken', async () => {
  const { outcome, world, machine } = await say((out) => {
    beginRam(out);
    endRam(out);
    sections(out);
    end(out);
  });
  expect(outcome).toMatchObject({ result: 'arrived' });
  expect(world.running).toBe(machine);
});

describe('a hostile source is refused', () => {
  const cases: readonly [string, (out: StreamWriter) => void, RegExp][] = [
    ['no stream', (out) => out.body(Buffer.from('GET / HTTP/1.1\r\n\r\n')), /not a migration stream/],
    [
      'no machine',
      (out) => {
        out.header(3);
        out.section({ ...RAM, kind: 'start' });
      },
      /does not say for which machine/,
    ],
    [
      'shared memory',
      (out) => {
        out.header(3);
        out.configuration({ name: 'virtkit-small-1.0', capabilities: ['x-ignore-shared'] });
        out.command(1, new Uint8Array(0));
      },
      /capability x-ignore-shared is on/,
    ],
    [
      'more RAM than there is',
      (out) => {
        begin(out);
        out.section({ ...RAM, kind: 'start' });
        out.ramSize(2n ** 52n);
      },
      /4503599627370496 bytes of RAM, and this machine has 65536/,
    ],
    [
      'a block twice',
      (out) => {
        begin(out);
        out.section({ ...RAM, kind: 'start' });
        out.ramSize(65536n);
        out.ramBlock({ name: 'ram', length: 65536 });
        out.ramMark(EOS, 0);
        out.footer(1);
        out.section({ ...RAM, kind: 'start' });
        out.ramSize(65536n);
      },
      /the list of RAM blocks comes twice/,
    ],
    [
      'a page behind the block',
      (out) => {
        beginRam(out);
        part(out, 65536);
      },
      /page at 0x10000 of block "ram"/,
    ],
    [
      'a page of 2^60',
      (out) => {
        beginRam(out);
        out.section({ ...RAM, kind: 'part' });
        out.body(hexBytes('1000000000000008 03 72616d'));
      },
      /page at 0x1000000000000000/,
    ],
    [
      'a compressed page',
      (out) => {
        beginRam(out);
        out.section({ ...RAM, kind: 'part' });
        out.ramPage(0x40, 0, 0);
        out.body(hexBytes('01 0000'));
      },
      /delta or compressed/,
    ],
    [
      'multifd',
      (out) => {
        beginRam(out);
        out.section({ ...RAM, kind: 'part' });
        out.ramMark(0x200, 0);
      },
      /multifd/,
    ],
    [
      'a section in parts',
      (out) => {
        begin(out);
        out.section({ kind: 'start', id: 9, idstr: 'small-cpu', instanceId: 0, versionId: 1, offset: 0 });
      },
      /comes in parts/,
    ],
    [
      'postcopy',
      (out) => {
        begin(out);
        out.command(3, new Uint8Array(0));
      },
      /POSTCOPY_ADVISE: postcopy or COLO/,
    ],
    [
      'a package',
      (out) => {
        begin(out);
        out.command(7, hexBytes('7fffffff'));
      },
      /PACKAGED/,
    ],
    [
      'a ping of 2 bytes',
      (out) => {
        begin(out);
        out.command(2, new Uint8Array(2));
      },
      /2 bytes, 4 expected/,
    ],
    [
      'a ping without a return path',
      (out) => {
        out.header(3);
        out.configuration({ name: 'virtkit-small-1.0' });
        out.command(2, new Uint8Array(4));
      },
      /received with no return path/,
    ],
    [
      'pings without end',
      (out) => {
        begin(out);
        for (let n = 0; n < 20; n++) out.command(2, new Uint8Array(4));
      },
      /more than 16 of them/,
    ],
    [
      'a section twice',
      (out) => {
        beginRam(out);
        endRam(out);
        sections(out);
        sections(out);
        end(out);
      },
      /comes twice/,
    ],
    [
      'memory behind its end',
      (out) => {
        beginRam(out);
        endRam(out);
        sections(out);
        endRam(out);
        end(out);
      },
      /memory comes behind its end/,
    ],
    [
      'no memory',
      (out) => {
        begin(out);
        sections(out);
        end(out);
      },
      /0 RAM blocks came of 1/,
    ],
    [
      'no processor',
      (out) => {
        beginRam(out);
        endRam(out);
        disk(out);
        end(out);
      },
      /section "small-cpu" 0 did not come/,
    ],
    [
      'a processor of 5 bytes',
      (out) => {
        beginRam(out);
        endRam(out);
        sections(out, (index, body) => (index === 1 ? hexBytes('00000005 0102030405') : body));
        end(out);
      },
      /a processor of 5 bytes/,
    ],
    [
      'a disk with a ring of 2^30',
      (out) => {
        beginRam(out);
        endRam(out);
        sections(out, (index, body) => (index === 0 ? withRing(body) : body));
        end(out);
      },
      /num/,
    ],
    [
      'device state without end',
      (out) => {
        beginRam(out);
        endRam(out);
        out.body(new Uint8Array(3 << 20).fill(1));
      },
      /more than 1048576 bytes of device state|section/,
    ],
  ];

  test.each(cases)('%s', async (_name, speak, message) => {
    const { outcome } = await say((out) => speak(out), { maxDeviceState: 1 << 20 });
    expect(outcome).toMatchObject({ result: 'failed', reason: expect.stringMatching(/refused|error/) });
    expect(outcome.result === 'failed' && outcome.message).toMatch(message);
  });

  test('rounds without end', async () => {
    const { outcome } = await say(
      async (out, flush) => {
        beginRam(out);
        for (;;) {
          part(out, 4096);
          await flush();
        }
      },
      { maxRounds: 2 },
    );
    expect(outcome).toMatchObject({
      reason: 'refused',
      message: expect.stringContaining('more than 32 pages'),
    });
  });

  test('empty rounds without end', async () => {
    const { outcome } = await say(
      async (out, flush) => {
        beginRam(out);
        for (;;) {
          for (let n = 0; n < 10_000; n++) {
            out.section({ ...RAM, kind: 'part' });
            out.ramMark(EOS, 0);
            out.footer(1);
          }
          await flush();
        }
      },
      { maxRounds: 2, maxDeviceState: 1 << 20 },
    );
    expect(outcome).toMatchObject({
      reason: 'refused',
      message: expect.stringContaining('the stream has no end'),
    });
  });

  test('silence', async () => {
    const clock = new TestClock();
    const { outcome } = await say(
      async (out, flush) => {
        beginRam(out);
        await flush();
        await new Promise(() => {});
      },
      { clock, idleTimeoutMs: 5000 },
    ).finally(() => clock.stop());
    expect(outcome).toMatchObject({
      reason: 'timeout',
      message: 'the source is silent: nothing for 5000 ms',
    });
  });

  test('another processor behind the agreement than before it', async () => {
    const { outcome, answers } = await say(async (out, flush) => {
      beginRam(out);
      endRam(out);
      sections(out);
      out.command(2, HAND_OVER);
      await flush();
      out.section({ kind: 'full', id: 9, idstr: 'small-cpu', instanceId: 0, versionId: 1, offset: 0 });
      out.body(hexBytes('00000004 00000000'));
      out.footer(9);
      end(out);
    });
    expect(outcome).toMatchObject({ result: 'failed', message: expect.stringContaining('comes twice') });
    // agreed, and then not
    expect(answers.toString('hex')).toBe('0002000476697274' + '0001000400000001');
  });

  test('a question in the middle of a device is no question', async () => {
    const { outcome, answers } = await say(async (out, flush) => {
      beginRam(out);
      endRam(out);
      disk(out);
      out.section({ kind: 'full', id: 3, idstr: 'small-cpu', instanceId: 0, versionId: 1, offset: 0 });
      // the processor's state looks like one, and its end is not there
      out.body(hexBytes('00000009 08 0002 0004 76697274'));
      await flush();
      await new Promise((resolve) => setImmediate(resolve));
      out.footer(3);
      end(out);
    });
    expect(outcome).toMatchObject({ result: 'failed', message: 'small-cpu: a processor of 9 bytes' });
    expect(answers.toString('hex')).toBe('0001000400000001');
  });
});

/** The stream of a whole migration, for others to spoil. */
async function wholeStream(): Promise<Uint8Array> {
  const travel = new Travel();
  await travel.move();
  return Buffer.concat(travel.pipe.forth.record);
}

test('whatever is changed in a stream, the destination takes it or refuses it, and says so', async () => {
  const stream = await wholeStream();
  const tail = stream.length - 1600;
  const place = fc.oneof(
    fc.integer({ min: 0, max: 200 }),
    fc.integer({ min: tail, max: stream.length - 1 }),
    fc.nat(stream.length - 1),
  );
  const changes = fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 4 });
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(changes, fc.nat(3), async (spoilt, cut) => {
      const bytes = Uint8Array.from(stream);
      for (const [at, value] of spoilt) bytes[at] = value;
      const { outcome } = await say((out) => out.body(bytes.subarray(0, bytes.length - cut)));
      expect(['arrived', 'failed']).toContain(outcome.result);
      if (outcome.result === 'arrived') taken++;
      else expect(outcome.message.length).toBeGreaterThan(10);
    }),
    { numRuns: 400 },
  );
  expect(taken).toBeGreaterThan(0);
});

describe('a hostile destination', () => {
  /** Answers whatever it likes, and the source keeps its guest. */
  async function answer(words: (string | (() => void))[], options: SendOptions = {}) {
    const travel = new Travel();
    const clock = new TestClock();
    const end = travel.pipe.b;
    const sending = sendLive(travel.pipe.a, travel.source, { clock, ...options });
    for (const each of words) {
      if (typeof each === 'string') await end.write(hexBytes(each)).catch(() => {});
      else each();
      await new Promise((resolve) => setImmediate(resolve));
    }
    let read = 0;
    void (async () => {
      for (let chunk = await end.read(); chunk !== undefined; chunk = await end.read()) read += chunk.length;
    })();
    const sent = await sending;
    clock.stop();
    expect(travel.world.faults).toEqual([]);
    return { sent, travel, read };
  }

  const cases: readonly [string, readonly string[], RegExp][] = [
    ['no return path', ['474554202f20485454502f312e31'], /no return path of a migration/],
    ['agrees before it was asked', ['0002000476697274'], /is not ready|silent|nothing for/],
    ['says that the guest runs, and was not given it', ['0001000400000000'], /was not given it/],
    ['agrees and takes the guest at once', ['00020004766972740001000400000000'], /was not given it/],
    ['refuses', ['00010004ffffffff'], /the destination refused \(-1\)/],
    ['asks for pages', ['0004000c00000000000000000000'], /no return path of a migration/],
    ['talks without end', [Array.from({ length: 80 }, () => '0002000400000001').join('')], /no return path/],
    ['says nothing', [], /is not ready/],
  ];

  test.each(cases)('%s', async (_name, words, message) => {
    const { sent, travel } = await answer([...words], { handOverTimeoutMs: 2000 });
    expect(sent).toMatchObject({ result: 'stayed', message: expect.stringMatching(message) });
    expect(travel.world.running).toBe(travel.source);
  });
});

function part(out: StreamWriter, offset: number): void {
  out.section({ ...RAM, kind: 'part' });
  out.ramPage(0x08, offset, 0);
  out.ramData(PAGE, 0, 4096);
  out.ramMark(EOS, 0);
  out.footer(1);
}

function disk(out: StreamWriter): void {
  const [section] = new SmallMachine(new SmallWorld()).sections;
  if (section === undefined) return;
  out.section({
    kind: 'full',
    id: 2,
    idstr: section.idstr,
    instanceId: 0,
    versionId: section.versionId,
    offset: 0,
  });
  out.body(section.save());
  out.footer(2);
}

/** A ring size that is none, in a disk's state: behind the configuration space and the number of queues. */
function withRing(body: Uint8Array): Uint8Array {
  const changed = body.slice();
  // one queue, of 4 entries
  const at = Buffer.from(body).indexOf(hexBytes('00000001 00000004'));
  expect(at).toBeGreaterThan(0);
  changed.set(hexBytes('40000000'), at + 4);
  return changed;
}

function hexBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { HostError } from '@virtkit/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ByteDuplex, portDuplex, receiveLive, sendLive } from '../../src/live.ts';
import { expectSame } from './migration.ts';
import { DISK_BYTES, SmallMachine, SmallWorld } from './small.ts';

test('a machine moves to a worker through a MessagePort, and its guest works on there', async () => {
  const shared = new SharedArrayBuffer(DISK_BYTES);
  const disk = new Uint8Array(shared);
  const world = new SmallWorld({
    read: (position, target) => target.set(disk.subarray(position, position + target.length)),
    write: (position, source) => disk.set(source, position),
  });
  const source = new SmallMachine(world);
  source.boot();
  for (let n = 0; n < 50; n++) source.step();
  const { port1, port2 } = new MessageChannel();
  const program = JSON.stringify(new URL('port-worker.ts', import.meta.url).href);
  const worker = new Worker(
    `import('tsx/esm/api').then(({ register }) => (register(), import(${program})))`,
    {
      eval: true,
      execArgv: ['--conditions=@virtkit/source'],
      workerData: { port: port2, shared },
      transferList: [port2],
    },
  );
  const told = new Promise<{ result: string; rounds: number; faults: string[]; atResume: Uint8Array }>(
    (resolve, reject) => worker.once('message', resolve).once('error', reject),
  );
  const working = setInterval(() => world.running?.step(), 1);
  const sent = await sendLive(portDuplex(port1, { window: 8192 }), source, { downtimeLimitMs: 1e6 });
  clearInterval(working);
  const { result, rounds, faults, atResume } = await told;
  expect([sent.result, result]).toEqual(['moved', 'arrived']);
  expectSame(atResume, source.atPause);
  expect(rounds).toBe(source.rounds + 50);
  expect([...faults, ...world.faults]).toEqual([]);
  port1.close();
  await worker.terminate();
});

describe('a MessagePort as a connection', () => {
  function pair(window = 1000): { a: ByteDuplex; b: ByteDuplex; ports: readonly [MessagePort, MessagePort] } {
    const { port1, port2 } = new MessageChannel();
    return { a: portDuplex(port1, { window }), b: portDuplex(port2, { window }), ports: [port1, port2] };
  }

  test('carries bytes in order, ends when the other side closes, and what was written before arrives', async () => {
    const { a, b, ports } = pair();
    const sent = Uint8Array.from({ length: 5000 }, (_, i) => i);
    const writing = (async () => {
      for (let at = 0; at < sent.length; at += 700) await a.write(sent.slice(at, at + 700));
      a.close();
    })();
    const chunks: Uint8Array[] = [];
    for (let chunk = await b.read(); chunk !== undefined; chunk = await b.read()) chunks.push(chunk);
    await writing;
    expect(Buffer.compare(Buffer.concat(chunks), sent)).toBe(0);
    await expect(b.write(Uint8Array.of(1))).rejects.toThrow('closed');
    for (const port of ports) port.close();
  });

  test('makes a writer wait that nobody reads', async () => {
    const { a, b, ports } = pair(1000);
    await a.write(new Uint8Array(900));
    let second = false;
    const writing = a.write(new Uint8Array(900)).then(() => {
      second = true;
    });
    for (let n = 0; n < 20; n++) await new Promise((resolve) => setImmediate(resolve));
    expect(second).toBe(false);
    expect((await b.read())?.length).toBe(900);
    await writing;
    expect(second).toBe(true);
    for (const port of ports) port.close();
  });

  test('ends when the port is closed at the other side', async () => {
    const { a, b, ports } = pair();
    ports[1].close();
    expect(await a.read()).toBeUndefined();
    await expect(a.write(Uint8Array.of(1))).rejects.toThrow('closed');
    b.close();
  });

  test.each([1, 7, 4096, 32_767])('moves a machine through a window of %i bytes', async (window) => {
    const world = new SmallWorld();
    const [source, destination] = [new SmallMachine(world), new SmallMachine(world)];
    source.boot();
    for (let n = 0; n < 6; n++) source.step();
    const { port1, port2 } = new MessageChannel();
    let largest = 0;
    port2.on('message', (data) => {
      if (data instanceof Uint8Array) largest = Math.max(largest, data.length);
    });
    const [sent, received] = await Promise.all([
      sendLive(portDuplex(port1, { window }), source, { downtimeLimitMs: 1e6, handOverTimeoutMs: 60_000 }),
      // the smaller window counts
      receiveLive(portDuplex(port2, { window: 2 * window }), destination),
    ]);
    expect([sent.result, received.result]).toEqual(['moved', 'arrived']);
    expectSame(destination.atResume, source.atPause);
    expect(largest).toBeLessThanOrEqual(window);
    port1.close();
  });

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('has no window of %f bytes', (window) => {
    const { port1 } = new MessageChannel();
    expect(() => portDuplex(port1, { window })).toThrow(HostError);
    port1.close();
  });

  test('is good for another attempt, whoever gives up, when, and begins first', {
    timeout: 120_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ atSource: fc.boolean(), after: fc.nat(5), destinationFirst: fc.boolean() }), {
          minLength: 1,
          maxLength: 4,
        }),
        async (attempts) => {
          const world = new SmallWorld();
          const [source, destination] = [new SmallMachine(world), new SmallMachine(world)];
          source.boot();
          const { port1, port2 } = new MessageChannel();
          const attempt = async (atSource: boolean, after: number, destinationFirst: boolean) => {
            const controller = new AbortController();
            const { signal } = controller;
            let writes = 0;
            const counted = (duplex: ByteDuplex): ByteDuplex => ({
              write: (bytes) => {
                if (writes++ === after) controller.abort();
                return duplex.write(bytes);
              },
              read: () => duplex.read(),
              close: () => duplex.close(),
            });
            const receive = () =>
              receiveLive(portDuplex(port2, { window: 5000 }), destination, atSource ? {} : { signal });
            const first = destinationFirst ? receive() : undefined;
            const sending = sendLive(counted(portDuplex(port1, { window: 5000 })), source, {
              downtimeLimitMs: 1e6,
              handOverTimeoutMs: 60_000,
              ...(atSource && { signal }),
            });
            const [sent, received] = await Promise.all([sending, first ?? receive()]);
            return `${sent.result} ${received.result}`;
          };
          for (const { atSource, after, destinationFirst } of attempts) {
            const story = await attempt(atSource, after, destinationFirst);
            // a signal that came too late
            if (story === 'moved arrived') return;
            expect(story).toBe('stayed failed');
            expect(world.running).toBe(source);
          }
          expect(await attempt(true, Number.POSITIVE_INFINITY, true)).toBe('moved arrived');
          expectSame(destination.atResume, source.atPause);
          port1.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  /** The other end of a port, which says what it likes. */
  function stranger(port: MessagePort): { readonly own: number; greet(to: number, from?: number): void } {
    return {
      own: 4711,
      greet: (to, from = 4711) => port.postMessage({ greeting: true, from, to, window: 1000 }),
    };
  }

  /** A connection to a stranger, who has greeted it. */
  async function strange(): Promise<{ a: ByteDuplex; ports: readonly [MessagePort, MessagePort] }> {
    const { port1, port2 } = new MessageChannel();
    const heard = new Promise<{ readonly from: number }>((resolve) => port2.once('message', resolve));
    const a = portDuplex(port1, { window: 1000 });
    stranger(port2).greet((await heard).from);
    await turns(50);
    return { a, ports: [port1, port2] };
  }

  const turns = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve));
  };

  test('does not hear what was said to an earlier attempt', async () => {
    const { port1, port2 } = new MessageChannel();
    const said: { readonly from: number }[] = [];
    port2.on('message', (word) => said.push(word));
    const a = portDuplex(port1, { window: 1000 });
    const old = stranger(port2);
    // bytes, an account and an end of a conversation with somebody else
    old.greet(99);
    port2.postMessage(new Uint8Array(500).fill(1));
    port2.postMessage({ read: 100_000 });
    port2.postMessage({ end: 98 });
    await turns(50);
    old.greet(said[0]?.from ?? 0, 4712);
    port2.postMessage(Uint8Array.of(2));
    expect(await a.read()).toEqual(Uint8Array.of(2));
    a.close();
    port1.close();
  });

  test('ends when the other side begins anew', async () => {
    const { a, ports } = await strange();
    stranger(ports[1]).greet(0, 5000);
    expect(await a.read()).toBeUndefined();
    ports[0].close();
  });

  const wrong: readonly [string, (port: MessagePort) => void, RegExp][] = [
    ['text', (port) => port.postMessage('hello'), /no part of a migration/],
    ['nothing', (port) => port.postMessage(null), /no part of a migration/],
    ['an account of what was not sent', (port) => port.postMessage({ read: 5 }), /5 bytes were read of 0/],
    ['no number', (port) => port.postMessage({ read: Number.NaN }), /NaN bytes were read/],
    [
      'more than was asked for',
      (port) => {
        for (let n = 0; n < 4; n++) port.postMessage(new Uint8Array(900));
      },
      /more bytes than were asked for/,
    ],
  ];

  test.each(wrong)('breaks at %s', async (_name, speak, message) => {
    const { a, ports } = await strange();
    speak(ports[1]);
    await turns(50);
    await expect(a.read()).rejects.toThrow(message);
    await expect(a.write(Uint8Array.of(1))).rejects.toThrow(message);
    ports[0].close();
  });

  test('breaks at greetings without end', async () => {
    const { port1, port2 } = new MessageChannel();
    const a = portDuplex(port1);
    let answers = 0;
    port2.on('message', () => answers++);
    for (let n = 1; n <= 10_000; n++) stranger(port2).greet(0, n);
    await expect(a.read()).rejects.toThrow('more than 64 greetings');
    await turns(50);
    expect(answers).toBeLessThan(70);
    port1.close();
  });
});

import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { type ByteDuplex, portDuplex, sendLive } from '../../src/live.ts';
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

  const wrong: readonly [string, (port: MessagePort) => void, RegExp][] = [
    ['text', (port) => port.postMessage('hello'), /no part of a migration/],
    ['credit for what was not sent', (port) => port.postMessage(5), /5 bytes were read of 0/],
    ['no number', (port) => port.postMessage(Number.NaN), /NaN bytes were read/],
    [
      'more than was asked for',
      (port) => {
        for (let n = 0; n < 4; n++) port.postMessage(new Uint8Array(900));
      },
      /more bytes than were asked for/,
    ],
  ];

  test.each(wrong)('breaks at %s', async (_name, speak, message) => {
    const { port1, port2 } = new MessageChannel();
    const a = portDuplex(port1, { window: 1000 });
    speak(port2);
    for (let n = 0; n < 50; n++) await new Promise((resolve) => setImmediate(resolve));
    await expect(a.read()).rejects.toThrow(message);
    await expect(a.write(Uint8Array.of(1))).rejects.toThrow(message);
    port1.close();
  });
});

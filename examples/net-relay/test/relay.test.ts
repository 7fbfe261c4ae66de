import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import WebSocket from 'ws';
import { type Relay, relay } from '../src/relay.ts';

const BROADCAST = Array(6).fill(0xff);
const frame = (to: readonly number[], from: number, text: string): Buffer =>
  Buffer.from([...to, 2, 0, 0, 0, 0, from, 0x88, 0xb5, ...Buffer.from(text.padEnd(46))]);

/** A guest's network, whatever it is made of. */
interface Client {
  readonly received: string[];
  send(bytes: Buffer): void;
  close(): void;
}

async function page(port: number, origin?: string): Promise<Client> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, origin === undefined ? {} : { origin });
  const received: string[] = [];
  socket.on('message', (bytes: Buffer) => received.push(bytes.subarray(14).toString().trim()));
  await once(socket, 'open');
  return { received, send: (bytes) => socket.send(bytes), close: () => socket.terminate() };
}

/** QEMU's end of `-netdev stream`. */
async function qemu(port: number): Promise<Client> {
  const socket = net.connect(port, '127.0.0.1');
  const received: string[] = [];
  let bytes = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE()) {
      const end = 4 + bytes.readUInt32BE();
      received.push(bytes.subarray(18, end).toString().trim());
      bytes = bytes.subarray(end);
    }
  });
  await once(socket, 'connect');
  const send = (sent: Buffer): void => {
    socket.write(Buffer.concat([Buffer.from([0, 0, 0, sent.length]), sent]));
  };
  return { received, send, close: () => socket.destroy() };
}

let made: Relay;
const events: string[] = [];
beforeAll(async () => {
  made = await relay({
    port: 0,
    qemu: { port: 0 },
    clients: 2,
    origins: ['https://example.org'],
    onEvent: (_, { name }) => events.push(name),
  });
});
afterAll(() => made.close());

test('pages and QEMUs hear each other, and nobody twice', async () => {
  const [a, b] = [await page(made.port, 'https://example.org'), await page(made.port, 'https://example.org')];
  const c = await qemu(made.qemu?.address.port ?? 0);
  await expect.poll(() => events).toEqual(['up', 'up', 'up']);
  a.send(frame(BROADCAST, 1, 'to all'));
  await expect.poll(() => [b.received, c.received]).toEqual([['to all'], ['to all']]);
  c.send(frame([2, 0, 0, 0, 0, 1], 3, 'to a'));
  await expect.poll(() => a.received).toEqual(['to a']);
  b.send(frame([2, 0, 0, 0, 0, 3], 2, 'to c'));
  await expect.poll(() => c.received).toEqual(['to all', 'to c']);
  expect([a.received, b.received]).toEqual([['to a'], ['to all']]);

  // a third page, and one from elsewhere
  await expect(page(made.port, 'https://example.org')).rejects.toThrow('503');
  b.close();
  await expect.poll(() => events.at(-1)).toBe('down');
  await expect(page(made.port, 'https://example.com')).rejects.toThrow('403');
  // a message that is no frame ends the connection of who sent it, and nothing else
  a.send(Buffer.alloc(100_000));
  await expect.poll(() => events.filter((name) => name === 'down')).toHaveLength(2);
  const d = await page(made.port, 'https://example.org');
  c.send(frame(BROADCAST, 3, 'still here'));
  await expect.poll(() => d.received).toEqual(['still here']);
  c.close();
  d.close();
});

test('the program says where it listens, and ends when it is told to', async () => {
  const example = fileURLToPath(new URL('..', import.meta.url));
  const args = [
    '--import',
    'tsx',
    '--conditions=@virtkit/source',
    'src/main.ts',
    '--port',
    '0',
    '--qemu',
    '0',
  ];
  const child: ChildProcess = spawn(process.execPath, args, {
    cwd: example,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    if (child.stdout === null) throw new Error('no output');
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const first = String((await lines.next()).value);
    expect(first).toMatch(/^WebSockets: ws:\/\/127\.0\.0\.1:\d+\/ {3}QEMU: port \d+$/);
    const client = await page(Number(/:(\d+)\//.exec(first)?.[1]));
    expect(String((await lines.next()).value)).toMatch(/^127\.0\.0\.1:\d+ up$/);
    client.close();
    child.kill('SIGTERM');
    expect((await once(child, 'exit'))[0]).toBe(0);
  } finally {
    child.kill('SIGKILL');
  }
});

// Feeding a destination that closes: behind the last byte it has taken everything, in front of it it has refused.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { send } from '../src/live/send.ts';

let home: string;
const toClose: (() => void)[] = [];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'virtkit-send-'));
});

afterEach(() => {
  for (const close of toClose.splice(0)) close();
  rmSync(home, { recursive: true, force: true });
});

/** Sends a file of so many bytes to a destination that closes as soon as it has read `taken` of them. */
async function sent(bytes: number, taken: number): Promise<{ refused: string | undefined; read: number }> {
  const file = join(home, 'stream');
  writeFileSync(file, new Uint8Array(bytes).fill(7));
  let read = 0;
  const peers: Socket[] = [];
  const server = createServer((peer) => {
    peers.push(peer);
    peer.on('error', () => {});
    peer.on('data', (chunk) => {
      read += chunk.length;
      if (read >= taken) peer.destroy();
    });
  });
  const door = join(home, `door-${toClose.length}`);
  await new Promise<void>((resolve) => server.listen(door, resolve));
  toClose.push(() => {
    for (const peer of peers) peer.destroy();
    server.close();
  });
  const socket = connect(door);
  await once(socket, 'connect');
  const { refused } = await send(socket, file);
  return { refused, read };
}

test.each([1, 1000, 65_536, 65_537, 1_000_000, 5_000_000])(
  'who has read all of %d bytes and closes at once has taken them',
  async (bytes) => {
    for (let again = 0; again < 5; again++)
      expect(await sent(bytes, bytes)).toEqual({ refused: undefined, read: bytes });
  },
);

/** Reads so many bytes of each connection in a process of its own, and closes it at once. */
const READER = `
require('node:net').createServer((peer) => {
  let left = Number(process.argv[2]);
  peer.on('data', ({ length }) => { if ((left -= length) <= 0) peer.destroy(); });
}).listen(process.argv[1], () => console.log('listening'));
`;

test('another process that has read all and closes at once has taken all, every time', async () => {
  const bytes = 1_126_443;
  const [file, door] = [join(home, 'stream'), join(home, 'door')];
  writeFileSync(file, new Uint8Array(bytes));
  const reader = spawn(process.execPath, ['-e', READER, door, String(bytes)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  toClose.push(() => reader.kill());
  await once(reader.stdout, 'data');
  for (let again = 0; again < 150; again++) {
    const socket = connect(door);
    await once(socket, 'connect');
    expect(await send(socket, file)).toEqual({ bytes, refused: undefined });
  }
});

test.each([1, 100_000, 4_000_000])('who closes after %d of 5,000,000 bytes has refused', async (taken) => {
  for (let again = 0; again < 5; again++)
    expect((await sent(5_000_000, taken)).refused).toMatch(/closed the connection after \d+ bytes/);
});

// Peers that talk and do not listen: what a command keeps for them is bounded, and nothing of it is lost.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { delay } from '@virtkit/lab';
import { describe, expect, test } from 'vitest';
import { proxy } from '../src/live/proxy.ts';
import { receive } from '../src/live/receive.ts';
import { root } from './command.ts';
import { listening, until, useMigrating } from './migrating.ts';

const TIMEOUT_MS = 60_000;
/** As small as the kernel's own buffers, so that what a command keeps shows. */
const MARK = 1 << 14;
const stream = gunzipSync(readFileSync(`${root}packages/lab/streams/10.0.13/q100-s390-io.mig.gz`));
const OPEN_RETURN_PATH = Uint8Array.of(8, 0, 1, 0, 0);
const PING = Uint8Array.of(8, 0, 2, 0, 4, 1, 2, 3, 4);
const PONG_BYTES = 8;
/** Below the number of commands that are kept of a stream, above what the kernel's buffers hold. */
const PINGS = 60_000;

const migrating = useMigrating();

/** Both ends of a connection: the command's, and the peer's. */
async function pair(name: string): Promise<[here: Socket, there: Socket]> {
  const server = createServer({ highWaterMark: MARK, pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(join(migrating.home(), name), resolve));
  const there = connect({ path: join(migrating.home(), name) });
  const [here] = (await once(server, 'connection')) as [Socket];
  server.close();
  there.on('error', () => {});
  return [here, there];
}

/** The most that waits in a socket to be written, while `body` runs. */
async function mostWaiting(socket: Socket, body: Promise<unknown>): Promise<number> {
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, socket.writableLength);
  }, 1);
  await body;
  clearInterval(timer);
  return Math.max(most, socket.writableLength);
}

/** Until nothing moves any more: as many looks as long. */
async function standstill(...progress: (() => number)[]): Promise<void> {
  let before = '';
  for (let still = 0; still < 30; still++) {
    const now = progress.map((each) => each()).join();
    if (now !== before) still = 0;
    before = now;
    await delay(20);
  }
}

/** Where the first section begins, that of RAM: commands may stand in front of it. */
const FIRST_SECTION = stream.indexOf('\x03ram') - 5;

/** The beginning of the stream, and questions. */
function asking(...questions: readonly Uint8Array[]): Buffer {
  return Buffer.concat([stream.subarray(0, FIRST_SECTION), OPEN_RETURN_PATH, ...questions]);
}

describe('back-pressure', { timeout: TIMEOUT_MS }, () => {
  test('receive: a source that asks and does not listen waits; when it listens, it has each answer', async () => {
    const [here, there] = await pair('receive');
    const received = receive(here, undefined);
    there.pause();
    there.write(Buffer.concat([asking(...Array(PINGS).fill(PING)), stream.subarray(FIRST_SECTION)]));
    const kept = await mostWaiting(
      here,
      standstill(
        () => here.bytesRead,
        () => there.bytesWritten,
      ),
    );
    expect(kept).toBeLessThan(4 * MARK + (1 << 16));
    let heard = 0;
    there.on('data', (bytes: Buffer) => {
      heard += bytes.length;
    });
    there.resume();
    const { error, broken, stream: shown } = await received;
    expect([error, broken, shown.complete]).toEqual([undefined, undefined, true]);
    await once(there, 'close');
    // and the last word
    expect(heard).toBe((PINGS + 1) * PONG_BYTES);
  });

  test('receive: a PING as no QEMU sends it is refused', async () => {
    const [here, there] = await pair('receive');
    const long = Uint8Array.of(8, 0, 2, 0, 5, 0, 0, 0, 0, 0);
    there.write(asking(long));
    there.resume();
    const { error } = await receive(here, undefined);
    expect(error?.message).toMatch(/a PING of 5 bytes, which has 4/);
  });

  test('proxy: a destination that talks waits for the source to listen', async () => {
    const [source, from] = await pair('source');
    const [destination, to] = await pair('destination');
    from.pause();
    const done = proxy(source, destination, () => undefined);
    const answers = Buffer.alloc(1 << 22, 'answers');
    to.write(answers);
    const kept = await mostWaiting(
      source,
      standstill(
        () => destination.bytesRead,
        () => to.bytesWritten,
      ),
    );
    expect(kept).toBeLessThan(4 * MARK + (1 << 16));
    const heard: Buffer[] = [];
    from.on('data', (bytes: Buffer) => heard.push(bytes));
    from.resume();
    let taken = 0;
    to.on('data', (bytes: Buffer) => {
      taken += bytes.length;
    });
    from.write(stream);
    const total = (): number => heard.reduce((sum, { length }) => sum + length, 0);
    await until('both ways', () => taken === stream.length && total() === answers.length);
    from.end();
    expect(await done).toMatchObject({ refused: undefined, broken: undefined });
    expect(Buffer.concat(heard).equals(answers)).toBe(true);
    from.destroy();
  });

  test('send: answers are heard, and none but the last word is kept', async () => {
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(join(migrating.home(), 'door'), resolve));
    const sending = migrating.virtkit(
      'send',
      `${root}packages/lab/streams/10.0.13/q100-s390-io.mig.gz`,
      `unix:${join(migrating.home(), 'door')}`,
    );
    const [socket] = (await once(server, 'connection')) as [Socket];
    server.close();
    const before = residentBytes(sending.child.pid);
    const talk = Buffer.alloc(1 << 20);
    const TALKS = 300;
    for (let n = 0; n < TALKS; n++) await new Promise((resolve) => socket.write(talk, resolve));
    // buffers that are read are garbage, but not all of it at once
    expect(residentBytes(sending.child.pid) - before).toBeLessThan((TALKS * talk.length) / 2);
    socket.resume();
    await once(socket, 'end');
    socket.end(Uint8Array.of(0, 1, 0, 4, 0xff, 0xff, 0xff, 0xff));
    expect(await sending.ended).toBe(1);
    expect(sending.stderr()).toMatch(/the load failed \(-1\)/);
  });
});

/** What a process has in memory. Linux; elsewhere 0. */
function residentBytes(pid = 0): number {
  if (process.platform !== 'linux') return 0;
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

test(
  'a source that never listens to the last word does not keep the command',
  async () => {
    const socket = join(migrating.home(), 'socket');
    const running = migrating.virtkit('receive', `unix:${socket}`);
    await listening(running);
    const there = connect({ path: socket });
    there.pause();
    const at = 13 + stream.readUInt32BE(9);
    // no stream, behind questions whose answers fill all buffers
    const pings = Buffer.concat(Array(PINGS).fill(PING));
    there.write(Buffer.concat([stream.subarray(0, at), OPEN_RETURN_PATH, pings, Buffer.from('no section')]));
    expect(await running.ended).toBe(3);
    there.destroy();
  },
  TIMEOUT_MS,
);

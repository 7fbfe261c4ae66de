import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import {
  type ByteDuplex,
  channelDuplex,
  type DataChannelLike,
  receiveLive,
  sendLive,
} from '../../src/live.ts';
import { expectSame } from './migration.ts';
import { SmallMachine, SmallWorld } from './small.ts';

type Type = 'message' | 'close' | 'error';

/** One end of a data channel without a network: messages arrive later, in order, and not at all when it closes. */
class Channel implements DataChannelLike {
  binaryType = 'blob';
  /** What the other side sees, of the next messages as well. */
  readonly heard: (ArrayBuffer | string)[] = [];
  readonly #listeners = new Map<Type, Set<(event: object) => void>>();
  peer: Channel | undefined;
  /** As a channel between `close()` and its event: nothing can be sent. */
  closing = false;

  send(data: ArrayBuffer | string): void {
    if (this.closing) throw new Error('InvalidStateError');
    this.peer?.heard.push(data);
    setImmediate(() => this.peer?.emit('message', { data }));
  }

  addEventListener(type: Type, listener: (event: object) => void): void {
    this.#listeners.set(type, (this.#listeners.get(type) ?? new Set()).add(listener));
  }

  removeEventListener(type: Type, listener: (event: object) => void): void {
    this.#listeners.get(type)?.delete(listener);
  }

  emit(type: Type, event: object): void {
    for (const each of this.#listeners.get(type) ?? []) each(event);
  }

  get listeners(): number {
    return [...this.#listeners.values()].reduce((sum, { size }) => sum + size, 0);
  }
}

function channels(): readonly [Channel, Channel] {
  const [near, far] = [new Channel(), new Channel()];
  near.peer = far;
  far.peer = near;
  return [near, far];
}

/** Two ends that have greeted each other. */
async function connected(window = 1 << 20) {
  const [near, far] = channels();
  const [a, b] = [channelDuplex(near, { window }), channelDuplex(far, { window })];
  await a.write(Uint8Array.of(1));
  expect(await b.read()).toEqual(Uint8Array.of(1));
  return { near, far, a, b };
}

test('a machine moves through a data channel, in messages of 16 KiB at most', async () => {
  const world = new SmallWorld();
  const [source, destination] = [new SmallMachine(world), new SmallMachine(world)];
  source.boot();
  const [near, far] = channels();
  const [sent, received] = await Promise.all([
    sendLive(channelDuplex(near), source, { downtimeLimitMs: 1e6 }),
    receiveLive(channelDuplex(far), destination),
  ]);
  expect([sent.result, received.result]).toEqual(['moved', 'arrived']);
  expectSame(destination.atResume, source.atPause);
  for (const data of far.heard)
    if (typeof data !== 'string') expect(data.byteLength).toBeLessThanOrEqual(16384);
  expect([near.listeners, far.listeners]).toEqual([0, 0]);
});

describe('a data channel as a connection', () => {
  test('lets go of the channel when it is closed, even if nothing can be said any more', async () => {
    const { near, a } = await connected();
    const reading = a.read();
    near.closing = true;
    a.close();
    expect(await reading).toBeUndefined();
    expect(near.listeners).toBe(0);
    a.close();
    await expect(a.write(Uint8Array.of(1))).rejects.toThrow('closed');
  });

  test('what has come is read when nothing can be said any more', async () => {
    const { far, a, b } = await connected();
    await a.write(Uint8Array.of(2));
    await new Promise((resolve) => setImmediate(resolve));
    far.closing = true;
    expect(await b.read()).toEqual(Uint8Array.of(2));
    far.emit('close', {});
    expect(await b.read()).toBeUndefined();
  });

  test('a channel that is closing when it is taken fails whoever uses it', async () => {
    const channel = new Channel();
    channel.closing = true;
    const duplex: ByteDuplex = channelDuplex(channel);
    await expect(duplex.read()).rejects.toThrow('InvalidStateError');
    duplex.close();
    expect(channel.listeners).toBe(0);
  });

  test('breaks when the channel fails', async () => {
    const { near, a } = await connected();
    const reading = a.read();
    near.emit('error', {});
    await expect(reading).rejects.toThrow('the channel failed');
  });

  test('a text of more than 256 characters is not read: it is no word of a migration', async () => {
    for (const [length, isRead] of [
      [256, true],
      [257, false],
    ] as const) {
      const { near, a, b } = await connected();
      // said again, with blanks
      const greeting = near.heard.find((each) => typeof each === 'string');
      if (typeof greeting !== 'string') throw new Error('no word was said');
      near.emit('message', { data: greeting.padEnd(length) });
      const written = a.write(Uint8Array.of(2));
      if (isRead) {
        await written;
        expect(await b.read()).toEqual(Uint8Array.of(2));
      } else await expect(written).rejects.toThrow('a message that is no part of a migration');
    }
  });

  test('empty messages and very small ones hold no more than their bytes', async () => {
    const { near, a } = await connected(1 << 20);
    const before = held();
    const empty = new ArrayBuffer(0);
    for (let n = 0; n < 1_000_000; n++) near.emit('message', { data: empty });
    for (let n = 0; n < 100_000; n++) near.emit('message', { data: Uint8Array.of(n).buffer });
    // the messages are 100 000 objects while they come, and 25 blocks behind that
    expect(held() - before).toBeLessThan(8 << 20);
    let read = 0;
    let chunks = 0;
    for (; read < 100_000; chunks++) {
      for (const byte of (await a.read()) ?? [])
        if (byte !== (read++ & 0xff)) throw new Error('another byte');
    }
    expect([read, chunks]).toEqual([100_000, 25]);
  });
});

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes in use when the garbage has gone. */
function held(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

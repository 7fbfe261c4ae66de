import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { streamDuplex } from '../../src/node.ts';

const open: (Socket | Server)[] = [];

afterEach(() => {
  for (const each of open.splice(0)) 'destroy' in each ? each.destroy() : each.close();
});

async function sockets(): Promise<readonly [Socket, Socket]> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const address = server.address();
  const near = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1');
  const [far] = (await accepted) as [Socket];
  open.push(near, far, server);
  return [near, far];
}

describe('a socket as a connection', () => {
  test('carries bytes in order, and ends when the other side has written its last', async () => {
    const [near, far] = await sockets();
    const [a, b] = [streamDuplex(near), streamDuplex(far)];
    const sent = Uint8Array.from({ length: 1 << 20 }, (_, i) => i ^ (i >>> 8));
    const writing = (async () => {
      for (let at = 0; at < sent.length; at += 65536) await a.write(sent.slice(at, at + 65536));
      a.close();
    })();
    const chunks: Uint8Array[] = [];
    for (let chunk = await b.read(); chunk !== undefined; chunk = await b.read()) chunks.push(chunk);
    await writing;
    expect(Buffer.compare(Buffer.concat(chunks), sent)).toBe(0);
    expect(await b.read()).toBeUndefined();
    await expect(a.write(Uint8Array.of(1))).rejects.toThrow('closed');
  });

  test('a writer waits while nobody reads, and goes on when somebody does', async () => {
    const [near, far] = await sockets();
    const [a, b] = [streamDuplex(near), streamDuplex(far)];
    // more than all buffers on the way take
    const total = 64 << 20;
    let written = 0;
    const writing = (async () => {
      for (; written < total; written += 1 << 20) await a.write(new Uint8Array(1 << 20));
      a.close();
    })();
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(written).toBeLessThan(total);
    let read = 0;
    for (let chunk = await b.read(); chunk !== undefined; chunk = await b.read()) read += chunk.length;
    await writing;
    expect(read).toBe(total);
  });

  test('a connection that is reset breaks for who reads and who writes', async () => {
    const [near, far] = await sockets();
    const a = streamDuplex(near);
    const reading = a.read();
    far.resetAndDestroy();
    await expect(reading).rejects.toThrow('ECONNRESET');
    await expect(a.write(Uint8Array.of(1))).rejects.toThrow('ECONNRESET');
  });

  test('a stream that is destroyed ends', async () => {
    const stream = new PassThrough();
    const a = streamDuplex(stream);
    const reading = a.read();
    stream.destroy();
    expect(await reading).toBeUndefined();
    await expect(a.write(Uint8Array.of(1))).rejects.toThrow('closed');
    a.close();
  });

  test('closing does not wait for more than 5 seconds for who takes nothing', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      // what is written never goes out
      const stream = new Duplex({ read: () => {}, write: () => {} });
      const a = streamDuplex(stream);
      stream.write(Uint8Array.of(1));
      a.close();
      vi.advanceTimersByTime(4999);
      expect(stream.destroyed).toBe(false);
      vi.advanceTimersByTime(1);
      expect(stream.destroyed).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  test('closing twice is closing', async () => {
    const [near, far] = await sockets();
    const [a, b] = [streamDuplex(near), streamDuplex(far)];
    a.close();
    a.close();
    expect(await b.read()).toBeUndefined();
    b.close();
  });
});

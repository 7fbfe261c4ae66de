import dgram from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatagramBackend, type LinkEvent, StreamBackend, StreamServer } from '@virtkit/device-net/node';
import { connect, NetSwitch } from '@virtkit/device-net/switch';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { FrameReader } from '../src/node/reader.ts';
import { packetOf } from './frames.ts';
import { FakeCard, poll } from './links.ts';
import { frame, hex } from './machine.ts';

const dir = mkdtempSync(join(tmpdir(), 'virtkit-node-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const open: { close(): unknown }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});
const kept = <T extends { close(): unknown }>(each: T): T => {
  open.push(each);
  return each;
};

const onWire = (...frames: Uint8Array[]): Buffer =>
  Buffer.concat(
    frames.flatMap((bytes) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );

const small = (n: number): Uint8Array => frame(60 + n, 'ffffffffffff', '525400000001', n);

/** A socket at the other end, as QEMU has it. */
class Far {
  readonly socket: net.Socket;
  readonly #chunks: Buffer[] = [];
  closed = false;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => this.#chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
    });
    kept({ close: () => socket.destroy() });
  }

  static async to(
    address: { port?: number | undefined; path?: string | undefined } | undefined,
  ): Promise<Far> {
    const { path, port = 0 } = address ?? {};
    const socket = path === undefined ? net.connect(port, '127.0.0.1') : net.connect(path);
    await once(socket, 'connect');
    return new Far(socket);
  }

  get bytes(): string {
    return Buffer.concat(this.#chunks).toString('hex');
  }

  get length(): number {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
}

const events: LinkEvent[] = [];
const onEvent = (event: LinkEvent): void => {
  events.push(event);
};

async function listener(
  options: { frameMax?: number } = {},
): Promise<{ backend: StreamBackend; card: FakeCard }> {
  events.length = 0;
  const backend = kept(await StreamBackend.listen({ port: 0, onEvent, ...options }));
  return { backend, card: new FakeCard(backend) };
}

describe('a stream, taken apart', () => {
  const read = (chunks: readonly Uint8Array[], refusals: readonly boolean[] = []): string[] => {
    const frames: string[] = [];
    const turns = [...refusals];
    const reader = new FrameReader({
      max: 4000,
      frame: (bytes) => {
        if (turns.shift() === true) return false;
        frames.push(hex(bytes));
        return true;
      },
    });
    for (const chunk of chunks)
      for (let result = reader.push(chunk); result !== 'all'; result = reader.proceed());
    expect(reader.partial).toBe(false);
    return frames;
  };

  test('wherever it is cut, and whenever the card does not take a frame', () => {
    const frames = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 8 });
    const cuts = fc.array(fc.nat(10_000), { maxLength: 12 });
    fc.assert(
      fc.property(frames, cuts, fc.array(fc.boolean(), { maxLength: 30 }), (list, places, refusals) => {
        const bytes = onWire(...list);
        const ends = [...places.filter((at) => at < bytes.length).sort((a, b) => a - b), bytes.length];
        const chunks = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
        expect(read(chunks, refusals)).toEqual(list.map(hex));
      }),
    );
  });

  test('of anything: no exception, and no frame that is longer than allowed', () => {
    const anything = fc.array(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.constant(new Uint8Array(3))));
    fc.assert(
      fc.property(anything, (chunks) => {
        let total = 0;
        const reader = new FrameReader({
          max: 100,
          frame: (bytes) => {
            total += bytes.length;
            return bytes.length <= 100;
          },
        });
        for (const chunk of chunks) if (typeof reader.push(chunk) === 'number') break;
        expect(total).toBeLessThanOrEqual(chunks.reduce((sum, { length }) => sum + length, 0));
      }),
    );
  });

  test('byte by byte', () => {
    const list = [small(0), new Uint8Array(0), small(3)];
    expect(read([...onWire(...list)].map((byte) => Uint8Array.of(byte)))).toEqual(list.map(hex));
  });
});

describe('a card and one QEMU', () => {
  test('frames both ways, gathered as they come', async () => {
    const { backend, card } = await listener();
    const far = await Far.to(backend.address);
    await poll(() => backend.up).toBe(true);
    for (let n = 0; n < 5; n++) expect(card.send(small(n))).toBe(true);
    await poll(() => far.bytes).toBe(hex(onWire(...[0, 1, 2, 3, 4].map(small))));
    far.socket.write(onWire(small(7), new Uint8Array(13), new Uint8Array(0), small(8)));
    await poll(() => card.received).toEqual([7, 8].map((n) => hex(small(n))));
    expect(backend.counters).toMatchObject({
      txFrames: 5,
      txBytes: 310,
      rxFrames: 2,
      rxBytes: 135,
      rxMalformed: 2,
    });
  });

  test('a length that no frame has ends the connection, and the next one is taken', async () => {
    const { backend, card } = await listener({ frameMax: 1514 });
    for (const [length, text] of [
      [1515, '1515'],
      [0xffffffff, '4294967295'],
    ] as const) {
      const far = await Far.to(backend.address);
      const bytes = Buffer.alloc(8);
      bytes.writeUInt32BE(length);
      far.socket.write(Buffer.concat([onWire(small(1)), bytes]));
      await poll(() => far.closed).toBe(true);
      const reason = `a frame of ${text} bytes is announced: this is no stream of frames, or not any more`;
      await poll(() => events.at(-1)).toEqual({ name: 'down', reason });
    }
    expect(card.received).toEqual([small(1), small(1)].map(hex));
    expect(backend.counters.connects).toBe(2);
  });

  test('an end in the middle of a frame is told', async () => {
    const { backend } = await listener();
    const ends = [
      [onWire(small(1)), 'the other end has closed'],
      [onWire(small(1)).subarray(0, 30), 'the other end has closed in the middle of a frame'],
      [Buffer.alloc(2), 'the other end has closed in the middle of a frame'],
    ] as const;
    for (const [bytes, reason] of ends) {
      const far = await Far.to(backend.address);
      far.socket.end(bytes);
      await poll(() => events.at(-1)).toEqual({ name: 'down', reason });
    }
    expect(backend.up).toBe(false);
  });

  test('is for two', async () => {
    const { backend } = await listener();
    await Far.to(backend.address);
    const third = await Far.to(backend.address);
    await poll(() => third.closed).toBe(true);
    expect(events.map(({ name }) => name)).toEqual(['up', 'refused']);
    expect(backend.up).toBe(true);
  });

  test('a guest without buffers makes QEMU wait, and nothing is lost', async () => {
    const { backend, card } = await listener();
    const far = await Far.to(backend.address);
    card.room = 2;
    const count = 10_000;
    const big = frame(1500);
    for (let n = 0; n < count / 100; n++) far.socket.write(onWire(...Array(100).fill(big)));
    await poll(() => card.received.length).toBe(2);
    // the buffers of both sockets are full
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(far.socket.writableLength).toBeGreaterThan(1_000_000);
    expect(backend.counters.rxFrames).toBe(2);
    card.allow(3);
    expect(card.received).toHaveLength(5);
    card.allow(count);
    await poll(() => card.received.length).toBe(count);
    expect(new Set(card.received)).toEqual(new Set([hex(big)]));
    expect(backend.counters).toMatchObject({ rxFrames: count, rxDropped: 0 });
  });

  test('a card that becomes ready while it refuses is asked again', async () => {
    const { backend, card } = await listener();
    const far = await Far.to(backend.address);
    card.room = 0;
    const receive = card.receive.bind(card);
    card.receive = (bytes) => {
      const taken = receive(bytes);
      if (!taken) card.allow(1);
      return taken;
    };
    far.socket.write(onWire(small(1), small(2), small(3)));
    await poll(() => card.received).toEqual([1, 2, 3].map((n) => hex(small(n))));
  });

  test('a slow QEMU makes the guest wait', async () => {
    const { backend, card } = await listener();
    const far = await Far.to(backend.address);
    await poll(() => backend.up).toBe(true);
    far.socket.pause();
    const big = frame(60_000);
    let sent = 0;
    while (card.send(big) && sent < 2000) if (++sent % 4 === 0) await new Promise(setImmediate);
    expect(sent).toBeLessThan(2000);
    expect(backend.counters.txRefused).toBe(1);
    far.socket.resume();
    await poll(() => card.txReadyCalls).toBe(1);
    expect(card.send(big)).toBe(true);
    await poll(() => far.length).toBe(60_004 * (sent + 1));
    expect(backend.counters.txDropped).toBe(0);
  });

  test('a QEMU that goes lets a waiting guest go on', async () => {
    const { backend, card } = await listener();
    const far = await Far.to(backend.address);
    await poll(() => backend.up).toBe(true);
    far.socket.pause();
    while (card.send(frame(60_000))) await new Promise(setImmediate);
    far.socket.destroy();
    await poll(() => card.txReadyCalls).toBe(1);
    expect(card.send(small(1))).toBe(true);
    expect(backend.counters.txDropped).toBe(1);
  });

  test('a guest that makes more headers than payload fills no memory', async () => {
    const { backend } = await listener();
    await Far.to(backend.address);
    await poll(() => backend.up).toBe(true);
    // IPv6 with extension headers of 400 bytes, TCP, 2000 bytes of payload, a byte for a segment
    const head = [...Array(12).fill(2), 0x86, 0xdd, 0x60, 0, 0, 0];
    const total = 400 + 20 + 2000;
    const ip = [...head, total >> 8, total & 0xff, 60, 64, ...Array(32).fill(1)];
    const options = [6, 49, ...Array(398).fill(0)];
    const tcp = [...Array(12).fill(0), 0x50, ...Array(7).fill(0)];
    const meta = { flags: 1, gsoType: 4, gsoSize: 1, csumStart: 454, csumOffset: 16 };
    expect(backend.send(packetOf([...ip, ...options, ...tcp, ...Array(2000).fill(7)], meta))).toBe(true);
    const { txFrames, txDropped } = backend.counters;
    expect(txFrames + txDropped).toBe(2000);
    expect(txDropped).toBeGreaterThan(0);
  });
});

describe('a QEMU that listens', () => {
  test('is called until it answers, and again', async () => {
    events.length = 0;
    const path = join(dir, 'late');
    const backend = kept(StreamBackend.connect({ path, onEvent, reconnect: { min: 10, max: 20 } }));
    const card = new FakeCard(backend);
    card.send(small(0));
    expect(backend.counters.txDropped).toBe(1);
    await poll(() => events.length).toBeGreaterThan(2);
    expect(events.slice(0, 3)).toEqual(
      [10, 20, 20].map((retryIn) => ({ name: 'down', reason: expect.stringContaining('ENOENT'), retryIn })),
    );
    for (let round = 1; round < 3; round++) {
      const server = net.createServer().listen(path);
      const [socket] = (await once(server, 'connection')) as [net.Socket];
      const far = new Far(socket);
      await poll(() => backend.up).toBe(true);
      card.send(small(round));
      await poll(() => far.bytes).toBe(hex(onWire(small(round))));
      server.close();
      socket.destroy();
      await poll(() => backend.up).toBe(false);
    }
    expect(backend.counters.connects).toBe(2);
  });

  test('is called once, if that is wished', async () => {
    events.length = 0;
    const backend = kept(StreamBackend.connect({ path: join(dir, 'never'), onEvent, reconnect: false }));
    await poll(() => events.length).toBe(1);
    expect(events[0]).toEqual({ name: 'down', reason: expect.stringContaining('ENOENT') });
    expect(backend.up).toBe(false);
  });

  test('and not any more after close()', async () => {
    events.length = 0;
    const backend = StreamBackend.connect({
      path: join(dir, 'never'),
      onEvent,
      reconnect: { min: 1, max: 1 },
    });
    await poll(() => events.length).toBeGreaterThan(3);
    await backend.close();
    await backend.close();
    const count = events.length;
    expect(events.at(-1)).toEqual({ name: 'down', reason: 'closed' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(events).toHaveLength(count);
  });
});

describe('a server for a switch', () => {
  test('gives each a port, and takes it back', async () => {
    const lan = new NetSwitch();
    const told: string[] = [];
    const server = kept(
      await StreamServer.listen(lan, {
        path: join(dir, 'server'),
        connections: 2,
        onEvent: ({ name }, peer) => told.push(`${peer} ${name}`),
      }),
    );
    const [a, b] = [await Far.to(server.address), await Far.to(server.address)];
    const c = await Far.to(server.address);
    await poll(() => c.closed).toBe(true);
    expect(told).toEqual(['UNIX socket up', 'UNIX socket up', 'UNIX socket refused']);
    a.socket.write(onWire(small(1)));
    await poll(() => b.bytes).toBe(hex(onWire(small(1))));
    expect(a.bytes).toBe('');
    b.socket.destroy();
    await poll(() => server.links.length).toBe(1);
    const d = await Far.to(server.address);
    await poll(() => server.links.length).toBe(2);
    a.socket.write(onWire(small(2)));
    await poll(() => d.bytes).toBe(hex(onWire(small(2))));
    await server.close();
    await poll(() => [a.closed, d.closed]).toEqual([true, true]);
    await expect(Far.to({ path: join(dir, 'server') })).rejects.toThrow('ENOENT');
    expect(() => server.address).toThrow('does not listen any more');
  });
});

describe('connect', () => {
  test('lets one side wait for the other', async () => {
    const { backend: near, card } = await listener();
    card.allow(0);
    const lan = new NetSwitch({ queueFrames: 2 });
    const port = lan.port();
    const one = kept(await StreamBackend.listen({ port: 0 }));
    const two = kept(await StreamBackend.listen({ port: 0 }));
    connect(one, two);
    connect(port, kept(StreamBackend.connect({ port: near.address?.port ?? 0 })));
    const [a, b] = [await Far.to(one.address), await Far.to(two.address)];
    await poll(() => [one.up, two.up]).toEqual([true, true]);
    b.socket.pause();
    const big = frame(60_000);
    const count = 400;
    for (let n = 0; n < count; n++) a.socket.write(onWire(big));
    await poll(() => two.counters.txRefused).toBeGreaterThan(0);
    expect(one.counters.rxFrames).toBeLessThan(count);
    b.socket.resume();
    await poll(() => b.length).toBe(60_004 * count);
    expect(b.bytes === hex(onWire(big)).repeat(count)).toBe(true);
    expect(two.counters).toMatchObject({ txFrames: count, txDropped: 0 });
    expect(() => connect(one, one)).toThrow('with itself');
    expect(() => connect(one, two)).toThrow('a stream is for one card');
  });
});

describe('datagrams', () => {
  async function pair(): Promise<{
    backend: DatagramBackend;
    card: FakeCard;
    far: dgram.Socket;
    got: string[];
  }> {
    events.length = 0;
    const far = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => far.bind(0, '127.0.0.1', resolve));
    kept({ close: () => far.close() });
    const got: string[] = [];
    far.on('message', (bytes) => got.push(hex(bytes)));
    const remote = { port: far.address().port };
    const backend = kept(await DatagramBackend.open({ local: { port: 0 }, remote, queueFrames: 3, onEvent }));
    return { backend, card: new FakeCard(backend), far, got };
  }

  test('are frames', async () => {
    const { backend, card, far, got } = await pair();
    for (let n = 0; n < 3; n++) card.send(small(n));
    await poll(() => got).toEqual([0, 1, 2].map((n) => hex(small(n))));
    for (const bytes of [small(5), new Uint8Array(0), new Uint8Array(13), frame(9000)])
      far.send(bytes, backend.localPort, '127.0.0.1');
    await poll(() => card.received).toEqual([small(5), frame(9000)].map(hex));
    expect(backend.counters).toMatchObject({ txFrames: 3, rxFrames: 2, rxMalformed: 2 });
  });

  test('of others are not heard', async () => {
    const { backend, card, far } = await pair();
    const other = dgram.createSocket('udp4');
    kept({ close: () => other.close() });
    await new Promise((resolve) => other.send(small(1), backend.localPort, '127.0.0.1', resolve));
    far.send(small(2), backend.localPort, '127.0.0.1');
    await poll(() => card.received).toEqual([hex(small(2))]);
    expect(backend.counters.rxFrames).toBe(1);
  });

  test('wait for a guest without buffers, not too many', async () => {
    const { backend, card, far } = await pair();
    card.room = 0;
    for (let n = 0; n < 5; n++) far.send(small(n), backend.localPort, '127.0.0.1');
    await poll(() => backend.counters.rxFrames).toBe(5);
    expect([backend.waiting, backend.counters.rxDropped]).toEqual([3, 2]);
    card.allow(9);
    expect(card.received).toEqual([0, 1, 2].map((n) => hex(small(n))));
  });

  test('more than the system takes at a time make the guest wait', async () => {
    const { backend, card } = await pair();
    let sent = 0;
    while (card.send(small(0)) && sent < 10_000) sent++;
    expect(sent).toBe(64);
    await poll(() => card.txReadyCalls).toBe(1);
    expect(card.send(small(0))).toBe(true);
    await poll(() => backend.counters.txFrames).toBe(65);
  });

  test('that nobody takes, or that are too long, are told once', async () => {
    const { backend, card, far } = await pair();
    const port = far.address().port;
    open.splice(
      open.findIndex((each) => !(each instanceof DatagramBackend)),
      1,
    );
    far.close();
    for (let n = 0; n < 5; n++) {
      card.send(small(n));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(events.slice(1)).not.toEqual([]);
    expect(events[1]).toEqual({ name: 'trouble', reason: expect.stringContaining('ECONNREFUSED') });
    // it comes back
    const back = dgram.createSocket('udp4');
    kept({ close: () => back.close() });
    await new Promise<void>((resolve) => back.bind(port, '127.0.0.1', resolve));
    const got: string[] = [];
    back.on('message', (bytes) => got.push(hex(bytes)));
    const again = (): number => {
      card.send(small(9));
      return got.length;
    };
    await poll(again).toBeGreaterThan(0);
    const dropped = backend.counters.txDropped;
    card.send(new Uint8Array(65_600));
    expect(backend.counters.txDropped).toBe(dropped + 1);
    expect(events.at(-1)).toEqual({ name: 'trouble', reason: 'a frame of 65600 bytes is no datagram' });
    await backend.close();
    await backend.close();
    expect(card.send(small(1))).toBe(true);
    expect(backend.counters.txDropped).toBe(dropped + 2);
  });
});

describe('wrong options', () => {
  test('are told', async () => {
    expect(() => StreamBackend.connect({ port: 0 })).toThrow('port: 0, 1 to 65535 expected');
    expect(() => StreamBackend.connect({ path: '' })).toThrow('path: empty');
    expect(() => StreamBackend.connect({ port: 1, frameMax: 70_000 })).toThrow(
      'frameMax: 70000, 14 to 69632',
    );
    expect(() => StreamBackend.connect({ port: 1, reconnect: { min: 0 } })).toThrow('reconnect.min: 0');
    await expect(StreamBackend.listen({ port: 65_536 })).rejects.toThrow('port: 65536, 0 to 65535 expected');
    await expect(StreamBackend.listen({ path: join(dir, 'no', 'such') })).rejects.toThrow(/EACCES|ENOENT/);
    await expect(StreamServer.listen(new NetSwitch(), { port: 0, connections: 0 })).rejects.toThrow(
      'connections: 0',
    );
    const taken = kept(await StreamBackend.listen({ port: 0 }));
    await expect(StreamBackend.listen({ port: taken.address?.port ?? 0 })).rejects.toThrow('EADDRINUSE');
    const remote = { port: 1 };
    await expect(DatagramBackend.open({ local: { port: -1 }, remote })).rejects.toThrow('local.port: -1');
    await expect(DatagramBackend.open({ local: { port: 0 }, remote: { port: 0 } })).rejects.toThrow(
      'remote.port: 0',
    );
    const local = { host: '192.0.2.1', port: 0 };
    await expect(DatagramBackend.open({ local, remote })).rejects.toThrow('EADDRNOTAVAIL');
  });
});

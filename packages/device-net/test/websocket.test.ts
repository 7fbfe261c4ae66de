import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { GSO, HDR_FLAG } from '@virtkit/device-net';
import { type LinkEvent, WebSocketBackend, type WebSocketOptions } from '@virtkit/device-net/websocket';
import { afterEach, describe, expect, test } from 'vitest';
import WebSocket, { WebSocketServer } from 'ws';
import { headBytes, type Ip, packetOf, tcpFrame } from './frames.ts';
import { FakeCard, poll } from './links.ts';
import { frame, hex } from './machine.ts';

const open: { close(): unknown }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

interface Relay {
  readonly url: string;
  readonly port: number;
  readonly server: WebSocketServer;
  readonly received: string[];
  readonly clients: WebSocket[];
  stop(): void;
}

/** A real server that keeps what it gets. */
async function relay(port = 0): Promise<Relay> {
  const server = new WebSocketServer({ port, host: '127.0.0.1' });
  const received: string[] = [];
  const clients: WebSocket[] = [];
  server.on('connection', (client) => {
    clients.push(client);
    client.on('message', (bytes: Buffer, binary) => received.push(binary ? hex(bytes) : 'text'));
  });
  await once(server, 'listening');
  const bound = (server.address() as AddressInfo).port;
  const stop = (): void => {
    for (const client of server.clients) client.terminate();
    server.close();
  };
  open.push({ close: stop });
  return { url: `ws://127.0.0.1:${bound}/`, port: bound, server, received, clients, stop };
}

const events: LinkEvent[] = [];
function link(options: WebSocketOptions): { backend: WebSocketBackend; card: FakeCard } {
  events.length = 0;
  const backend = new WebSocketBackend({
    ...(options.socket === undefined && { WebSocket }),
    reconnect: { min: 20, max: 40 },
    onEvent: (event) => events.push(event),
    ...options,
  });
  open.push(backend);
  return { backend, card: new FakeCard(backend) };
}

const small = (n: number): Uint8Array => frame(60 + n, 'ffffffffffff', '525400000001', n);

describe('frames', () => {
  test('are messages, both ways; what is sent before the relay is there arrives', async () => {
    const { url, received, clients } = await relay();
    const { backend, card } = link({ url });
    expect(card.send(small(1))).toBe(true);
    expect(backend.waiting).toEqual({ rx: 0, tx: 1 });
    await poll(() => backend.up).toBe(true);
    card.send(small(2));
    await poll(() => received).toEqual([small(1), small(2)].map(hex));
    clients[0]?.send(small(3));
    await poll(() => card.received).toEqual([hex(small(3))]);
    expect(events).toEqual([{ name: 'up', peer: url }]);
    expect(backend.counters).toMatchObject({
      txFrames: 2,
      txBytes: 123,
      rxFrames: 1,
      rxBytes: 63,
      connects: 1,
    });
  });

  test('are complete: what the guest leaves to the card is done', async () => {
    const { url, received } = await relay();
    const { backend } = link({ url });
    const ip: Ip = { version: 4, src: [10, 0, 0, 1], dst: [10, 0, 0, 2], id: 1 };
    const payload = Array.from({ length: 2500 }, (_, i) => i & 0xff);
    const meta = { flags: HDR_FLAG.NEEDS_CSUM, csumStart: headBytes(ip), csumOffset: 16 };
    const header = { seq: 5, flags: 0x10 };
    const packet = packetOf(tcpFrame(ip, header, payload, true), {
      ...meta,
      gsoType: GSO.TCPV4,
      gsoSize: 1000,
    });
    const expected = [0, 1000, 2000].map((at, i) => {
      const part = payload.slice(at, at + 1000);
      return hex(Uint8Array.from(tcpFrame({ ...ip, id: 1 + i }, { ...header, seq: 5 + at }, part)));
    });
    // before the link is up, and after
    backend.send(packet);
    await poll(() => received).toEqual(expected);
    backend.send(packet);
    await poll(() => received).toEqual([...expected, ...expected]);
    expect(backend.offload).toMatchObject({ segmented: 2, segments: 6 });
    backend.send(packetOf(tcpFrame(ip, header, payload, true), { ...meta, gsoType: GSO.TCPV4, gsoSize: 0 }));
    expect(backend.offload.malformed).toBe(1);
  });

  test('wait for a guest without buffers, in order, and not too many', async () => {
    const { url, clients } = await relay();
    const { backend, card } = link({ url, queueFrames: 4 });
    card.room = 1;
    await poll(() => clients.length).toBe(1);
    for (let n = 0; n < 10; n++) clients[0]?.send(small(n));
    await poll(() => backend.counters.rxFrames).toBe(10);
    expect(backend.waiting.rx).toBe(4);
    expect(backend.counters.rxDropped).toBe(5);
    card.allow(2);
    expect(card.received).toEqual([0, 1, 2].map((n) => hex(small(n))));
    card.allow(9);
    expect(card.received).toEqual([0, 1, 2, 3, 4].map((n) => hex(small(n))));
  });

  test('make the guest wait for a slow relay', async () => {
    const { url, clients } = await relay();
    const { backend, card } = link({ url, bufferedMax: 200_000 });
    await poll(() => clients.length).toBe(1);
    await poll(() => backend.up).toBe(true);
    clients[0]?.pause();
    const big = frame(60_000);
    let sent = 0;
    // the system's own buffers are full at some time
    while (card.send(big) && sent < 2000) if (++sent % 20 === 0) await new Promise(setImmediate);
    expect(sent).toBeLessThan(2000);
    expect(backend.counters.txRefused).toBe(1);
    expect(card.txReadyCalls).toBe(0);
    clients[0]?.resume();
    await poll(() => card.txReadyCalls).toBe(1);
    expect(card.send(big)).toBe(true);
    expect(backend.counters.txDropped).toBe(0);
  });
});

describe('a relay that goes', () => {
  test('is looked for until it is back, and gets the newest frames', async () => {
    const first = await relay();
    const { backend, card } = link({ url: first.url, queueFrames: 3 });
    await poll(() => backend.up).toBe(true);
    first.stop();
    await poll(() => events.filter(({ name }) => name === 'down').length).toBeGreaterThan(2);
    expect(events[1]).toEqual({ name: 'down', reason: 'closed with code 1006', retryIn: 20 });
    expect(events[3]).toMatchObject({ reason: expect.stringContaining('ECONNREFUSED'), retryIn: 40 });
    for (let n = 0; n < 5; n++) expect(card.send(small(n))).toBe(true);
    const second = await relay(first.port);
    await poll(() => second.received).toEqual([2, 3, 4].map((n) => hex(small(n))));
    expect(backend.counters).toMatchObject({ connects: 2, txDropped: 2, txFrames: 3 });
    expect(backend.waiting.tx).toBe(0);
  });

  test('is not looked for when nobody wants that', async () => {
    const { url, stop } = await relay();
    const { backend, card } = link({ url, reconnect: false });
    await poll(() => backend.up).toBe(true);
    stop();
    await poll(() => events.at(-1)).toEqual({ name: 'down', reason: 'closed with code 1006' });
    expect(card.send(small(1))).toBe(true);
    expect(backend.counters.txDropped).toBe(1);
  });

  test('lets a waiting guest go on', async () => {
    const { url, clients, stop } = await relay();
    const { backend, card } = link({ url, bufferedMax: 100_000 });
    await poll(() => backend.up).toBe(true);
    await poll(() => clients.length).toBe(1);
    clients[0]?.pause();
    while (card.send(frame(60_000)));
    stop();
    await poll(() => card.txReadyCalls).toBe(1);
  });

  test('close() is for good', async () => {
    const { url, server } = await relay();
    const { backend, card } = link({ url });
    await poll(() => backend.up).toBe(true);
    backend.close();
    backend.close();
    expect(events.slice(1)).toEqual([{ name: 'down', reason: 'closed' }]);
    await poll(() => server.clients.size).toBe(0);
    expect(card.send(small(1))).toBe(true);
    expect(backend.counters.txDropped).toBe(1);
    expect(events).toHaveLength(2);
  });
});

describe('a hostile relay', () => {
  test('text, runts and giants are counted, and told once', async () => {
    const { url, clients } = await relay();
    const { backend, card } = link({ url, frameMax: 1514 });
    await poll(() => clients.length).toBe(1);
    const [client] = clients;
    for (let i = 0; i < 100; i++) client?.send('{"hello": 1}');
    for (const length of [0, 1, 13, 1515, 1 << 20]) client?.send(new Uint8Array(length));
    for (const length of [14, 1514]) client?.send(frame(length));
    await poll(() => card.received).toEqual([14, 1514].map((n) => hex(frame(n))));
    expect(backend.counters).toMatchObject({ rxMalformed: 105, rxFrames: 2 });
    expect(events.slice(1)).toEqual([{ name: 'trouble', reason: 'a message that is not binary: string' }]);
  });

  test('a flood takes no more memory than was allowed', async () => {
    const { url, clients } = await relay();
    const { backend, card } = link({ url, queueBytes: 128 << 10 });
    card.room = 0;
    await poll(() => clients.length).toBe(1);
    for (let i = 0; i < 1000; i++) clients[0]?.send(frame(1500));
    await poll(() => backend.counters.rxFrames).toBe(1000);
    expect(backend.waiting.rx).toBe(Math.floor((128 << 10) / 1500));
    expect(backend.counters.rxDropped).toBe(1000 - backend.waiting.rx);
  });

  test('that answers every frame makes the stack no deeper', async () => {
    const { url, clients, server } = await relay();
    server.on('connection', (client) => client.on('message', (bytes) => client.send(bytes)));
    const { card } = link({ url });
    await poll(() => clients.length).toBe(1);
    let count = 0;
    card.onReceive = () => {
      if (++count < 500) card.send(small(0));
    };
    card.send(small(0));
    await poll(() => count).toBe(500);
  });

  test('that hangs up at once is not asked more and more often', async () => {
    const { url, server } = await relay();
    server.on('connection', (client) => client.close(1013, 'try again later'));
    link({ url, reconnect: { min: 10, max: 1000 } });
    const delays = (): unknown[] => events.flatMap((event) => (event.name === 'down' ? [event.retryIn] : []));
    await poll(() => delays().length).toBeGreaterThan(4);
    expect(delays().slice(0, 5)).toEqual([10, 20, 40, 80, 160]);
    expect(events[1]).toMatchObject({ reason: 'closed with code 1013: try again later' });
  });
});

describe('a WebSocket that is there already', () => {
  test('is used, and not replaced', async () => {
    const { url, received, clients } = await relay();
    const socket = new WebSocket(url);
    const { backend, card } = link({ socket });
    card.send(small(1));
    await poll(() => received).toEqual([hex(small(1))]);
    clients[0]?.close(1000, 'bye');
    await poll(() => events.at(-1)).toEqual({ name: 'down', reason: 'closed with code 1000: bye' });
    expect(backend.up).toBe(false);
  });

  test('or is closed', () => {
    const socket = new WebSocket('ws://127.0.0.1:9/');
    socket.on('error', () => {});
    socket.terminate();
    const { backend } = link({ socket });
    expect(backend.up).toBe(false);
    expect(events).toEqual([{ name: 'down', reason: 'the WebSocket is closed' }]);
  });
});

describe('wrong options', () => {
  const cases: readonly (readonly [WebSocketOptions, string])[] = [
    [{}, 'url or socket: one of them is needed'],
    [{ url: 'http://x/' }, 'url: http://x/, ws://… or wss://… expected'],
    [{ url: 'ws:///' }, 'url: ws:///, ws://… or wss://… expected'],
    [{ url: 'ws://x/', frameMax: 13 }, 'frameMax: 13, 14 to 69632 expected'],
    [{ url: 'ws://x/', queueFrames: 0 }, 'queueFrames: 0, 1 to 1048576 expected'],
    [{ url: 'ws://x/', queueBytes: 100 }, 'queueBytes: 100, 131072 to 1073741824 expected'],
    [{ url: 'ws://x/', bufferedMax: 0.5 }, 'bufferedMax: 0.5, 1 to 1073741824 expected'],
    [{ url: 'ws://x/', reconnect: { min: 5, max: 4 } }, 'reconnect.max: 4, 5 to 604800000 expected'],
  ];
  test.each(cases)('%j', (options, message) => {
    expect(() => new WebSocketBackend({ WebSocket, ...options })).toThrow(message);
  });

  test('a platform without WebSockets', () => {
    if (typeof globalThis.WebSocket !== 'undefined') return;
    expect(() => new WebSocketBackend({ url: 'ws://x/' })).toThrow('WebSocket: this platform has none');
  });

  test('an address that the platform does not take', () => {
    expect(() => link({ url: 'ws://x/#fragment' })).toThrow(
      'url: ws://x/#fragment: The URL contains a fragment',
    );
  });
});

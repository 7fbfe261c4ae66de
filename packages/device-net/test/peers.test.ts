// Whoever is at the other end of a link may stall, cut, flood, and send what is no frame. Whatever it did: nothing throws, nothing
// grows, the card goes on, and the next peer that behaves is served.
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { DatagramBackend, StreamBackend, StreamServer } from '@virtkit/device-net/node';
import { NetSwitch } from '@virtkit/device-net/switch';
import { WebSocketBackend } from '@virtkit/device-net/websocket';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import WebSocket, { WebSocketServer } from 'ws';
import { FakeCard, poll } from './links.ts';
import { frame, hex } from './machine.ts';

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** Frames that a link keeps at most for a card without buffers, or none, where the other end has to wait. */
const KEPT = 256;

/** The other end. */
interface Peer {
  readonly received: string[];
  /** A frame. */
  send(bytes: Uint8Array): void;
  /** Bytes that are no frame, as far as this kind of link can carry them. */
  sendWrong(bytes: Uint8Array): void;
  stall(): void;
  cut(): void;
}

interface Link {
  readonly card: FakeCard;
  waiting(): number;
  peer(): Promise<Peer>;
}

const prefixed = (bytes: Uint8Array): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

/** A peer at a stream: whatever comes is taken apart by hand. */
function streamPeer(socket: net.Socket): Peer {
  const received: string[] = [];
  let rest = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
      const end = 4 + rest.readUInt32BE();
      received.push(hex(rest.subarray(4, end)));
      rest = rest.subarray(end);
    }
  });
  open.push(() => socket.destroy());
  return {
    received,
    send: (bytes) => socket.write(prefixed(bytes)),
    sendWrong: (bytes) => socket.write(bytes),
    stall: () => socket.pause(),
    cut: () => socket.destroy(),
  };
}

async function dialled(port: number): Promise<Peer> {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return streamPeer(socket);
}

const reconnect = { min: 5, max: 10 };

async function listening(): Promise<Link> {
  const backend = await StreamBackend.listen({ port: 0 });
  open.push(() => backend.close());
  const peer = async (): Promise<Peer> => {
    // one at a time: the one before has to be gone
    await poll(() => backend.up).toBe(false);
    const next = await dialled(backend.address?.port ?? 0);
    await poll(() => backend.up).toBe(true);
    return next;
  };
  return { card: new FakeCard(backend), waiting: () => 0, peer };
}

async function calling(): Promise<Link> {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const backend = StreamBackend.connect({ port, reconnect });
  open.push(() => backend.close());
  const peer = async (): Promise<Peer> => {
    await poll(() => sockets.length > 0 && backend.up).toBe(true);
    return streamPeer(sockets.splice(0).at(-1) as net.Socket);
  };
  return { card: new FakeCard(backend), waiting: () => 0, peer };
}

async function served(): Promise<Link> {
  const lan = new NetSwitch();
  const server = await StreamServer.listen(lan, { port: 0 });
  open.push(() => server.close());
  const port = lan.port();
  const peer = async (): Promise<Peer> => {
    const before = server.links.length;
    const next = await dialled(server.address.port ?? 0);
    await poll(() => server.links.length).toBeGreaterThan(before);
    return next;
  };
  return { card: new FakeCard(port), waiting: () => port.waiting, peer };
}

async function relayed(): Promise<Link> {
  const clients: WebSocket[] = [];
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('connection', (client) => clients.push(client));
  await once(server, 'listening');
  open.push(() => server.close());
  const address = server.address();
  const url = `ws://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/`;
  const backend = new WebSocketBackend({ url, WebSocket, reconnect });
  open.push(() => backend.close());
  const peer = async (): Promise<Peer> => {
    await poll(() => clients.length > 0 && backend.up).toBe(true);
    const client = clients.splice(0).at(-1) as WebSocket;
    const received: string[] = [];
    client.on('message', (bytes: Buffer) => received.push(hex(bytes)));
    open.push(() => client.terminate());
    return {
      received,
      send: (bytes) => client.send(bytes),
      sendWrong: (bytes) => {
        client.send(bytes);
        client.send('text');
      },
      stall: () => client.pause(),
      cut: () => client.terminate(),
    };
  };
  return { card: new FakeCard(backend), waiting: () => backend.waiting.rx, peer };
}

async function datagrams(): Promise<Link> {
  const far = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => far.bind(0, '127.0.0.1', resolve));
  const { port } = far.address();
  far.close();
  const backend = await DatagramBackend.open({ local: { port: 0 }, remote: { port } });
  open.push(() => backend.close());
  const peer = async (): Promise<Peer> => {
    const socket = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(port, '127.0.0.1', resolve));
    let isOpen = true;
    const cut = (): void => {
      if (isOpen) socket.close();
      isOpen = false;
    };
    open.push(cut);
    const received: string[] = [];
    socket.on('message', (bytes) => received.push(hex(bytes)));
    const send = (bytes: Uint8Array): void => {
      if (isOpen) socket.send(bytes, backend.localPort, '127.0.0.1');
    };
    return { received, send, sendWrong: send, stall: () => {}, cut };
  };
  return { card: new FakeCard(backend), waiting: () => backend.waiting, peer };
}

const LINKS = [
  ['a stream that listens', listening],
  ['a stream that calls', calling],
  ['a server for a switch', served],
  ['a WebSocket', relayed],
  ['datagrams', datagrams],
] as const;

const mark = (n: number): Uint8Array => frame(100, 'ffffffffffff', '525400000002', n);
const body = fc.uint8Array({ minLength: 60, maxLength: 1500 }).map((bytes) => {
  // for all, and from no group
  bytes.fill(0xff, 0, 6);
  bytes[6] = 2;
  return bytes;
});

let marks = 0;
/** A frame each way: it is sent again, for there are links that lose some. */
async function serves({ card }: Link, peer: Peer): Promise<void> {
  const [there, back] = [mark(++marks), mark(++marks)];
  await poll(() => {
    peer.send(there);
    return card.received.includes(hex(there));
  }).toBe(true);
  await poll(() => {
    card.send(back);
    return peer.received.includes(hex(back));
  }).toBe(true);
}

/** The next peer, which behaves, and goes. */
async function servesNext(link: Link): Promise<void> {
  const peer = await link.peer();
  await serves(link, peer);
  peer.cut();
}

describe.each(LINKS)('%s', { timeout: 120_000 }, (name, make) => {
  test('whose peer does not listen: the card waits or loses, and goes on when the peer is gone', async () => {
    const link = await make();
    const peer = await link.peer();
    peer.stall();
    const big = frame(60_000, 'ffffffffffff');
    let refused = false;
    for (let n = 0; n < 600 && !refused; n++) {
      refused = !link.card.send(big);
      if (n % 20 === 19) await new Promise(setImmediate);
    }
    // a datagram is lost in the system, and a switch's port drops
    if (name !== 'datagrams' && name !== 'a server for a switch') expect(refused).toBe(true);
    peer.cut();
    if (refused) await poll(() => link.card.txReadyCalls).toBeGreaterThan(0);
    await servesNext(link);
  });

  test('whose peer cuts anywhere in a frame: no part of it arrives', async () => {
    const link = await make();
    for (const [bytes, at] of fc.sample(fc.tuple(body, fc.nat(1400)), 6)) {
      const peer = await link.peer();
      await serves(link, peer);
      const before = link.card.received.length;
      const cut = Math.min(at, bytes.length + 3);
      if (name.includes('stream') || name.includes('server'))
        peer.sendWrong(prefixed(bytes).subarray(0, cut));
      peer.cut();
      await servesNext(link);
      // frames of `serves` alone
      expect(new Set(link.card.received.slice(before).map((text) => text.length))).toEqual(new Set([200]));
    }
  });

  test('whose peer floods a card without buffers: no more is kept than was allowed', async () => {
    const link = await make();
    const peer = await link.peer();
    await serves(link, peer);
    link.card.room = 0;
    const frames = fc.sample(body, 50);
    for (let n = 0; n < 40; n++) {
      for (const bytes of frames) peer.send(bytes);
      await new Promise(setImmediate);
      expect(link.waiting()).toBeLessThanOrEqual(KEPT);
    }
    link.card.received.length = 0;
    link.card.allow(Number.POSITIVE_INFINITY);
    await serves(link, peer);
    const sent = new Set([...frames.map(hex)]);
    expect(link.card.received.filter((text) => text.length !== 200 && !sent.has(text))).toEqual([]);
  });

  test('whose peer sends what is no frame: none of it arrives, and the next peer is served', async () => {
    const link = await make();
    for (const wrong of [
      Uint8Array.of(0, 1, 0x10, 1),
      Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 2, 3),
      ...[0, 1, 13].map((length) => prefixed(new Uint8Array(length)).subarray(0, 13)),
    ]) {
      const peer = await link.peer();
      await serves(link, peer);
      const before = link.card.received.length;
      peer.sendWrong(wrong);
      await new Promise(setImmediate);
      peer.cut();
      await servesNext(link);
      expect(new Set(link.card.received.slice(before).map((text) => text.length))).toEqual(new Set([200]));
    }
  });
});

/** Cuts of a stream, and what a card does between them. */
const chunk = fc.record({
  length: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 7000 })),
  refuse: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 3 })),
  wait: fc.boolean(),
});

describe('a peer over TCP', { timeout: 120_000 }, () => {
  test('whose frames are cut anywhere, for a card that refuses now and then: all arrive, whole and in order', async () => {
    const lengths = fc.array(
      fc.oneof(fc.nat(13), fc.constant(69_632), { weight: 8, arbitrary: fc.integer({ min: 14, max: 1614 }) }),
      { minLength: 50, maxLength: 50 },
    );
    const runs = fc.sample(fc.tuple(lengths, fc.array(chunk, { minLength: 30, maxLength: 60 })), 8);
    for (const [sizes, chunks] of runs) {
      const link = await listening();
      const peer = await link.peer();
      const frames = sizes.map((length, n) =>
        Uint8Array.from({ length }, (_, at) => (at < 6 ? 0xff : at === 6 ? 2 : (at * 7 + n) & 0xff)),
      );
      const all = Buffer.concat(frames.map(prefixed));
      const { card } = link;
      for (let at = 0, n = 0; at < all.length; n++) {
        const { length, refuse, wait } = chunks[n % chunks.length] ?? { length: 1, refuse: 0, wait: false };
        peer.sendWrong(all.subarray(at, at + length));
        at += length;
        if (refuse > 0) {
          card.room = 0;
          setTimeout(() => card.allow(Number.POSITIVE_INFINITY), refuse);
        }
        if (wait) await new Promise(setImmediate);
      }
      // what is shorter than an Ethernet header is no frame
      const expected = frames.filter(({ length }) => length >= 14).map(hex);
      await poll(() => card.received.length).toBeGreaterThanOrEqual(expected.length);
      expect(card.received).toEqual(expected);
      peer.cut();
    }
  });

  test('300 that say a length that no frame has, half of them gone at once: the next one is served', async () => {
    const names: Record<string, number> = {};
    const backend = await StreamBackend.listen({
      port: 0,
      onEvent: ({ name }) => {
        names[name] = (names[name] ?? 0) + 1;
      },
    });
    open.push(() => backend.close());
    const card = new FakeCard(backend);
    for (const [gone, pause] of fc.sample(fc.tuple(fc.boolean(), fc.nat(9)), 300)) {
      const socket = net.connect(backend.address?.port ?? 0, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(Uint8Array.of(0, 1, 0x10, 1));
      open.push(() => socket.destroy());
      if (gone) socket.destroy();
      if (pause === 0) await new Promise(setImmediate);
    }
    // some are still on their way, and a second peer is refused while there is a first
    await poll(async () => {
      const peer = await dialled(backend.address?.port ?? 0);
      const before = card.received.length;
      const there = mark(++marks);
      peer.send(there);
      await new Promise((resolve) => setTimeout(resolve, 50));
      peer.cut();
      return card.received.slice(before).includes(hex(there));
    }).toBe(true);
    expect(new Set(card.received.map((text) => text.length))).toEqual(new Set([200]));
    expect(names['up'] ?? 0).toBeGreaterThan(0);
    await poll(() => (names['down'] ?? 0) + (backend.up ? 1 : 0)).toBe(names['up']);
  });

  test('30 at a switch that send to all while others go: who stays gets whole frames, each once', async () => {
    const lan = new NetSwitch();
    const server = await StreamServer.listen(lan, { port: 0 });
    open.push(() => server.close());
    const peers: Peer[] = [];
    for (let n = 0; n < 30; n++) peers.push(await dialled(server.address.port ?? 0));
    await poll(() => server.links.length).toBe(30);
    const here = new Set(peers);
    const sent: string[] = [];
    const plan = fc.sample(fc.tuple(fc.nat(29), fc.nat(29), fc.boolean()), 200);
    for (const [n, [from, leaver, wait]] of plan.entries()) {
      const sender = peers[from];
      if (sender !== undefined && here.has(sender)) {
        const bytes = mark(10_000 + n);
        sender.send(bytes);
        sent.push(hex(bytes));
      }
      const leaving = peers[leaver];
      if (n % 10 === 9 && leaving !== undefined && here.size > 5) {
        leaving.cut();
        here.delete(leaving);
      }
      if (wait) await new Promise(setImmediate);
    }
    await poll(() => server.links.length).toBe(here.size);
    for (const peer of here) {
      expect(new Set(peer.received).size).toBe(peer.received.length);
      expect(peer.received.filter((text) => !sent.includes(text))).toEqual([]);
    }
    // and those who are left hear each other
    const [first, ...others] = [...here];
    const last = mark(10_220);
    first?.send(last);
    for (const peer of others) await poll(() => peer.received.includes(hex(last))).toBe(true);
  });
});

// Mistakes of the host program: a card, a back end, a listener or an interrupt that throws. Each costs one frame at most, and leaves
// nobody waiting.
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import type { NetBackend, NetPort } from '@virtkit/device-net';
import { DatagramBackend, type LinkEvent, StreamBackend, StreamServer } from '@virtkit/device-net/node';
import { connect, NetSwitch } from '@virtkit/device-net/switch';
import { WebSocketBackend } from '@virtkit/device-net/websocket';
import { afterEach, describe, expect, test, vi } from 'vitest';
import WebSocket, { WebSocketServer } from 'ws';
import { packetOf } from './frames.ts';
import { FakeCard, poll } from './links.ts';
import { frame, hex, Machine } from './machine.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(open.splice(0).map((each) => each.close()));
});
const kept = <T extends { close(): unknown }>(each: T): T => {
  open.push(each);
  return each;
};

const small = (n: number): Uint8Array => frame(60 + n, 'ffffffffffff', '525400000001', n);

/** What nobody catches, in place of Vitest, which would fail the test for it. */
function uncaught(): { readonly errors: unknown[]; close(): void } {
  const errors: unknown[] = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const listener = (error: unknown): void => {
    errors.push(error);
  };
  process.on('uncaughtException', listener);
  return kept({
    errors,
    close: () => {
      process.off('uncaughtException', listener);
      for (const other of others.filter((each) => !process.listeners('uncaughtException').includes(each)))
        process.on('uncaughtException', other);
    },
  });
}

type Listener = (event: LinkEvent) => void;

interface Link {
  readonly backend: NetBackend & {
    readonly counters: { readonly rxFrames: number; readonly rxDropped: number };
  };
  /** Sends frames from the other end, together where that is possible. */
  deliver(frames: readonly Uint8Array[]): void;
  /** The other end goes. */
  cut(): void;
}

const socketPair = async (onEvent: Listener | undefined): Promise<Link> => {
  const backend = kept(await StreamBackend.listen({ port: 0, ...(onEvent && { onEvent }) }));
  const socket = net.connect(backend.address?.port ?? 0, '127.0.0.1');
  kept({ close: () => socket.destroy() });
  await poll(() => backend.up).toBe(true);
  return {
    backend,
    deliver: (frames) =>
      socket.write(Buffer.concat(frames.flatMap((bytes) => [Uint8Array.of(0, 0, 0, bytes.length), bytes]))),
    cut: () => socket.destroy(),
  };
};

const datagrams = async (onEvent: Listener | undefined): Promise<Link> => {
  const far = dgram.createSocket('udp4');
  kept({ close: () => far.close() });
  await new Promise<void>((resolve) => far.bind(0, '127.0.0.1', resolve));
  const remote = { port: far.address().port };
  const backend = kept(
    await DatagramBackend.open({ local: { port: 0 }, remote, ...(onEvent && { onEvent }) }),
  );
  return {
    backend,
    deliver: (frames) => {
      for (const bytes of frames) far.send(bytes, backend.localPort, '127.0.0.1');
    },
    cut: () => void backend.close(),
  };
};

const webSocket = async (onEvent: Listener | undefined): Promise<Link> => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  kept({ close: () => server.close() });
  await once(server, 'listening');
  const address = server.address();
  const url = `ws://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/`;
  const backend = new WebSocketBackend({ url, WebSocket, reconnect: false, ...(onEvent && { onEvent }) });
  const [client] = (await once(server, 'connection')) as [WebSocket];
  kept({ close: () => client.terminate() });
  kept(backend);
  await poll(() => backend.up).toBe(true);
  return {
    backend,
    deliver: (frames) => {
      for (const bytes of frames) client.send(bytes);
    },
    cut: () => client.terminate(),
  };
};

const LINKS = [
  ['stream', socketPair],
  ['datagrams', datagrams],
  ['WebSocket', webSocket],
] as const;

/** A card that throws at some frames. */
function throwing(backend: NetBackend, at: readonly Uint8Array[]): FakeCard {
  const card = new FakeCard(backend);
  const receive = card.receive.bind(card);
  const bad = new Set(at.map(hex));
  card.receive = (bytes) => {
    if (card.room > 0 && bad.has(hex(bytes))) throw new Error(`no frame of ${bytes.length} bytes, please`);
    return receive(bytes);
  };
  return card;
}

describe.each(LINKS)('%s: a card that throws', (_name, make) => {
  test('loses that frame, is an event, and gets those behind it', async () => {
    const events: LinkEvent[] = [];
    const { backend, deliver } = await make((event) => events.push(event));
    const card = throwing(backend, [small(1)]);
    deliver([0, 1, 2].map(small));
    await poll(() => card.received).toEqual([0, 2].map((n) => hex(small(n))));
    const failed = { name: 'failed', error: new Error('no frame of 61 bytes, please') };
    expect(events.slice(1)).toEqual([failed]);
    expect(backend.counters).toMatchObject({ rxFrames: 3, rxDropped: 1 });
    deliver([small(1), small(3)]);
    await poll(() => card.received.at(-1)).toBe(hex(small(3)));
    expect(events.slice(1)).toEqual([failed, failed]);
  });

  test('loses no frame that has waited behind it', async () => {
    const events: LinkEvent[] = [];
    const { backend, deliver } = await make((event) => events.push(event));
    const card = throwing(backend, [small(0), small(2)]);
    card.room = 0;
    let refused = 0;
    const receive = card.receive.bind(card);
    card.receive = (bytes) => {
      const taken = receive(bytes);
      if (!taken) refused++;
      return taken;
    };
    deliver([0, 1, 2, 3].map(small));
    await poll(() => refused).toBeGreaterThan(0);
    card.allow(10);
    await poll(() => card.received).toEqual([1, 3].map((n) => hex(small(n))));
    expect(events.filter(({ name }) => name === 'failed')).toHaveLength(2);
  });

  test('without a listener: a timer throws it', async () => {
    const { errors, close } = uncaught();
    const { backend, deliver } = await make(undefined);
    const card = throwing(backend, [small(1)]);
    deliver([1, 2].map(small));
    await poll(() => card.received).toEqual([hex(small(2))]);
    await poll(() => errors).toEqual([new Error('no frame of 61 bytes, please')]);
    close();
  });

  test('as it is told that it may send: an event', async () => {
    const events: LinkEvent[] = [];
    const { backend, cut } = await make((event) => events.push(event));
    const card = new FakeCard(backend);
    card.txReady = () => {
      throw new Error('not ready');
    };
    while (card.send(frame(60_000)));
    cut();
    await poll(() => events).toContainEqual({ name: 'failed', error: new Error('not ready') });
  });
});

describe.each(LINKS)('%s: a listener that throws', (_name, make) => {
  test('stops nothing, and a timer throws it', async () => {
    const { errors, close } = uncaught();
    let broken = true;
    const { backend, deliver, cut } = await make(({ name }) => {
      if (broken) throw new Error(name);
    });
    const card = new FakeCard(backend);
    deliver([small(1)]);
    await poll(() => card.received).toEqual([hex(small(1))]);
    while (card.send(frame(60_000)));
    cut();
    await poll(() => card.txReadyCalls).toBe(1);
    await poll(() => errors.map((error) => (error instanceof Error ? error.message : ''))).toEqual([
      'up',
      'down',
    ]);
    broken = false;
    close();
  });
});

test('a listener of a server that closes it: the one that has just come is hung up on', async () => {
  const server = kept(
    await StreamServer.listen(new NetSwitch(), {
      port: 0,
      onEvent: ({ name }) => {
        if (name === 'up') void server.close();
      },
    }),
  );
  const socket = net.connect(server.address.port ?? 0, '127.0.0.1');
  kept({ close: () => socket.destroy() });
  await once(socket, 'close');
  await poll(() => server.links).toEqual([]);
});

describe('a system that refuses a datagram at once', () => {
  test('costs that frame, and no room for others', async () => {
    const events: LinkEvent[] = [];
    const { backend, deliver } = await datagrams((event) => events.push(event));
    const card = new FakeCard(backend);
    const send = vi.spyOn(dgram.Socket.prototype, 'send').mockImplementation(() => {
      throw new Error('no buffer space');
    });
    // more than may be under way
    for (let n = 0; n < 200; n++) expect(card.send(small(1))).toBe(true);
    expect(backend.counters).toMatchObject({ txDropped: 200, txFrames: 0, txRefused: 0 });
    expect(events.slice(1)).toEqual([{ name: 'trouble', reason: 'no buffer space' }]);
    send.mockRestore();
    expect(card.send(small(1))).toBe(true);
    await poll(() => backend.counters).toMatchObject({ txFrames: 1 });
    deliver([small(2)]);
    await poll(() => card.received).toEqual([hex(small(2))]);
  });
});

describe('a relay that takes the connection and does not answer', () => {
  test('is hung up on, and called again', async () => {
    const sockets: net.Socket[] = [];
    const server = net.createServer((socket) => {
      socket.on('error', () => {}).resume();
      sockets.push(socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    kept({ close: () => server.close() });
    const address = server.address();
    const events: LinkEvent[] = [];
    const backend = new WebSocketBackend({
      url: `ws://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/`,
      WebSocket,
      handshakeTimeout: 30,
      reconnect: { min: 1, max: 1 },
      onEvent: (event) => events.push(event),
    });
    kept(backend);
    await poll(() => sockets.length).toBeGreaterThan(2);
    const down = { name: 'down', reason: 'no answer to the handshake within 30 ms', retryIn: 1 };
    expect(events.slice(0, 2)).toEqual([down, down]);
    await poll(() => sockets[0]?.destroyed).toBe(true);
    backend.close();
    await poll(() => sockets.every((socket) => socket.destroyed)).toBe(true);
    expect(events.at(-1)).toEqual({ name: 'down', reason: 'closed' });
  });

  test('and one that has answered is not', async () => {
    const { backend } = await webSocket(undefined);
    expect(() => new WebSocketBackend({ url: 'ws://x/', WebSocket, handshakeTimeout: 0 })).toThrow(
      'handshakeTimeout: 0, 1 to 86400000 expected',
    );
    expect(backend).toMatchObject({ up: true });
  });
});

describe('a back end behind a cable that throws', () => {
  /** A back end that keeps its port. */
  class Plain implements NetBackend {
    port: NetPort | undefined;
    answer: () => boolean = () => true;
    attach(port: NetPort): void {
      this.port = port;
    }
    send(): boolean {
      return this.answer();
    }
  }

  test('gets the next frame', () => {
    const [a, b] = [new Plain(), new Plain()];
    connect(a, b);
    b.answer = () => {
      throw new Error('cable on fire');
    };
    expect(() => a.port?.receive(small(1))).toThrow('cable on fire');
    expect(a.port?.canReceive()).toBe(true);
    b.answer = () => false;
    expect(a.port?.receive(small(1))).toBe(false);
    expect(a.port?.canReceive()).toBe(false);
    b.port?.txReady();
    expect(a.port?.canReceive()).toBe(true);
  });
});

describe('a card with many queues', () => {
  test('whose back end throws at one of them goes on with the others', () => {
    const machine = new Machine({ net: { queuePairs: 3 } });
    machine.command(4, 0, machine.u16(3));
    machine.sink.room = 0;
    for (let pair = 0; pair < 3; pair++) machine.transmit(frame(60 + pair), undefined, pair);
    machine.sink.room = 10;
    machine.sink.onSend = ({ pair }) => {
      if (pair !== 1) throw new Error(`pair ${pair}`);
    };
    expect(() => machine.card.txReady()).toThrow('pair 0');
    expect([1, 3, 5].map((queue) => machine.used(queue).length)).toEqual([0, 1, 0]);
    machine.sink.onSend = undefined;
    machine.live.pause();
    expect(machine.live.capture().device).toMatchObject({ txWaiting: 1, txWaitingOthers: [0, 1] });
    machine.live.resume();
    expect([1, 3, 5].map((queue) => machine.used(queue).length)).toEqual([1, 0, 1]);
  });

  test('whose back end throws when it may deliver to one of them goes on with the others', () => {
    const machine = new Machine({ net: { queuePairs: 3 } });
    machine.command(4, 0, machine.u16(3));
    const told: number[] = [];
    machine.sink.onRxReady = (pair) => {
      told.push(pair);
      if (pair === 0) throw new Error('not now');
    };
    machine.live.pause();
    for (let pair = 0; pair < 3; pair++) machine.transmit(frame(60), undefined, pair);
    expect(() => machine.live.resume()).toThrow('not now');
    expect(told).toEqual([0, 1, 2]);
    expect([1, 3, 5].map((queue) => machine.used(queue).length)).toEqual([1, 1, 1]);
  });
});

describe.each([false, true])('a command during which the back end throws (packed: %s)', (packed) => {
  test('is answered with an error, and the next ones are executed', () => {
    const later: (() => void)[] = [];
    const machine = new Machine({
      rings: { packed },
      net: { queuePairs: 2, defer: (proceed) => later.push(proceed) },
    });
    const queue = machine.controlQueue;
    let broken = true;
    machine.sink.onRxReady = () => {
      if (broken) throw new Error('no pairs');
    };
    const acks = [2, 1].map((pairs) => {
      const command = machine.put(Uint8Array.of(4, 0, pairs, 0));
      const ack = machine.put(Uint8Array.of(0xee));
      machine.add(queue, [
        { addr: command, len: 4 },
        { addr: ack, len: 1, write: true },
      ]);
      return ack;
    });
    expect(() => machine.driver.kick(queue)).toThrow('no pairs');
    broken = false;
    for (const proceed of later) proceed();
    expect(acks.map((at) => machine.ram[at])).toEqual([1, 0]);
    expect(machine.used(queue)).toHaveLength(2);
    expect(machine.live.queue(queue)?.inFlight).toBe(0);
  });
});

test('a link says nothing of a card that does not throw', async () => {
  const events: LinkEvent[] = [];
  const { backend, deliver } = await socketPair((event) => events.push(event));
  const card = new FakeCard(backend);
  deliver([small(1)]);
  await poll(() => card.received).toHaveLength(1);
  expect(backend.send(packetOf(small(1)))).toBe(true);
  expect(events.map(({ name }) => name)).toEqual(['up']);
});

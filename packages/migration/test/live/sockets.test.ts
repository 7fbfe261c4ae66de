import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ByteDuplex, receiveLive, sendLive } from '../../src/live.ts';
import { streamDuplex } from '../../src/node.ts';
import { Stories, Travel } from './migration.ts';

// Moves over TCP, of which either socket is destroyed at some moment: by who owns it, orderly or with a reset.

let server: Server;

beforeAll(async () => {
  server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterAll(() => server.close());

async function sockets(): Promise<readonly [Socket, Socket]> {
  const accepted = once(server, 'connection');
  const address = server.address();
  const near = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1');
  const [far] = (await accepted) as [Socket];
  return [near, far];
}

/** Counts what a side does with its connection, and calls back at each. */
function watched(duplex: ByteDuplex, event: () => void): ByteDuplex {
  return {
    write: async (bytes) => {
      event();
      await duplex.write(bytes);
      event();
    },
    read: async () => {
      const bytes = await duplex.read();
      event();
      return bytes;
    },
    close: () => {
      event();
      duplex.close();
    },
  };
}

const cuts = fc.record({
  /** Cut at so many events: writes, reads and closings of both sides. */
  at: fc.option(fc.nat(26), { nil: undefined, freq: 8 }),
  /** So many turns of the event loop later: bytes are under way meanwhile. */
  later: fc.nat(3),
  atSource: fc.boolean(),
  reset: fc.boolean(),
});

test('cut at any moment, by either side, one machine has the guest', { timeout: 300_000 }, async () => {
  const stories = new Stories();
  await fc.assert(
    fc.asyncProperty(cuts, async ({ at, later, atSource, reset }) => {
      const travel = new Travel();
      const [near, far] = await sockets();
      let events = 0;
      const cut = async (): Promise<void> => {
        for (let n = 0; n < later; n++) await new Promise((resolve) => setImmediate(resolve));
        const socket = atSource ? near : far;
        if (reset) socket.resetAndDestroy();
        else socket.destroy();
      };
      const event = (): void => {
        travel.world.running?.step();
        if (events++ === at) void cut();
      };
      const [sent, received] = await Promise.all([
        sendLive(watched(streamDuplex(near), event), travel.source, { downtimeLimitMs: 1e6 }),
        receiveLive(watched(streamDuplex(far), event), travel.destination),
      ]);
      stories.add(await travel.settle({ sent, received }));
      for (const socket of [near, far]) socket.destroy();
    }),
    { numRuns: Number(process.env['VIRTKIT_MOVES'] ?? 100) },
  );
  expect(stories.counts).toMatchObject({
    'moved arrived': expect.any(Number),
    'stayed failed': expect.any(Number),
  });
});

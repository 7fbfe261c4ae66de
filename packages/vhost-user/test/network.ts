// What a guest's card is connected to.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { NetDevice } from '@virtkit/device-net';
import { StreamBackend } from '@virtkit/device-net/node';
import type { QemuBinary } from '@virtkit/lab';
import { serveVhostUser } from '../src/index.ts';

const PAGE_BYTES = 2 << 20;

/** Something to close, the last one first. */
export interface Closing {
  close(): unknown;
}

/** A web server with something to fetch. */
export interface Website {
  readonly port: number;
  /** SHA-256 of its page, in hexadecimal digits. */
  readonly sum: string;
}

export async function website(toClose: Closing[]): Promise<Website> {
  const bytes = randomBytes(PAGE_BYTES);
  const server = createServer((_request, response) => response.end(bytes));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  toClose.push({ close: () => server.close() });
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return { port: address.port, sum: createHash('sha256').update(bytes).digest('hex') };
}

/** How a card is served and what it can do. */
export interface CableOptions {
  /** Where the card is found. */
  readonly path: string;
  /** Where its cable ends. */
  readonly wire: string;
  /** The QEMU that is the router at the other end of the cable: it has no machine. */
  readonly binary: QemuBinary;
  readonly queuePairs?: number;
}

/** A card that is served, and at the other end of its cable a QEMU without a machine, which is a router. */
export async function cable(
  { path, wire, binary, queuePairs = 1 }: CableOptions,
  toClose: Closing[],
): Promise<void> {
  const backend = await StreamBackend.listen({ path: wire });
  toClose.push(backend);
  const card = new NetDevice({ backend, mac: '52:54:00:12:34:56', queuePairs, frontEndControl: true });
  toClose.push(serveVhostUser(card, { path }));
  const [command = '', ...first] = binary.command;
  const hub = (id: number, netdev: string): string[] => [
    '-netdev',
    `hubport,id=h${id},hubid=0,netdev=${netdev}`,
  ];
  const stream = `stream,id=s0,server=off,addr.type=unix,addr.path=${wire}`;
  const machine = ['-machine', 'none', '-nodefaults', '-display', 'none'];
  const ends = ['-netdev', 'user,id=u0', '-netdev', stream];
  const router = spawn(command, [...first, ...machine, ...ends, ...hub(0, 'u0'), ...hub(1, 's0')], {
    env: { ...process.env, ...binary.env },
    stdio: 'inherit',
  });
  toClose.push({ close: () => router.kill('SIGKILL') });
}

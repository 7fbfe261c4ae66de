import { once } from 'node:events';
import net from 'node:net';
import { HostError } from '@virtkit/core';

/** Address of a stream socket. QEMU: `addr.type=inet` (host: 127.0.0.1 if left out) and `addr.type=unix`. */
export type StreamAddress =
  | { readonly host?: string; readonly port: number; readonly path?: undefined }
  | { readonly path: string; readonly host?: undefined; readonly port?: undefined };

const HOST = '127.0.0.1';
/** Options of TCP sockets, with which a peer that is gone without a word is noticed. */
const TCP = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 };

/** Checks an address. @throws HostError that names the option */
export function checkAddress({ path, port }: StreamAddress, lowest: 0 | 1): void {
  if (path !== undefined) {
    if (path === '') throw new HostError('path: empty');
    return;
  }
  if (!Number.isInteger(port) || port < lowest || port > 0xffff)
    throw new HostError(`port: ${port}, ${lowest} to 65535 expected`);
}

export function dial(address: StreamAddress): net.Socket {
  const { path, host = HOST, port } = address;
  return path === undefined ? net.connect({ host, port, ...TCP }) : net.connect({ path });
}

/** Makes a server that listens. @throws what Node throws: `EADDRINUSE`, `EACCES`, … */
export async function listen(
  address: StreamAddress,
  accept: (socket: net.Socket) => void,
): Promise<net.Server> {
  checkAddress(address, 0);
  const { path, host = HOST, port } = address;
  const server = net.createServer(TCP, accept);
  if (path === undefined) server.listen({ host, port });
  else server.listen({ path });
  await once(server, 'listening');
  return server;
}

/** Finds the address where a server listens. */
export function addressOf(server: net.Server): StreamAddress {
  const address = server.address();
  if (address === null) throw new HostError('the server does not listen any more');
  return typeof address === 'string' ? { path: address } : { host: address.address, port: address.port };
}

export function textOf({ path, host = HOST, port }: StreamAddress): string {
  return path ?? (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
}

/** Describes whom a socket speaks with. */
export function peerOf({ remoteAddress: host, remotePort: port }: net.Socket): string {
  return host === undefined || port === undefined ? 'UNIX socket' : textOf({ host, port });
}

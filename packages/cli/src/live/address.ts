import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { type NamedFile, readSmall } from '../files.ts';
import { isSystemError, systemError } from '../system-error.ts';
import { UsageError } from '../usage.ts';
import { removeAtEnd, removeLeftOver } from './socket-file.ts';

/** Number of bytes that may wait on their way through, so that reading and writing need not take turns. */
const highWaterMark = 1 << 22;

/** Address as QEMU writes it: `tcp:HOST:PORT`, `unix:PATH`. */
export type Address =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** Names of certificates, as PEM files; any of them turns TLS on. */
export interface TlsOptions {
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  /** Name in the other side's certificate; default the host. */
  readonly tlsHostname?: string;
}

/** Reads an address. @throws UsageError for a text that is none */
export function parseAddress(text: string): Address {
  const [, path] = /^unix:(.+)$/.exec(text) ?? [];
  if (path !== undefined) return { kind: 'unix', path };
  const [, host, port] = /^tcp:(?:\[([^\]]*)\]|[^:]*):(\d+)$/.exec(text) ?? [];
  const plain = /^tcp:([^:[\]]*):\d+$/.exec(text)?.[1];
  const number = Number(port);
  if (port === undefined || number > 65535)
    throw new UsageError(`'${text}' is no address: tcp:HOST:PORT or unix:PATH expected`);
  return { kind: 'tcp', host: (host ?? plain) || '127.0.0.1', port: number };
}

/** Is TLS wanted? */
function wantsTls({ tlsCa, tlsCert, tlsKey }: TlsOptions): boolean {
  return tlsCa !== undefined || tlsCert !== undefined || tlsKey !== undefined;
}

/** Lists the files that TLS needs. */
export function tlsFiles({ tlsCa, tlsCert, tlsKey }: TlsOptions): NamedFile[] {
  return [tlsCa, tlsCert, tlsKey].flatMap((path) =>
    path === undefined ? [] : [{ what: 'a PEM file', path }],
  );
}

function credentials({ tlsCa, tlsCert, tlsKey }: TlsOptions) {
  return {
    ...(tlsCa !== undefined && { ca: readSmall(tlsCa) }),
    ...(tlsCert !== undefined && { cert: readSmall(tlsCert) }),
    ...(tlsKey !== undefined && { key: readSmall(tlsKey) }),
  };
}

/**
 * Waits for one connection, and takes no other. Of what lies at a UNIX address, only a socket that nobody listens on
 * any more is replaced. The socket is removed when somebody has connected, or the program ends.
 *
 * @param listening is told the address that was bound
 */
export async function accept(
  address: Address,
  tls: TlsOptions,
  listening: (where: string) => void,
): Promise<Socket | TLSSocket> {
  const once = (): Promise<Socket | TLSSocket> => acceptOnce(address, tls, listening);
  try {
    return await once().catch(async (error: unknown) => {
      const busy = isSystemError(error) && error.code === 'EADDRINUSE';
      if (!busy || address.kind !== 'unix') throw error;
      await removeLeftOver(address.path);
      return once();
    });
  } catch (error) {
    throw isSystemError(error) ? systemError(showAddress(address), error) : error;
  }
}

async function acceptOnce(
  address: Address,
  tls: TlsOptions,
  listening: (where: string) => void,
): Promise<Socket | TLSSocket> {
  const server: Server = wantsTls(tls)
    ? createTlsServer({
        ...credentials(tls),
        requestCert: tls.tlsCa !== undefined,
        rejectUnauthorized: tls.tlsCa !== undefined,
      })
    : createServer({ pauseOnConnect: true, highWaterMark });
  // a second one would be nobody's, and keep the program
  server.maxConnections = 1;
  let forget: (() => void) | undefined;
  try {
    return await new Promise<Socket>((resolve, reject) => {
      server.once('error', reject);
      server.once('tlsClientError', reject);
      server.once(wantsTls(tls) ? 'secureConnection' : 'connection', resolve);
      const done = (): void => {
        if (address.kind === 'unix') forget = removeAtEnd(address.path);
        listening(boundTo(server));
      };
      if (address.kind === 'unix') server.listen(address.path, done);
      else server.listen(address.port, address.host, done);
    });
  } finally {
    // which removes the name as well
    server.close();
    forget?.();
  }
}

function boundTo(server: Server): string {
  const bound = server.address();
  if (bound === null) return '';
  return typeof bound === 'string' ? `unix:${bound}` : `tcp:${bound.address}:${bound.port}`;
}

/** Connects, waiting up to `patience` milliseconds for somebody to listen. */
export async function dial(address: Address, tls: TlsOptions, patience: number): Promise<Socket | TLSSocket> {
  const until = Date.now() + patience;
  for (;;) {
    try {
      return await connectOnce(address, tls);
    } catch (error) {
      const code = isSystemError(error) ? error.code : undefined;
      if ((code !== 'ECONNREFUSED' && code !== 'ENOENT') || Date.now() > until)
        throw isSystemError(error) ? systemError(showAddress(address), error) : error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function connectOnce(address: Address, tls: TlsOptions): Promise<Socket> {
  const where = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
  return new Promise((resolve, reject) => {
    const name = tls.tlsHostname ?? (address.kind === 'tcp' ? address.host : undefined);
    // node:net passes it on to the stream, its types do not say so
    const waiting = { ...where, highWaterMark };
    const socket = wantsTls(tls)
      ? connectTls({ ...where, ...credentials(tls), ...(name !== undefined && { servername: name }) })
      : connectTcp(waiting);
    socket.once('error', reject);
    socket.once(wantsTls(tls) ? 'secureConnect' : 'connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/** Writes an address for messages: `tcp:HOST:PORT`. */
export function showAddress(address: Address): string {
  return address.kind === 'unix' ? `unix:${address.path}` : `tcp:${address.host}:${address.port}`;
}

/** Lists what comes over a connection. Leaving the loop does not close it: the last word is still to be said. */
export function chunksOf(socket: Socket): AsyncIterable<Uint8Array> {
  return socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
}

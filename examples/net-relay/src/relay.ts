import { once } from 'node:events';
import { createServer } from 'node:http';
import type { LinkEvent } from '@virtkit/device-net/node';
import { StreamServer } from '@virtkit/device-net/node';
import { connect, NetSwitch } from '@virtkit/device-net/switch';
import { WebSocketBackend } from '@virtkit/device-net/websocket';
import { WebSocketServer } from 'ws';

/** How a relay is made. */
export interface RelayOptions {
  /** For WebSockets; 0: any. */
  readonly port: number;
  /** Default 127.0.0.1: this machine alone. Who can connect is on the Ethernet. */
  readonly host?: string;
  /** For QEMUs: a TCP port of the same host, or the path of a UNIX socket. */
  readonly qemu?: { readonly port: number } | { readonly path: string };
  /** WebSockets at a time; default 64. More are turned away with status 503. */
  readonly clients?: number;
  /** Pages that may connect, by their origin (`https://example.org`); default: all. */
  readonly origins?: readonly string[];
  readonly onEvent?: (who: string, event: LinkEvent) => void;
}

export interface Relay {
  readonly lan: NetSwitch;
  readonly port: number;
  /** The QEMUs' side. */
  readonly qemu: StreamServer | undefined;
  close(): Promise<void>;
}

/** The longest frame, with QEMU's slack: `ws` hangs up on longer messages before it has read them. */
const MESSAGE_MAX = 4096 + 65536;
/** Clients that do not answer for so long are gone, milliseconds. */
const SILENCE = 30_000;

/** One Ethernet for everybody who connects: a port of a switch for each. */
export async function relay(options: RelayOptions): Promise<Relay> {
  const { host = '127.0.0.1', clients = 64, origins, onEvent } = options;
  const lan = new NetSwitch();
  const http = createServer((_request, response) => response.writeHead(426).end('a WebSocket is expected\n'));
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_MAX });
  http.on('upgrade', (request, socket, head) => {
    const { origin } = request.headers;
    const refused =
      sockets.clients.size >= clients
        ? '503 Service Unavailable'
        : origins !== undefined && !origins.includes(origin ?? '')
          ? '403 Forbidden'
          : undefined;
    if (refused === undefined) {
      sockets.handleUpgrade(request, socket, head, (client) => sockets.emit('connection', client, request));
      return;
    }
    socket.on('error', () => {});
    socket.end(`HTTP/1.1 ${refused}\r\nConnection: close\r\n\r\n`);
  });
  const answered = new WeakSet<object>();
  sockets.on('connection', (client, request) => {
    const who = `${request.socket.remoteAddress}:${request.socket.remotePort}`;
    const port = lan.port();
    answered.add(client);
    client.on('pong', () => answered.add(client));
    const link = new WebSocketBackend({
      socket: client,
      onEvent: (event) => {
        if (event.name === 'down') port.close();
        onEvent?.(who, event);
      },
    });
    connect(port, link);
  });
  const heartbeat = setInterval(() => {
    for (const client of sockets.clients) {
      if (answered.delete(client)) client.ping();
      else client.terminate();
    }
  }, SILENCE);
  const qemu =
    options.qemu === undefined
      ? undefined
      : await StreamServer.listen(lan, {
          ...('path' in options.qemu ? options.qemu : { host, ...options.qemu }),
          onEvent: (event, who) => onEvent?.(`QEMU ${who}`, event),
        });
  const close = async (): Promise<void> => {
    clearInterval(heartbeat);
    for (const client of sockets.clients) client.terminate();
    await Promise.all([new Promise((resolve) => http.close(resolve)), qemu?.close()]);
  };
  try {
    http.listen(options.port, host);
    await once(http, 'listening');
  } catch (error) {
    await close();
    throw error;
  }
  const address = http.address();
  return { lan, port: typeof address === 'object' && address !== null ? address.port : 0, qemu, close };
}

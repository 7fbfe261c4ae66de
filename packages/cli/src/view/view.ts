// `virtkit view`: the inspector in a browser of this computer, with a file open.
import { randomBytes } from 'node:crypto';
import { closeSync, createReadStream, fstatSync, openSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { basename, extname } from 'node:path';
import { checkReadable } from '../input.ts';
import type { Terminal } from '../live/commands.ts';
import { systemError } from '../system-error.ts';
import { UsageError } from '../usage.ts';
import { pageFiles } from './page-files.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
};

/** Headers of each answer: the page may ask this server and nobody else, and nobody may have it in a page of theirs. */
const HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self' blob:; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
} as const;

/** Path of the file, below the page. */
const FILE = 'file';

/**
 * Serves the page and the file to this computer, until a signal ends it.
 *
 * @throws UsageError where the page is not installed; Error with the file's name for what the system refuses
 */
export async function view({ write, exit }: Terminal, file: string): Promise<void> {
  if (file === '-') throw new UsageError('view needs a file: a page cannot read standard input');
  checkReadable(file);
  const server = await listening(handlerOf(file, pageFiles()));
  await write(`${addressOf(server.server, server.secret, file)}\n`);
  await ended();
  server.server.closeAllConnections();
  server.server.close();
  exit('fine');
}

type Handler = (path: string, request: IncomingMessage, response: ServerResponse) => void;

/** Starts the server at a path that nobody else knows: other users of this computer can connect as well. */
async function listening(handle: Handler): Promise<{ readonly server: Server; readonly secret: string }> {
  const secret = randomBytes(16).toString('hex');
  const server = createServer((request, response) => {
    const path = pathOf(server, secret, request);
    if (path === undefined) refuse(response, 404);
    else if (request.method !== 'GET' && request.method !== 'HEAD') refuse(response, 405);
    else handle(path, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return { server, secret };
}

/**
 * Finds the path below the page; undefined for who does not know it, and for a page of another name that resolves to
 * this computer.
 */
function pathOf(server: Server, secret: string, { url = '', headers }: IncomingMessage): string | undefined {
  const [path = ''] = url.split('?');
  const front = `/${secret}/`;
  const isOurs = headers.host === `127.0.0.1:${portOf(server)}` && path.startsWith(front);
  return isOurs ? path.slice(front.length) : undefined;
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function addressOf(server: Server, secret: string, file: string): string {
  const asked = new URLSearchParams({ url: FILE, name: basename(file) });
  return `http://127.0.0.1:${portOf(server)}/${secret}/?${asked}`;
}

function handlerOf(file: string, files: ReadonlyMap<string, string>): Handler {
  return (path, request, response) => {
    const page = files.get(path === '' ? 'index.html' : path);
    if (path === FILE) send(file, 'application/octet-stream', request, response);
    else if (page === undefined) refuse(response, 404);
    else send(page, TYPES[extname(page)] ?? 'application/octet-stream', request, response);
  };
}

function send(path: string, type: string, request: IncomingMessage, response: ServerResponse): void {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    refuse(response, 500, systemError(basename(path), error).message);
    return;
  }
  response.writeHead(200, { ...HEADERS, 'Content-Type': type, 'Content-Length': fstatSync(fd).size });
  if (request.method === 'HEAD') {
    closeSync(fd);
    response.end();
    return;
  }
  const stream = createReadStream('', { fd });
  // a file that cannot be read to its end, and a page that is closed meanwhile
  stream.on('error', () => response.destroy());
  response.on('close', () => stream.destroy());
  stream.pipe(response);
}

function refuse(response: ServerResponse, status: number, why = ''): void {
  response.writeHead(status, { ...HEADERS, 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(why);
}

/** Waits until the command is to end. */
function ended(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
}

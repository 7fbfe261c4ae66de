// The site as it was built, served under its path as a static host does, and a browser.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { gzipSync } from 'node:zlib';
import { CHROMIUM } from '@virtkit/lab/browser.ts';
import { type Browser, type BrowserContext, chromium } from 'playwright-core';

/** Types of the files that the site has, by the ends of their names. What is not here is bytes. */
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};
/** Types that hosts pack. */
const TEXT = /^(text|application\/json|image\/svg)/;

/** Windows, as wide as a desk's or a phone's. */
export const VIEWPORTS = {
  desktop: { width: 1360, height: 900 },
  phone: { width: 390, height: 844 },
} as const;

export type Device = keyof typeof VIEWPORTS;

/** The path under which the site in `folder` was built to stand. @throws Error if there is none */
export function baseOf(folder: string): string {
  const home = readFileSync(join(folder, 'index.html'), 'utf8');
  const base = /href="([^"]*\/)_astro\//.exec(home)?.[1];
  if (base === undefined) throw new Error(`${folder}index.html has no styles`);
  return base;
}

/** A static host: files, packed, and 404.html for what is not there. */
export class StaticHost {
  readonly #server: Server;
  /** Where the site is. */
  readonly url: string;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  static async open(folder: string): Promise<StaticHost> {
    const base = baseOf(folder);
    const server = createServer(({ url = '/' }, response) => {
      const { pathname } = new URL(url, 'http://host');
      const file = fileOf(folder, base, decodeURIComponent(pathname));
      const body = readFileSync(file ?? join(folder, '404.html'));
      const type = TYPES[file === undefined ? '.html' : extname(file)] ?? 'application/octet-stream';
      const isPacked = TEXT.test(type);
      response.writeHead(file === undefined ? 404 : 200, {
        'Content-Type': type,
        'Cache-Control': 'max-age=3600',
        ...(isPacked && { 'Content-Encoding': 'gzip' }),
      });
      response.end(isPacked ? gzipSync(body) : body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the server has no address');
    return new StaticHost(server, `http://127.0.0.1:${address.port}${base}`);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function fileOf(folder: string, base: string, path: string): string | undefined {
  if (!path.startsWith(base)) return undefined;
  const rest = normalize(`/${path.slice(base.length)}`);
  const file = join(folder, rest.endsWith('/') ? `${rest}index.html` : rest);
  return existsSync(file) && statSync(file).isFile() ? file : undefined;
}

/** A browser whose tabs may ask the host of the site and nobody else, and what it complained of. */
export class Visitor {
  readonly context: BrowserContext;
  /** Errors of pages and workers, and requests to others than the host. */
  readonly complaints: string[] = [];

  private constructor(context: BrowserContext, host: string) {
    this.context = context;
    const own = new URL(host).origin;
    context.on('request', (request) => {
      const url = request.url();
      if (!/^(blob:|data:)/.test(url) && !url.startsWith(`${own}/`)) this.complaints.push(`asked ${url}`);
    });
    context.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text());
    });
    context.on('weberror', (error) => this.complaints.push(String(error.error())));
  }

  static async come(
    browser: Browser,
    host: string,
    device: Device,
    colorScheme: 'light' | 'dark',
  ): Promise<Visitor> {
    const viewport = VIEWPORTS[device];
    const context = await browser.newContext({ viewport, colorScheme, acceptDownloads: true });
    return new Visitor(context, host);
  }
}

/** Starts the browser. */
export function startBrowser(): Promise<Browser> {
  // containers run as root, and have little shared memory; the last one leaves the browser without a network
  const args = [
    '--no-sandbox',
    '--disable-dev-shm-usage',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
  ];
  return chromium.launch({ executablePath: CHROMIUM, args });
}

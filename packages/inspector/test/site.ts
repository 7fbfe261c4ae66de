// The page as it is built for users, served under a path that is not the root, and a browser.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CHROMIUM } from '@virtkit/lab/browser.ts';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { build, preview } from 'vite';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** A machine that does much else may take its time. */
const PATIENCE = 120_000;
/** Where the page lies on its host. */
const BASE = '/some/where/';

/** A window, as wide as a desk's or a phone's. */
export const VIEWPORTS = {
  desktop: { width: 1360, height: 900 },
  phone: { width: 390, height: 844 },
} as const;

export class Site {
  readonly context: BrowserContext;
  readonly url: string;
  /** What the browser complained of: errors of the page and its workers. */
  readonly complaints: string[] = [];
  /** What was asked for. */
  readonly requests: string[] = [];
  readonly #close: () => Promise<void>;

  static async open(): Promise<Site> {
    const outDir = mkdtempSync(join(tmpdir(), 'virtkit-inspector-'));
    const config = { root: ROOT, logLevel: 'error', build: { outDir, emptyOutDir: true } } as const;
    await build(config);
    const server = await preview({ ...config, base: BASE, preview: { port: 0, host: '127.0.0.1' } });
    // containers run as root, and have little shared memory
    const args = ['--no-sandbox', '--disable-dev-shm-usage'];
    const browser = await chromium.launch({ executablePath: CHROMIUM, args });
    const context = await browser.newContext({ viewport: VIEWPORTS.desktop, acceptDownloads: true });
    const [host = ''] = server.resolvedUrls?.local ?? [];
    return new Site(context, host, async () => {
      await browser.close();
      await server.close();
      rmSync(outDir, { recursive: true, force: true });
    });
  }

  private constructor(context: BrowserContext, url: string, close: () => Promise<void>) {
    this.context = context;
    this.url = url;
    this.#close = close;
    context.setDefaultTimeout(PATIENCE);
    context.on('request', (request) => this.requests.push(request.url()));
    context.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text());
    });
    context.on('weberror', (error) => this.complaints.push(String(error.error())));
  }

  /** A tab with the page. */
  async page(fragment = ''): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(this.url + fragment);
    return page;
  }

  close(): Promise<void> {
    return this.#close();
  }
}

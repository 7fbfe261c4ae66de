// TypeScript modules of the tests in a real Chromium, served from their sources.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { createViteServer } from 'vitest/node';

/** The browser that tests use: `VIRTKIT_CHROMIUM` names another. */
export const CHROMIUM = process.env['VIRTKIT_CHROMIUM'] ?? '/usr/bin/chromium';

/** Is there a browser that starts? Says so if not. */
export function hasChromium(): boolean {
  const there = spawnSync(CHROMIUM, ['--version']).status === 0;
  if (!there) console.warn(`SKIPPED: no Chromium at ${CHROMIUM}; VIRTKIT_CHROMIUM names another`);
  return there;
}

/** A server of the repository's sources, and a browser with a profile on disk: what is private is kept in memory, without a quota. */
export class SourceBrowser {
  readonly context: BrowserContext;
  readonly #url: string;
  readonly #close: () => Promise<void>;

  private constructor(context: BrowserContext, url: string, close: () => Promise<void>) {
    this.context = context;
    this.#url = url;
    this.#close = close;
  }

  static async open(): Promise<SourceBrowser> {
    const server = await createViteServer({
      configFile: false,
      root: fileURLToPath(new URL('../../..', import.meta.url)),
      resolve: { conditions: ['@virtkit/source'] },
      server: { port: 0, host: '127.0.0.1' },
      optimizeDeps: { noDiscovery: true },
      worker: { format: 'es' },
      logLevel: 'error',
    });
    await server.listen();
    const address = server.httpServer?.address();
    if (typeof address !== 'object' || address === null) throw new Error('the server has no address');
    const profile = mkdtempSync(join(tmpdir(), 'virtkit-chromium-'));
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      args: ['--no-sandbox'],
    });
    await context.route('**/empty.html', (route) =>
      route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }),
    );
    return new SourceBrowser(context, `http://127.0.0.1:${address.port}/empty.html`, async () => {
      await context.close();
      await server.close();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    });
  }

  /** Loads an empty page with the module at `path` into a tab, a new one by default; ready when the global `isReady` is true. */
  async load(path: string, tab?: Page): Promise<Page> {
    const page = tab ?? (await this.context.newPage());
    await page.goto(this.#url);
    await page.addScriptTag({ type: 'module', url: `/@fs${path}` });
    await page.waitForFunction('globalThis.isReady === true');
    return page;
  }

  close(): Promise<void> {
    return this.#close();
  }
}

// The origin private file system and blobs, in a real browser.
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createViteServer } from 'vitest/node';

const program = process.env['VIRTKIT_CHROMIUM'] ?? '/usr/bin/chromium';
const there = spawnSync(program, ['--version']).status === 0;
if (!there) console.warn(`SKIPPED: no Chromium at ${program}; VIRTKIT_CHROMIUM names another`);

const here = dirname(fileURLToPath(import.meta.url));

describe.skipIf(!there)('disks in a browser', { timeout: 120_000 }, () => {
  let server: Awaited<ReturnType<typeof createViteServer>>;
  let browser: Browser;
  let context: BrowserContext;

  beforeAll(async () => {
    server = await createViteServer({
      configFile: false,
      root: fileURLToPath(new URL('../../..', import.meta.url)),
      resolve: { conditions: ['@virtkit/source'] },
      server: { port: 0, host: '127.0.0.1' },
      optimizeDeps: { noDiscovery: true },
      worker: { format: 'es' },
      logLevel: 'error',
    });
    await server.listen();
    browser = await chromium.launch({ executablePath: program, args: ['--no-sandbox'] });
    context = await browser.newContext();
    await context.route('**/empty.html', (route) =>
      route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }),
    );
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  async function load(page: Page): Promise<void> {
    const address = server.httpServer?.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    await page.goto(`http://127.0.0.1:${port}/empty.html`);
    await page.addScriptTag({ type: 'module', url: `/@fs${here}/opfs-page.ts` });
    await page.waitForFunction('isReady === true');
  }

  test('a disk survives a reload; a second tab is told that it is open', async () => {
    const page = await context.newPage();
    await load(page);
    expect(await page.evaluate('open("a.img")')).toBe(65536);
    await page.evaluate('write(1024, "written before")');
    const other = await context.newPage();
    await load(other);
    expect(await other.evaluate('open("a.img")')).toEqual({
      message: 'a.img: is open elsewhere: in another tab, or another worker',
      code: 'EBUSY',
    });
    await load(page);
    expect(await page.evaluate('open("a.img")')).toBe(65536);
    expect(await page.evaluate('read(1024, 14)')).toBe('written before');
    await page.evaluate('close()');
    expect(await other.evaluate('open("a.img")')).toBe(65536);
    expect(await other.evaluate('read(1024, 7)')).toBe('written');
    await Promise.all([page.close(), other.close()]);
  });

  test('in a worker, at once', async () => {
    const page = await context.newPage();
    await load(page);
    expect(await page.evaluate('here("b.img")')).toEqual({ atOnce: true, same: true, size: 131072 });
    await page.close();
  });

  test('a blob', async () => {
    const page = await context.newPage();
    await load(page);
    expect(await page.evaluate('blob()')).toBe('ABB00');
    await page.close();
  });
});

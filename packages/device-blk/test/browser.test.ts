// The origin private file system and blobs, in a real browser.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createViteServer } from 'vitest/node';

const program = process.env['VIRTKIT_CHROMIUM'] ?? '/usr/bin/chromium';
const there = spawnSync(program, ['--version']).status === 0;
if (!there) console.warn(`SKIPPED: no Chromium at ${program}; VIRTKIT_CHROMIUM names another`);

const here = dirname(fileURLToPath(import.meta.url));

describe.skipIf(!there)('disks in a browser', { timeout: 120_000 }, () => {
  let server: Awaited<ReturnType<typeof createViteServer>>;
  let profile = '';
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
    // a profile on disk: what is private is kept in memory, without a quota
    profile = fs.mkdtempSync(join(tmpdir(), 'virtkit-chromium-'));
    context = await chromium.launchPersistentContext(profile, {
      executablePath: program,
      args: ['--no-sandbox'],
    });
    await context.route('**/empty.html', (route) =>
      route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }),
    );
  }, 120_000);

  afterAll(async () => {
    await context?.close();
    await server?.close();
    if (profile !== '') fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
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

  test('a worker that is not there is an error; reloads one after the other find the file free', async () => {
    const page = await context.newPage();
    await load(page);
    expect(await page.evaluate('lost()')).toBe('EIO');
    for (let i = 0; i < 4; i++) {
      expect(await page.evaluate('open("d.img")')).toBe(65536);
      // written, and not waited for: the page is gone in the middle of it
      page.evaluate('write(512, "x")').catch(() => {});
      await load(page);
    }
    await page.close();
  });

  test('no room: ENOSPC, for a new size and for a write', async () => {
    const page = await context.newPage();
    await load(page);
    const session = await context.newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', {
      origin: new URL(page.url()).origin,
      quotaSize: 2 << 20,
    });
    expect(await page.evaluate('fill("e.img")')).toEqual({ code: 'ENOSPC', size: 4096 });
    expect(await page.evaluate('grow("f.img")')).toBe('ENOSPC');
    await page.close();
  });

  test('a blob', async () => {
    const page = await context.newPage();
    await load(page);
    expect(await page.evaluate('blob()')).toBe('ABB00');
    await page.close();
  });
});

import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createViteServer } from 'vitest/node';

const program = process.env['VIRTKIT_CHROMIUM'] ?? '/usr/bin/chromium';
const there = spawnSync(program, ['--version']).status === 0;
if (!there) console.warn(`SKIPPED: no Chromium at ${program}; VIRTKIT_CHROMIUM names another`);

const here = dirname(fileURLToPath(import.meta.url));

describe.skipIf(!there)('through a WebRTC data channel, in a browser', { timeout: 120_000 }, () => {
  let server: Awaited<ReturnType<typeof createViteServer>>;
  let browser: Browser;

  beforeAll(async () => {
    server = await createViteServer({
      configFile: false,
      root: fileURLToPath(new URL('../../../..', import.meta.url)),
      resolve: { conditions: ['@virtkit/source'] },
      server: { port: 0, host: '127.0.0.1' },
      optimizeDeps: { noDiscovery: true },
      logLevel: 'error',
    });
    await server.listen();
    browser = await chromium.launch({ executablePath: program, args: ['--no-sandbox'] });
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  async function move(cutAfter: number): Promise<unknown> {
    const page = await browser.newPage();
    const address = server.httpServer?.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    await page.route('**/empty.html', (route) =>
      route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }),
    );
    await page.goto(`http://127.0.0.1:${port}/empty.html`);
    await page.addScriptTag({ type: 'module', url: `/@fs${here}/rtc-page.ts` });
    await page.waitForFunction('typeof move === "function"');
    const result: unknown = await page.evaluate(`move(${cutAfter})`);
    await page.close();
    return result;
  }

  test('a machine moves, and its guest works on', async () => {
    expect(await move(Number.MAX_SAFE_INTEGER)).toEqual({
      sent: 'moved',
      received: 'arrived',
      where: 'destination',
      equal: true,
      worked: true,
      faults: [],
    });
  });

  test('a channel that is closed in the middle leaves the guest where it was', async () => {
    expect(await move(9000)).toMatchObject({
      sent: 'stayed',
      received: 'failed',
      where: 'source',
      worked: true,
      faults: [],
    });
  });
});

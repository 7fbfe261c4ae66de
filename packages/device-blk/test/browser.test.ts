// The origin private file system and blobs, in a real browser.
import { fileURLToPath } from 'node:url';
import { hasChromium, SourceBrowser } from '@virtkit/lab/browser.ts';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const PAGE = fileURLToPath(new URL('opfs-page.ts', import.meta.url));

describe.skipIf(!hasChromium())('disks in a browser', { timeout: 120_000 }, () => {
  let browser: SourceBrowser;
  beforeAll(async () => {
    browser = await SourceBrowser.open();
  }, 120_000);
  afterAll(() => browser?.close());

  const load = (page?: Page): Promise<Page> => browser.load(PAGE, page);

  test('a disk survives a reload; a second tab is told that it is open', async () => {
    const page = await load();
    expect(await page.evaluate('open("a.img")')).toBe(65536);
    await page.evaluate('write(1024, "written before")');
    const other = await load();
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
    const page = await load();
    expect(await page.evaluate('here("b.img")')).toEqual({ atOnce: true, same: true, size: 131072 });
    await page.close();
  });

  test('a worker that is not there is an error; reloads one after the other find the file free', async () => {
    const page = await load();
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
    const page = await load();
    const session = await browser.context.newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', {
      origin: new URL(page.url()).origin,
      quotaSize: 2 << 20,
    });
    expect(await page.evaluate('fill("e.img")')).toEqual({ code: 'ENOSPC', size: 4096 });
    expect(await page.evaluate('grow("f.img")')).toBe('ENOSPC');
    await page.close();
  });

  test('a blob', async () => {
    const page = await load();
    expect(await page.evaluate('blob()')).toBe('ABB00');
    await page.close();
  });
});

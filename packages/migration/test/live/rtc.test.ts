import { fileURLToPath } from 'node:url';
import { hasChromium, SourceBrowser } from '@virtkit/lab/browser.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const PAGE = fileURLToPath(new URL('rtc-page.ts', import.meta.url));

describe.skipIf(!hasChromium())('through a WebRTC data channel, in a browser', { timeout: 120_000 }, () => {
  let browser: SourceBrowser;
  beforeAll(async () => {
    browser = await SourceBrowser.open();
  }, 120_000);
  afterAll(() => browser?.close());

  async function move(cutAfter: number): Promise<unknown> {
    const page = await browser.load(PAGE);
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

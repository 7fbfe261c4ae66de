// The page, as it is built for users, in Chromium: what a person does with it, on a desk and on a phone.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { hasChromium } from '@virtkit/lab/browser.ts';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Session } from '../src/model/session.ts';
import { blobSource } from '../src/model/source.ts';
import { blobOf, pathOf } from './corpus.ts';
import { Site, VIEWPORTS } from './site.ts';
import { TEXT, waitingDisk } from './waiting-disk.ts';

const PATIENCE = 180_000;
const STREAM = '7.2.22/q72-pc-idle';
/** Another host. */
const STRANGER = 'http://127.0.0.2:9/';
/** Where the pictures go, if they are asked for. */
const PICTURES = process.env['VIRTKIT_PICTURES'];
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What keeps people with other eyes and hands from using what the page shows now. */
async function barriers(page: Page): Promise<string[]> {
  // not as a script of the page: its policy would forbid that
  await page.evaluate(axe);
  // the page's types are not those of the test: what it runs is text
  const words = "({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).slice(0, 3).join(' ')";
  const found = await page.evaluate(`axe.run().then(({ violations }) => violations.map(${words}))`);
  return found as string[];
}

async function open(page: Page, name: string): Promise<void> {
  await page.setInputFiles('input[type=file]', pathOf(name));
  await page.getByRole('navigation').waitFor();
}

async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES !== undefined) await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
}

describe.skipIf(!hasChromium())('the page, in Chromium', { timeout: PATIENCE }, () => {
  let site: Site;
  beforeAll(async () => {
    site = await Site.open();
  }, PATIENCE);
  afterAll(() => site?.close());
  afterEach(async () => {
    await Promise.all(site.context.pages().map((page) => page.close()));
  });

  test('a stream is opened and looked at, on a desktop and on a phone, in the light and in the dark', async () => {
    const page = await site.page();
    await page.getByRole('button', { name: 'Choose a file…' }).waitFor();
    const look = async (name: string): Promise<void> => {
      for (const kind of ['desktop', 'phone'] as const) {
        await page.setViewportSize(VIEWPORTS[kind]);
        expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBe(VIEWPORTS[kind].width);
        await picture(page, `${name}-${kind}`);
      }
      for (const colorScheme of ['dark', 'light'] as const) {
        await page.emulateMedia({ colorScheme });
        expect(await barriers(page), `${name}, ${colorScheme}`).toEqual([]);
      }
    };
    await look('welcome');
    await open(page, STREAM);
    const card = page.locator('.card', { hasText: 'virtio-net' });
    await expect(card.textContent()).resolves.toMatch(
      /0000:00:03\.0.*DRIVER_OK.*1\.x, split.*13 CTRL_VQ RING_RESET.*3 × 256\/64/s,
    );
    await look('overview');
  });

  test.each(['desktop', 'phone'] as const)(
    'fields lead to bytes, and bytes to fields, on a %s',
    async (kind) => {
      const page = await site.page();
      await page.setViewportSize(VIEWPORTS[kind]);
      await open(page, STREAM);
      await page.locator('.card').getByRole('link', { name: 'virtio-blk' }).click();
      const core = page.getByRole('tree', { name: 'Virtio core' });
      await core.getByRole('treeitem', { name: /^lastAvailIdx/ }).click();
      expect(new URL(page.url()).hash).toMatch(/^#\/section\/\d+\/queues%5B0%5D\.lastAvailIdx$/);
      const selected = page.getByRole('region', { name: 'Selected field' });
      await selected.getByText('Virtio 1.3 §2.7.13.3').waitFor();
      const marked = page.getByRole('grid', { name: 'Bytes' }).locator('.bytes .marked');
      await expect.poll(() => marked.allTextContents(), { timeout: PATIENCE }).toEqual(['00', '01']);
      expect(await barriers(page)).toEqual([]);
      // the byte in front of the marked ones belongs to the field before
      await page.getByRole('grid', { name: 'Bytes' }).focus();
      await page.keyboard.press('ArrowLeft');
      await selected.getByRole('heading', { name: 'queues[0].desc' }).waitFor();
      await expect(core.locator('[aria-selected=true]').textContent()).resolves.toContain('desc');
      // keys in the tree
      await core.locator('[aria-selected=true]').focus();
      await page.keyboard.press('ArrowUp');
      await selected.getByRole('heading', { name: 'queues[0].num' }).waitFor();
      await picture(page, `fields-${kind}`);
      for (const tab of ['Queues', 'Features', 'Configuration']) {
        await page.getByRole('tab', { name: tab }).click();
        expect(await barriers(page), tab).toEqual([]);
        expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBe(VIEWPORTS[kind].width);
        await picture(page, `${tab.toLowerCase()}-${kind}`);
      }
    },
  );

  test('a queue is followed into the memory of the guest, to the bytes of its buffers', async () => {
    const page = await site.page();
    const buffer = Buffer.from(waitingDisk().bytes);
    await page.setInputFiles('input[type=file]', { name: 'waiting.mig', mimeType: '', buffer });
    await page.locator('.card').getByRole('link', { name: 'virtio-blk' }).click();
    await page.getByRole('tab', { name: 'Queues' }).click();
    await page.getByRole('button', { name: 'Follow queue 0' }).click();
    const chains = page.getByRole('region', { name: "Queue 0 in the guest's memory" });
    await chains.getByRole('button', { name: '0x31000+512' }).click();
    await chains.getByText(TEXT).waitFor();
    await page.setViewportSize(VIEWPORTS.phone);
    expect(await barriers(page)).toEqual([]);
    expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBe(VIEWPORTS.phone.width);
    await picture(page, 'chains-phone');
  });

  test('an address leads to a field', async () => {
    const first = await site.page();
    await open(first, STREAM);
    await first.locator('.card').getByRole('link', { name: 'virtio-blk' }).click();
    const fragment = `${new URL(first.url()).hash}/subsections.virtqueues%5B0%5D.used`;
    const page = await site.page(fragment);
    await open(page, STREAM);
    await page.getByRole('region', { name: 'Selected field' }).getByText('0x2add240').waitFor();
  });

  test('a target is asked, and its answer leads to the field that decides', async () => {
    const page = await site.page();
    const box = page.getByLabel('Or paste something');
    await box.fill(
      'qemu-system-x86_64: Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef',
    );
    await page.getByRole('button', { name: 'What is it?' }).click();
    await page.getByText(/VIRTIO_NET_F_GUEST_USO4 \(bit 54\)/).waitFor();
    await open(page, STREAM);
    await page.getByRole('link', { name: 'Does it load there?' }).click();
    await page.getByRole('button', { name: 'Check' }).click();
    await page.getByText('It loads, if what is said below holds.').waitFor();
    await page.getByLabel(/^Devices that are not/).fill('-device virtio-blk-pci,queue-size=128');
    await page.getByRole('button', { name: 'Check' }).click();
    await page.getByText('It is refused.').waitFor();
    expect(await barriers(page)).toEqual([]);
    // a machine that is pasted is the one that is asked about
    await page.getByRole('link', { name: 'Paste something' }).click();
    await box.fill('qemu-system-x86_64 -M pc-i440fx-7.2 -m 128M -nodefaults -device virtio-net-pci,addr=3');
    await page.getByRole('button', { name: 'What is it?' }).click();
    await page.getByRole('button', { name: 'Check' }).click();
    await page.getByText('the target has no device at 0000:00:02.0').waitFor();
    await page.getByLabel(/^The machine there/).fill('');
    await page.getByLabel(/^Devices that are not/).fill('-device virtio-blk-pci,queue-size=128');
    await page.getByRole('button', { name: 'Check' }).click();
    await picture(page, 'check-desktop');
    await page
      .locator('.verdicts')
      .getByRole('link', { name: /queues\[0\]\.num/ })
      .first()
      .click();
    await page.getByRole('region', { name: 'Selected field' }).getByText('vring.num').waitFor();
    await page.getByRole('link', { name: 'Does it load there?' }).click();
    await page.getByLabel('Target').fill('qemu-2.0');
    await page.getByRole('button', { name: 'Check' }).click();
    await page.getByText(/a QEMU from 5\.2 on expected/).waitFor();
  });

  test('JSON that is downloaded is what the worker says outside of a browser', async () => {
    const page = await site.page();
    await open(page, STREAM);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'JSON' }).click(),
    ]);
    const session = new Session();
    await session.open(blobSource(await blobOf(STREAM), STREAM));
    expect(readFileSync(await download.path(), 'utf8')).toBe(session.json(true));
  });

  test('a stream that is cut is shown as far as it goes, with where it broke', async () => {
    const page = await site.page();
    const whole = gunzipSync(readFileSync(pathOf(STREAM)));
    const buffer = whole.subarray(0, 230_000);
    await page.setInputFiles('input[type=file]', { name: 'cut.mig', mimeType: '', buffer });
    const broken = page.getByRole('region', { name: 'Where the stream broke' });
    await expect(broken.textContent()).resolves.toMatch(/Not read to its end\..*at byte 0x.*RAM block/s);
    expect(await barriers(page)).toEqual([]);
  });

  test('a section that is pasted is shown as a file is', async () => {
    const session = new Session();
    const { sections } = await session.open(blobSource(await blobOf(STREAM), STREAM));
    const number = sections.findIndex(({ idstr }) => idstr.endsWith('virtio-blk'));
    const { offset = 0, size = 0 } = sections[number] ?? {};
    const page = await site.page();
    const text = Buffer.from(session.bytes(number, offset, size)).toString('base64');
    await page.getByLabel('Or paste something').fill(text);
    await page.getByRole('button', { name: 'What is it?' }).click();
    await expect(page.locator('.card').textContent()).resolves.toMatch(/virtio-blkpastedpci.*DRIVER_OK/s);
  });

  test('nobody but the own host was asked, and the policy would not have let it', async () => {
    const page = await site.page();
    await open(page, STREAM);
    const before = site.complaints.splice(0);
    const [worker] = page.workers();
    const asked = (
      where: { evaluate(code: string): Promise<unknown> } | undefined,
    ): Promise<unknown> | undefined =>
      where?.evaluate(`fetch('${STRANGER}').then(() => 'answered', (error) => error.name)`);
    expect([await asked(page), await asked(worker)]).toEqual(['TypeError', 'TypeError']);
    const refused = site.complaints.splice(0).filter((text) => /Content Security Policy/.test(text));
    // the page's attempt and the worker's
    expect(refused.length).toBeGreaterThanOrEqual(2);
    expect(before).toEqual([]);
    const own = `${new URL(site.url).origin}/`;
    const strangers = site.requests.filter((url) => !/^(blob:|data:)/.test(url) && !url.startsWith(own));
    expect(strangers.filter((url) => url !== STRANGER)).toEqual([]);
  });
});

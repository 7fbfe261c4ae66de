// The journeys of JOURNEYS.md through the built site, in Chromium: `npm run site -- --base /some/where/`, then
// `VIRTKIT_SLOW=1 npx vitest run packages/site/test/journeys.test.ts`.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { hasChromium } from '@virtkit/lab/browser.ts';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { made, output, repository, site } from '../src/places.ts';
import { type Device, StaticHost, startBrowser, VIEWPORTS, Visitor } from './served.ts';

const PATIENCE = 300_000;
/** Where the pictures go. */
const PICTURES = process.env['VIRTKIT_PICTURES'] ?? `${made}pictures`;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** A person in front of the site's first page. */
interface Person {
  readonly page: Page;
  readonly device: Device;
  /** Looks at a page: nothing keeps anybody from using it, in light or in dark, and it is no wider than the window. */
  look(): Promise<void>;
  /** Follows a link of the page's text. */
  follow(name: string | RegExp): Promise<void>;
  /** Follows a link of the menu at the side, which a phone has behind a button. */
  menu(name: string): Promise<void>;
  /** Searches for words, and answers what is found. */
  search(words: string): Promise<Locator>;
}

type Journey = (person: Person) => Promise<void>;

const journeys: Readonly<Record<string, Journey>> = {
  '1. My migration failed, and this is the line in the log': async (person) => {
    const { page } = person;
    await person.follow('My VM does not migrate');
    await person.look();
    await person.follow('inspector');
    const line =
      'qemu-system-x86_64: Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef';
    await page.getByLabel('What does this error mean?').fill(line);
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByText(/VIRTIO_NET_F_GUEST_USO4 \(bit 54\)/).waitFor();
  },
  '2. Will this saved machine load on the new version?': async (person) => {
    const { page } = person;
    await person.follow('The inspector');
    const file = join(repository, 'packages/lab/streams/10.0.13/q100-pc-fullram-tiny.mig.gz');
    await page.setInputFiles('input[type=file]', file);
    await page.getByRole('link', { name: 'Does it load there?' }).click();
    await page.getByLabel('Target').fill('qemu-11.1');
    await page.getByRole('button', { name: 'Check' }).click();
    await page.getByText('It is refused.').waitFor();
    await person.look();
    await page.locator('.verdicts').getByRole('link', { name: /num/ }).first().click();
    await page.getByRole('region', { name: 'Selected field' }).getByText('vring.num').waitFor();
  },
  '3. Which QEMU is in the release that we go to?': async (person) => {
    const { page } = person;
    await person.follow('My VM does not migrate');
    await person.follow(/^Which QEMU that is/);
    const row = page.getByRole('row').filter({ hasText: 'kubevirt-1.8' }).first();
    await row.scrollIntoViewIfNeeded();
    await expect(row.textContent()).resolves.toMatch(/qemu-kvm/);
  },
  '4. I want to know before the upgrade, for all our machines': async (person) => {
    const { page } = person;
    await person.follow('My VM does not migrate');
    await person.follow('check all of them');
    await page.getByText('npx --yes @virtkit/cli check --all machines').first().waitFor();
    await page.getByText(/0 loads, 1 is refused, 4 is not known/).waitFor();
  },
  '5. A disk in twenty lines': async (person) => {
    const { page } = person;
    await person.follow('Your first disk');
    await page.getByText('new BlkDevice').first().waitFor();
    await person.look();
    await person.follow('the same disk in v86');
    await page.getByText('emulator, new BlkDevice').first().waitFor();
    await page.getByRole('link', { name: /^Next/ }).click();
    await page.getByRole('heading', { level: 1, name: 'A disk in your own machine' }).waitFor();
    await page.getByText('new MmioDevice').first().waitFor();
  },
  '6. What do I have to implement for a device of my own?': async (person) => {
    const { page } = person;
    await person.menu('Write a device');
    await page.getByText('implements DeviceModel').waitFor();
    await person.look();
    const found = await person.search('DeviceModel');
    await found.filter({ hasText: '@virtkit/core' }).first().click();
    await page
      .getByRole('heading', { name: /DeviceModel/ })
      .first()
      .waitFor();
  },
  '7. The memory of my emulator grows': async (person) => {
    const { page } = person;
    const found = await person.search('guest memory that may grow');
    await found.filter({ hasText: 'Guest memory' }).first().click();
    await page.getByRole('heading', { level: 1, name: 'Guest memory' }).waitFor();
    await page.getByText('An array that is replaced').waitFor();
  },
  '8. My program caught an error with this code': async (person) => {
    const { page } = person;
    await person.menu('Error codes');
    const row = page.getByRole('row').filter({ hasText: 'truncated' }).first();
    await row.scrollIntoViewIfNeeded();
    await expect(row.textContent()).resolves.toMatch(/bytes wanted/);
    await page.getByText('Save the machine again').waitFor();
  },
  '9. What is in a migration stream?': async (person) => {
    const { page } = person;
    await person.follow('What is in a migration stream');
    await person.look();
    await person.follow('looked at in the inspector');
    await page.locator('.card', { hasText: 'virtio-blk' }).getByText('6 requests', { exact: true }).waitFor();
  },
  '10. Which field is this byte?': async (person) => {
    const { page } = person;
    await person.follow('a sample');
    await page.locator('.card').getByRole('link', { name: 'virtio-blk' }).click();
    const core = page.getByRole('tree', { name: 'Virtio core' });
    await core.getByRole('treeitem', { name: /^lastAvailIdx/ }).click();
    const bytes = page.getByRole('grid', { name: 'Bytes' });
    await bytes.locator('.bytes .marked').first().waitFor();
    await person.look();
    await bytes.focus();
    await page.keyboard.press('ArrowLeft');
    const selected = page.getByRole('region', { name: 'Selected field' });
    await selected.getByRole('heading', { name: 'queues[0].desc' }).waitFor();
    await page.reload();
    await selected.getByRole('heading', { name: 'queues[0].desc' }).waitFor();
  },
  '11. What does this word mean?': async (person) => {
    const { page } = person;
    await person.menu('Glossary');
    const row = page.getByRole('row').filter({ hasText: 'subsection' }).first();
    await expect(row.textContent()).resolves.toMatch(/a part of a section/);
  },
  '12. How much of the specification is met, and what is not as in QEMU?': async (person) => {
    const { page } = person;
    await person.menu('What of the specification is met');
    await page.getByRole('heading', { name: 'Not met' }).waitFor();
    await person.menu('Differences from QEMU');
    await page.getByRole('heading', { name: '@virtkit/transport-pci' }).waitFor();
  },
};

test('the journeys that are written down are those that are gone', () => {
  const written = readFileSync(`${site}JOURNEYS.md`, 'utf8').matchAll(/^### (.+)$/gm);
  expect([...written].map(([, name]) => name)).toEqual(Object.keys(journeys));
});

function isBuilt(): boolean {
  if (process.env['VIRTKIT_SLOW'] === undefined) return false;
  const there = existsSync(`${output}inspector/index.html`);
  if (!there) console.warn('SKIPPED: the site is not built: npm run site -- --base /some/where/');
  return there && hasChromium();
}

describe.skipIf(!isBuilt())('a journey', { timeout: PATIENCE }, () => {
  let host: StaticHost;
  let browser: Browser;
  beforeAll(async () => {
    mkdirSync(PICTURES, { recursive: true });
    host = await StaticHost.open(output);
    browser = await startBrowser();
  }, PATIENCE);
  afterAll(async () => {
    await browser?.close();
    await host?.close();
  });

  const devices: readonly Device[] = ['desktop', 'phone'];
  test.each(
    Object.entries(journeys).flatMap(([name, go]) => devices.map((device) => [name, device, go] as const)),
  )('%s (%s)', async (name, device, go) => {
    const visitor = await Visitor.come(browser, host.url, device, device === 'phone' ? 'dark' : 'light');
    try {
      visitor.context.setDefaultTimeout(PATIENCE / 3);
      const page = await visitor.context.newPage();
      await page.goto(host.url);
      const person = personAt(page, device);
      await go(person);
      await page.screenshot({
        path: join(PICTURES, `${name.replace(/\..*/, '').padStart(2, '0')}-${device}.png`),
      });
      await person.look();
      expect(visitor.complaints).toEqual([]);
    } finally {
      await visitor.context.close();
    }
  });
});

function personAt(page: Page, device: Device): Person {
  return {
    page,
    device,
    async look() {
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        expect(await barriers(page), `${page.url()} in ${colorScheme}`).toEqual([]);
      }
      const width = await page.evaluate('document.scrollingElement.scrollWidth');
      expect(width, page.url()).toBe(VIEWPORTS[device].width);
    },
    async follow(name) {
      await page.locator('main').getByRole('link', { name, exact: true }).first().click();
    },
    async menu(name) {
      if (device === 'phone') await page.getByRole('button', { name: 'Menu' }).click();
      await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name, exact: true }).click();
      await page.getByRole('heading', { level: 1, name }).waitFor();
    },
    async search(words) {
      await page.getByRole('button', { name: 'Search' }).click();
      await page.getByRole('dialog').getByRole('textbox').fill(words);
      const found = page.getByRole('dialog').locator('.pagefind-ui__result-link');
      await found.first().waitFor();
      return found;
    },
  };
}

/** What keeps people with other eyes and hands from using what the page shows now. */
async function barriers(page: Page): Promise<string[]> {
  // not as a script of the page: the policy of the inspector would forbid that
  await page.evaluate(axe);
  // the page's types are not those of the test: what it runs is text
  const words = "({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).slice(0, 3).join(' ')";
  const found = await page.evaluate(`axe.run().then(({ violations }) => violations.map(${words}))`);
  return found as string[];
}

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Instance, missing, PATIENCE, Site, Tab } from './browser.ts';

const reason = await missing();
if (reason !== undefined) console.warn(`SKIPPED: the page with v86 in Chromium: ${reason}`);

/** Which checks of `check` the console shows, and that all of them are right. */
function checks(screen: string): number[] {
  expect(screen).not.toContain('WRONG');
  return [...screen.matchAll(/^check (\d+): .* right$/gm)].map(([, n]) => Number(n));
}

async function nextCheck(instance: Instance, after: number): Promise<number> {
  const screen = await instance.shows(new RegExp(`check ${after + 1}: .* right`));
  return Math.max(...checks(screen));
}

/** Moves until one was seen to take requests in flight with it. */
const MOVES = 20;

/** Moves alice, who is busy, from this instance to the other; answers how many requests of her disk were in flight. */
async function moveAlice(tab: Tab, from: 1 | 2): Promise<number> {
  await tab.instance(from).busy();
  await tab
    .instance(from)
    .button(from === 1 ? 'Move →' : '← Move')
    .click();
  await tab.reports.filter({ hasText: `alice moved to instance ${from === 1 ? 2 : 1}` }).waitFor();
  const report = (await tab.reports.first().textContent()) ?? '';
  return Number(/with (\d+) disk/.exec(report)?.[1] ?? Number.NaN);
}

/** The long runs: a boot without the snapshot takes v86 a minute, and its steps, as those of a saved state, are those that examples/v86-node and packages/v86 take. */
const IS_LONG = process.env['VIRTKIT_SLOW'] !== undefined;

/** Where the pictures go, if they are asked for; the README shows the wide one. */
const PICTURES = process.env['VIRTKIT_PICTURES'];

describe.skipIf(reason !== undefined)('the page, in Chromium', { timeout: 4 * PATIENCE }, () => {
  let site: Site;
  let tab: Tab;

  beforeAll(async () => {
    site = await Site.open();
    tab = await site.tab();
  }, PATIENCE);

  afterAll(() => site?.close());

  test('a guest boots from the snapshot; what it wrote is there after a reload', async () => {
    const alice = tab.instance(1);
    await alice.prompt('alice');
    expect(await alice.run('alice', 'echo kept-$((6 * 7)) > /disk/note; sync; cat /disk/note')).toBe(
      'kept-42',
    );
    await tab.page.reload();
    await alice.prompt('alice');
    expect(await alice.run('alice', 'cat /disk/note')).toBe('kept-42');
  });

  test('two guests reach each other over the switch', async () => {
    const bob = tab.instance(2);
    await bob.button('Start bob').click();
    await bob.prompt('bob');
    expect(await bob.run('bob', 'ping -c 3 10.0.0.1 | grep received')).toMatch(/3 packets received/);
  });

  test('guests change places in the midst of I/O, and their data is right', async () => {
    await tab.instance(1).button('write and check').click();
    const done = await nextCheck(tab.instance(1), 0);
    // each move is begun while requests are in flight; a busy machine may have ended them before the guest stands still
    await tab.instance(1).delay(1000);
    let inFlight = 0;
    for (let moves = 0; moves < (IS_LONG ? 4 : 2) || (inFlight === 0 && moves < MOVES); moves += 2)
      inFlight += (await moveAlice(tab, 1)) + (await moveAlice(tab, 2));
    await tab.instance(1).delay(20);
    // one may have been under way all the time, the next has not
    await nextCheck(tab.instance(1), done + 1);
    expect(inFlight).toBeGreaterThan(0);
    await expect(tab.instance(2).run('bob', 'ping -c 2 10.0.0.1 | grep received')).resolves.toMatch(
      /2 packets/,
    );
  });

  test('what moved is shown by name', async () => {
    await tab.page
      .getByText(/virtio-blk: \d+ fields/)
      .first()
      .click();
    const state = tab.page.getByRole('region', { name: 'State of virtio-blk' }).first();
    await expect(state.textContent()).resolves.toMatch(/lastAvailIdx/);
    await expect(state.textContent()).resolves.toMatch(/ACKNOWLEDGE · DRIVER · DRIVER_OK · FEATURES_OK/);
  });

  test('a guest moves to another tab and keeps disk, data and neighbours', async () => {
    const done = Math.max(...checks(await tab.instance(1).screen()));
    const opened = site.context.waitForEvent('page');
    await tab.instance(1).button('To a tab').click();
    await tab.page.getByRole('menuitem', { name: 'A new tab' }).click();
    const other = new Tab(await opened);
    await other.reports.filter({ hasText: 'alice arrived in instance 1' }).waitFor();
    await nextCheck(other.instance(1), done + 1);
    await tab.instance(1).button('Start alice').waitFor();

    await other.instance(1).button('stop').click();
    await other.instance(1).delay(0);
    expect(await other.instance(1).run('alice', 'cat /disk/note')).toBe('kept-42');
    expect(await other.instance(1).run('alice', 'ping -c 2 10.0.0.2 | grep received')).toMatch(/2 packets/);

    // and back, to the tab that is there
    await other.instance(1).button('To a tab').click();
    await other.page.getByRole('menuitem', { name: /^Tab / }).click();
    await tab.reports.filter({ hasText: 'alice arrived in instance 1' }).waitFor();
    expect(await tab.instance(1).run('alice', 'cat /disk/note')).toBe('kept-42');
    await other.page.close();
  });

  test.runIf(IS_LONG)('a saved state is restored with its disk, also after a reload', async () => {
    const alice = tab.instance(1);
    await alice.run('alice', 'echo before > /disk/when; sync');
    await alice.button('Save').click();
    await tab.reports.filter({ hasText: 'alice was saved' }).waitFor();
    await alice.run('alice', 'echo after > /disk/when; sync');
    await tab.page.reload();
    expect(await alice.run('alice', 'cat /disk/when')).toBe('after');
    await alice.button('Restore').click();
    await tab.reports.filter({ hasText: 'alice was restored' }).waitFor();
    expect(await alice.run('alice', 'cat /disk/when')).toBe('before');
  });

  test('the keyboard gets out of the console; a phone does not scroll sideways', async () => {
    await tab.instance(1).panel.locator('.xterm-helper-textarea').focus();
    await tab.page.keyboard.press('F6');
    expect(await tab.page.evaluate('document.activeElement.textContent')).toBe('Move →');
    await tab.page.setViewportSize({ width: 390, height: 844 });
    expect(await tab.page.evaluate('document.scrollingElement.scrollWidth')).toBe(390);
    await tab.page.setViewportSize({ width: 1360, height: 940 });
  });

  test('in all of this the browser had nothing to complain of', () => {
    expect(site.complaints).toEqual([]);
  });

  test('a guest that the other tab cannot take goes on where it was', async () => {
    await site.context.route('**/*.wasm', (route) => route.abort());
    const failed = site.context.waitForEvent('requestfailed', (request) => request.url().endsWith('.wasm'));
    const broken = await site.tab();
    await failed;
    await site.context.unroute('**/*.wasm');
    await tab.instance(1).button('To a tab').click();
    await tab.page.getByRole('menuitem', { name: /^Tab / }).click();
    await tab.page.locator('.news[data-kind=trouble]').waitFor();
    expect(await tab.instance(1).run('alice', 'cat /disk/note')).toBe('kept-42');
    await broken.page.close();
    // of the broken tab alone
    expect(site.complaints.splice(0).filter((text) => !/wasm|Failed to fetch/i.test(text))).toEqual([]);
  });

  if (PICTURES !== undefined) {
    test('pictures', async () => {
      await tab.page.setViewportSize({ width: 1200, height: 990 });
      await tab.page.reload();
      await tab.instance(1).prompt('alice');
      await tab.instance(2).button('Start bob').click();
      await tab.instance(2).prompt('bob');
      await tab.instance(2).button('ping').click();
      await tab.instance(1).button('write and check').click();
      await nextCheck(tab.instance(1), 2);
      await tab.instance(1).delay(100);
      await tab.instance(1).busy(8);
      await tab.instance(1).button('Move →').click();
      await tab.reports.filter({ hasText: 'alice moved' }).waitFor();
      await tab.instance(2).busy(8);
      await tab.page.evaluate('document.activeElement.blur()');
      await tab.page.mouse.move(0, 0);
      await tab.page.screenshot({ path: join(PICTURES, 'screenshot.png') });
      await tab.page.setViewportSize({ width: 390, height: 844 });
      await tab.instance(2).busy(8);
      await tab.page.screenshot({ path: join(PICTURES, 'screenshot-phone.png'), fullPage: true });
    });
  }

  test.runIf(IS_LONG)('without the snapshot the kernel boots', async () => {
    await tab.instance(1).button('Off').click();
    await tab.instance(1).button('Start alice').waitFor();
    await site.context.route('**/snapshot.gzip', (route) => route.fulfill({ status: 404 }));
    await tab.page.reload();
    await tab.instance(1).prompt('alice', 2 * PATIENCE);
    expect(await tab.instance(1).run('alice', 'cat /disk/note')).toBe('kept-42');
    // one, of the file that is not there
    expect(site.complaints.filter((text) => !/404|snapshot\.gzip/.test(text))).toEqual([]);
  });
});

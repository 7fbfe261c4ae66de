import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CHROMIUM } from '@virtkit/lab/browser.ts';
import { type BrowserContext, chromium, type Locator, type Page } from 'playwright-core';
import { build, type PreviewServer, preview } from 'vite';
import { makeGuestFiles } from '../scripts/guest-files.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** A machine that does much else may take its time. */
export const PATIENCE = 180_000;

/** Why there is nothing to test with, or undefined. */
export async function missing(): Promise<string | undefined> {
  if (!existsSync(CHROMIUM)) return `no ${CHROMIUM} (Debian package "chromium")`;
  return makeGuestFiles();
}

/** The page as it is built for users, served, and a browser. */
export class Site {
  readonly context: BrowserContext;
  readonly url: string;
  /** What browsers complain about: errors of pages and workers, failed requests. */
  readonly complaints: string[] = [];
  readonly #close: () => Promise<void>;

  static async open(): Promise<Site> {
    const outDir = mkdtempSync(join(tmpdir(), 'virtkit-page-'));
    const config = { root: ROOT, logLevel: 'error', build: { outDir, emptyOutDir: true } } as const;
    await build(config);
    const server = await preview({ ...config, preview: { port: 0, host: '127.0.0.1' } });
    // containers run as root, and have little shared memory
    const args = ['--no-sandbox', '--disable-dev-shm-usage'];
    const browser = await chromium.launch({ executablePath: CHROMIUM, args });
    const context = await browser.newContext({ viewport: { width: 1360, height: 940 } });
    return new Site(context, urlOf(server), async () => {
      await browser.close();
      await server.close();
      rmSync(outDir, { recursive: true, force: true });
    });
  }

  private constructor(context: BrowserContext, url: string, close: () => Promise<void>) {
    this.context = context;
    this.url = url;
    this.#close = close;
    const complain = (text: string): unknown => this.complaints.push(text);
    context.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complain(message.text());
    });
    context.on('weberror', (error) => complain(String(error.error())));
    context.on('requestfailed', (request) => complain(`${request.url()}: ${request.failure()?.errorText}`));
    context.on('page', (page) => page.setDefaultTimeout(PATIENCE));
  }

  /** A tab with the page. */
  async tab(): Promise<Tab> {
    const page = await this.context.newPage();
    await page.goto(this.url);
    return new Tab(page);
  }

  close(): Promise<void> {
    return this.#close();
  }
}

function urlOf(server: PreviewServer): string {
  const url = server.resolvedUrls?.local[0];
  if (url === undefined) throw new Error('the server has no address');
  return url;
}

/** A tab, as a person uses it. */
export class Tab {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  /** Instance 1 or 2. */
  instance(number: 1 | 2): Instance {
    return new Instance(this.page.getByRole('region', { name: `Instance ${number}` }));
  }

  /** Headings of what moved, was saved or restored last. */
  get reports(): Locator {
    return this.page.locator('.report h2');
  }
}

/** So that no two commands have the same end. */
let commands = 0;

/** An instance of v86 on the page, and who is in it. */
export class Instance {
  readonly panel: Locator;

  constructor(panel: Locator) {
    this.panel = panel;
  }

  /** What is on its console now. */
  async screen(): Promise<string> {
    const lines = await this.panel.locator('.xterm-rows > div').allTextContents();
    return lines
      .map((line) => line.replaceAll('\u00a0', ' ').trimEnd())
      .join('\n')
      .trimEnd();
  }

  button(name: string): Locator {
    return this.panel.getByRole('button', { name, exact: true });
  }

  async type(text: string): Promise<void> {
    await this.panel.locator('.xterm-helper-textarea').focus();
    await this.panel.page().keyboard.type(text);
  }

  /** Waits until the console shows this. */
  async shows(pattern: RegExp, patience = PATIENCE): Promise<string> {
    const end = Date.now() + patience;
    for (;;) {
      const screen = await this.screen();
      if (pattern.test(screen)) return screen;
      if (Date.now() > end) throw new Error(`no ${pattern} on the console:\n${screen}`);
      await this.panel.page().waitForTimeout(50);
    }
  }

  /** Waits for the prompt of this guest's shell. */
  async prompt(guest: string, patience = PATIENCE): Promise<void> {
    await this.shows(new RegExp(`${guest}:/disk#$`), patience);
  }

  /** Runs a command in the guest's shell; answers what it printed. */
  async run(guest: string, command: string): Promise<string> {
    await this.prompt(guest);
    const end = `[end ${++commands}]`;
    // in two parts, so that the command itself is not taken for its end
    await this.type(`clear; ${command}; echo "[end "${commands}]\n`);
    const screen = await this.shows(new RegExp(`^\\[end ${commands}\\]`, 'm'));
    return screen.slice(0, screen.indexOf(end)).trim();
  }

  /** Requests of the disk in flight, as the page shows them now. */
  async inFlight(): Promise<number> {
    const cell = this.panel.getByRole('row', { name: 'requests' }).getByRole('cell').nth(3);
    return Number.parseInt((await cell.textContent()) ?? '', 10);
  }

  /** Waits for a moment in the midst of I/O. */
  async busy(requests = 1): Promise<void> {
    while ((await this.inFlight()) < requests) await this.panel.page().waitForTimeout(10);
  }

  async delay(ms: number): Promise<void> {
    await this.panel.getByLabel('disk delay').selectOption(String(ms));
  }
}

/** `virtkit view`: a server for this computer alone. The page itself has its tests in packages/inspector. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { root, useCommand } from './command.ts';

const { virtkit, program, home } = useCommand();
const stream = `${root}packages/lab/streams/7.2.22/q72-pc-idle.mig.gz`;

let server: ChildProcess | undefined;

/** Where the package of the page is, for a command that is installed in `home`. */
const installed = (): string => join(home(), 'node_modules/@virtkit/inspector');

/** A page of two files, in the place where that of the package is. */
function installPage(): void {
  mkdirSync(join(installed(), 'dist/page/assets'), { recursive: true });
  copyFileSync(`${root}packages/inspector/package.json`, join(installed(), 'package.json'));
  writeFileSync(join(installed(), 'dist/page/index.html'), '<!doctype html>page');
  writeFileSync(join(installed(), 'dist/page/assets/index.js'), 'script');
}

/** Starts the command; answers the address that it prints. */
async function start(file: string): Promise<URL> {
  server = spawn(process.execPath, [program(), 'view', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (server.stdout === null) throw new Error('no standard output');
  const [line] = (await once(createInterface(server.stdout), 'line')) as [string];
  return new URL(line);
}

interface Answer {
  readonly status: number | undefined;
  readonly policy: string | string[] | undefined;
  readonly body: Buffer;
}

/** A request as it stands: `fetch` would tidy the path. */
function ask(
  url: URL,
  path: string,
  options: { readonly host?: string; readonly method?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { host = url.host, method = 'GET' } = options;
    const asked = request(
      { host: url.hostname, port: url.port, path, method, headers: { host } },
      async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        resolve({
          status: response.statusCode,
          policy: response.headers['content-security-policy'],
          body: Buffer.concat(chunks),
        });
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}

describe('virtkit view', () => {
  beforeEach(installPage);
  afterEach(() => {
    server?.kill('SIGKILL');
    server = undefined;
    rmSync(installed(), { recursive: true, force: true });
  });

  test('serves the page and the file to who knows the path, and ends by SIGTERM', async () => {
    const url = await start(stream);
    expect(url.href).toMatch(
      /^http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]{32}\/\?url=file&name=q72-pc-idle\.mig\.gz$/,
    );
    const page = await ask(url, url.pathname + url.search);
    expect([page.status, page.body.toString()]).toEqual([200, '<!doctype html>page']);
    expect(page.policy).toMatch(/default-src 'none';.*connect-src 'self'/);
    expect((await ask(url, `${url.pathname}assets/index.js`)).body.toString()).toBe('script');
    const file = await ask(url, `${url.pathname}file`);
    expect([file.status, file.body.subarray(0, 2).toString('hex')]).toEqual([200, '1f8b']);
    expect(await ask(url, `${url.pathname}file`, { method: 'HEAD' })).toMatchObject({ status: 200 });
    expect(await ask(url, `${url.pathname}file`, { method: 'POST' })).toMatchObject({ status: 405 });
    const ended = once(server ?? process, 'exit');
    server?.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  });

  test('refuses who does not know the path, other names of this computer, and other files', async () => {
    const url = await start(stream);
    const { pathname } = url;
    const guesses = [
      '/',
      '/file',
      `/${'0'.repeat(32)}/file`,
      `${pathname}../file`,
      `${pathname}package.json`,
    ];
    for (const path of [
      ...guesses,
      `${pathname}%2e%2e/package.json`,
      `${pathname}assets`,
      `${pathname}../../../package.json`,
    ])
      expect((await ask(url, path)).status, path).toBe(404);
    expect((await ask(url, `${pathname}file`, { host: 'evil.example' })).status).toBe(404);
  });

  test('says what is missing', () => {
    expect(virtkit(['view', '-'])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('view needs a file'),
    });
    expect(virtkit(['view', join(home(), 'none')])).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('none: no such file'),
    });
    rmSync(join(installed(), 'dist'), { recursive: true });
    expect(virtkit(['view', stream])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('is not built'),
    });
    rmSync(installed(), { recursive: true });
    // where pnpm runs the tests, it has Node look for packages in the workspace as well
    expect(virtkit(['view', stream], { env: { NODE_PATH: '' } })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('npm install @virtkit/inspector'),
    });
  });
});

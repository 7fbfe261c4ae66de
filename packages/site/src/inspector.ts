// The page that opens a stream, of the package `inspector`: one of the site's pages, where the package is there.
import { cpSync, existsSync } from 'node:fs';
import { output, repository } from './places.ts';
import { demand } from './program.ts';

const inspector = `${repository}packages/inspector/`;
const page = `${inspector}dist/page`;

/** Builds the page from its sources. */
export async function buildInspector(): Promise<void> {
  if (!existsSync(`${inspector}vite.config.ts`)) return;
  await demand(process.execPath, ['node_modules/vite/bin/vite.js', 'build', '--logLevel', 'error'], {
    cwd: inspector,
  });
}

/** Has it been built? */
export function hasInspector(): boolean {
  return existsSync(`${page}/index.html`);
}

/** Puts the page into the site, at `inspector/`. Its addresses are relative. */
export function copyInspector(): void {
  if (hasInspector()) cpSync(page, `${output}inspector`, { recursive: true });
}

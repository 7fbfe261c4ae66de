// The page that opens a stream, of the package `inspector`: one of the site's pages.
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { output, repository, site } from './places.ts';
import { demand } from './program.ts';

const inspector = `${repository}packages/inspector/`;
const page = `${inspector}dist/page`;
/** A stream for those who have none, which is that of the tour. */
const SAMPLE = '10.0.13/q100-pc-inflight-w';
/** Begins what the page shows of itself. */
const MARK = '<div id="inspector"></div>';

/** Builds the page from its sources. */
export async function buildInspector(): Promise<void> {
  await demand(process.execPath, ['node_modules/vite/bin/vite.js', 'build', '--logLevel', 'error'], {
    cwd: inspector,
  });
}

/** Has it been built? */
export function hasInspector(): boolean {
  return existsSync(`${page}/index.html`);
}

/** Puts the page into the site, at `inspector/`, with links to the other pages above it, and a stream to try it with. All addresses are relative. */
export function copyInspector(): void {
  const to = `${output}inspector/`;
  cpSync(page, to, { recursive: true });
  const html = readFileSync(`${page}/index.html`, 'utf8');
  if (!html.includes(MARK)) throw new Error(`the page of the inspector has no ${MARK}`);
  const nav = readFileSync(`${site}astro/inspector-nav.html`, 'utf8');
  const style = '<link rel="stylesheet" href="./site-nav.css" />\n  </head>';
  writeFileSync(`${to}index.html`, html.replace('</head>', style).replace(MARK, nav + MARK));
  cpSync(`${site}astro/inspector-nav.css`, `${to}site-nav.css`);
  mkdirSync(`${output}samples`, { recursive: true });
  cpSync(`${repository}packages/lab/streams/${SAMPLE}.mig.gz`, `${output}samples/guest.mig.gz`);
}

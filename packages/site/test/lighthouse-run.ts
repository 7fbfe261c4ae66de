// Lighthouse on the built site: in `packages/site`, `node --import tsx --conditions=@virtkit/source test/lighthouse-run.ts [PAGE]...`.
// Prints its figures, and ends with 1 if one is below what the site promises. They hang on the machine: run it on an idle one.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHROMIUM, hasChromium } from '@virtkit/lab/browser.ts';
import { output, site } from '../src/places.ts';
import { demand } from '../src/program.ts';
import { StaticHost } from './served.ts';

const CATEGORIES = ['performance', 'accessibility', 'best-practices'] as const;
/** Of 100, in each. */
const PROMISED = 95;
const PAGES = [
  'inspector/',
  '',
  'start/operators/',
  'start/stream/',
  'guides/device/',
  'reference/compatibility/',
];

/** What is asked of a report of Lighthouse. */
interface Report {
  readonly categories: Readonly<Record<string, { readonly score: number | null }>>;
  readonly audits: Readonly<Record<string, { readonly score: number | null; readonly title: string }>>;
}

if (!hasChromium()) process.exit(1);
const host = await StaticHost.open(output);
const folder = await mkdtemp(join(tmpdir(), 'virtkit-lighthouse-'));
try {
  for (const page of process.argv.length > 2 ? process.argv.slice(2) : PAGES) {
    const { categories, audits } = await reportOn(host.url + page);
    const scores = CATEGORIES.map((name) => Math.round((categories[name]?.score ?? 0) * 100));
    console.log(
      `${page || 'the first page'}: ${CATEGORIES.map((name, at) => `${name} ${scores[at]}`).join(', ')}`,
    );
    if (scores.every((score) => score >= PROMISED)) continue;
    process.exitCode = 1;
    for (const { score, title } of Object.values(audits))
      if (score !== null && score < 0.5) console.log(`  ${title}`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
  await host.close();
}

async function reportOn(url: string): Promise<Report> {
  const path = join(folder, 'report.json');
  const program = 'node_modules/lighthouse/cli/index.js';
  const words = [
    ...[program, url, '--quiet', '--output=json', `--output-path=${path}`],
    ...[`--only-categories=${CATEGORIES.join(',')}`, '--no-enable-error-reporting'],
    '--chrome-flags=--headless=new --no-sandbox --disable-dev-shm-usage',
  ];
  await demand(process.execPath, words, { cwd: site, env: { ...process.env, CHROME_PATH: CHROMIUM } });
  return JSON.parse(await readFile(path, 'utf8')) as Report;
}

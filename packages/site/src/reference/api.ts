// The API of all packages from the comments of their sources, a page for each entry: TypeDoc's Markdown with the site's addresses.
import { readFile, rm } from 'node:fs/promises';
import { posix, relative } from 'node:path';
import { siteLinks } from '../page.ts';
import { made, repository, site } from '../places.ts';
import { demand } from '../program.ts';
import { code, plain, table } from '../table.ts';
import { packages } from './packages.ts';

/** Characters of a page beyond which its table of contents has kinds of exports and not each of them. */
const LONG = 100_000;

/** An entry of a package. */
interface Entry {
  /** Name of the entry, as a program imports it: `@virtkit/core/qemu`. */
  readonly name: string;
  /** Path of the entry's source. */
  readonly source: string;
  /** The file that TypeDoc writes about it: `core/src/qemu.md`. */
  readonly file: string;
  /** The page: `reference/api/core/qemu.md`. */
  readonly page: string;
  /** Description of the package. */
  readonly description: string;
}

/** Pages of the API by path. @throws Error where TypeDoc cannot read the sources */
export async function apiPages(): Promise<Map<string, string>> {
  const entries = await allEntries();
  const out = `${made}api/`;
  await rm(out, { recursive: true, force: true });
  await typedoc(
    out,
    entries.map(({ source }) => source),
  );
  const pageOf = new Map(entries.map(({ file, page }) => [file, page]));
  const all = new Map([['reference/api/index.md', index(entries)]]);
  for (const entry of entries)
    all.set(entry.page, pageText(entry, await readFile(out + entry.file, 'utf8'), pageOf));
  return all;
}

async function allEntries(): Promise<Entry[]> {
  return (await packages()).flatMap(({ manifest, entries }) =>
    entries.map(([name, source]) => ({
      name,
      source,
      file: `${relative(`${repository}packages`, source).replace(/(\/index)?\.ts$/, '')}.md`,
      page: `reference/api/${name.replace('@virtkit/', '')}.md`,
      description: manifest.description,
    })),
  );
}

async function typedoc(out: string, sources: readonly string[]): Promise<void> {
  const options = {
    plugin: 'typedoc-plugin-markdown',
    tsconfig: `${site}tsconfig.typedoc.json`,
    basePath: `${repository}packages`,
    readme: 'none',
    outputFileStrategy: 'modules',
    sort: 'source-order',
    logLevel: 'Error',
    out,
  };
  const switches = [
    'skipErrorChecking',
    'excludeInternal',
    'excludePrivate',
    'excludeExternals',
    'disableSources',
    'hideBreadcrumbs',
    'hidePageHeader',
    'hidePageTitle',
    'useHTMLAnchors',
  ];
  const words = [
    ...Object.entries(options).flatMap(([key, value]) => [`--${key}`, value]),
    ...switches.map((each) => `--${each}`),
  ];
  await demand(process.execPath, [`${site}node_modules/typedoc/bin/typedoc`, ...words, ...sources], {
    cwd: site,
  });
}

function index(entries: readonly Entry[]): string {
  const rows = entries.map(({ name, page, description }) => {
    const link = `[${code(name)}](${posix.relative('reference/api', page)})`;
    return [link, name.split('/').length === 2 ? plain(description) : ''];
  });
  const head =
    '---\ntitle: API\ndescription: Every entry of every package, from the comments of the sources.\n---\n';
  return siteLinks('reference/api/index.md', `${head}\n${table(['entry', 'package'], rows)}\n`);
}

function pageText({ name, page, file }: Entry, text: string, pageOf: ReadonlyMap<string, string>): string {
  const moved = text.replaceAll(/\]\(([^)\s:#]+\.md)(#[^)\s]*)?\)/g, (_all, link: string, hash = '') => {
    const to = pageOf.get(posix.join(posix.dirname(file), link));
    if (to === undefined) throw new Error(`${file} has a link to ${link}, which is no page`);
    return `](${posix.relative(posix.dirname(page), to)}${hash})`;
  });
  const contents = text.length > LONG ? 'tableOfContents: { maxHeadingLevel: 2 }\n' : '';
  const head = `---\ntitle: "${name}"\ndescription: What ${name} exports.\nsidebar: { label: "${name.replace('@virtkit/', '')}" }\n${contents}---\n`;
  return siteLinks(page, `${head}\n${moved}`);
}

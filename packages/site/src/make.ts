// Makes the Markdown of all pages: those that are written, with what they show of the code.
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type CommandLine, type Maker, makePage } from './page.ts';
import { pages } from './places.ts';
import { commandList, commands, help } from './reference/command.ts';
import { compatibility } from './reference/compatibility.ts';
import { differences } from './reference/differences.ts';
import { documentPart } from './reference/documents.ts';
import { errorCodes } from './reference/error-codes.ts';
import { packageList } from './reference/packages.ts';
import { requirements } from './reference/requirements.ts';
import { schemas } from './reference/schemas.ts';
import { Tour } from './tour.ts';

/** Pages by path: `start/operators.md`. */
export type Pages = Map<string, string>;

/** The stream of the tour. */
const TOUR = '10.0.13/q100-pc-inflight-w';

/**
 * All pages, or those named.
 *
 * @param shell left out: nothing is run, and the pages lack what commands print
 * @throws Error for a command that does not do what the page says, for what nobody makes, and for a command without a page
 */
export async function makePages(shell?: CommandLine, only?: readonly string[]): Promise<Pages> {
  const tour = await Tour.open(TOUR);
  const maker = makerOf(shell, tour);
  const all: Pages = new Map();
  for (const path of only ?? (await writtenPages()))
    all.set(path, await makePage(path, await readFile(join(pages, path), 'utf8'), shell, maker));
  if (only !== undefined) return all;
  const unused = tour.unused();
  if (unused.length > 0)
    throw new Error(`the tour has notes on fields that it does not show: ${unused.join(', ')}`);
  for (const { name } of shell === undefined ? [] : await commands(shell))
    if (!all.has(`reference/cli/${name}.md`)) throw new Error(`the command ${name} has no page`);
  return all;
}

function makerOf(shell: CommandLine | undefined, tour: Tour): Maker {
  const makers: Readonly<Record<string, Maker>> = {
    tour: (name) => tour.make(name),
    compatibility,
    commands: () => (shell === undefined ? '' : commandList(shell)),
    help: (name) => (shell === undefined ? '' : help(name, shell)),
    requirements,
    document: documentPart,
    differences,
    errors: errorCodes,
    packages: packageList,
    schemas,
  };
  return (name) => {
    const [what = '', ...rest] = name.split(' ');
    const make = makers[what];
    if (make === undefined) throw new Error(`nobody makes “${name}”`);
    return make(rest.join(' '));
  };
}

/** Paths of the pages in `pages`. */
export async function writtenPages(): Promise<string[]> {
  const found = await readdir(pages, { recursive: true });
  return found.filter((path) => path.endsWith('.md')).sort();
}

/** Writes pages to a folder that is emptied first. */
export async function writePages(folder: string, all: Pages): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  for (const [path, text] of all) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

// The TypeScript blocks of READMEs and of the site's pages, as files that a compiler takes.
//
// A block stands for itself: it is a module, and the names in it are imported, or given. What a reader may take as given (the
// memory, a bus, the other machine) stands in a comment in front of the block, which no page shows:
//
//     <!-- given
//     declare const pic: { setLevel(line: number, level: boolean): void };
//     const ram = new Uint8Array(1 << 20);
//     -->
//
// Words behind `ts` in the fence: `continues` puts the block behind the one before it, in the same module; `types` says that
// it is compiled and not run, because it needs a page, a network or an emulator.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { repository } from './workspace.ts';

export interface Block {
  /** Path of the README or the page, from the root. */
  readonly readme: string;
  /** Line of the fence that opens the block, from 1. */
  readonly line: number;
  /** Is it run, or compiled only? */
  readonly runs: boolean;
  /** The module: each line of it stands in the line where the README has it, so that errors say the README's lines. */
  readonly code: string;
}

const FENCE = /^```(\S*)(.*)$/;
const WORDS = new Set(['continues', 'types']);

/** READMEs of the root, the packages and the examples, and the pages of the site. */
export async function readmes(): Promise<string[]> {
  const found = ['README.md'];
  for (const group of ['packages', 'examples']) {
    for (const name of (await readdir(join(repository, group))).sort()) {
      if ((await readdir(join(repository, group, name))).includes('README.md'))
        found.push(`${group}/${name}/README.md`);
    }
  }
  const pages = 'packages/site/pages';
  for (const page of (await readdir(join(repository, pages), { recursive: true })).sort())
    if (page.endsWith('.md')) found.push(`${pages}/${page}`);
  return found;
}

/** The TypeScript blocks of a README or a page. @throws Error about a fence that says what nobody knows, or never ends */
export async function blocksOf(readme: string): Promise<Block[]> {
  const lines = (await readFile(join(repository, readme), 'utf8')).split('\n');
  const blocks: Block[] = [];
  /** Lines of the module under way, and of what was given for the next one. */
  let code: string[] = [];
  let given: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    if (lines[at] === '<!-- given') {
      const end = lines.indexOf('-->', at);
      if (end < 0) throw new Error(`${readme}:${at + 1}: a comment that never ends`);
      given = place(given, lines, at + 1, end);
      at = end;
      continue;
    }
    const [, language, rest = ''] = FENCE.exec(lines[at] ?? '') ?? [];
    if (language === undefined) continue;
    const end = lines.indexOf('```', at + 1);
    if (end < 0) throw new Error(`${readme}:${at + 1}: a block that never ends`);
    if (language === 'ts') {
      const words = rest.split(' ').filter((word) => word !== '');
      const unknown = words.find((word) => !WORDS.has(word));
      if (unknown !== undefined) throw new Error(`${readme}:${at + 1}: "${unknown}" behind the fence`);
      code = words.includes('continues') ? merge(code, given) : given;
      code = place(code, lines, at + 1, end);
      given = [];
      blocks.push({
        readme,
        line: at + 1,
        runs: !words.includes('types'),
        code: `${code.join('\n')}\nexport {};\n`,
      });
    }
    at = end;
  }
  return blocks;
}

/** `code` with lines `start` to `end` of the README at the places that they have there. */
function place(code: readonly string[], lines: readonly string[], start: number, end: number): string[] {
  const placed = [...code];
  for (let at = 0; at < end; at++) placed[at] = at < start ? (code[at] ?? '') : (lines[at] ?? '');
  return placed;
}

const merge = (a: readonly string[], b: readonly string[]): string[] =>
  Array.from({ length: Math.max(a.length, b.length) }, (_, at) => a[at] || b[at] || '');

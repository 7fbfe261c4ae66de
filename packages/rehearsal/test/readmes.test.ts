// Every TypeScript block of every README compiles under strict against the sources, and runs if it can run anywhere.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Block, blocksOf, readmes } from '../src/readmes.ts';
import { run } from '../src/run.ts';

/** Inside of this package, so that the modules find the others as it does. Not in git. */
const folder = fileURLToPath(new URL('../extracted/', import.meta.url));
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));

const blocks = (await Promise.all((await readmes()).map(blocksOf))).flat();
const fileOf = ({ readme, line }: Block) => `${readme.replace(/\.md$/, '').replaceAll('/', '_')}.${line}.ts`;

beforeAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  for (const block of blocks) await writeFile(join(folder, fileOf(block)), block.code);
  const config = {
    extends: '../../../tsconfig.base.json',
    compilerOptions: { lib: ['ES2023', 'DOM', 'DOM.AsyncIterable'], types: ['node'] },
    include: ['.'],
  };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test('there are blocks', () => {
  expect(blocks.length).toBeGreaterThan(30);
});

test('all blocks compile', async () => {
  const failed = await run(
    process.execPath,
    [join(typescript, 'bin/tsc'), '-p', folder, '--pretty', 'false'],
    folder,
  ).then(
    () => '',
    (error: Error) => error.message,
  );
  const errors = [
    ...failed.matchAll(/^\S*?(README\S*|packages_\S*|examples_\S*)\.\d+\.ts\((\d+),\d+\): (.*(?:\n +.*)*)/gm),
  ];
  const said = errors.map(([, name = '', line, text]) => `${name.replaceAll('_', '/')}.md:${line}: ${text}`);
  // What continues a wrong block is wrong, too; a failure of another kind is shown as it is.
  expect(said.length > 0 ? [...new Set(said)].join('\n') : failed).toBe('');
});

test.each(blocks.filter(({ runs }) => runs))('$readme:$line runs', async (block) => {
  const print = vi.spyOn(console, 'log').mockImplementation(() => {});
  try {
    await import(/* @vite-ignore */ join(folder, fileOf(block)));
  } finally {
    print.mockRestore();
  }
});

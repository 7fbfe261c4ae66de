// Compilers and platforms that the packages are said to work with, beside those that the repository has anyway.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { npm, run } from './run.ts';

/** Versions of TypeScript between the oldest and the newest. */
export const TYPESCRIPTS = ['5.5', '5.6', '5.7', '5.8', '5.9', '6.0'];
const NODES = ['22', '24'];

/** A program that runs JavaScript files: how it is called, and with what in front of the file. */
export interface Platform {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** Installs a version of TypeScript from npm's registry; answers its folder. */
export async function typescript(version: string, home: string): Promise<string> {
  const folder = await installed(join(home, `typescript-${version}`), `typescript@~${version}.0`);
  return join(folder, 'node_modules/typescript');
}

/** Installs Node's other versions, Bun and Deno from npm's registry, in the folder `home`. */
export async function platforms(home: string): Promise<Platform[]> {
  const found: Platform[] = [];
  const node = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  for (const version of NODES) {
    const folder = await installed(join(home, `node-${version}`), `${node}@${version}`);
    found.push({
      name: `Node ${version}`,
      command: join(folder, 'node_modules', node, 'bin/node'),
      args: [],
    });
  }
  const others = await installed(join(home, 'others'), 'bun@1', 'deno@2');
  found.push({ name: 'Bun', command: join(others, 'node_modules/.bin/bun'), args: [] });
  // without permissions: the packages need none
  found.push({ name: 'Deno', command: join(others, 'node_modules/.bin/deno'), args: ['run', '--no-prompt'] });
  return found;
}

async function installed(folder: string, ...packages: readonly string[]): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), '{}');
  await run(npm, ['install', '--no-audit', '--no-fund', '--loglevel=error', ...packages], folder);
  return folder;
}

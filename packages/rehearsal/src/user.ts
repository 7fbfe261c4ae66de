// What a user of the packages has: a folder with a program, and npm.
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Registry } from './registry.ts';
import { npm, run } from './run.ts';

const GUEST = fileURLToPath(new URL('../guest/', import.meta.url));
const { resolve } = createRequire(import.meta.url);
const folderOf = (name: string): string => dirname(resolve(`${name}/package.json`));

/** Compilers: the one that the repository is checked with, and the oldest that the packages are said to work with. */
export const COMPILERS = { newest: folderOf('typescript'), oldest: folderOf('typescript-5.4') } as const;

/** A folder with a `package.json`, the guest program, and what npm has installed. */
export class User {
  readonly folder: string;
  readonly #registry: Registry;

  private constructor(folder: string, registry: Registry) {
    this.folder = folder;
    this.#registry = registry;
  }

  /** Makes `folder`, which is not there yet. Nothing is installed in it. */
  static async create(folder: string, registry: Registry): Promise<User> {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
    await cp(GUEST, folder, { recursive: true });
    return new User(folder, registry);
  }

  /** `npm install PACKAGES`: names, or names with a version. */
  install(...packages: readonly string[]): Promise<string> {
    return this.#npm('install', ...packages);
  }

  /** `npm update`: whatever the ranges in `package.json` allow. */
  update(): Promise<string> {
    return this.#npm('update');
  }

  /** Gives the program the types of a platform, as this repository has them: `node`. */
  async useTypesOf(platform: string): Promise<void> {
    const types = join(this.folder, 'node_modules/@types');
    await mkdir(types, { recursive: true });
    await symlink(folderOf(`@types/${platform}`), join(types, platform), 'junction');
    const config = join(this.folder, 'tsconfig.json');
    const text = await readFile(config, 'utf8');
    await writeFile(config, text.replace('"types": []', `"types": ["${platform}"]`));
  }

  /** Gives the program the types of a page, which every compiler has. */
  async useTypesOfPage(): Promise<void> {
    const config = join(this.folder, 'tsconfig.json');
    const text = await readFile(config, 'utf8');
    await writeFile(config, text.replace('"lib": ["ES2022"', '"lib": ["ES2022", "DOM"'));
  }

  /** Compiles the program under `strict`, declarations of the packages included. */
  async compile(compiler: string = COMPILERS.newest): Promise<void> {
    await run(process.execPath, [join(compiler, 'bin/tsc'), '-p', '.'], this.folder);
  }

  /** Runs the compiled program; answers what it printed. */
  run(): Promise<string> {
    return run(process.execPath, ['out/program.js'], this.folder);
  }

  /** Versions of a package that are installed, at the top and nested, by the path of their folder. */
  async copies(name: string): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    const entries = await readdir(join(this.folder, 'node_modules'), { recursive: true });
    for (const entry of entries.filter((path) => path.endsWith('package.json')).sort()) {
      const manifest = JSON.parse(await readFile(join(this.folder, 'node_modules', entry), 'utf8'));
      if (manifest.name === name) found[dirname(entry).replaceAll('\\', '/')] = manifest.version;
    }
    return found;
  }

  /** npm with a cache of its own and this registry: nothing comes from elsewhere. */
  #npm(command: string, ...args: readonly string[]): Promise<string> {
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    const from = [`--registry=${this.#registry.url}`, `--cache=${join(this.folder, '..', 'cache')}`];
    return run(
      npm,
      [command, ...args, ...quiet, ...from, `--userconfig=${join(this.folder, '.npmrc')}`],
      this.folder,
    );
  }
}

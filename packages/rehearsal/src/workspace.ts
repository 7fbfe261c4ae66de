// A copy of the repository in which releases are made: versions, change logs and tarballs as the release makes them,
// and no trace of it in the repository itself.
import { cp, mkdir, readdir, readFile, realpath, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Registry } from './registry.ts';
import { npm, run } from './run.ts';

/** The repository that the rehearsal belongs to. */
export const repository = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs pnpm: the one that runs this already, if one does, or else the wrapper that fetches it. */
function pnpm(args: readonly string[], cwd: string): Promise<string> {
  const outer = process.env['npm_execpath'] ?? '';
  const wrapper = join(repository, '.ci/pnpm.mjs');
  return /pnpm(\.exe)?$/.test(outer) ? run(outer, args, cwd) : run(process.execPath, [wrapper, ...args], cwd);
}

const DEPENDENCIES = ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies'] as const;

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly files?: readonly string[];
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export interface Member {
  /** Path of its folder from the root: `packages/core`. */
  readonly folder: string;
  readonly manifest: Manifest;
}

export type Bump = 'patch' | 'minor' | 'major';

/** Packages of the workspace whose root is `root`, private ones and examples included. */
export async function members(root: string): Promise<Member[]> {
  const found: Member[] = [];
  for (const group of ['packages', 'examples']) {
    for (const name of await readdir(join(root, group))) {
      const folder = `${group}/${name}`;
      const text = await readFile(join(root, folder, 'package.json'), 'utf8').catch(() => undefined);
      if (text !== undefined) found.push({ folder, manifest: JSON.parse(text) as Manifest });
    }
  }
  return found;
}

/** Folders of the packages that the public ones ask for and that are not of this repository, with what these ask for. */
async function foreignPackages(): Promise<Set<string>> {
  const found = new Set<string>();
  const follow = async (folder: string, manifest: Manifest): Promise<void> => {
    const { dependencies, peerDependencies, optionalDependencies } = manifest;
    const names = Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies });
    for (const name of names.filter((each) => !each.startsWith('@virtkit/'))) {
      // those of other systems are not installed
      const installed = await installedFor(folder, name);
      if (installed === undefined || found.has(installed)) continue;
      found.add(installed);
      await follow(
        installed,
        JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as Manifest,
      );
    }
  };
  for (const { folder, manifest } of await members(repository))
    if (manifest.private !== true) await follow(join(repository, folder), manifest);
  return found;
}

/** Finds where a package that one in `folder` asks for is, as Node looks for it. */
async function installedFor(folder: string, name: string): Promise<string | undefined> {
  for (let at = folder; ; at = dirname(at)) {
    const found = await realpath(join(at, 'node_modules', name)).catch(() => undefined);
    if (found !== undefined || at === dirname(at)) return found;
  }
}

/** Builds `dist` of all packages. */
export async function buildAll(): Promise<void> {
  await pnpm(['run', 'build'], repository);
}

/** A workspace of its own: a copy of what a release reads. */
export class Workspace {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** Copies the repository, with the `dist` folders that stand there, to the empty folder `root`. */
  static async copy(root: string): Promise<Workspace> {
    await mkdir(root, { recursive: true });
    for (const name of ['package.json', 'pnpm-workspace.yaml', 'LICENSE', '.changeset']) {
      await cp(join(repository, name), join(root, name), { recursive: true });
    }
    await symlink(join(repository, 'node_modules'), join(root, 'node_modules'), 'junction');
    const all = await members(repository);
    const folders = new Map(all.map(({ folder, manifest }) => [manifest.name, folder]));
    for (const { folder, manifest } of all) {
      const unpublished = /^(node_modules|test|bench|corpus|streams|\.turbo)$/;
      if (manifest.private === true) {
        await mkdir(join(root, folder), { recursive: true });
        await cp(join(repository, folder, 'package.json'), join(root, folder, 'package.json'));
        continue;
      }
      await cp(join(repository, folder), join(root, folder), {
        recursive: true,
        filter: (path) => dirname(path) !== join(repository, folder) || !unpublished.test(last(path)),
      });
      // pnpm looks there for the versions that stand for `workspace:^`.
      for (const name of new Set(DEPENDENCIES.flatMap((kind) => Object.keys(manifest[kind] ?? {})))) {
        const target = folders.get(name);
        if (target === undefined) continue;
        const link = join(root, folder, 'node_modules', name);
        await mkdir(dirname(link), { recursive: true });
        await symlink(join(root, target), link, 'junction');
      }
    }
    return new Workspace(root);
  }

  /** Makes the changes known that a release is to be made of: as `.changeset/*.md`, in the words of `text`. */
  async change(bumps: Readonly<Record<string, Bump>>, text: string): Promise<void> {
    const lines = Object.entries(bumps).map(([name, bump]) => `'${name}': ${bump}`);
    const file = `${text.toLowerCase().replaceAll(/\W+/g, '-')}.md`;
    await writeFile(join(this.root, '.changeset', file), `---\n${lines.join('\n')}\n---\n\n${text}\n`);
  }

  /** Versions and change logs of what has changed, as `changeset version` makes them. */
  async version(): Promise<void> {
    const changesets = join(repository, 'node_modules/@changesets/cli/bin.js');
    await run(process.execPath, [changesets, 'version'], this.root);
  }

  /** Publishes the packages whose version the registry does not have; with `names`, only those among them. */
  async publish(registry: Registry, names: readonly string[] = []): Promise<void> {
    await writeFile(join(this.root, '.npmrc'), registry.npmrc);
    const which = names.map((name) => `--filter=${name}`);
    const to = ['--registry', registry.url, '--access', 'public', '--no-git-checks', '--no-provenance'];
    await pnpm(['-r', ...which, 'publish', ...to], this.root);
  }

  /** Publishes what our packages ask others for, and these others in turn, as it is installed in this repository: npm asks nobody else here. */
  async publishOthers(registry: Registry): Promise<void> {
    const npmrc = join(this.root, '.npmrc');
    await writeFile(npmrc, registry.npmrc);
    const to = [`--registry=${registry.url}`, `--userconfig=${npmrc}`];
    const options = ['--ignore-scripts', '--no-provenance', '--access=public'];
    for (const from of await foreignPackages())
      await run(npm, ['publish', from, ...to, ...options], this.root);
  }

  /** Versions of the packages that are published, by name. */
  async versions(): Promise<Record<string, string>> {
    const all = await members(this.root);
    const published = all.filter(({ manifest }) => manifest.private !== true);
    return Object.fromEntries(published.map(({ manifest }) => [manifest.name, manifest.version]));
  }
}

const last = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

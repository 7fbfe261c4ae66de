// The packages: what their manifests and the comments of their entries say.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { repository } from '../places.ts';
import { code, plain, table } from '../table.ts';

/** Part of a package.json that is asked. */
interface Manifest {
  readonly name: string;
  readonly description: string;
  readonly private?: boolean;
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** A published package. */
export interface Package {
  /** Name of its folder. */
  readonly folder: string;
  readonly manifest: Manifest;
  /** Sources of its entries, by the name that a program imports. */
  readonly entries: readonly (readonly [name: string, source: string])[];
}

/** All that are published, by the names of their folders. */
export async function packages(): Promise<Package[]> {
  const found: Package[] = [];
  for (const folder of (await readdir(join(repository, 'packages'))).sort()) {
    const text = await readFile(join(repository, 'packages', folder, 'package.json'), 'utf8').catch(
      () => undefined,
    );
    if (text === undefined) continue;
    const manifest = JSON.parse(text) as Manifest;
    if (manifest.private === true) continue;
    const entries = Object.entries(manifest.exports ?? {}).flatMap(([key, entry]) => {
      const source = typeof entry === 'string' ? undefined : entry['@virtkit/source'];
      return source === undefined
        ? []
        : [[join(manifest.name, key), join(repository, 'packages', folder, source)] as const];
    });
    found.push({ folder, manifest, entries });
  }
  return found;
}

/** A table of the packages with their entries. */
export async function packageList(): Promise<string> {
  return table(
    ['package', 'what it is', 'entries', 'asks for'],
    (await packages()).map(({ folder, manifest, entries }) => [
      `[${code(manifest.name)}](https://github.com/virtkit/virtkit/tree/main/packages/${folder}#readme)`,
      plain(manifest.description),
      entries.map(([name]) => code(name.slice(manifest.name.length) || '.')).join(' '),
      Object.keys({ ...manifest.peerDependencies, ...manifest.dependencies })
        .map((name) => code(name.replace('@virtkit/', '')))
        .join(' '),
    ]),
  );
}

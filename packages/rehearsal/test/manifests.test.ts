// What the package.json of every published package has to say, and where its README may point.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { members, repository } from '../src/workspace.ts';

const HOME = 'https://github.com/virtkit/virtkit';
const SHARED = ['@virtkit/core', '@virtkit/vmstate'];
const all = await members(repository);
const published = all.filter(({ manifest }) => manifest.private !== true);
const names = new Set(published.map(({ manifest }) => manifest.name));
const libraries = published.filter(({ manifest }) => manifest.name !== '@virtkit/cli');

test.each(published)('$manifest.name says whose it is, and where', async ({ folder, manifest }) => {
  expect(manifest).toMatchObject({
    homepage: `${HOME}/tree/main/${folder}#readme`,
    bugs: `${HOME}/issues`,
    repository: { type: 'git', url: `git+${HOME}.git`, directory: folder },
    license: 'MIT',
    author: `virtkit contributors (${HOME})`,
    engines: { node: '>=20' },
    publishConfig: { access: 'public', provenance: true },
    keywords: expect.arrayContaining(['virtio']),
    files: expect.arrayContaining(['CHANGELOG.md']),
  });
});

test.each(published)(
  '$manifest.name has in its tarball what its README points at',
  async ({ folder, manifest }) => {
    const text = await readFile(join(repository, folder, 'README.md'), 'utf8');
    const files = ['README.md', 'LICENSE', 'package.json', ...(manifest.files ?? [])];
    for (const [, link = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      const [path = ''] = link.split('#');
      const own = new RegExp(`^${HOME}/(?:blob|tree)/main/(.*)$`).exec(path)?.[1];
      if (own !== undefined) expect(existsSync(join(repository, own)), `${link} is not there`).toBe(true);
      if (path === '' || /^https?:/.test(path)) continue;
      const place = path.replace(/^\.\//, '');
      expect(existsSync(join(repository, folder, place)), `${link} is not there`).toBe(true);
      const shipped = files.some((file) => place === file || place.startsWith(`${file}/`));
      expect(shipped, `${link} is not in the tarball: link to ${HOME}/blob/main/… instead`).toBe(true);
    }
  },
);

test.each(libraries)(
  '$manifest.name has what layers share as peers, and says which release it needs',
  ({ manifest: { dependencies = {}, peerDependencies = {} } }) => {
    for (const name of SHARED) expect(dependencies, name).not.toHaveProperty(name);
    const ranges = Object.entries({ ...dependencies, ...peerDependencies }).filter(([name]) =>
      names.has(name),
    );
    for (const [name, range] of ranges) expect(range, name).toMatch(/^workspace:\^\d+\.\d+\.\d+$/);
  },
);

/** What is read there has well-kept parsers: XML and YAML. */
const OUTSIDE: Readonly<Record<string, readonly string[]>> = {
  '@virtkit/libvirt': ['saxes', 'yaml'],
  '@virtkit/linux': ['koffi'],
};

test.each(libraries)('$manifest.name depends on nothing outside of the project', ({ manifest }) => {
  const outside = Object.keys(manifest.dependencies ?? {}).filter((name) => !names.has(name));
  expect(outside).toEqual(OUTSIDE[manifest.name] ?? []);
});

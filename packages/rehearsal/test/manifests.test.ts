// What the package.json of every published package has to say.
import { expect, test } from 'vitest';
import { members, repository } from '../src/workspace.ts';

const SHARED = ['@virtkit/core', '@virtkit/vmstate'];
const all = await members(repository);
const published = all.filter(({ manifest }) => manifest.private !== true);
const names = new Set(published.map(({ manifest }) => manifest.name));
const libraries = published.filter(({ manifest }) => manifest.name !== '@virtkit/cli');

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

test.each(libraries)('$manifest.name depends on nothing outside of the project', ({ manifest }) => {
  expect(Object.keys(manifest.dependencies ?? {}).filter((name) => !names.has(name))).toEqual([]);
});

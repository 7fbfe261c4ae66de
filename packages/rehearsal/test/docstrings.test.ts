// Every name that a user of a library meets says what it is: exports, and the public fields and methods of what is exported.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { undocumented } from '../src/undocumented.ts';
import { members, repository } from '../src/workspace.ts';

const libraries = (await members(repository)).filter(
  ({ manifest: { name, private: isPrivate } }) => isPrivate !== true && name !== '@virtkit/cli',
);

/** The sources of a package's entries. */
function entriesOf({ folder, manifest }: (typeof libraries)[number]): string[] {
  return Object.values(manifest.exports ?? {}).flatMap((entry) => {
    const source = (entry as Readonly<Record<string, string>>)['@virtkit/source'];
    return source === undefined ? [] : [join(repository, folder, source)];
  });
}

test('what is exported has a comment', () => {
  const entries = libraries.flatMap(entriesOf);
  expect(entries.length).toBeGreaterThan(20);
  const missing = undocumented(repository, entries).map(({ place, name }) => `${place} ${name}`);
  expect(missing).toEqual([]);
});

test('what has none is found', () => {
  const [found] = undocumented(repository, [
    join(repository, 'packages/rehearsal/test/data/undocumented.ts'),
  ]);
  expect(found).toMatchObject({ name: 'Shown.silent' });
});

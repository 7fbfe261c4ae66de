// What belongs to a class alone is private in one way: `#`. The classes of core that run for each descriptor have `private`: a declared
// field is not set to undefined first, so that V8 keeps it as a small integer. None has both. Constructors can only be `private`.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const HOT = 'packages/core/src/live/';
const KEYWORD = /^\s+(?:declare )?private (?!constructor)/m;
const HASH = /^\s+(?:(?:static|readonly|async|get|set|override) )*#\w/m;

const files = ['packages', 'examples'].flatMap((folder) =>
  readdirSync(ROOT + folder).flatMap((name) =>
    ['src', 'test', 'guest', 'scripts'].flatMap((part) => sourcesIn(`${folder}/${name}/${part}`)),
  ),
);

function sourcesIn(folder: string): string[] {
  try {
    return readdirSync(ROOT + folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.tsx?$/.test(file))
      .map((file) => `${folder}/${file}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** The text of each class of a file: up to the next one, or the end. */
function classesOf(file: string): string[] {
  return readFileSync(ROOT + file, 'utf8')
    .split(/^(?=(?:export )?(?:abstract )?class \w)/m)
    .slice(1);
}

test('members are private by #, in the classes of each descriptor by the keyword', () => {
  expect(files.length).toBeGreaterThan(500);
  const wrong = files.filter((file) =>
    classesOf(file).some((text) => KEYWORD.test(text) && (!file.startsWith(HOT) || HASH.test(text))),
  );
  expect(wrong).toEqual([]);
});

test('both ways would be found', () => {
  expect(KEYWORD.test('class A {\n  private readonly b = 1;\n}')).toBe(true);
  expect(KEYWORD.test('class A {\n  private constructor() {}\n}')).toBe(false);
  expect(HASH.test('class A {\n  readonly #b = 1;\n}')).toBe(true);
  expect(HASH.test('class A {\n  b = this.#c;\n}')).toBe(false);
});

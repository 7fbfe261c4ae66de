// No file imports itself by way of others, for types neither: what stands in a circle can only be read as a whole.
// No package depends on itself by way of others, for its tests neither: builds follow dependencies.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path/posix';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const PACKAGES = fileURLToPath(new URL('../../', import.meta.url));
const names = readdirSync(PACKAGES, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() && readdirSync(join(PACKAGES, entry.name)).includes('package.json') ? [entry.name] : [],
);

const SCOPE = '@virtkit/';

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** The files of the project that each source file of a package imports, by path. */
function importsOf(name: string): Map<string, readonly string[]> {
  const root = `${name}/src`;
  const files = readdirSync(join(PACKAGES, root), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.tsx?$/.test(file))
    .map((file) => `${root}/${file}`);
  return new Map(
    files.map((file) => {
      const text = readFileSync(join(PACKAGES, file), 'utf8');
      const imports = [...text.matchAll(/\bfrom '(\.[^']+)'/g)];
      return [file, imports.map(([, path = '']) => normalize(join(file, '..', path)))];
    }),
  );
}

/** The shortest way from a file back to itself; undefined: there is none. */
function circleOf(start: string, imports: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const reachedFrom = new Map<string, string>();
  const waiting = [start];
  for (let at = waiting.shift(); at !== undefined; at = waiting.shift()) {
    for (const next of imports.get(at) ?? []) {
      if (next === start) return wayTo(at, reachedFrom);
      if (reachedFrom.has(next)) continue;
      reachedFrom.set(next, at);
      waiting.push(next);
    }
  }
  return undefined;
}

function wayTo(end: string, reachedFrom: ReadonlyMap<string, string>): string[] {
  const way: string[] = [];
  for (let at: string | undefined = end; at !== undefined; at = reachedFrom.get(at)) way.unshift(at);
  return way;
}

/** The project's packages that each package names in its manifest, for whatever purpose. */
function dependenciesOf(name: string): readonly string[] {
  const manifest = JSON.parse(readFileSync(join(PACKAGES, name, 'package.json'), 'utf8')) as Manifest;
  const { dependencies, devDependencies, peerDependencies } = manifest;
  return Object.keys({ ...dependencies, ...devDependencies, ...peerDependencies })
    .filter((dependency) => dependency.startsWith(SCOPE))
    .map((dependency) => dependency.slice(SCOPE.length));
}

test('packages have no circles', () => {
  const graph = new Map(names.map((name) => [name, dependenciesOf(name)]));
  expect(graph.get('core')).toContain('vmstate');
  expect(names.flatMap((name) => circleOf(name, graph)?.join(' → ') ?? [])).toEqual([]);
});

describe('imports have no circles', () => {
  const withSources = names.filter((name) => existsSync(join(PACKAGES, name, 'src')));

  test.each(withSources)('%s', (name) => {
    const imports = importsOf(name);
    const circles = [...imports.keys()].flatMap((file) => {
      const circle = circleOf(file, imports);
      return circle === undefined ? [] : [circle.join(' → ')];
    });
    expect(circles).toEqual([]);
  });

  test('a circle would be found', () => {
    const imports = new Map([
      ['a.ts', ['b.ts']],
      ['b.ts', ['c.ts']],
      ['c.ts', ['a.ts']],
      ['d.ts', ['a.ts']],
    ]);
    expect(circleOf('a.ts', imports)).toEqual(['a.ts', 'b.ts', 'c.ts']);
    expect(circleOf('d.ts', imports)).toBeUndefined();
  });
});

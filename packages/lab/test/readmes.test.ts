// The code in the READMEs is compiled against the packages as they are. What a block does not define itself (`ram`, `pic`, a
// name of the block before) may be anything; everything else must fit.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const packages = readdirSync(join(root, 'packages'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => join(root, 'packages', name));
/** Inside a `node_modules`, so that imports are found as the package finds them. */
const made = packages.map((path) => join(path, 'node_modules', '.readme'));
afterAll(() => {
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

/** Names that a block leaves to its reader (and what follows from that), names that a later block gives anew, a function around. */
const FREE = /error TS(2304|2552|18004|2451|7006|1108):/;

interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
}

/** Where the sources of each entry point are. */
function entries(): Record<string, string[]> {
  const paths: Record<string, string[]> = {};
  for (const path of packages) {
    const { name, exports = {} } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Manifest;
    for (const [entry, target] of Object.entries(exports)) {
      const source = typeof target === 'string' ? undefined : target['@virtkit/source'];
      if (source !== undefined) paths[join(name, entry)] = [join(path, source)];
    }
  }
  // a peer dependency of one of them
  paths['v86'] = [join(root, 'packages/v86/node_modules/v86/v86.d.ts')];
  return paths;
}

/** Writes the TypeScript of a README to files, each block at its line. A block that imports nothing goes on where the last one ended. */
function blocks(readme: string, into: string): string[] {
  mkdirSync(into, { recursive: true });
  const text = readFileSync(readme, 'utf8');
  const programs: string[] = [];
  for (const match of text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)) {
    const block = match[1] ?? '';
    if (programs.length === 0 || /^import /m.test(block)) programs.push('');
    const before = programs.pop() ?? '';
    const line = text.slice(0, match.index).split('\n').length;
    programs.push(`${before.padEnd(before.length + line - before.split('\n').length + 1, '\n')}${block}`);
  }
  return programs.map((program, i) => {
    const file = join(into, `program-${i}.ts`);
    writeFileSync(file, `${program}export {};\n`);
    return file;
  });
}

test('the code in the READMEs compiles', () => {
  const files = new Map<string, string>();
  for (const [i, path] of [root, ...packages].entries()) {
    const into =
      path === root ? join(root, 'packages/cli/node_modules/.readme') : join(path, 'node_modules/.readme');
    const readme = join(path, 'README.md');
    if (!readdirSync(path).includes('README.md')) continue;
    for (const file of blocks(readme, join(into, `${i}`)))
      files.set(relative(root, file), relative(root, readme));
  }
  expect(files.size).toBeGreaterThan(12);
  const config = join(root, 'packages/cli/node_modules/.readme/tsconfig.json');
  writeFileSync(
    config,
    JSON.stringify({
      extends: join(root, 'tsconfig.node.json'),
      compilerOptions: { lib: ['ES2023', 'DOM', 'DOM.Iterable'], paths: entries(), noUnusedLocals: false },
      files: [...files.keys()].map((file) => join(root, file)),
    }),
  );
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  let output = '';
  try {
    execFileSync(process.execPath, [tsc, '-p', config, '--pretty', 'false'], { cwd: root, encoding: 'utf8' });
  } catch (error) {
    output = (error as { stdout?: string }).stdout ?? String(error);
  }
  const wrong = output
    .split('\n')
    .filter((line) => /error TS\d+:/.test(line) && !FREE.test(line))
    .map((line) => line.replace(/^[^(]+/, (file) => files.get(file) ?? file));
  expect(wrong).toEqual([]);
});

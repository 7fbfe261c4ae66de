// Builds `dist` of the package in the current directory: what its `exports` and `bin` name, and the declarations.
// A library runs anywhere; what it takes from Node it imports from `node:` modules in entries of their own.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';

const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const entries = Object.values(manifest.exports)
  .map((conditions) => conditions['@virtkit/source'])
  .filter((path) => path !== undefined);
const library = entries.length > 0;

await build({
  entry: library ? entries : { cli: 'src/main.ts' },
  config: false,
  silent: true,
  format: 'esm',
  // tsc makes the declarations: tsup's own way bundles them, and loses where things are declared.
  dts: false,
  sourcemap: true,
  clean: true,
  // Entries share their pieces, and a program loads what it needs when it needs it.
  splitting: entries.length !== 1,
  platform: library ? 'neutral' : 'node',
  target: library ? 'es2023' : 'node20',
  // what may be missing where the package is installed is never made part of it
  external: [/^node:/, ...Object.keys(manifest.optionalDependencies ?? {})],
  removeNodeProtocol: false,
});

if (library) {
  declarations();
  plainArrays('dist');
}

if (manifest.man) manualPages();

/** Has the command write its manual pages to `dist/man`. */
function manualPages() {
  const { status } = spawnSync(process.execPath, ['dist/cli.js', 'man', '-o', 'dist/man'], {
    stdio: 'inherit',
  });
  if (status !== 0) process.exit(status ?? 1);
}

/** Has tsc write the declarations of `src` to `dist`. */
function declarations() {
  const config = 'node_modules/.declarations.json';
  const compilerOptions = {
    noEmit: false,
    emitDeclarationOnly: true,
    declaration: true,
    declarationMap: true,
    // The types of the other packages come from their declarations.
    customConditions: [],
    types: manifest.exports['./node'] || manifest.os ? ['node'] : [],
    rootDir: '../src',
    outDir: '../dist',
  };
  const extended = fileURLToPath(new URL('../tsconfig.base.json', import.meta.url));
  writeFileSync(config, JSON.stringify({ extends: extended, compilerOptions, include: ['../src'] }));
  const shell = process.platform === 'win32';
  const { status, error } = spawnSync('tsc', ['-p', config], { stdio: 'inherit', shell });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

/**
 * Says in words of all compilers what TypeScript from 5.7 on says of typed arrays with an argument that older ones do not
 * know: `Uint8Array<ArrayBufferLike>` is its `Uint8Array`, and `Uint8Array<ArrayBuffer>` what `slice` answers.
 *
 * @param {string} folder
 */
function plainArrays(folder) {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.d.ts')) continue;
    const path = `${folder}/${name}`;
    const text = readFileSync(path, 'utf8');
    const plain = text
      .replaceAll(/(\b\w+Array|\bDataView)<ArrayBufferLike>/g, '$1')
      .replaceAll(/(\b\w+Array)<ArrayBuffer>/g, "ReturnType<$1['slice']>");
    if (plain !== text) writeFileSync(path, plain);
  }
}

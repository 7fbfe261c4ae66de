// What a stranger gets from the registry: the tarballs of three packages and what they pull in, and nothing else.
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as core from '@virtkit/core';
import * as deviceBlk from '@virtkit/device-blk';
import * as transportPci from '@virtkit/transport-pci';
import * as vmstate from '@virtkit/vmstate';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const sources = {
  '@virtkit/core': core,
  '@virtkit/device-blk': deviceBlk,
  '@virtkit/transport-pci': transportPci,
  '@virtkit/vmstate': vmstate,
};
const names = Object.keys(sources);
const exportsOfSources = Object.fromEntries(
  Object.entries(sources).map(([name, module]) => [name, Object.keys(module).sort()]),
);
const program = `${names.map((name, index) => `import * as m${index} from '${name}';`).join('\n')}
const modules = { ${names.map((name, index) => `'${name}': m${index}`).join(', ')} };
const exports = Object.fromEntries(Object.entries(modules).map(([name, module]) => [name, Object.keys(module).sort()]));
`;

let home = '';
let app = '';

function run(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(' ')}\n${stdout}${stderr}`, { cause: error });
  }
}

const pnpm = (...args: readonly string[]) => run(process.execPath, ['.ci/pnpm.mjs', ...args], root);

beforeAll(() => {
  home = realpathSync(mkdtempSync(join(tmpdir(), 'virtkit-packed-')));
  app = join(home, 'app');
  mkdirSync(app);
  const filters = names.map((name) => `--filter=${name}`);
  pnpm('exec', 'turbo', 'run', 'build', ...filters, '--output-logs=errors-only');
  pnpm(...filters, 'pack', '--out', join(home, '%s.tgz'));

  const tarball = (name: string) => `file:../${name.replace('@', '').replace('/', '-')}.tgz`;
  writeFileSync(
    join(app, 'package.json'),
    JSON.stringify({
      private: true,
      type: 'module',
      dependencies: Object.fromEntries(
        names.filter((name) => name !== '@virtkit/vmstate').map((name) => [name, tarball(name)]),
      ),
      // Not on the registry yet, so npm has to be told where this one comes from.
      overrides: { '@virtkit/vmstate': tarball('@virtkit/vmstate') },
    }),
  );
  const quiet = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  run(npm, ['install', ...quiet, `--cache=${join(home, 'cache')}`], app);
}, 120_000);

afterAll(() => {
  if (home !== '') rmSync(home, { recursive: true, force: true });
});

test('core, transport-pci and device-blk pull in vmstate and nothing else', () => {
  const visible = (dir: string) => readdirSync(join(app, dir)).filter((name) => !name.startsWith('.'));
  expect(visible('node_modules')).toEqual(['@virtkit']);
  expect(visible('node_modules/@virtkit').map((name) => `@virtkit/${name}`)).toEqual(names);
  for (const name of names) {
    expect(visible(`node_modules/${name}`).sort(), name).toEqual(
      ['LICENSE', 'README.md', 'dist', 'package.json', 'src'].sort(),
    );
    const manifest = readFileSync(join(app, 'node_modules', name, 'package.json'), 'utf8');
    expect(manifest, name).not.toMatch(/@virtkit\/source|workspace:/);
  }
});

test('plain Node imports them, with the exports of the sources', () => {
  writeFileSync(join(app, 'main.js'), `${program}console.log(JSON.stringify(exports));\n`);
  expect(JSON.parse(run(process.execPath, ['main.js'], app))).toEqual(exportsOfSources);
});

test('esbuild bundles them for a browser', async () => {
  writeFileSync(join(app, 'page.js'), `${program}export default exports;\n`);
  const { metafile, outputFiles, warnings } = await build({
    absWorkingDir: app,
    entryPoints: ['page.js'],
    bundle: true,
    format: 'esm',
    metafile: true,
    platform: 'browser',
    write: false,
  });
  expect(warnings).toEqual([]);
  // what several entries of a package share stands in a file of its own
  const inputs = Object.keys(metafile.inputs).filter((path) => !/\/dist\/chunk-\w+\.js$/.test(path));
  expect(inputs.sort()).toEqual([...names.map((name) => `node_modules/${name}/dist/index.js`), 'page.js']);
  const [bundle] = outputFiles;
  const page = await import(
    /* @vite-ignore */ `data:text/javascript,${encodeURIComponent(bundle?.text ?? '')}`
  );
  expect(page.default).toEqual(exportsOfSources);
});

test('TypeScript checks their declarations, without types of Node or of a page', () => {
  writeFileSync(
    join(app, 'types.ts'),
    `${program}export default exports satisfies Record<string, string[]>;\n`,
  );
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
  const tsc = join(dirname(manifest), 'bin', 'tsc');
  const strict = [
    '--strict',
    '--exactOptionalPropertyTypes',
    '--noEmit',
    '--skipLibCheck',
    'false',
    '--types',
    '',
  ];
  run(
    process.execPath,
    [tsc, ...strict, '--module', 'nodenext', '--target', 'es2023', '--lib', 'es2023', 'types.ts'],
    app,
  );
});

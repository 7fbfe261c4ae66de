// A release before it is one: built, versioned, published to a registry of the test's own, installed by a stranger, updated,
// run. Nothing is fetched from anywhere else. `pnpm rehearse` runs this file.
import { access, appendFile, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as core from '@virtkit/core';
import * as deviceBlk from '@virtkit/device-blk';
import * as transportPci from '@virtkit/transport-pci';
import * as vmstate from '@virtkit/vmstate';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { platforms, TYPESCRIPTS, typescript } from '../src/platforms.ts';
import { type Registry, startRegistry } from '../src/registry.ts';
import { run } from '../src/run.ts';
import { COMPILERS, User } from '../src/user.ts';
import { type Bump, buildAll, members, repository, Workspace } from '../src/workspace.ts';

/** What the program of `guest` imports, and what these two packages share. */
const CORE = '@virtkit/core';
const VMSTATE = '@virtkit/vmstate';
const IMPORTED = [CORE, '@virtkit/device-blk', '@virtkit/testing', '@virtkit/transport-pci'];

// Builds, installations and compilers of a busy machine take their time.
vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 });

let home = '';
let registry: Registry;
let workspace: Workspace;
/** Versions of the first release, by package. */
let released: Record<string, string> = {};

const publish = async (bumps: Readonly<Record<string, Bump>>, text: string) => {
  await workspace.change(bumps, text);
  await workspace.version();
  await workspace.publish(registry, [...IMPORTED, VMSTATE]);
  return workspace.versions();
};

/** The user's program compiles, declarations of all packages included, and runs. */
const works = async (user: User) => {
  await user.compile();
  expect(await user.run()).toMatch(/^\d+ bytes of state, \d+ interrupts\n$/);
};

/** The one version of a package that is installed; fails where there are two copies. */
const only = async (user: User, name: string) => {
  const copies = await user.copies(name);
  expect(Object.keys(copies), `copies of ${name}`).toEqual([name]);
  return copies[name];
};

beforeAll(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'virtkit-rehearsal-')));
  await buildAll();
  registry = await startRegistry(join(home, 'registry'));
  workspace = await Workspace.copy(join(home, 'workspace'));
  await workspace.version();
  await workspace.publish(registry);
  released = await workspace.versions();
});

afterAll(async () => {
  await registry?.close();
  if (home !== '') await rm(home, { recursive: true, force: true });
});

describe('what a stranger gets who installs three packages', () => {
  const sources = {
    [CORE]: core,
    '@virtkit/device-blk': deviceBlk,
    '@virtkit/transport-pci': transportPci,
    [VMSTATE]: vmstate,
  };
  const names = Object.keys(sources);
  const exportsOfSources = Object.fromEntries(
    Object.entries(sources).map(([name, module]) => [name, Object.keys(module).sort()]),
  );
  const program = `${names.map((name, index) => `import * as m${index} from '${name}';`).join('\n')}
const modules = { ${names.map((name, index) => `'${name}': m${index}`).join(', ')} };
const exports = Object.fromEntries(Object.entries(modules).map(([name, module]) => [name, Object.keys(module).sort()]));
`;
  let user: User;

  beforeAll(async () => {
    user = await User.create(join(home, 'layers'), registry);
    await user.install(...names.filter((name) => name !== VMSTATE));
  });

  test('core, transport-pci and device-blk pull in vmstate and nothing else', async () => {
    const visible = async (folder: string) =>
      (await readdir(join(user.folder, folder))).filter((name) => !name.startsWith('.')).sort();
    expect(await visible('node_modules')).toEqual(['@virtkit']);
    const installed = await visible('node_modules/@virtkit');
    expect(installed.map((name) => `@virtkit/${name}`)).toEqual(names);
    for (const name of names) {
      const needed = ['LICENSE', 'README.md', 'dist', 'package.json', 'src'];
      expect(await visible(`node_modules/${name}`), name).toEqual(expect.arrayContaining(needed));
      expect(
        (await visible(`node_modules/${name}`)).filter(
          (file) => !needed.includes(file) && !file.endsWith('.md'),
        ),
        name,
      ).toEqual([]);
      const manifest = await readFile(join(user.folder, 'node_modules', name, 'package.json'), 'utf8');
      expect(manifest, name).not.toMatch(/workspace:/);
    }
  });

  test('all that their exports name is there', async () => {
    for (const name of names) {
      const folder = join(user.folder, 'node_modules', name);
      const { exports } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
      const conditions = Object.values<string | Record<string, string>>(exports);
      const paths = conditions.flatMap((entry) =>
        typeof entry === 'string' ? [entry] : Object.values(entry),
      );
      for (const path of paths) await access(join(folder, path));
    }
  });

  test('plain Node imports them, with the exports of the sources', async () => {
    await writeFile(join(user.folder, 'main.js'), `${program}console.log(JSON.stringify(exports));\n`);
    expect(JSON.parse(await run(process.execPath, ['main.js'], user.folder))).toEqual(exportsOfSources);
  });

  test('esbuild bundles them for a browser', async () => {
    await writeFile(join(user.folder, 'page.js'), `${program}export default exports;\n`);
    const { metafile, outputFiles, warnings } = await build({
      absWorkingDir: user.folder,
      entryPoints: ['page.js'],
      bundle: true,
      format: 'esm',
      metafile: true,
      platform: 'browser',
      write: false,
    });
    expect(warnings).toEqual([]);
    // what several entries of a package share stands in a file of its own; transports know QEMU's machine versions, and live devices of core
    const shared = /\/dist\/chunk-\w+\.js$|^node_modules\/@virtkit\/core\/dist\/(qemu|live)\.js$/;
    const inputs = Object.keys(metafile.inputs).filter((path) => !shared.test(path));
    expect(inputs.sort()).toEqual([...names.map((name) => `node_modules/${name}/dist/index.js`), 'page.js']);
    const [bundle] = outputFiles;
    const page = await import(
      /* @vite-ignore */ `data:text/javascript,${encodeURIComponent(bundle?.text ?? '')}`
    );
    expect(page.default).toEqual(exportsOfSources);
  });

  test('TypeScript checks their declarations, without types of Node or of a page', async () => {
    await writeFile(
      join(user.folder, 'program.ts'),
      `${program}export default exports satisfies Record<string, string[]>;\n`,
    );
    await user.compile();
  });
});

describe('all packages together', () => {
  let user: User;

  beforeAll(async () => {
    await workspace.publishOthers(registry);
    user = await User.create(join(home, 'all'), registry);
    await user.install(...Object.keys(released));
    const all = await members(workspace.root);
    const entries = all
      .filter(({ manifest }) => manifest.private !== true)
      .flatMap(({ manifest }) =>
        Object.keys(manifest.exports ?? {}).map((entry) => manifest.name + entry.slice(1)),
      )
      .filter((entry) => !/\/package\.json$|\.css$/.test(entry));
    expect(entries.length).toBeGreaterThan(25);
    const lines = entries.map((entry, index) => `import * as m${index} from '${entry}';`);
    const list = entries.map((_, index) => `m${index}`).join(', ');
    await writeFile(join(user.folder, 'program.ts'), `${lines.join('\n')}\nexport default [${list}];\n`);
    // Entries for Node have its types, and those for pages have a page's.
    await user.useTypesOf('node');
    await user.useTypesOfPage();
  });

  test('one core, one vmstate, whoever asks for them', async () => {
    expect(await only(user, CORE)).toBe(released[CORE]);
    expect(await only(user, VMSTATE)).toBe(released[VMSTATE]);
  });

  test.each(['newest', 'oldest'] as const)(
    'TypeScript, the $0: declarations of all entries',
    async (which) => {
      await user.compile(COMPILERS[which]);
    },
  );

  test('the command says its version', async () => {
    const command = join(user.folder, 'node_modules/@virtkit/cli/dist/cli.js');
    expect(await run(process.execPath, [command, '--version'], user.folder)).toBe(
      `${released['@virtkit/cli']}\n`,
    );
  });
});

describe('npm update', () => {
  let user: User;

  beforeAll(async () => {
    user = await User.create(join(home, 'updated'), registry);
    await user.install(...IMPORTED);
  });

  test('before it, a guest runs on the first release', async () => {
    expect(await only(user, CORE)).toBe(released[CORE]);
    await works(user);
    await user.compile(COMPILERS.oldest);
  });

  test('brings a patch of core, and nothing breaks', async () => {
    const versions = await publish({ [CORE]: 'patch' }, 'A patch of core');
    expect(versions).toEqual({ ...released, [CORE]: versions[CORE] });
    await user.update();
    expect(await only(user, CORE)).toBe(versions[CORE]);
    await works(user);
  });

  test('brings a core that can do more, and nothing breaks', async () => {
    const dist = join(workspace.root, 'packages/core/dist');
    await appendFile(join(dist, 'index.js'), '\nexport const rehearsed = true;\n');
    await appendFile(join(dist, 'index.d.ts'), '\nexport declare const rehearsed: true;\n');
    const versions = await publish({ [CORE]: 'minor' }, 'A minor of core');
    expect(versions).toEqual({ ...released, [CORE]: versions[CORE] });
    await user.update();
    expect(await only(user, CORE)).toBe(versions[CORE]);
    expect(await only(user, VMSTATE)).toBe(versions[VMSTATE]);
    await appendFile(
      join(user.folder, 'program.ts'),
      "import { rehearsed } from '@virtkit/core';\nexpect('new', rehearsed, true);\n",
    );
    await works(user);
  });

  test('does not bring another contract', async () => {
    const before = await workspace.versions();
    const versions = await publish({ [CORE]: 'major' }, 'A major of core');
    const all = await members(repository);
    const bound = all.filter(({ manifest }) => manifest.peerDependencies?.[CORE] !== undefined);
    for (const { manifest } of bound) {
      expect(major(versions[manifest.name]), manifest.name).toBe(major(before[manifest.name]) + 1);
    }
    expect(versions[VMSTATE]).toBe(before[VMSTATE]);
    await user.update();
    expect(await only(user, CORE)).toBe(before[CORE]);
    await works(user);
    // and whoever asks for it gets it whole
    await user.install(...IMPORTED.map((name) => `${name}@latest`));
    expect(await only(user, CORE)).toBe(versions[CORE]);
    await works(user);
  });
});

describe('a package of one release with all others of another', () => {
  const names = [...IMPORTED, VMSTATE];
  let user: User;
  let older: Record<string, string> = {};
  let newer: Record<string, string> = {};

  beforeAll(async () => {
    older = await workspace.versions();
    newer = await publish(
      Object.fromEntries(Object.keys(older).map((name) => [name, 'minor'] as const)),
      'A minor of all',
    );
    user = await User.create(join(home, 'mixed'), registry);
  });

  const cases = names.flatMap((name) => [
    { name, age: 'newer' },
    { name, age: 'older' },
  ]);
  test.each(cases)('$age: $name', async ({ name, age }) => {
    const [mine, theirs] = age === 'newer' ? [newer, older] : [older, newer];
    const versions = Object.fromEntries(names.map((each) => [each, (each === name ? mine : theirs)[each]]));
    await user.install(
      '--save-exact',
      ...Object.entries(versions).map(([each, version]) => `${each}@${version}`),
    );
    for (const each of names) expect(await only(user, each)).toBe(versions[each]);
    await works(user);
  });
});

// What comes from npm's registry, and is 300 MB.
describe.runIf(process.env['VIRTKIT_PLATFORMS'] === '1')('with VIRTKIT_PLATFORMS=1', () => {
  test('all declarations, in every compiler between the oldest and the newest', async () => {
    const folder = join(home, 'all');
    for (const version of TYPESCRIPTS) {
      const compiler = await typescript(version, home);
      await run(process.execPath, [join(compiler, 'bin/tsc'), '-p', '.'], folder);
    }
  });

  test('the guest, in other Nodes, Bun and Deno', async () => {
    const user = await User.create(join(home, 'platforms'), registry);
    await user.install(...IMPORTED);
    await works(user);
    const wanted = await user.run();
    for (const { name, command, args } of await platforms(home)) {
      expect(await run(command, [...args, 'out/program.js'], user.folder), name).toBe(wanted);
    }
  });
});

const major = (version: string | undefined): number => Number(version?.split('.')[0]);

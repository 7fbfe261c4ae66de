// The shell in which the command lines of the pages run: a folder with the files that they name, and `virtkit` from the sources.
import { chmod, copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { build } from 'esbuild';
import { pages, repository } from './places.ts';
import { type Ended, run } from './program.ts';

/** Streams that the pages name, and those of the corpus that they are. */
const STREAMS: Readonly<Record<string, string>> = {
  'guest.mig': '10.0.13/q100-pc-inflight-w',
  'idle.mig': '10.0.13/q100-pc-fullram-tiny',
  'new.mig': '11.1.2/q111-q35-io',
  's390x.mig': '10.0.13/q100-s390-io',
};

export class Shell {
  readonly #home: string;

  private constructor(home: string) {
    this.#home = home;
  }

  /** Makes the folder: streams, the files of `pages/files`, and the command in one file, which starts ten times as fast as from its sources. */
  static async open(): Promise<Shell> {
    const home = await mkdtemp(join(tmpdir(), 'virtkit-site-'));
    const shell = new Shell(home);
    await mkdir(join(home, 'files'));
    await mkdir(join(home, 'bin', 'dist'), { recursive: true });
    await Promise.all([
      ...Object.entries(STREAMS).map(([name, stream]) => shell.#unpack(name, stream)),
      cp(join(pages, 'files'), join(home, 'files'), { recursive: true }),
      shell.#bundle(),
    ]);
    return shell;
  }

  /** Runs a line of bash, as somebody who stands in the folder. */
  run(line: string): Promise<Ended> {
    const { FORCE_COLOR: _force, CI: _ci, ...clean } = process.env;
    const env = {
      ...clean,
      PATH: `${join(this.#home, 'bin')}:${process.env['PATH'] ?? ''}`,
      NO_COLOR: '1',
      COLUMNS: '100',
      LC_ALL: 'C.UTF-8',
    };
    return run('bash', ['-o', 'pipefail', '-c', line], { cwd: join(this.#home, 'files'), env });
  }

  async close(): Promise<void> {
    await rm(this.#home, { recursive: true, force: true });
  }

  async #unpack(name: string, stream: string): Promise<void> {
    const packed = await readFile(join(repository, 'packages/lab/streams', `${stream}.mig.gz`));
    await writeFile(join(this.#home, 'files', name), await promisify(gunzip)(packed));
  }

  async #bundle(): Promise<void> {
    const program = join(this.#home, 'bin', 'dist', 'cli.js');
    const command = join(this.#home, 'bin', 'virtkit');
    await copyFile(join(repository, 'packages/cli/package.json'), join(this.#home, 'bin', 'package.json'));
    await build({
      entryPoints: [join(repository, 'packages/cli/src/main.ts')],
      outdir: dirname(program),
      entryNames: 'cli',
      bundle: true,
      // what a command does not need is not loaded: most of the time goes into that
      splitting: true,
      minify: true,
      platform: 'node',
      format: 'esm',
      conditions: ['@virtkit/source'],
      external: ['@virtkit/vhost-user'],
      // commander is CommonJS and asks for Node's modules
      banner: {
        js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
      },
      logLevel: 'error',
    });
    await writeFile(command, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`);
    await chmod(command, 0o755);
  }
}

// The command in one file, where neither Node nor the project is to be found.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import manifest from '../package.json' with { type: 'json' };
import { root, useCommand } from './command.ts';

const isLinux = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);

describe.skipIf(process.env['VIRTKIT_SLOW'] === undefined || !isLinux)('the single file', () => {
  const { virtkit } = useCommand();
  let home = '';
  const single = (...args: readonly string[]): { status: number | null; stdout: string; stderr: string } => {
    const file = join(home, `virtkit-linux-${process.arch}`);
    const { status, stdout, stderr } = spawnSync(file, args, {
      cwd: home,
      env: { PATH: '/nowhere' },
      encoding: 'utf8',
    });
    return { status, stdout, stderr };
  };
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'virtkit-single-'));
    const made = spawnSync(process.execPath, ['scripts/single-file.mjs', '--output', home], {
      cwd: `${root}packages/cli`,
      encoding: 'utf8',
    });
    if (made.status !== 0) throw new Error(made.stderr);
    copyFileSync(`${root}packages/lab/streams/10.0.13/q100-q35-inflight-mq.mig.gz`, join(home, 'guest.mig'));
  }, 300_000);
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  test('knows its version, and has no word to say about Node', () => {
    expect(single('--version')).toEqual({ status: 0, stdout: `${manifest.version}\n`, stderr: '' });
  });

  test.each([
    ['inspect', 'guest.mig'],
    ['verify', 'guest.mig', '--json'],
    ['check', 'guest.mig', '--target', 'rhel-9.6'],
    ['explain', 'Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef'],
    ['completion', 'bash'],
    ['man', 'check'],
    ['inspect', 'missing.mig'],
  ])('%s %s says what the package says', (...args) => {
    const words = args.map((word) => (word === 'guest.mig' ? join(home, word) : word));
    const { status, stdout, stderr } = virtkit(words);
    expect(single(...words)).toEqual({ status, stdout, stderr });
  });

  test('serve is not in it, and says so', () => {
    const { status, stderr } = single('serve', 'rng', '--socket', 'rng.sock');
    expect(stderr).toMatch(
      /^virtkit: serve is not in the virtkit of a single file: .* npm install --global @virtkit\/cli has it\n$/,
    );
    expect(status).toBe(2);
  });
});

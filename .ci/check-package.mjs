// Packs the package in the current directory and checks the tarball as npm's users would get it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const dir = mkdtempSync(join(tmpdir(), 'virtkit-pack-'));
const tarball = join(dir, 'package.tgz');

/** @param {string} command @param {string[]} args */
function run(command, ...args) {
  const { status, error } = spawnSync(command, args, {
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (error) console.error(String(error));
  if (status !== 0) process.exitCode = 1;
}

try {
  run('pnpm', 'pack', '--out', tarball);
  run('publint', 'run', tarball, '--strict');
  // A package that is only a command has no types to resolve, and neither has a style sheet.
  const styles = Object.keys(manifest.exports).filter((entry) => entry.endsWith('.css'));
  const without =
    styles.length === 0 ? [] : ['--exclude-entrypoints', ...styles.map((entry) => entry.slice(2))];
  if (manifest.exports['.']) run('attw', tarball, '--profile', 'esm-only', '--format', 'ascii', ...without);
} finally {
  rmSync(dir, { recursive: true, force: true });
}

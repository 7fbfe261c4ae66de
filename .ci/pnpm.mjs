// Runs pnpm, in the version that package.json names, after installing what the lock file asks for.
// Needs Node and npm only: `node .ci/pnpm.mjs run build`.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(`${root}/${path}`, 'utf8');

const { packageManager } = JSON.parse(read('package.json'));
const args = process.argv.slice(2);

function pnpm(pnpmArgs, cwd) {
  const npx = process.platform === 'win32' ? 'npx.cmd' : 'npx';
  const run = spawnSync(npx, ['--yes', '--prefer-offline', packageManager, ...pnpmArgs], {
    cwd,
    stdio: 'inherit',
    shell: process.platform === 'win32',
    env: { TURBO_TELEMETRY_DISABLED: '1', ...process.env },
  });
  if (run.error) console.error(String(run.error));
  return run.status ?? 1;
}

function stamp() {
  try {
    return readFileSync(`${root}/node_modules/.installed`, 'utf8');
  } catch {
    return undefined;
  }
}

function install() {
  const wanted = createHash('sha256').update(`${packageManager} ${process.platform} ${process.arch}`);
  wanted.update(read('pnpm-lock.yaml')).update(read('pnpm-workspace.yaml'));
  const key = wanted.digest('hex');
  if (stamp() === key) return 0;
  const status = pnpm(['install', '--frozen-lockfile'], root);
  if (status === 0) {
    mkdirSync(`${root}/node_modules`, { recursive: true });
    writeFileSync(`${root}/node_modules/.installed`, key);
  }
  return status;
}

const installing = ['install', 'i', 'add', 'remove', 'update'].includes(args[0] ?? 'install');
const status = installing ? 0 : install();
process.exitCode = status || pnpm(args.length > 0 ? args : ['install'], process.cwd());

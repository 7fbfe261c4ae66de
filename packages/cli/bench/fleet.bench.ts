// 500 machines of a folder against a target: seconds, and the most memory that the command took.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeFleet } from '../test/fleet-of.ts';

const COUNT = Number(process.argv[2] ?? 500);
const folder = mkdtempSync(join(tmpdir(), 'virtkit-fleet-'));
try {
  writeFleet(folder, COUNT);
  const program = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
  const start = performance.now();
  const args = ['check', '--all', folder, '--target', 'kubevirt-1.7', '--host-kernel', '6.8', '--json'];
  const measured = `process.on('exit', () => process.stderr.write("KIB " + process.resourceUsage().maxRSS))`;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(measured)}`, program, ...args],
    { encoding: 'utf8', maxBuffer: 2 ** 30 },
  );
  const seconds = (performance.now() - start) / 1000;
  const kib = Number(/KIB (\d+)/.exec(stderr)?.[1]);
  const lines = stdout.trim().split('\n').length;
  if (lines !== COUNT || status !== 1) throw new Error(`${lines} lines, exit code ${status}: ${stderr}`);
  console.log(`${COUNT} machines: ${seconds.toFixed(1)} s, ${(kib / 1024).toFixed(0)} MiB at most`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

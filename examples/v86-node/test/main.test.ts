import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findV86Kit } from '@virtkit/lab/v86.ts';
import { expect, test } from 'vitest';

test('a guest boots on its disk, reaches the other, and is moved while it writes', {
  timeout: 600_000,
}, async (context) => {
  const found = findV86Kit();
  if (!found.ok) {
    console.warn(`SKIPPED: examples/v86-node: ${found.reason}`);
    return context.skip(found.reason);
  }
  const args = ['--import', 'tsx', '--conditions=@virtkit/source', 'src/main.ts'];
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd });
  expect(stderr).toBe('');
  expect(stdout).toContain('virtio0 virtio_blk');
  expect(stdout).toContain('virtio1 virtio_net');
  expect(stdout.match(/^right: /gm)).toHaveLength(5);
  expect(stdout).not.toContain('WRONG');
  expect(stdout).toMatch(/a: moved in .* \d+ MiB/);
  expect(stdout).toContain('3 packets received, 0% packet loss');
});

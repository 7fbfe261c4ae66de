import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const example = fileURLToPath(new URL('..', import.meta.url));

test('the guest finishes on the second machine what it began on the first, and moves to the third at work', {
  timeout: 60_000,
}, async () => {
  const args = ['--import', 'tsx', '--conditions=@virtkit/source', 'src/main.ts'];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: example });
  expect(stdout).toMatch(/[1-9]\d* requests in flight are in the disk's state/);
  expect(stdout).toMatch(/virtio core +virtio transport +virtio device/);
  expect(stdout).toContain('12 of 12 writes done, data on the disk right');
  expect(stdout).toMatch(/third machine: arrived after \d+ rounds/);
  expect(stdout).toMatch(/40 at the end, data on the disk right/);
});

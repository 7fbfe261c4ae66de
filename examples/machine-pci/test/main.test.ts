import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const example = fileURLToPath(new URL('..', import.meta.url));

async function run(program: string): Promise<string> {
  const args = ['--import', 'tsx', '--conditions=@virtkit/source', `src/${program}`];
  return (await promisify(execFile)(process.execPath, args, { cwd: example })).stdout;
}

test('the guest finishes on the second machine what it began on the first', { timeout: 60_000 }, async () => {
  const stdout = await run('main.ts');
  expect(stdout).toMatch(/[1-9]\d* requests in flight are in the disk's state/);
  expect(stdout).toMatch(/virtio core +virtio transport +virtio device/);
  expect(stdout).toContain('12 of 12 writes done, data on the disk right');
});

test('the guest moves live, at work', { timeout: 60_000 }, async () => {
  const stdout = await run('live.ts');
  expect(stdout).toMatch(/second machine: arrived after \d+ rounds/);
  expect(stdout).toMatch(/40 at the end, data on the disk right/);
});

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findV86Kit } from '@virtkit/lab/v86.ts';
import { expect, test } from 'vitest';

test('the guests reach each other, and the moved one finishes with the right data', {
  timeout: 400_000,
}, async (context) => {
  const found = findV86Kit();
  if (!found.ok) {
    console.warn(`SKIPPED: examples/v86-node: ${found.reason}`);
    return context.skip(found.reason);
  }
  const args = ['--import', 'tsx', '--conditions=@virtkit/source', 'src/main.ts'];
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd });
  const value = (name: string): string | undefined =>
    new RegExp(`^${name}:\\s*([0-9a-f]{32})`, 'm').exec(stdout)?.[1];
  expect(value('received')).toBe(value('sent'));
  expect(value('in the guest')).toBe(value('expected'));
  expect(value('expected')).toMatch(/^[0-9a-f]{32}$/);
  expect(stdout.match(/ 0% packet loss/g)).toHaveLength(2);
  expect(stdout).toContain('/dev/vda: 17/8192 files');
});

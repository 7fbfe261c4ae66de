import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { findV86Kit } from '@virtkit/lab/v86.ts';
import { expect, test } from 'vitest';

test('what is typed reaches a shell in the guest, and what it says comes back', {
  timeout: 600_000,
}, async (context) => {
  const found = findV86Kit();
  if (!found.ok) {
    console.warn(`SKIPPED: examples/v86-console: ${found.reason}`);
    return context.skip(found.reason);
  }
  const args = ['--import', 'tsx', '--conditions=@virtkit/source', 'src/main.ts'];
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const program = spawn(process.execPath, args, { cwd });
  let [output, errors] = ['', ''];
  program.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  program.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  // the size comes on another queue than what is typed, and may be later
  const sized =
    'n=0; while [ "$(stty size)" = "0 0" ] && [ $n -lt 50 ]; do usleep 100000; n=$((n + 1)); done';
  program.stdin.end(
    `${sized}; tty; stty size; echo $((6 * 7)) is it; head -c 3000 /dev/hwrng | wc -c; exit\n`,
  );
  const [status] = (await once(program, 'close')) as [number];
  expect([status, errors]).toEqual([0, '']);
  expect(output).toContain('/dev/hvc0');
  expect(output).toContain('24 80');
  expect(output).toContain('42 is it');
  expect(output).toMatch(/\b3000\b/);
});

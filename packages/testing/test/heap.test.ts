import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const NODE = [
  '--expose-gc',
  '--min-semi-space-size=32',
  '--max-semi-space-size=32',
  '--import=tsx',
  '--conditions=@virtkit/source',
];

test('requests take no heap in the steady state', { timeout: 300_000 }, () => {
  const program = fileURLToPath(new URL('heap-run.ts', import.meta.url));
  const { stdout, stderr } = spawnSync(process.execPath, [...NODE, program, '--sample'], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  const found = new Map(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split('\t'))
      .map(([name = '', bytes]) => [name, Number(bytes)]),
  );
  expect(found.get('control: nothing')).toBeLessThan(0.5);
  // it would notice
  expect(found.get('control: an object for each request')).toBeGreaterThan(15);
  found.delete('control: an object for each request');
  expect(found.size).toBeGreaterThan(40);
  expect([...found].filter(([, bytes]) => bytes >= 0.5)).toEqual([]);
});

/** Command lines come from strangers' scripts and logs: reading them takes time in proportion to their length, and bounded memory. */
import { growthOf } from '@virtkit/lab/growth.ts';
import { describe, expect, test } from 'vitest';
import { parseTarget } from '../src/index.ts';

const START = 'qemu-system-x86_64 -M pc ';
const numbered = (count: number, of: (n: number) => string): string =>
  Array.from({ length: count }, (_, n) => of(n)).join('');

function read(commandLine: string): void {
  try {
    parseTarget('qemu-7.2', { commandLine });
  } catch (error) {
    expect(error).toMatchObject({ name: 'StateError' });
  }
}

describe('time grows with the text', () => {
  test.each<readonly [string, number, (count: number) => string]>([
    ['drives without a name', 500, (n) => `${START}${'-drive if=virtio '.repeat(n)}`],
    [
      'ports of a console',
      500,
      (n) => `${START}-device virtio-serial ${'-device virtserialport '.repeat(n)}`,
    ],
    [
      'bridges one behind the other',
      300,
      (n) => START + numbered(n, (i) => `-device pci-bridge,id=b${i},bus=b${i - 1} `),
    ],
    ['memory', 500, (n) => START + numbered(n, (i) => `-object memory-backend-ram,id=m${i},size=1M `)],
    ['parentheses behind a word', 20_000, (n) => START + 'a'.repeat(n) + '('.repeat(n)],
    ['empty lines', 20_000, (n) => START + '\n'.repeat(n)],
    ['a variable that is added to', 10_000, (n) => `${'a+=xx\n'.repeat(n)}${START}$a`],
    ['a list that is added to', 10_000, (n) => `${'a+=(x)\n'.repeat(n)}${START}$a`],
    ['keys of one option', 20_000, (n) => `${START}-device a${',k=v'.repeat(n)}`],
    ['starts', 2000, (n) => `${START}-m 1\n`.repeat(n)],
  ])('%s', (_what, size, text) => {
    expect(growthOf(text, read, size)).toBeLessThan(1.7);
  });
});

test.each([
  ['a variable', `a=xx\n${'a=$a$a\n'.repeat(60)}${START}-name $a`],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: of a shell
  ['a list', `a=(x x)\n${'a=(${a[@]} ${a[@]})\n'.repeat(60)}${START}-name $a`],
])('%s that doubles sixty times is not expanded, and that is said', (_what, commandLine) => {
  const { destination } = parseTarget('qemu-7.2', { commandLine });
  expect(destination?.unknown).toContain('$a: only a shell can tell what it stands for');
});

test.each([
  ['words', `${START}${'-S '.repeat(1 << 14)}`, /a command line of \d+ words, at most 16384 are read/],
  [
    '-global',
    START + numbered(513, (n) => `-global a.p${n}=1 `),
    /a command line of 513 -global, at most 512/,
  ],
  ['levels of JSON', `${START}-device '${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}'`, /nested deeper than 100/],
])('more %s than any machine has are refused', (_what, commandLine, message) => {
  expect(() => parseTarget('qemu-7.2', { commandLine })).toThrow(message);
});

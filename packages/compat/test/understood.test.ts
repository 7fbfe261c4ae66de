// What of a command line is not understood is said, and is no yes; which of many starts is meant; what files say.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { answerOf, checkStream, parseTarget, type TargetOptions } from '../src/index.ts';
import { readStream, registry } from './corpus.ts';

const NAME = 'q72-pc-idle';
const info = new URL(`../../lab/streams/7.2.22/${NAME}.json`, import.meta.url);
const { command_line: own } = JSON.parse(readFileSync(info).toString()) as { command_line: string[] };
const stream = readStream(NAME);

function verdictsOf(options: TargetOptions): ReturnType<typeof checkStream> {
  return checkStream(stream, parseTarget('qemu-7.2,capabilities=x-ignore-shared', options), registry);
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word}'`).join(' \\\n');
}

describe('a command line of which something is not understood', () => {
  test.each([
    ['an option', ['-frobnicate', 'x']],
    ['a device', ['-device', 'frobnicator,x=y']],
    ['an option of the machine', ['-machine', 'frobnicate=on']],
    ['a file that is not at hand', ['-readconfig', 'devices.cfg']],
    ['a number', ['-smp', 'many']],
    ['a size', ['-m', 'much']],
    ['a bus', ['-device', 'virtio-rng-pci,bus=nowhere']],
    ['an address', ['-device', 'virtio-rng-pci,addr=33']],
    ['an option of nobody', ['-set', 'device.nobody.addr=3']],
    ['a property', ['-global', 'virtio-blk-pci.x-frobnicate=on']],
    ['a memory back end', ['-machine', 'memory-backend=nothing']],
  ])('%s', (_, more) => {
    const verdicts = verdictsOf({ commandLine: [...own, ...more] });
    expect(answerOf(verdicts), JSON.stringify(verdicts)).not.toBe('loads');
    expect(verdicts.some(({ severity, reason }) => severity === 'unknown' && reason !== '')).toBe(true);
  });

  test('all of it is understood', () => {
    expect(answerOf(verdictsOf({ commandLine: own }))).toBe('loads');
  });

  test('what a shell would have known', () => {
    const text = `${quoted(own)} -smp $(nproc)`;
    expect(
      verdictsOf({ commandLine: text })
        .map(({ reason }) => reason)
        .join(),
    ).toContain('$(nproc)');
  });
});

describe('a log with many starts', () => {
  const other = own.map((word) => word.replace('virtio-blk-pci,', 'virtio-blk-pci,num-queues=3,'));
  const log = [other, other, own]
    .map((words) => `2026-11-28: starting up\nLC_ALL=C \\\n${quoted(words)}\nbye\n`)
    .join('');

  test('answers for the last', () => {
    const verdicts = verdictsOf({ commandLine: log });
    expect(answerOf(verdicts)).toBe('loads');
    expect(verdicts.find(({ code }) => code === 'starts')?.reason).toContain('3 starts');
  });

  test('answers for others by number', () => {
    expect(answerOf(verdictsOf({ commandLine: log, start: 1 }))).toBe('refused');
    expect(answerOf(verdictsOf({ commandLine: log, start: 3 }))).toBe('loads');
    expect(() => verdictsOf({ commandLine: log, start: 4 })).toThrow('start 4: the text holds 3 of them');
  });
});

describe('a configuration file', () => {
  const readConfig = (text: string) => (): string => text;
  const commandLine = [...own, '-readconfig', 'more.cfg'];

  test.each([
    [
      'a device that changes nothing',
      '[device "r"]\n  driver = "virtio-rng-pci"\n  addr = "0x1e"\n',
      'loads',
    ],
    ['a machine', '# q35\n[machine]\n  type = "q35"\n', 'refused'],
    [
      'a global',
      '[global]\n  driver = "virtio-blk-pci"\n  property = "num-queues"\n  value = "4"\n',
      'refused',
    ],
    ['CPUs', '[smp-opts]\n  cpus = "4"\n', 'refused'],
    ['a character device', '[chardev "c"]\n  backend = "null"\n', 'loads'],
    ['something else', '[frobnicator "x"]\n  y = "z"\n', 'unknown'],
  ])('%s', (_, text, answer) => {
    const verdicts = verdictsOf({ commandLine, readConfig: readConfig(text) });
    expect(answerOf(verdicts), JSON.stringify(verdicts)).toBe(answer);
  });

  test('memory', () => {
    const { destination } = parseTarget('qemu-7.2', {
      commandLine: 'qemu-system-x86_64 -readconfig more.cfg',
      readConfig: readConfig('[memory]\n  size = "64"\n'),
    });
    expect(destination?.memory?.bytes).toBe(64 * 2 ** 20);
  });
});

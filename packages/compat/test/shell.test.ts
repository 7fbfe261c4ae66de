import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { qemuCommands } from '../src/destination/shell.ts';

const words = (text: string): readonly string[] | undefined => qemuCommands(text).at(-1)?.words;

/** Texts in which a command is found, and its words from the program on. */
const TEXTS: readonly (readonly [what: string, text: string, words: readonly string[]])[] = [
  ['a command', 'qemu-system-x86_64 -m 1G', ['qemu-system-x86_64', '-m', '1G']],
  [
    'a launcher with options of its own',
    'nice -n 5 taskset -c 0 qemu-system-s390x -m 64',
    ['nice', '-n', '5', 'taskset', '-c', '0', 'qemu-system-s390x', '-m', '64'],
  ],
  [
    'output of ps',
    'libvirt+ 1 0 ? /usr/bin/qemu-system-x86_64 -device {"driver":"virtio-blk-pci","drive":"d 0"} -m 1',
    [
      'libvirt+',
      '1',
      '0',
      '?',
      '/usr/bin/qemu-system-x86_64',
      '-device',
      '{"driver":"virtio-blk-pci","drive":"d 0"}',
      '-m',
      '1',
    ],
  ],
  ['/proc/PID/cmdline', 'qemu-kvm\0-name\0a b\0', ['qemu-kvm', '-name', 'a b']],
  ['a JSON array', '["kvm","-name","a b"]', ['kvm', '-name', 'a b']],
  [
    'a log whose lines begin with a date in brackets',
    '[2026-11-28 10:00] qemu-system-x86_64 -m 1',
    ['[2026-11-28', '10:00]', 'qemu-system-x86_64', '-m', '1'],
  ],
  [
    'a unit of systemd',
    "[Unit]\nDescription=it's mine\n[Service]\nExecStart=/usr/bin/qemu-system-x86_64 -m 1 \\\n  -S\n",
    ['ExecStart=/usr/bin/qemu-system-x86_64', '-m', '1', '-S'],
  ],
  [
    'a script',
    '#!/bin/sh\n# don\'t -m 64\nM=32\nexport O="-m $M"\nexec qemu-system-x86_64 $O -name "a $M" -S > log 2>&1 # -m 64\necho -n done\n',
    ['exec', 'qemu-system-x86_64', '-m', '32', '-name', 'a 32', '-S'],
  ],
  [
    'options on lines of their own',
    'qemu-system-x86_64\n  -M pc\n  -m\n  1G\n',
    ['qemu-system-x86_64', '-M', 'pc', '-m', '1G'],
  ],
  ['options without a program', '-M pc\n-m 1G', ['-M', 'pc', '-m', '1G']],
  ['more commands in a line', 'cd /x && qemu-system-x86_64 -m 1; rm -f x', ['qemu-system-x86_64', '-m', '1']],
];

describe('what is the command in a text', () => {
  test.each(TEXTS)('%s', (_, text, expected) => {
    expect(words(text)).toEqual(expected);
  });

  test('a log of libvirt holds a command a start, and not its messages', () => {
    const start = (name: string): string =>
      `2026-11-28 10:00:00.000+0000: starting up libvirt version: 9.0.0, package: 1, qemu version: 7.2.22, kernel: 6.1\nLC_ALL=C \\\nHOME=/x \\\n/usr/bin/qemu-system-x86_64 \\\n-name guest=${name} \\\n-device '{"driver":"virtio-rng-pci"}' \\\n-msg timestamp=on\nchar device redirected to /dev/pts/1 (label charserial0)\n2026-11-28T10:00:01Z qemu-system-x86_64: terminating on signal 15 from pid 1 -x\n2026-11-28 10:00:02: shutting down, reason=shutdown\n`;
    const commands = qemuCommands(['a', 'b', 'c'].map(start).join(''));
    expect(commands.map((command) => command.words[4])).toEqual(['guest=a', 'guest=b', 'guest=c']);
    expect(commands.map((command) => command.words.at(-1))).toEqual([
      'timestamp=on',
      'timestamp=on',
      'timestamp=on',
    ]);
  });

  test.each(['$(nproc)', '`nproc`', '$CPUS', `$\{CPUS:-1}`])('%s is said not to be known', (text) => {
    const [command] = qemuCommands(`qemu-system-x86_64 -smp ${text}`);
    expect(command?.unknown.join()).toContain(text.slice(0, 4));
  });

  test('text without options', () => {
    expect(() => qemuCommands('hello')).toThrow('no options of QEMU');
  });
});

test('any words come back when they are quoted', () => {
  const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
  const word = fc.string({ unit: 'binary-ascii' }).filter((each) => !/[\0\r]/.test(each));
  fc.assert(
    fc.property(fc.array(word), (list) => {
      const found = words(['qemu-system-x86_64', '-S', ...list.map(quoted)].join(' '));
      expect(found).toEqual(['qemu-system-x86_64', '-S', ...list]);
    }),
  );
});

test('any text ends, with words or with a StateError', () => {
  const piece = fc.constantFrom(
    '{"',
    '"',
    "'",
    '$',
    '${',
    '$(',
    '`',
    '\\',
    '\n',
    '-',
    'A=(',
    ')',
    ' ',
    'qemu-system-x86_64',
    'x',
    ';',
    '}',
    '#',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      try {
        qemuCommands(pieces.join(''));
      } catch (error) {
        expect(error).toMatchObject({ name: 'StateError' });
      }
    }),
  );
});

// Help, manual pages and completion: what they say of a command is what the command takes.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseTarget, RELEASES } from '@virtkit/compat';
import { beforeAll, describe, expect, test } from 'vitest';
import { NOTES } from '../src/help/notes.ts';
import { root, useCommand } from './command.ts';

const { virtkit, program, home } = useCommand();
const has = (name: string): boolean => spawnSync(name, ['--version']).error === undefined;

/** A folder with what examples name, and a `virtkit` to find on the path. */
let folder = '';

function shell(name: string, script: string, ...args: readonly string[]): SpawnSyncReturns<string> {
  const env = { ...process.env, PATH: `${folder}/bin:${process.env['PATH']}`, HOME: folder };
  return spawnSync(name, ['-c', script, name, ...args], {
    cwd: folder,
    env,
    encoding: 'utf8',
    timeout: 120_000,
  });
}

/** The manual pages by the name of the command; `''` is that of the program. They are made of the same table as the help. */
const pages = new Map<string, string>();

beforeAll(() => {
  folder = join(home(), 'folder');
  mkdirSync(join(folder, 'bin'), { recursive: true });
  writeFileSync(join(folder, 'bin/virtkit'), `#!/bin/sh\nexec '${process.execPath}' '${program()}' "$@"\n`);
  chmodSync(join(folder, 'bin/virtkit'), 0o755);
  const stream = `${root}packages/lab/streams/10.0.13/q100-q35-inflight-mq.mig.gz`;
  for (const name of ['guest.mig', 'there.mig']) copyFileSync(stream, join(folder, name));
  virtkit(['man', '-o', join(folder, 'man')]);
  for (const name of readdirSync(join(folder, 'man'))) {
    const [, command = ''] = /^virtkit-?(.*)\.1$/.exec(name) ?? [];
    pages.set(command, readFileSync(join(folder, 'man', name), 'utf8').replaceAll('\\-', '-'));
  }
}, 60_000);

describe('help', () => {
  test('each command has examples and exit codes, and there are none of other commands', () => {
    const [, list = ''] = virtkit(['--help']).stdout.split('Commands:\n');
    const commands = [...list.matchAll(/^ {2}([a-z]+) /gm)].map(([, name = '']) => name);
    expect([...Object.keys(NOTES), 'help'].sort()).toEqual(commands.sort());
    for (const name of ['check', 'man']) {
      const { stdout } = virtkit([name, '--help']);
      expect(stdout, name).toMatch(/\nExamples:\n {2}\S.*\n {6}\S.*\n {2}\S/);
      expect(stdout, name).toMatch(/\nExit codes:\n {2}0 {2}\S.*\n(?:.*\n)* {2}2 {2}an option/);
    }
  });

  test('the examples name options that their command has', () => {
    for (const [name, { examples }] of Object.entries(NOTES)) {
      for (const [line] of examples) {
        const [, own = ''] = line.replace('| man -l -', '').split(`virtkit ${name}`);
        for (const [option] of own.matchAll(/(?<= )--?[a-z][a-z-]*/g))
          expect(pages.get(name), line).toMatch(new RegExp(`^(?!\\[).*\\\\fB${option}\\\\fR`, 'm'));
      }
    }
  });

  test.each(
    ['inspect', 'verify', 'steps', 'diff', 'convert'].flatMap((name) =>
      (NOTES[name]?.examples ?? []).map(([line]) => line).filter((line) => !/qcow2|zstdcat/.test(line)),
    ),
  )('an example with its files: %s', (line) => {
    const { status, stderr } = shell('sh', line);
    expect([0, 1], stderr).toContain(status);
  });
});

describe('completion', () => {
  const TABLE: readonly (readonly [line: string, words: readonly string[]])[] = [
    ['virtkit che', ['check']],
    ['virtkit help che', ['check']],
    ['virtkit check --target rhel-9.6', ['rhel-9.6']],
    ['virtkit check guest.mig --host-k', ['--host-kernel']],
    ['virtkit convert --to proxmox-', ['proxmox-7', 'proxmox-8', 'proxmox-9']],
    ['virtkit check --format j', ['json', 'junit']],
    ['virtkit completion ', ['bash', 'zsh', 'fish']],
    ['virtkit receive --out', ['--output']],
  ];

  test('names all targets, and none that check does not know', () => {
    const { stdout } = virtkit(['completion', 'bash']);
    const [, words = ''] = /'check --target'\) words='(.*)'/.exec(stdout) ?? [];
    const targets = words.split(' ');
    for (const target of targets) expect(() => parseTarget(target), target).not.toThrow();
    expect(targets).toEqual(expect.arrayContaining(RELEASES.map(({ name }) => name)));
  });

  test('in bash', () => {
    const lines = [
      ...TABLE,
      // as bash cuts --target=rhel-9.6
      ['virtkit check --target = rhel-9.6', ['rhel-9.6']],
      ['virtkit check --format =', ['text', 'json', 'prometheus', 'junit']],
      // no words of ours: names of files, which bash has
      ['virtkit inspect gu', ['']],
      ['virtkit check --domain ', ['']],
      ['virtkit check guest.mig --qemu /usr/', ['']],
    ] as const;
    const script = [
      'set -eu; source <(virtkit completion bash)',
      'for line; do IFS=" "; COMP_WORDS=($line)',
      'case $line in *" ") COMP_WORDS+=("") ;; esac',
      `COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); IFS=$' \n'; _virtkit; echo "\${COMPREPLY[*]-}"; done`,
      'complete -p virtkit',
    ];
    const { stdout, stderr } = shell('bash', script.join('\n'), ...lines.map(([line]) => line));
    expect(stderr).toBe('');
    const answers = stdout.trimEnd().split('\n');
    expect(answers.map((answer) => answer.split(' ')).slice(0, -1)).toEqual(
      lines.map(([, words]) => [...words]),
    );
    expect(answers.at(-1)).toContain('-o default');
  });

  test.skipIf(!has('fish'))('in fish', () => {
    const lines = [...TABLE.map(([line]) => line), 'virtkit inspect guest.m'];
    const each = lines.map((line) => `echo (complete -C '${line}' | string replace -r '\\t.*' '')`);
    const { stdout, stderr } = shell('fish', `virtkit completion fish | source\n${each.join('\n')}`);
    expect(stderr).toBe('');
    const answers = stdout.trimEnd().split('\n');
    for (const [at, [line, words]] of TABLE.entries())
      expect(answers[at]?.split(' ').sort(), line).toEqual([...words].sort());
    expect(answers.at(-1)).toBe('guest.mig');
  });

  test.skipIf(!has('zsh'))('in zsh', () => {
    const unique = TABLE.filter(([, words]) => words.length === 1);
    const lines = [...unique.map(([line]) => line), 'virtkit inspect guest.m'];
    // a shell at a terminal, where a key completes each line and writes down what became of it
    const widget = `t() { for BUFFER in ${lines.map((line) => `'${line}'`).join(' ')}; do CURSOR=$#BUFFER; zle complete-word; print -r -- "$BUFFER" >> answers; done; exit; }`;
    const setup = `PS1=; autoload -Uz compinit; compinit -u -D; source <(virtkit completion zsh); ${widget}; zle -N t; bindkey '^T' t`;
    const driver = `zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z "$1"; zpty -w -n z $'\\C-t'; while zpty -r z line; do :; done; cat answers`;
    const { stdout, stderr } = shell('zsh', driver, setup);
    expect(stderr).toBe('');
    const answers = stdout.trimEnd().split('\n');
    for (const [at, [line, [word = '']]] of unique.entries())
      expect(answers[at]?.replace(/[ =]$/, ''), line).toBe(line.replace(/[^ ]*$/, word));
    expect(answers.at(-1)?.trimEnd()).toBe('virtkit inspect guest.mig');
  });

  test('of a shell that is not known: usage', () => {
    const { status, stderr } = virtkit(['completion', 'csh']);
    expect([status, stderr]).toEqual([2, expect.stringContaining('bash, zsh, fish')]);
  });
});

describe('manual pages', () => {
  test('a command that there is not: usage', () => {
    const { status, stderr } = virtkit(['man', 'nothing']);
    expect([status, stderr]).toEqual([2, expect.stringContaining('inspect, verify')]);
  });

  test('each has its sections, and the options that the help has', () => {
    expect([...pages.keys()].sort()).toEqual(['', ...Object.keys(NOTES)].sort());
    for (const name of Object.keys(NOTES))
      for (const section of ['NAME', 'SYNOPSIS', 'OPTIONS', 'EXIT STATUS', 'EXAMPLES'])
        expect(pages.get(name), name).toContain(`.SH ${section}\n`);
    const [, options = ''] = virtkit(['check', '--help']).stdout.split('Options:\n');
    for (const [, option = ''] of options.matchAll(/^ {2}(--[a-z-]+)/gm))
      expect(pages.get('check')).toContain(`.TP\n\\fB${option}\\fR`);
    expect(pages.get('check')).toContain('.TP\n\\fB-h\\fR, \\fB--help\\fR\n');
  });

  test('the package has each of them', () => {
    const manifest = JSON.parse(readFileSync(`${root}packages/cli/package.json`, 'utf8')) as {
      readonly man: unknown;
    };
    const names = ['virtkit', ...Object.keys(NOTES).map((name) => `virtkit-${name}`)];
    expect(manifest.man).toEqual(names.map((name) => `./dist/man/${name}.1`));
  });

  test.skipIf(!has('groff'))('groff has nothing to say against them', () => {
    const files = [...pages.keys()].map((name) =>
      join(folder, 'man', name === '' ? 'virtkit.1' : `virtkit-${name}.1`),
    );
    const { stderr, stdout } = spawnSync('groff', ['-wall', '-man', '-Tutf8', ...files], {
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(stdout).toContain('display help for command');
  });

  test('a folder that cannot be written: said', () => {
    const { status, stderr } = virtkit(['man', '-o', join(folder, 'guest.mig/man')]);
    expect([status, stderr]).toEqual([3, expect.stringContaining('guest.mig/man')]);
  });
});

// `check --qemu` asks a real QEMU what it makes of a command line, and that QEMU touches nothing.
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findQemu, withQemu } from '@virtkit/lab';
import { describe, expect, test, vi } from 'vitest';
import { askQemu } from '../src/ask-qemu.ts';
import { root, useCommand } from './command.ts';

const { virtkit, home, shell } = useCommand();
const binary = findQemu('x86_64', { root: '' });
const here = binary?.version.startsWith('7.2') === true;
if (!here) console.warn('SKIPPED: check --qemu, for there is no qemu-system-x86_64 7.2');

const STREAM = join(root, 'packages/lab/streams/7.2.22/q72-pc-idle.mig.gz');
const own: readonly string[] = JSON.parse(
  readFileSync(STREAM.replace('.mig.gz', '.json')).toString(),
).command_line.filter(
  (word: string, at: number, words: readonly string[]) =>
    !/^-(kernel|initrd|append)$/.test(word) && !/^-(kernel|initrd|append)$/.test(words[at - 1] ?? ''),
);
const TARGET = ['--target', 'qemu-7.2,capabilities=x-ignore-shared'];

function check(words: readonly string[]): {
  readonly answer: string;
  readonly status: number | null;
  readonly text: string;
} {
  const program = binary?.command[0] ?? '';
  const { stdout, stderr, status } = virtkit([
    'check',
    STREAM,
    ...TARGET,
    '--json',
    '--qemu',
    program,
    '--args',
    JSON.stringify(words),
  ]);
  const answer: string = stdout.startsWith('{') ? JSON.parse(stdout).answer : '';
  return { answer, status, text: stdout + stderr };
}

describe.skipIf(!here)('a QEMU that is asked', () => {
  test.each([
    ['its own command line', [], 'loads'],
    ['another device beside', ['-device', 'virtio-rng-pci'], 'loads'],
    ['a disk of other queues', ['-global', 'virtio-blk-device.num-queues=3'], 'refused'],
    ['a disk elsewhere', ['-set', 'device.blk0.addr=9'], 'refused'],
    ['a device of the host, behind the others', ['-device', 'vfio-pci,host=00:00.0'], 'loads'],
    ['an option that nobody knows', ['-frobnicate', 'x'], 'unknown'],
  ] as const)('%s', { timeout: 120_000 }, (_, more, answer) => {
    const checked = check([...own, ...more]);
    expect(checked.answer, checked.text).toBe(answer);
  });

  test('devices on USB and SCSI, and without a bus, are where it has them', {
    timeout: 120_000,
  }, async () => {
    if (binary === undefined) return;
    const devices = [
      ...['-nodefaults', '-no-user-config', '-device', 'pcie-root-port,id=rp,chassis=1,slot=1,port=3'],
      ...['-device', 'qemu-xhci,bus=rp,id=x', '-device', 'usb-tablet,bus=x.0', '-device', 'vmcoreinfo'],
      ...['-device', 'intel-hda', '-device', 'hda-duplex', '-device', 'lsi,id=s'],
      ...['-drive', 'if=none,id=d,file.driver=null-co,format=raw'],
      ...['-device', 'scsi-hd,drive=d,bus=s.0,scsi-id=2'],
    ];
    const file = join(home(), 'others.mig');
    const options = { arch: 'x86_64', binary, machine: 'pc-q35-7.2', memoryMiB: 32, paused: true } as const;
    const own = await withQemu({ ...options, sharedMemory: false, args: devices }, async (vm) => {
      writeFileSync(file, await vm.migrate());
      return vm.commandLine;
    });
    const answers = [own, own.map((word) => word.replace('scsi-id=2', 'scsi-id=3'))].map((line) => {
      const { stdout, stderr } = virtkit([
        ...['check', file, '--target', 'qemu-7.2', '--json', '--qemu', binary.command[0] ?? ''],
        ...['--args', JSON.stringify(line)],
      ]);
      return stdout.startsWith('{') ? JSON.parse(stdout).answer : stderr;
    });
    expect(answers).toEqual(['loads', 'refused']);
  });

  test('a command line that it does not take', { timeout: 120_000 }, () => {
    const { status, text } = check([...own, '-device', 'frobnicator']);
    expect(status).toBe(2);
    expect(text).toContain("'frobnicator' is not a valid device model name");
  });

  test('nothing is made, locked or listened to', { timeout: 120_000 }, () => {
    const directory = join(home(), 'empty');
    mkdirSync(directory);
    const file = (name: string): string => join(directory, name);
    const words = [
      ...own,
      ...['-pidfile', file('pid'), '-daemonize', '-D', file('log'), '-d', 'guest_errors'],
      ...['-serial', `file:${file('serial')}`, '-monitor', `unix:${file('mon')},server,nowait`],
      ...['-chardev', `file,id=f,path=${file('file')}`, '-qmp', `unix:${file('qmp')},server,nowait`],
      ...['-vnc', `unix:${file('vnc')}`, '-incoming', `unix:${file('incoming')}`],
      ...['-netdev', 'user,id=u,hostfwd=tcp:127.0.0.1:1-:22'],
      ...['-object', `filter-dump,id=d,netdev=u,file=${file('dump')}`],
      ...['-object', `memory-backend-file,id=more,size=1M,share=on,mem-path=${file('memory')}`],
      ...['-snapshot', '-msg', 'timestamp=on', '-gdb', 'tcp::1', '-trace', `file=${file('trace')}`],
      ...['-hda', file('disk'), '-drive', `if=none,id=more,format=raw,file=${file('drive')}`],
    ];
    writeFileSync(join(home(), 'words.json'), JSON.stringify(words));
    const command = `cd '${directory}' && TMPDIR='${home()}' $V check '${STREAM}' ${TARGET.join(' ')} --qemu '${binary?.command[0]}' --args ../words.json`;
    const { stdout, stderr, status } = shell(command);
    expect(readdirSync(directory), stdout + stderr).toEqual([]);
    // its own directory goes with it
    expect(readdirSync(home()).filter((name) => name.startsWith('virtkit-ask'))).toEqual([]);
    expect(status, stdout + stderr).toBe(0);
  });
});

test('--qemu without a command line, and a program that is not there', () => {
  expect(virtkit(['check', STREAM, ...TARGET, '--qemu', 'x']).stderr).toContain('--args');
  const { stderr, status } = virtkit([
    'check',
    STREAM,
    ...TARGET,
    '--qemu',
    '/nowhere/qemu',
    '--args',
    '-M pc',
  ]);
  expect(status).toBe(2);
  expect(stderr).toContain('/nowhere/qemu');
});

test('--start takes a number', () => {
  const { stderr, status } = virtkit(['check', STREAM, ...TARGET, '--start', '0', '--args', '-M pc']);
  expect(status).toBe(2);
  expect(stderr).toContain('--start 0');
});

describe('a program that is asked, and is no QEMU', () => {
  function program(script: string): string {
    const path = join(home(), 'no-qemu');
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  test('says nothing: given up after 60 s', async () => {
    const real = globalThis.setTimeout;
    const asked: number[] = [];
    const hasty = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((run: () => void, ms = 0) => {
      asked.push(ms);
      return real(run, ms === 60_000 ? 100 : ms);
    }) as typeof setTimeout);
    try {
      await expect(askQemu(program('exec sleep 1000'), [])).rejects.toThrow('no answer in time');
      expect(asked).toContain(60_000);
    } finally {
      hasty.mockRestore();
    }
  });

  test('says more than 32 MiB, in one line or in many: not read on', async () => {
    const line = '{"event": "X"}';
    await expect(askQemu(program(`exec yes '${line}'`), [])).rejects.toThrow(
      'more than 33554432 bytes of answers',
    );
    await expect(askQemu(program("exec tr '\\000' x </dev/zero"), [])).rejects.toThrow(
      'more than 33554432 bytes of answers',
    );
  });

  test('complains without end: 64 KiB are shown, and the piece that came with them', async () => {
    const complaint = askQemu(program("head -c 4000000 /dev/zero | tr '\\000' x >&2"), []);
    const error: unknown = await complaint.catch((thrown: unknown) => thrown);
    const text = error instanceof Error ? error.message : '';
    expect(text).toContain('it did not start with this command line: xxx');
    expect(text.length).toBeGreaterThan(2 ** 16);
    expect(text.length).toBeLessThan(2 * 2 ** 16 + 1000);
  });
});

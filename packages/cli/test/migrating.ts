// Real QEMUs that migrate, and the command at one end or between them.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { delay, findQemu, isObject, type JsonObject, Qemu } from '@virtkit/lab';
import { afterEach, beforeEach } from 'vitest';
import { type TestCommand, useCommand } from './command.ts';

export const binary = findQemu('x86_64', { root: '' });
if (binary === undefined) console.warn('SKIPPED: no qemu-system-x86_64');

const WAIT_MS = 60_000;
const ARGS = [
  ...['-blockdev', 'driver=null-co,size=67108864,read-zeroes=on,node-name=d0'],
  ...['-device', 'virtio-blk-pci,drive=d0', '-netdev', 'user,id=n0,restrict=on'],
  ...['-device', 'virtio-net-pci,netdev=n0,romfile='],
];

export interface Running {
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  readonly ended: Promise<number | null>;
}

export interface Migrating {
  /** A directory for one test's files. */
  home(): string;
  /** A machine with a disk and a card, closed after the test. */
  guest(options?: { readonly incoming?: boolean; readonly paused?: boolean }): Promise<Qemu>;
  close(vm: Qemu): Promise<void>;
  /** Starts the command, killed after the test. */
  virtkit(...args: readonly string[]): Running;
  /** Runs a line of sh in which `$V` is the command. */
  shell: TestCommand['shell'];
}

/** For a whole test file. */
export function useMigrating(): Migrating {
  const command = useCommand();
  let home = '';
  const machines: Qemu[] = [];
  const children: ChildProcess[] = [];
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'virtkit-migrating-'));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const vm of machines.splice(0)) await vm.close();
    rmSync(home, { recursive: true, force: true });
  });
  return {
    home: () => home,
    shell: command.shell,
    guest: async (options = {}) => {
      if (binary === undefined) throw new Error('no QEMU');
      const machine = { arch: 'x86_64', binary, machine: 'pc', memoryMiB: 64, sharedMemory: false } as const;
      const vm = await Qemu.start({ ...machine, args: ARGS, ...options });
      machines.push(vm);
      return vm;
    },
    close: async (vm) => {
      machines.splice(machines.indexOf(vm), 1);
      await vm.close();
    },
    virtkit: (...args) => {
      const running = start(join(command.home(), 'dist', 'cli.js'), args);
      children.push(running.child);
      return running;
    },
  };
}

function start(program: string, args: readonly string[]): Running {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, stdout: () => stdout, stderr: () => stderr, ended };
}

export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${WAIT_MS / 1000} s`);
    await delay(10);
  }
}

export const listening = (running: Running): Promise<void> =>
  until('listening', () => running.stderr().includes('waiting on'));

export async function migrate(
  vm: Qemu,
  path: string,
  { bandwidth = 1 << 30, capabilities = [] as readonly string[] } = {},
): Promise<void> {
  await vm.setCapabilities(capabilities);
  await vm.qmp.execute('migrate-set-parameters', { 'max-bandwidth': bandwidth });
  await vm.qmp.execute('migrate', { uri: `unix:${path}` });
}

/** Of its migration, as QEMU names it; empty where there was none. */
export async function statusOf(vm: Qemu): Promise<string> {
  const info = await vm.qmp.execute('query-migrate');
  return isObject(info) ? String(info['status'] ?? '') : '';
}

/** How its migration ended. */
export async function ended(vm: Qemu): Promise<string> {
  await until('migration', async () => /completed|failed|cancelled/.test(await statusOf(vm)));
  return statusOf(vm);
}

export async function runs(vm: Qemu): Promise<boolean> {
  return ((await vm.qmp.execute('query-status')) as JsonObject)['running'] === true;
}

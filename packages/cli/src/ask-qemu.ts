import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AskedQemu } from '@virtkit/compat';
import { UsageError } from './usage.ts';

/** Milliseconds after which a QEMU that has not answered is ended. */
const PATIENCE_MS = 60_000;
/** Largest number of bytes that are taken of what a QEMU prints. */
const OUTPUT_BYTES = 32 * 2 ** 20;
const ERROR_BYTES = 2 ** 16;
const LINE_FEED = 10;

/** Question to a QEMU, by QMP. */
export interface Question {
  readonly execute: string;
  readonly arguments?: object;
  /** True if an error is an answer, too: it stands for undefined. */
  readonly mayFail?: true;
}

const QUESTIONS: readonly Question[] = [
  { execute: 'query-version' },
  { execute: 'qom-get', arguments: { path: '/machine', property: 'type' } },
  { execute: 'query-cpus-fast' },
  { execute: 'human-monitor-command', arguments: { 'command-line': 'info qtree' } },
  { execute: 'human-monitor-command', arguments: { 'command-line': 'info ramblock' } },
];

/** Answers of a QEMU, and its version: `7.2`. */
export interface Answered extends AskedQemu {
  readonly version: string;
}

/**
 * Starts a QEMU with options that touch nothing (`askingCommand`), asks it what it made, and ends it.
 *
 * @throws UsageError if it does not start, or does not answer
 */
export async function askQemu(binary: string, options: readonly string[]): Promise<Answered> {
  const [version, type, cpus, tree, blocks] = await askQmp(binary, options, QUESTIONS);
  const { major, minor } = (version as { qemu: { major: number; minor: number } }).qemu;
  return {
    version: `${major}.${minor}`,
    type: String(type),
    cpus: (cpus as readonly unknown[]).length,
    tree: String(tree),
    blocks: String(blocks),
  };
}

/**
 * Starts a QEMU, asks it by QMP on its standard input, and ends it. One answer a question, in their order.
 *
 * @throws UsageError if it does not start, does not answer in time, answers more than 32 MiB, or answers with an error
 */
export async function askQmp(
  binary: string,
  options: readonly string[],
  questions: readonly Question[],
): Promise<unknown[]> {
  const directory = mkdtempSync(join(tmpdir(), 'virtkit-ask-'));
  try {
    const all = [{ execute: 'qmp_capabilities' }, ...questions, { execute: 'quit' }];
    return (await answers(binary, options, all, directory)).slice(1);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Lists the answers, one a question, in their order. */
function answers(
  binary: string,
  options: readonly string[],
  questions: readonly Question[],
  directory: string,
): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    // its first current directory is empty, so that a file that it makes all the same goes with it
    const qemu = spawn(binary, [...options, '-qmp', 'stdio'], { cwd: directory, stdio: 'pipe' });
    const found: unknown[] = [];
    let [output, errors, read] = ['', '', 0];
    const fail = (why: string): void => {
      qemu.kill('SIGKILL');
      const said = errors.trim();
      reject(new UsageError(`--qemu ${binary}: ${why}${said === '' ? '' : `: ${said}`}`));
    };
    const timer = setTimeout(() => fail('no answer in time'), PATIENCE_MS);
    qemu.once('error', (error) => fail(error.message));
    qemu.stdin.on('error', () => {});
    qemu.stderr.on('data', (chunk: Buffer) => {
      if (errors.length < ERROR_BYTES) errors += chunk.toString();
    });
    qemu.stdout.on('data', (chunk: Buffer) => {
      read += chunk.length;
      if (read > OUTPUT_BYTES) {
        fail(`more than ${OUTPUT_BYTES} bytes of answers`);
        return;
      }
      output += chunk.toString();
      // a line that is long is not looked through again with each piece of it
      if (!chunk.includes(LINE_FEED)) return;
      const lines = output.split('\n');
      output = lines.pop() ?? '';
      for (const line of lines) take(line, questions, found, fail);
    });
    qemu.once('close', () => {
      clearTimeout(timer);
      if (found.length >= questions.length - 1) resolve(found);
      else fail('it did not start with this command line');
    });
    qemu.stdin.write(
      questions.map(({ mayFail: _, ...question }) => `${JSON.stringify(question)}\n`).join(''),
    );
  });
}

function take(
  line: string,
  questions: readonly Question[],
  found: unknown[],
  fail: (why: string) => void,
): void {
  let message: { readonly return?: unknown; readonly error?: { readonly desc?: string } } = {};
  try {
    message = JSON.parse(line);
  } catch {
    fail(`not QMP: ${line.slice(0, 80)}`);
  }
  if (message.error !== undefined && questions[found.length]?.mayFail === true) found.push(undefined);
  else if (message.error !== undefined) fail(`it answers ${message.error.desc ?? 'an error'}`);
  else if ('return' in message) found.push(message.return);
}

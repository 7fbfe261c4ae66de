// Runs a real QEMU with a command line that a shell takes apart: makes its stream, or loads one.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { QemuBinary } from '@virtkit/lab';

/** What a load came to. `start`: QEMU did not take the command line, or did not answer in time. */
export interface Outcome {
  readonly result: 'loads' | 'refused' | 'start';
  readonly stderr: string;
}

const ASK_EVERY_MS = 30;
/** A QEMU that says nothing for so long is taken for one that did not start. */
const PATIENCE_MS = 60_000;
const MIGRATED = /"status": "(completed|failed)"/;

/** A shell runs the text; the function in place of the program adds words of ours. */
async function run(
  binary: QemuBinary,
  line: string,
  more: readonly string[],
  then?: { readonly execute: string; readonly arguments: object },
): Promise<{ status: string; stderr: string; greeted: boolean }> {
  const words = (list: readonly string[]): string =>
    list.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const own = ['-S', '-display', 'none', '-qmp', 'stdio', ...more];
  const script = `qemu-system-${binary.arch}() { exec ${words(binary.command)} "$@" ${words(own)}; }\n${line}`;
  const qemu = spawn('bash', ['-c', script], { env: { ...process.env, ...binary.env } });
  const closed = new Promise<void>((resolve) => qemu.once('close', () => resolve()));
  let [output, stderr] = ['', ''];
  qemu.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  qemu.stdin.on('error', () => {});
  const say = (command: object): void => void qemu.stdin.write(`${JSON.stringify(command)}\n`);
  const done = new Promise<void>((resolve) => {
    qemu.stdout.on('data', (chunk: Buffer) => {
      output += chunk;
      if (MIGRATED.test(output)) resolve();
    });
  });
  say({ execute: 'qmp_capabilities' });
  if (then !== undefined) say(then);
  const asking = setInterval(() => say({ execute: 'query-migrate' }), ASK_EVERY_MS);
  let isLate = false;
  const late = new Promise<void>((resolve) => {
    setTimeout(() => {
      isLate = true;
      resolve();
    }, PATIENCE_MS).unref();
  });
  await Promise.race([done, closed, late]);
  clearInterval(asking);
  qemu.kill('SIGKILL');
  await closed;
  return {
    status: MIGRATED.exec(output)?.[1] ?? '',
    stderr,
    greeted: output.includes('"return"') && !isLate,
  };
}

function inDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'virtkit-lines-'));
  return work(directory).finally(() => rmSync(directory, { recursive: true, force: true }));
}

/** The stream of a machine that never ran. */
export function streamOf(binary: QemuBinary, line: string): Promise<Buffer> {
  return inDirectory(async (directory) => {
    const file = join(directory, 'stream');
    const migrate = { execute: 'migrate', arguments: { uri: `exec:cat > ${file}` } };
    const { status, stderr } = await run(binary, line, [], migrate);
    if (status !== 'completed') throw new Error(`no stream of ${line}: ${stderr}`);
    return readFileSync(file);
  });
}

/** What that QEMU says to a stream. */
export function loadInto(binary: QemuBinary, line: string, stream: Uint8Array): Promise<Outcome> {
  return inDirectory(async (directory) => {
    const file = join(directory, 'stream');
    writeFileSync(file, stream);
    const { status, stderr, greeted } = await run(binary, line, ['-incoming', `exec:cat ${file}`]);
    if (status === 'completed') return { result: 'loads', stderr };
    const tried =
      status === 'failed' || greeted || /load of migration failed|error while loading/.test(stderr);
    return { result: tried ? 'refused' : 'start', stderr };
  });
}

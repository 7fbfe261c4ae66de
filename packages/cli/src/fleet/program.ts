// Other programs whose output is read: virsh, kubectl, pvesh, qm.
import { spawn } from 'node:child_process';

/** Largest number of bytes that are taken of what a program prints. */
const OUTPUT_BYTES = 2 ** 26;
const ERROR_BYTES = 2 ** 12;
/** Milliseconds after which a program that has not ended is ended. */
const PATIENCE_MS = 60_000;

/**
 * Runs a program and takes what it prints.
 * @throws Error with the program's own words if it does not start, ends with a failure, takes longer than a minute, or
 * prints more than 64 MiB
 */
export function outputOf(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks: Buffer[] = [];
    let [bytes, said] = [0, ''];
    const fail = (why: string): void => {
      child.kill('SIGKILL');
      reject(new Error(`${program} ${args[0] ?? ''}: ${why}`));
    };
    const timer = setTimeout(() => fail('no end in a minute'), PATIENCE_MS);
    child.once('error', (error: NodeJS.ErrnoException) =>
      fail(error.code === 'ENOENT' ? 'there is no such program' : error.message),
    );
    child.stderr.on('data', (chunk: Buffer) => {
      if (said.length < ERROR_BYTES) said += chunk.toString();
    });
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > OUTPUT_BYTES) fail(`more than ${OUTPUT_BYTES} bytes of output`);
      else chunks.push(chunk);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      if (code === 0) resolve(Buffer.concat(chunks).toString('utf8'));
      else fail(said.trim() === '' ? `exit code ${String(code)}` : said.trim());
    });
  });
}

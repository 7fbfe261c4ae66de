// Packed data through the program that packs it: libvirt has written it with the same one.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { Packing } from '@virtkit/migration/files';
import { StateError } from '@virtkit/vmstate';

/** Number of characters that are kept of what the program says of errors. */
const SAID_MAX = 1000;

/** Is there a program of this name? */
export function isInstalled(program: Packing): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return directory !== '';
    } catch {
      return false;
    }
  });
}

/**
 * Unpacks chunks with `xz -dc` and programs like it. The program is fed as fast as it takes them, and what it gives
 * waits in the pipe.
 *
 * @param chunks lent until the next one is asked for
 * @throws StateError with the packing's name for damaged data, after all that could be had of it
 */
export async function* throughProgram(
  chunks: AsyncGenerator<Uint8Array, undefined>,
  packing: Packing,
): AsyncGenerator<Uint8Array, undefined> {
  const child = spawn(packing, ['-dc'], { stdio: 'pipe' });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(0, SAID_MAX);
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', ({ message }) => resolve(message));
    child.once('close', (code) => resolve(code === 0 ? '' : said.trim() || `${packing} ended with ${code}`));
  });
  const fed = feed(chunks, child).then(
    () => undefined,
    (error: unknown) => error,
  );
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    const problem = await ended;
    const error = await fed;
    if (error !== undefined) throw error;
    if (problem === '') return;
    const reason = `the ${packing} data cannot be unpacked: ${problem}`;
    throw new StateError(packing, reason, {}, { layer: 'stream' });
  } finally {
    child.kill('SIGKILL');
  }
}

async function feed(
  chunks: AsyncIterable<Uint8Array>,
  { stdin }: ChildProcessByStdio<Writable, Readable, Readable>,
): Promise<void> {
  // a program that finds its end, or damage, takes no more
  let closed = false;
  const gone = new Promise<void>((resolve) => {
    const end = (): void => {
      closed = true;
      resolve();
    };
    stdin.on('error', end).on('close', end);
  });
  for await (const chunk of chunks) {
    if (closed) return;
    const room = new Promise<void>((resolve) => stdin.write(chunk.slice(), () => resolve()));
    await Promise.race([room, gone]);
  }
  stdin.end();
}

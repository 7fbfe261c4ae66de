import { closeSync, createReadStream, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { QCOW2_MAGIC } from '@virtkit/migration/files';
import { isStateError, StateError } from '@virtkit/vmstate';
import { snapshotStream } from './qcow2.ts';
import { isSystemError, systemError } from './system-error.ts';
import { unpacked } from './unpack.ts';

/** Number of bytes that are read at a time: more than a pipe gives, few enough to stay in the cache. */
const CHUNK_BYTES = 1 << 18;
/** Descriptor of standard input. */
const STDIN = 0;

/**
 * Hands the bytes of a file, or for `-` of standard input, to `take`; unpacked if they are packed. Of a qcow2 image: the
 * machine's state of a snapshot, `FILE#NAME` where there are several.
 *
 * Reads are synchronous, into one buffer: a third less CPU than Node's streams, and nothing else is waiting.
 *
 * @param owned each chunk gets memory of its own, so that it may be kept
 * @param take answers false if it wants no more
 * @throws StateError `gzip`, `zstd`, `qcow2`, and those of `formatOf`; Error with the file's name for what the system refuses
 */
export async function readFileOrPipe(
  file: string,
  owned: boolean,
  take: (chunk: Uint8Array) => unknown,
): Promise<void> {
  try {
    const { path, snapshot } = splitName(file);
    const fd = path === '-' ? STDIN : openSync(path, 'r');
    try {
      const inside = fd === STDIN ? undefined : streamInImage(fd, snapshot);
      const chunks = inside ?? unpacked(chunksOf(fd));
      for await (const chunk of chunks) if (take(owned ? chunk.slice() : chunk) === false) return;
    } finally {
      if (fd !== STDIN) closeSync(fd);
    }
  } catch (error) {
    throw inputError(file, error);
  }
}

/**
 * Makes the error for what keeps an input from being read, with its name. Errors that are not the system's stay as they
 * are.
 */
function inputError(file: string, error: unknown): unknown {
  if (isStateError(error) || !isSystemError(error)) return error;
  if (error.code === 'ENXIO') return new Error(`${file}: is a socket, and no file`);
  return systemError(file === '-' ? 'standard input' : file, error);
}

/** Splits a name into a file's path and the snapshot in it behind a `#`, where no file has the whole name. */
function splitName(file: string): { readonly path: string; readonly snapshot: string | undefined } {
  for (let at = file.indexOf('#'); at >= 0 && !existsSync(file); at = file.indexOf('#', at + 1)) {
    const path = file.slice(0, at);
    if (existsSync(path)) return { path, snapshot: file.slice(at + 1) };
  }
  return { path: file, snapshot: undefined };
}

/** Finds the path of the file itself, where a snapshot in it is named as well. */
export function pathOf(file: string): string {
  return splitName(file).path;
}

/** Finds the stream in a qcow2 image. @throws StateError `format` where a snapshot is named and the file is no image */
function streamInImage(fd: number, snapshot: string | undefined): Generator<Uint8Array> | undefined {
  const first = new Uint8Array(4);
  // a pipe has no positions
  const isImage =
    fstatSync(fd).isFile() &&
    readSync(fd, first, 0, 4, 0) === 4 &&
    new DataView(first.buffer).getUint32(0) === QCOW2_MAGIC;
  if (isImage) return snapshotStream(fd, snapshot);
  if (snapshot === undefined) return undefined;
  const reason = `snapshot ${snapshot} is asked for, and the file is no qcow2 image`;
  throw new StateError('format', reason, {}, { layer: 'stream', offset: 0 });
}

/**
 * Reads a file, or for `-` standard input, in chunks that wait for whoever takes them; unpacked if it is packed.
 *
 * @param stop ends a wait for the next one, with an error
 * @throws StateError `gzip`; Error with the file's name for what the system refuses
 */
export async function* streamOf(file: string, stop?: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* chunksFrom(file, stop);
  } catch (error) {
    throw inputError(file, error);
  }
}

/**
 * Sees to it that a file can be read, before anything is begun for which it is needed. @throws Error with the file's
 * name
 */
export function checkReadable(file: string): void {
  if (file === '-') return;
  try {
    const { path } = splitName(file);
    // a pipe is opened once
    if (statSync(path).isFIFO()) return;
    const fd = openSync(path, 'r');
    const directory = fstatSync(fd).isDirectory();
    closeSync(fd);
    if (directory) throw new Error(`${file}: is a directory`);
  } catch (error) {
    throw inputError(file, error);
  }
}

async function* chunksFrom(file: string, stop: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const { path, snapshot } = splitName(file);
  // once: whoever writes to a pipe would take a second time for the end
  const fd = path === '-' ? STDIN : openSync(path, 'r');
  const inside = fd === STDIN ? undefined : imageAt(fd, snapshot);
  if (inside === undefined) {
    yield* unpacked(chunksOfStream(streamAt(fd), stop));
    return;
  }
  try {
    for (const chunk of inside) yield chunk.slice();
  } finally {
    closeSync(fd);
  }
}

/** Finds the stream in an image as {@link streamInImage} does; the file is closed if that fails. */
function imageAt(fd: number, snapshot: string | undefined): Generator<Uint8Array> | undefined {
  try {
    return streamInImage(fd, snapshot);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Opens a stream of a descriptor. A pipe is read as a socket: a read of a file that waits for its writer cannot be
 * taken back, and keeps the program.
 */
function streamAt(fd: number): Readable {
  if (fd === STDIN) return process.stdin;
  if (fstatSync(fd).isFIFO()) return new Socket({ fd, readable: true, writable: false });
  return createReadStream('', { fd, highWaterMark: CHUNK_BYTES });
}

async function* chunksOfStream(source: Readable, stop: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  stop?.addEventListener('abort', () => source.destroy());
  try {
    for await (const chunk of source) yield chunk as Uint8Array;
  } finally {
    // a standard input that nobody reads would keep the program
    source.destroy();
  }
}

/** Largest number of bytes of a log that are read: what matters stands in a few lines. */
const TEXT_MAX = 16 << 20;

/** Reads a file, or standard input (`-`), as text, up to 16 MiB. */
export async function readText(file = '-'): Promise<{ readonly text: string; readonly whole: boolean }> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  await readFileOrPipe(file, true, (chunk) => {
    chunks.push(chunk.subarray(0, TEXT_MAX - total));
    total += chunk.length;
    return total <= TEXT_MAX;
  });
  return { text: Buffer.concat(chunks).toString('utf8'), whole: total <= TEXT_MAX };
}

function* chunksOf(fd: number): Generator<Uint8Array, undefined> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let count = readSome(fd, buffer); count > 0; count = readSome(fd, buffer))
    yield buffer.subarray(0, count);
}

/** Reads some bytes; waits where a pipe is non-blocking and empty. */
function readSome(fd: number, buffer: Uint8Array): number {
  for (;;) {
    try {
      return readSync(fd, buffer, 0, buffer.length, null);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOF') return 0;
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/** Line on stderr that says how far a long read has come; nothing unless stderr is a terminal. */
export class Progress {
  readonly #total: number;
  readonly #wanted = process.stderr.isTTY === true;
  #done = 0;
  #shown = Date.now();
  #visible = false;

  constructor(file: string) {
    this.#total = file === '-' ? 0 : (statSync(file, { throwIfNoEntry: false })?.size ?? 0);
  }

  add(bytes: number): void {
    this.#done += bytes;
    if (!this.#wanted || Date.now() - this.#shown < 500) return;
    this.#shown = Date.now();
    this.#visible = true;
    const of = this.#total > this.#done ? ` of ${mebibytes(this.#total)}` : '';
    process.stderr.write(`\r${mebibytes(this.#done)}${of} MiB read `);
  }

  end(): void {
    if (this.#visible) process.stderr.write('\r\x1b[K');
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

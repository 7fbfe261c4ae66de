import { closeSync, createReadStream, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { isStateError, StateError } from '@virtkit/vmstate';
import { QCOW2_MAGIC, snapshotStream } from './qcow2.ts';
import { isSystemError, systemError } from './system-error.ts';

/** Larger than what a pipe gives at a time, small enough to stay in the cache. */
const CHUNK_BYTES = 1 << 18;
/** Standard input. */
const STDIN = 0;

/**
 * Hands the bytes of a file, or for `-` of standard input, to `take`; unpacked if they are gzipped. Of a qcow2 image: the
 * machine's state of a snapshot, `FILE#NAME` where there are several.
 *
 * Reads are synchronous, into one buffer: a third less CPU than Node's streams, and nothing else is waiting.
 *
 * @param owned each chunk gets memory of its own, so that it may be kept
 * @throws StateError `gzip`, `qcow2`, `format`; Error with the file's name for what the system refuses
 */
export async function readFileOrPipe(
  file: string,
  owned: boolean,
  take: (chunk: Uint8Array) => void,
): Promise<void> {
  try {
    await readChunks(file, owned, take);
  } catch (error) {
    throw inputError(file, error);
  }
}

/** What keeps an input from being read, with its name. Errors that are not the system's stay as they are. */
function inputError(file: string, error: unknown): unknown {
  if (isStateError(error) || !isSystemError(error)) return error;
  if (error.code.startsWith('Z_')) return unpackError(error);
  return systemError(file === '-' ? 'standard input' : file, error);
}

function unpackError({ message }: Error): StateError {
  return new StateError('gzip', `the gzip data cannot be unpacked: ${message}`, {}, { layer: 'stream' });
}

/** What people keep streams in, or take for one, by the first four bytes. */
const OTHER_FILES: Readonly<Record<number, string>> = {
  682962941: 'zstd data: unpack it first (zstd -d)',
  4248271448: 'xz data: unpack it first (xz -d)',
  1113221177: 'bzip2 data: unpack it first (bzip2 -d)',
  2303482447: 'lzop data: unpack it first (lzop -d)',
  [QCOW2_MAGIC]: 'a qcow2 image: its snapshots can be read where it is a file, not from a pipe or packed',
};

function magicOf(first: Uint8Array): number {
  const [a = 0, b = 0, c = 0, d = 0] = first;
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** Is the input gzipped? @throws StateError `format` for what cannot be unpacked here */
function isPacked(first: Uint8Array): boolean {
  const magic = magicOf(first);
  const other = OTHER_FILES[magic];
  if (other !== undefined)
    throw new StateError('format', `not a migration stream but ${other}`, {}, { layer: 'stream', offset: 0 });
  return magic >>> 16 === 0x1f8b;
}

/** A file's path; behind a `#` the snapshot in it, where no file has the whole name. */
function splitName(file: string): { readonly path: string; readonly snapshot: string | undefined } {
  for (let at = file.indexOf('#'); at >= 0 && !existsSync(file); at = file.indexOf('#', at + 1)) {
    const path = file.slice(0, at);
    if (existsSync(path)) return { path, snapshot: file.slice(at + 1) };
  }
  return { path: file, snapshot: undefined };
}

/** The file itself, where a snapshot in it is named as well. */
export function pathOf(file: string): string {
  return splitName(file).path;
}

/** The stream in a qcow2 image. @throws StateError `format` where a snapshot is named and the file is no image */
function streamInImage(fd: number, snapshot: string | undefined): Generator<Uint8Array> | undefined {
  const first = new Uint8Array(4);
  // a pipe has no positions
  const isImage =
    fstatSync(fd).isFile() && readSync(fd, first, 0, 4, 0) === 4 && magicOf(first) === QCOW2_MAGIC;
  if (isImage) return snapshotStream(fd, snapshot);
  if (snapshot === undefined) return undefined;
  const reason = `snapshot ${snapshot} is asked for, and the file is no qcow2 image`;
  throw new StateError('format', reason, {}, { layer: 'stream', offset: 0 });
}

async function readChunks(file: string, owned: boolean, take: (chunk: Uint8Array) => void): Promise<void> {
  const { path, snapshot } = splitName(file);
  const fd = path === '-' ? STDIN : openSync(path, 'r');
  try {
    const inside = fd === STDIN ? undefined : streamInImage(fd, snapshot);
    if (inside !== undefined) {
      for (const chunk of inside) take(owned ? chunk.slice() : chunk);
      return;
    }
    const chunks = chunksOf(fd, owned);
    const first = chunks.next();
    if (first.done === true) return;
    if (isPacked(first.value)) {
      await unpack(first.value.slice(), chunks, take);
      return;
    }
    take(first.value);
    for (const chunk of chunks) take(chunk);
  } finally {
    if (fd !== STDIN) closeSync(fd);
  }
}

/**
 * A file, or for `-` standard input, in chunks that wait for whoever takes them; unpacked if it is gzipped.
 * @throws StateError `gzip`; Error with the file's name for what the system refuses
 */
export async function* streamOf(file: string): AsyncGenerator<Uint8Array> {
  try {
    yield* chunksFrom(file);
  } catch (error) {
    throw inputError(file, error);
  }
}

/** @throws Error with the file's name, before anything is begun for which the file is needed */
export function checkReadable(file: string): void {
  if (file === '-') return;
  try {
    const fd = openSync(splitName(file).path, 'r');
    const directory = fstatSync(fd).isDirectory();
    closeSync(fd);
    if (directory) throw new Error(`${file}: is a directory`);
  } catch (error) {
    throw inputError(file, error);
  }
}

async function* chunksFrom(file: string): AsyncGenerator<Uint8Array> {
  const { path, snapshot } = splitName(file);
  if (path !== '-') {
    const fd = openSync(path, 'r');
    try {
      const inside = streamInImage(fd, snapshot);
      if (inside !== undefined) {
        for (const chunk of inside) yield chunk.slice();
        return;
      }
    } finally {
      closeSync(fd);
    }
  }
  yield* chunksOfStream(path);
}

async function* chunksOfStream(file: string): AsyncGenerator<Uint8Array> {
  const source = file === '-' ? process.stdin : createReadStream(file, { highWaterMark: CHUNK_BYTES });
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  async function* all(first: Uint8Array): AsyncGenerator<Uint8Array> {
    yield first;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  }
  try {
    const first = await chunks.next();
    if (first.done === true) return;
    yield* isPacked(first.value) ? unpacked(all(first.value)) : all(first.value);
  } finally {
    // a standard input that nobody reads would keep the program
    source.destroy();
  }
}

function unpacked(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  // errors of the source reach the reader
  return pipeline(Readable.from(chunks, { objectMode: true }), createGunzip(), () => {});
}

/** Most of a log that is read: what matters stands in a few lines. */
const TEXT_MAX = 16 << 20;

/** Standard input as text. */
export async function readText(): Promise<string> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  await readFileOrPipe('-', true, (chunk) => {
    if (total < TEXT_MAX) chunks.push(chunk);
    total += chunk.length;
  });
  return Buffer.concat(chunks).toString('utf8');
}

function* chunksOf(fd: number, owned: boolean): Generator<Uint8Array, undefined> {
  let buffer = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    const count = readSome(fd, buffer);
    if (count === 0) return;
    yield buffer.subarray(0, count);
    if (owned) buffer = new Uint8Array(CHUNK_BYTES);
  }
}

/** Waits where a pipe is non-blocking and empty. */
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

/** Unpacks, and hands over all that a cut or damaged file still has before it complains. */
async function unpack(
  first: Uint8Array,
  rest: Iterable<Uint8Array>,
  take: (chunk: Uint8Array) => void,
): Promise<void> {
  const unpacked = createGunzip();
  let failure: unknown;
  unpacked.on('data', (chunk: Uint8Array) => {
    try {
      if (failure === undefined) take(chunk);
    } catch (error) {
      failure = error;
    }
  });
  const ended = new Promise<void>((resolve, reject) => unpacked.on('end', resolve).on('error', reject));
  ended.catch(() => {});
  // bad data is told by the event alone
  const write = (chunk: Uint8Array): Promise<void> =>
    Promise.race([ended, new Promise<void>((resolve) => unpacked.write(chunk, () => resolve()))]);
  try {
    // one after the other: the last one must not be the one with which the end is missed, or its data is lost
    await write(first);
    for (const chunk of rest) {
      if (failure !== undefined) break;
      await write(chunk.slice());
    }
    unpacked.end();
    await ended;
  } catch (error) {
    if (!isSystemError(error) || !error.code.startsWith('Z_')) throw error;
    failure ??= unpackError(error);
  }
  if (failure !== undefined) throw failure;
}

/** A line on stderr that says how far a long read has come; nothing unless stderr is a terminal. */
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

import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isSystemError, systemError } from './system-error.ts';
import { UsageError } from './usage.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * A file that has its name only when it is whole and on the disk; what stood under that name stays until then. Unfinished
 * it is removed, at a signal as well; `kill -9` leaves `NAME.part-…` behind.
 */
export class PartFile {
  readonly #given: string;
  readonly #name: string;
  readonly #part: string;
  readonly #fd: number;
  readonly #onExit = (): void => rmSync(this.#part, { force: true });
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.discard();
    // listeners are gone: now it ends the program as it would have
    process.kill(process.pid, signal);
  };

  /** @throws UsageError if nothing can have this name; Error with the system's reason */
  constructor(name: string) {
    this.#given = name;
    this.#name = finalName(name);
    this.#part = `${this.#name}.part-${randomBytes(4).toString('hex')}`;
    try {
      // not through somebody else's link
      this.#fd = openSync(this.#part, 'wx');
    } catch (error) {
      throw systemError(name, error);
    }
    process.once('exit', this.#onExit);
    for (const signal of SIGNALS) process.once(signal, this.#onSignal);
  }

  /** @throws Error with the file's name, such as for a full disk */
  write(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      throw systemError(this.#given, error);
    }
  }

  finish(): void {
    try {
      fsyncSync(this.#fd);
      renameSync(this.#part, this.#name);
      syncDirectory(dirname(this.#name));
    } catch (error) {
      throw systemError(this.#given, error);
    }
    closeSync(this.#fd);
    this.#forget();
  }

  discard(): void {
    closeSync(this.#fd);
    rmSync(this.#part, { force: true });
    this.#forget();
  }

  #forget(): void {
    process.off('exit', this.#onExit);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }
}

/** Where a link leads: it stays one. A device or a pipe must not be replaced by a file. */
function finalName(name: string): string {
  if (name === '-')
    throw new UsageError('standard output: a file is needed, which gets its name when it is whole');
  const stat = statSync(name, { throwIfNoEntry: false });
  if (stat === undefined) return join(dirname(name), basename(name));
  if (stat.isFile()) return realpathSync(name);
  throw new UsageError(`${name}: ${stat.isDirectory() ? 'is a directory' : 'is no regular file'}`);
}

/** Else the new name may be lost with the power, after the other side was told that all is safe. */
function syncDirectory(path: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    fsyncSync(fd);
  } catch (error) {
    // file systems and systems that know no such thing
    if (!isSystemError(error)) throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

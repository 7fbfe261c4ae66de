import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isSystemError, systemError } from './system-error.ts';
import { undoAtEnd } from './undo.ts';
import { UsageError } from './usage.ts';

/** Mode of a file that only its owner reads: a stream holds the guest's memory, keys and passwords in it. */
const OWN_MODE = 0o600;

/**
 * File that has its name only when it is whole and on the disk; what stood under that name stays until then. Unfinished
 * it is removed, at a signal as well; `kill -9` leaves `NAME.part-…` behind. A new file is for its owner alone; one
 * that was there keeps owner and mode.
 */
export class PartFile {
  readonly #given: string;
  readonly #name: string;
  readonly #part: string;
  readonly #fd: number;
  readonly #forget: () => void;
  #open = true;

  /** @throws UsageError if nothing can have this name; Error with the system's reason */
  constructor(name: string) {
    this.#given = name;
    this.#name = finalName(name);
    this.#part = `${this.#name}.part-${randomBytes(4).toString('hex')}`;
    try {
      const before = statSync(this.#name, { throwIfNoEntry: false });
      // not through somebody else's link
      this.#fd = openSync(this.#part, 'wx', OWN_MODE);
      if (before !== undefined) keepOwner(this.#fd, before);
    } catch (error) {
      throw systemError(name, error);
    }
    this.#forget = undoAtEnd(() => rmSync(this.#part, { force: true }));
  }

  /** Writes bytes. @throws Error with the file's name, such as for a full disk */
  write(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      throw systemError(this.#given, error);
    }
  }

  /**
   * Gives the file its name. @throws Error with the file's name: it cannot be relied on then, and `discard` is to
   * follow
   */
  finish(): void {
    try {
      fsyncSync(this.#fd);
      renameSync(this.#part, this.#name);
      syncDirectory(dirname(this.#name));
      this.#close();
    } catch (error) {
      throw systemError(this.#given, error);
    }
    this.#forget();
  }

  discard(): void {
    rmSync(this.#part, { force: true });
    this.#forget();
    this.#close();
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
  }
}

/** Keeps owner and mode: whoever could not read the old file cannot read the new one. */
function keepOwner(fd: number, { mode, uid, gid }: Stats): void {
  const own = fstatSync(fd);
  let kept = mode & 0o777;
  if (own.uid !== uid || own.gid !== gid) {
    try {
      fchownSync(fd, uid, gid);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      kept &= OWN_MODE;
    }
  }
  fchmodSync(fd, kept);
}

/** Finds where a link leads: it stays one. A device or a pipe must not be replaced by a file. */
function finalName(name: string): string {
  if (name === '-')
    throw new UsageError('standard output: a file is needed, which gets its name when it is whole');
  const stat = statSync(name, { throwIfNoEntry: false });
  if (stat === undefined) return join(dirname(name), basename(name));
  if (stat.isFile()) return realpathSync(name);
  throw new UsageError(`${name}: ${stat.isDirectory() ? 'is a directory' : 'is no regular file'}`);
}

/** Codes of file systems and systems that know no such thing, and of directories that cannot be read. */
const NO_DIRECTORY_SYNC: ReadonlySet<string> = new Set(['EINVAL', 'EISDIR', 'ENOTSUP', 'EPERM', 'EACCES']);

/**
 * Syncs the directory: else the new name may be lost with the power, after the other side was told that all is safe.
 */
function syncDirectory(path: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    fsyncSync(fd);
  } catch (error) {
    if (!isSystemError(error) || !NO_DIRECTORY_SYNC.has(error.code)) throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

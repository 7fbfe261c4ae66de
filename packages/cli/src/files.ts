// Which files a command reads and writes: none may be two of them, whatever it is called.
import { closeSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isSystemError, systemError } from './system-error.ts';
import { UsageError } from './usage.ts';

/** File, and what the command takes it for: `the input`. */
export interface NamedFile {
  readonly what: string;
  readonly path: string;
}

/** Identifies what stands under a name, links followed: equal for two names of the same file or device. */
function identity(path: string): string | undefined {
  try {
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    // to be made
    if (stat === undefined) return join(realpathSync(dirname(path)), basename(path));
    const device = stat.isBlockDevice() || stat.isCharacterDevice();
    return device ? `device ${stat.rdev}` : `${stat.dev} ${stat.ino}`;
  } catch (error) {
    // nothing can be opened there: whoever tries will say why
    if (isSystemError(error)) return undefined;
    throw error;
  }
}

/**
 * Refuses to write a file that is another file of the same command: under another name, or through a link.
 * @throws UsageError that names both
 */
export function refuseShared(written: readonly NamedFile[], read: readonly NamedFile[]): void {
  const seen = new Map<string, string>();
  for (const { what, path } of [...read, ...written]) {
    const found = identity(path);
    if (found === undefined) continue;
    const before = seen.get(found);
    const writing = written.some((each) => each.what === what);
    if (before !== undefined && writing)
      throw new UsageError(`${path}: is ${before} and ${what}; what is written must be a file of its own`);
    if (before === undefined) seen.set(found, what);
  }
}

/**
 * Refuses a pipe where a file is read twice, or in any order: a pipe would wait for ever, or give other bytes the
 * second time.
 * @throws UsageError for pipes, directories and sockets; nothing for a file that is not there
 */
export function refusePipe(path: string, why: string): void {
  if (path === '-') throw new UsageError(`standard input: ${why}: a file is needed`);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || stat.isFile() || stat.isBlockDevice()) return;
  const kind = stat.isDirectory() ? 'is a directory' : stat.isFIFO() ? 'is a pipe' : 'is no regular file';
  throw new UsageError(`${path}: ${kind}; ${why}: a file is needed`);
}

/** Makes a text that tells a file that was written to, or replaced, from the one that it was. */
export function versionOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs}`;
}

/** Largest number of bytes of a file that is read at once: a certificate, a command line. */
const SMALL_MAX = 1 << 20;

/**
 * Reads a small file, or what comes out of a pipe.
 *
 * @param most bytes that are read; default 1 MiB
 * @throws UsageError if it cannot be read, or is larger
 */
export function readSmall(path: string, most = SMALL_MAX): Buffer {
  const bytes = Buffer.alloc(most + 1);
  let length = 0;
  try {
    const fd = openSync(path, 'r');
    try {
      for (let count = 1; count > 0 && length < bytes.length; length += count)
        count = readSync(fd, bytes, length, bytes.length - length, null);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw isSystemError(error) ? new UsageError(systemError(path, error).message) : error;
  }
  if (length > most) throw new UsageError(`${path}: is larger than ${most} bytes`);
  return bytes.subarray(0, length);
}

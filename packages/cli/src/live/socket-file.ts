// The names that UNIX sockets have in the file system: what is removed there must be a socket, and the right one.
import { type BigIntStats, lstatSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { basename } from 'node:path';
import { isSystemError, systemError } from '../system-error.ts';
import { undoAtEnd } from '../undo.ts';

/** Path of Linux's list of the UNIX sockets of this network namespace. */
const SOCKETS = '/proc/net/unix';
/** Bit in the list's column of flags that says that a socket listens. Linux: `__SO_ACCEPTCON` */
const LISTENS = 1 << 16;

function look(path: string): BigIntStats | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false });
}

function isSame(a: BigIntStats | undefined, b: BigIntStats | undefined): boolean {
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

/**
 * Has a socket's file removed when the program ends, if it is still that socket's.
 * @returns forgets it: the socket is closed
 */
export function removeAtEnd(path: string): () => void {
  const mine = look(path);
  return undoAtEnd(() => {
    if (isSame(look(path), mine)) rmSync(path, { force: true });
  });
}

/**
 * Removes the socket of a program that was killed.
 * @throws Error if it is no socket, or somebody listens on it
 */
export async function removeLeftOver(path: string): Promise<void> {
  const before = look(path);
  if (before === undefined) return;
  if (!before.isSocket())
    throw new Error(`unix:${path}: there is a file of that name that is no socket; it stays as it is`);
  const busy = `unix:${path}: somebody listens there already`;
  // a program that waits for one connection would take the probe for it
  if (hasListener(path)) throw new Error(busy);
  const refusal = await probe(path);
  if (refusal === undefined) throw new Error(busy);
  if (refusal.code !== 'ECONNREFUSED') throw systemError(`unix:${path}`, refusal);
  const now = look(path);
  // the number of an inode that is free is given away again: the time says whose it is
  if (!isSame(now, before) || now?.ctimeNs !== before.ctimeNs) throw new Error(busy);
  rmSync(path, { force: true });
}

/**
 * Does a socket listen whose name may be this one? Names are as each program wrote them, relative to its own directory.
 */
function hasListener(path: string): boolean {
  let text: string;
  try {
    text = readFileSync(SOCKETS, 'latin1');
  } catch (error) {
    // another system
    if (isSystemError(error)) return false;
    throw error;
  }
  const wanted = Buffer.from(basename(path)).toString('latin1');
  return text.split('\n').some((line) => {
    const [, flags = '', name = ''] = /^\S+ \S+ \S+ (\S+) \S+ \S+ +\d+ (.*)$/.exec(line) ?? [];
    return (Number.parseInt(flags, 16) & LISTENS) !== 0 && basename(name) === wanted;
  });
}

/** Finds out why nobody answers at a socket; undefined: somebody does. */
function probe(path: string): Promise<(Error & { readonly code: string }) | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error) => (isSystemError(error) ? resolve(error) : reject(error)));
  });
}

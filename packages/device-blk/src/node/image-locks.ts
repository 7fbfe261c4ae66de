import { holdersOf, type LockHolder, locksOf, type RangeLock } from './proc-locks.ts';

/**
 * Locker of bytes of an open file, whose locks belong to the open file and not to the process (`F_OFD_SETLK` on Linux).
 * Node has none; the package `fs-native-extensions` is one as it stands.
 */
export interface FileLocker {
  /**
   * Takes a lock; false if another has a lock that stands against it. A lock that this open file has on the bytes
   * becomes this one.
   */
  tryLock(fd: number, offset: number, length: number, options: { readonly shared: boolean }): boolean;
  /** Gives back the lock on `[offset, offset + length)` of an open file. */
  unlock(fd: number, offset: number, length: number): void;
}

// QEMU's image locks (`block/file-posix.c`, since 2.10): a byte for each permission that a user of the image has, and one for
// each that it does not share with others. All that is kept are shared locks; who wants a permission looks whether anybody has
// the byte of its opposite.
const USED = 100;
const NOT_SHARED = 200;
const PERMISSION = { 'consistent read': 0, write: 1 } as const;
type Permission = keyof typeof PERMISSION;

/** Locks of a disk on its image: what the disk does to it, and what it does not let others do. */
interface Wish {
  readonly uses: readonly Permission[];
  readonly excludes: readonly Permission[];
}

/** Finds what a disk locks: the same as QEMU's disks without `share-rw=on`. */
function wishOf(readOnly: boolean): Wish {
  return { uses: readOnly ? ['consistent read'] : ['consistent read', 'write'], excludes: ['write'] };
}

/** Error for an image that another program uses in a way that does not go together with this disk. */
export class ImageInUseError extends Error {
  /** The class's name. */
  override readonly name = 'ImageInUseError';
  /** Code that Node has for what is in use. */
  readonly code = 'EBUSY';
  /** Path of the file. */
  readonly path: string;
  /** Processes that have the image, as far as that is to be seen: those of other users are not. */
  readonly holders: readonly LockHolder[];

  constructor(path: string, permission: Permission, byte: number, holders: readonly LockHolder[]) {
    const who = holders.map(({ pid, program }) => `process ${pid}${program === '' ? '' : ` (${program})`}`);
    const what =
      byte < NOT_SHARED ? `has it open for ${permission}` : `does not share ${permission} with others`;
    super(
      `${path}: Failed to get "${permission}" lock: ${who.length === 0 ? 'another process' : who.join(' and ')} ${what}` +
        ` (image lock of QEMU, byte ${byte})`,
    );
    this.path = path;
    this.holders = holders;
  }
}

/**
 * Looks whether other programs' locks allow this use of an image. Only Linux tells; elsewhere nothing is found.
 *
 * @throws ImageInUseError
 */
export function checkImageLocks(fd: number, path: string, readOnly: boolean): void {
  const { uses, excludes } = wishOf(readOnly);
  const locks = locksOf(fd);
  if (locks === undefined) return;
  const refuse = (permission: Permission, byte: number, isMeant: (lock: RangeLock) => boolean): void => {
    if (locks.some(isMeant)) throw new ImageInUseError(path, permission, byte, holdersOf(fd, isMeant));
  };
  const look = (permission: Permission, against: number, own: number): void => {
    const [byte, kept] = [against + PERMISSION[permission], own + PERMISSION[permission]];
    refuse(permission, byte, (lock) => covers(lock, byte));
    // a program that is no QEMU, and has locked all for itself
    refuse(permission, kept, (lock) => lock.kind === 'write' && covers(lock, kept));
  };
  for (const permission of uses) look(permission, NOT_SHARED, USED);
  for (const permission of excludes) look(permission, USED, NOT_SHARED);
}

/**
 * Takes the locks that a QEMU with this disk would have. They go when the file is closed.
 *
 * @throws ImageInUseError
 */
export function takeImageLocks(fd: number, path: string, readOnly: boolean, locker: FileLocker): void {
  const { uses, excludes } = wishOf(readOnly);
  const keep = (permission: Permission, base: number): void => {
    const byte = base + PERMISSION[permission];
    if (!locker.tryLock(fd, byte, 1, { shared: true })) throw inUse(fd, path, permission, byte);
  };
  const kept = new Set([
    ...uses.map((permission) => USED + PERMISSION[permission]),
    ...excludes.map((permission) => NOT_SHARED + PERMISSION[permission]),
  ]);
  // An exclusive lock for a moment is the question whether anybody has the byte. It becomes the shared one without a gap, so
  // that of two who ask at the same time not both get it.
  const ask = (permission: Permission, base: number): void => {
    const byte = base + PERMISSION[permission];
    if (!locker.tryLock(fd, byte, 1, { shared: false })) throw inUse(fd, path, permission, byte);
    if (kept.has(byte)) keep(permission, base);
    else locker.unlock(fd, byte, 1);
  };
  if (!readOnly) {
    for (const permission of uses) ask(permission, NOT_SHARED);
    for (const permission of excludes) ask(permission, USED);
  }
  for (const permission of uses) keep(permission, USED);
  for (const permission of excludes) keep(permission, NOT_SHARED);
  // no exclusive lock is to be had of a file that is open for reading; the bytes that are asked for are not its own
  if (readOnly) checkImageLocks(fd, path, readOnly);
}

function inUse(fd: number, path: string, permission: Permission, byte: number): ImageInUseError {
  return new ImageInUseError(
    path,
    permission,
    byte,
    holdersOf(fd, (lock) => covers(lock, byte)),
  );
}

function covers({ first, last }: RangeLock, byte: number): boolean {
  return first <= byte && byte <= last;
}

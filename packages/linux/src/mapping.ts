import { fstatSync, ftruncateSync } from 'node:fs';
import { PeerError, SystemCallError } from './errors.ts';
import {
  type Address,
  checked,
  F_ADD_SEALS,
  F_GET_SEALS,
  F_SEAL_SHRINK,
  libc,
  MAP_FIXED,
  MAP_SCRATCH,
  MAP_SHARED,
  MFD_CLOEXEC_ALLOW_SEALING,
  map,
  viewOf,
} from './libc.ts';

const PAGE = 4096;

/** Part of a file that another process has in its memory, too. */
export interface SharedMapping {
  /** Views the bytes from `from` on, without a copy; none after {@link close}. @param length at most 4 GiB */
  window(from: number, length: number): Uint8Array;
  /** True if the other process could make the file shorter, so that an access behind its end would kill this one. */
  readonly shrinkable: boolean;
  /**
   * Lets the memory go. Arrays that somebody still has show bytes of their own from now on, which are zero and nobody else's; their addresses
   * are free again when nobody has them any more.
   */
  close(): void;
}

/** Registry of addresses that are free when nobody has the arrays over them any more. */
const finished = new FinalizationRegistry<Span>((span) => {
  if (--span.users === 0) libc().munmap(span.address, span.length);
});

/** Mapped addresses, and the number of arrays over them. */
interface Span {
  readonly address: Address;
  readonly length: number;
  users: number;
}

/**
 * Maps bytes `[offset, offset + size)` of a file.
 *
 * @throws PeerError if the file is shorter, or cannot be mapped
 */
export function mapShared(fd: number, offset: number, size: number): SharedMapping {
  // in front of the look at its length: it must not become shorter behind that
  const shrinkable = !sealShrink(fd);
  const file = fstatSync(fd);
  if (!file.isFile() || offset + size > file.size)
    throw new PeerError(`bytes ${offset} to ${offset + size} of a file of ${file.size}`, {
      offset,
      size,
      file: file.size,
    });
  // huge pages are mapped from their beginning
  const page = Math.max(PAGE, file.blksize);
  const skip = offset % page;
  const span = { address: mapFile(fd, offset - skip, skip + size), length: skip + size, users: 0 };
  let open = true;
  return {
    shrinkable,
    window(from, length) {
      if (!open) return new Uint8Array(0);
      const before = (skip + from) % PAGE;
      const buffer = viewOf(span.address + BigInt(skip + from - before), before + length);
      span.users++;
      finished.register(buffer, span);
      return new Uint8Array(buffer, before, length);
    },
    close() {
      if (!open) return;
      open = false;
      if (span.users === 0) libc().munmap(span.address, span.length);
      else map(span.length, MAP_SCRATCH | MAP_FIXED, -1, 0, span.address);
    },
  };
}

function mapFile(fd: number, offset: number, length: number): Address {
  try {
    return map(length, MAP_SHARED, fd, offset);
  } catch (error) {
    if (error instanceof SystemCallError) throw new PeerError(error.message, { offset, length });
    throw error;
  }
}

/**
 * Sees to it that a file cannot be made shorter any more. Answers false if its file system, or its owner, does not
 * allow that.
 */
function sealShrink(fd: number): boolean {
  const { fcntl } = libc();
  const seals = fcntl(fd, F_GET_SEALS, 0);
  return seals >= 0 && ((seals & F_SEAL_SHRINK) !== 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) === 0);
}

/**
 * Makes a file in memory, zeros, with a descriptor that the caller closes.
 *
 * @param sealed nobody can make it shorter any more; without it, whoever gets it can see to that
 * @throws SystemCallError
 */
export function sharedFile(name: string, size: number, sealed = true): number {
  const fd = checked(libc().memfd_create(name, MFD_CLOEXEC_ALLOW_SEALING), 'memfd_create');
  try {
    ftruncateSync(fd, size);
    if (sealed) sealShrink(fd);
    return fd;
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

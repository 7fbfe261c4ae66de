import { readlinkSync } from 'node:fs';
import { PeerError } from './errors.ts';
import {
  checked,
  EFD_CLOEXEC_NONBLOCK,
  F_GETFL,
  F_SETFL,
  libc,
  type Scratch,
  SOCK_NONBLOCK,
  scratch,
} from './libc.ts';

/** Target of the link that an eventfd's descriptor is; a file's is an absolute path. */
const EVENTFD = 'anon_inode:[eventfd]';

let one: Scratch | undefined;
let read: Scratch | undefined;

/** Makes a new eventfd, which is 0. The caller closes it. @throws SystemCallError */
export function createEventfd(): number {
  return checked(libc().eventfd(0, EFD_CLOEXEC_NONBLOCK), 'eventfd');
}

/**
 * Sees to it that a descriptor is an eventfd, and that nobody has to wait for it: anything else could block this process.
 *
 * @throws PeerError
 */
export function checkEventfd(fd: number): void {
  const target = readlinkSync(`/proc/self/fd/${fd}`);
  // all of it: whoever names a file chooses the end of its path, and none of an eventfd's
  if (target !== EVENTFD) throw new PeerError(`${target} is no eventfd`);
  const { fcntl } = libc();
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) | SOCK_NONBLOCK);
}

/** Adds 1 to an eventfd: whoever waits for it goes on. */
export function signal(fd: number): void {
  if (one === undefined) {
    one = scratch(8);
    one.view.setBigUint64(0, 1n, true);
  }
  // one that is full has told already
  libc().write(fd, one.address, 8);
}

/** Sets an eventfd back to 0. Answers false if it was 0. */
export function clear(fd: number): boolean {
  read ??= scratch(8);
  return libc().read(fd, read.address, 8) === 8;
}

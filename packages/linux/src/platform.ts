import { fstatSync } from 'node:fs';
import { checkEventfd, clear, signal } from './eventfd.ts';
import { type Watch, watch } from './libc.ts';
import { mapShared, type SharedMapping, sharedFile } from './mapping.ts';
import { closeDescriptor } from './socket.ts';

export type { SharedMapping, Watch };

/**
 * Operations of a session on file descriptors. It is an interface, so that the fuzzer can hand a session numbers that
 * are none; everybody else has {@link linux}.
 */
export interface Platform {
  /** Maps bytes `[offset, offset + size)` of a file. @throws PeerError */
  map(fd: number, offset: number, size: number): SharedMapping;
  /** Makes a text that tells the file behind a descriptor from all others. */
  identity(fd: number): string;
  /** Makes a new file in memory of this size, all zeros. */
  file(name: string, size: number): number;
  /** Sees to it that a descriptor is an eventfd. @throws PeerError if it is none */
  checkEventfd(fd: number): void;
  /** Adds 1 to an eventfd. */
  signal(fd: number): void;
  /** Sets an eventfd back to 0. Answers false if it was 0. */
  clear(fd: number): boolean;
  /** Calls a function each time that a descriptor can be read. */
  watch(fd: number, ready: () => void): Watch;
  /** Closes a descriptor. */
  close(fd: number): void;
}

/** Operations of the operating system. */
export const linux: Platform = {
  map: mapShared,
  identity: (fd) => {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return `${dev}:${ino}`;
  },
  file: sharedFile,
  checkEventfd,
  signal,
  clear,
  watch,
  close: closeDescriptor,
};

// The system calls that Node lacks. Nothing else in virtkit knows koffi.
import koffi from 'koffi';
import { SystemCallError } from './errors.ts';

/** Numbers of Linux, the same on all of its architectures that Node runs on. */
export const AF_UNIX = 1;
export const SOL_SOCKET = 1;
export const SCM_RIGHTS = 1;
export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;
export const MSG_CTRUNC = 8;
export const SHUT_RDWR = 2;
export const PROT_READ_WRITE = 3;
export const MAP_SHARED = 1;
/** Flags MAP_PRIVATE, MAP_ANONYMOUS and MAP_NORESERVE. */
export const MAP_SCRATCH = 0x2 | 0x20 | 0x4000;
export const MAP_FIXED = 0x10;
export const MFD_CLOEXEC_ALLOW_SEALING = 3;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;
export const F_SEAL_SHRINK = 2;
export const EFD_CLOEXEC_NONBLOCK = SOCK_CLOEXEC | SOCK_NONBLOCK;

/** Address in this process. */
export type Address = bigint;

/** Value that `mmap` returns if it refuses. */
const MAP_FAILED = 2n ** 64n - 1n;

interface Libc {
  readonly socket: (domain: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, address: Address, length: number) => number;
  readonly listen: (fd: number, backlog: number) => number;
  readonly accept4: (fd: number, address: null, length: null, flags: number) => number;
  readonly connect: (fd: number, address: Address, length: number) => number;
  readonly recvmsg: (fd: number, message: Address, flags: number) => number;
  readonly sendmsg: (fd: number, message: Address, flags: number) => number;
  readonly shutdown: (fd: number, how: number) => number;
  readonly mmap: (
    address: Address | null,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => Address;
  readonly munmap: (address: Address, length: number) => number;
  readonly memfd_create: (name: string, flags: number) => number;
  readonly fcntl: (fd: number, command: number, argument: number) => number;
  readonly eventfd: (initial: number, flags: number) => number;
  readonly read: (fd: number, buffer: Address, length: number) => number;
  readonly write: (fd: number, buffer: Address, length: number) => number;
  readonly close: (fd: number) => number;
}

const PROTOTYPES: Readonly<Record<keyof Libc, string>> = {
  socket: 'int socket(int, int, int)',
  bind: 'int bind(int, uintptr_t, uint32_t)',
  listen: 'int listen(int, int)',
  accept4: 'int accept4(int, void *, void *, int)',
  connect: 'int connect(int, uintptr_t, uint32_t)',
  recvmsg: 'intptr_t recvmsg(int, uintptr_t, int)',
  sendmsg: 'intptr_t sendmsg(int, uintptr_t, int)',
  shutdown: 'int shutdown(int, int)',
  mmap: 'void *mmap(void *, size_t, int, int, int, int64_t)',
  munmap: 'int munmap(uintptr_t, size_t)',
  memfd_create: 'int memfd_create(const char *, unsigned int)',
  fcntl: 'int fcntl(int, int, ...)',
  eventfd: 'int eventfd(unsigned int, int)',
  read: 'intptr_t read(int, uintptr_t, size_t)',
  write: 'intptr_t write(int, uintptr_t, size_t)',
  close: 'int close(int)',
};

let loaded: Libc | undefined;

/**
 * Loads the functions of the C library that this process has loaded anyway.
 *
 * @throws SystemCallError on another system than Linux
 */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

function load(): Libc {
  if (process.platform !== 'linux') throw new SystemCallError('libc', 'ENOSYS', `on ${process.platform}`);
  const library = koffi.load(null);
  const func = (name: keyof Libc) => library.func(PROTOTYPES[name]);
  const fcntl = func('fcntl');
  return {
    socket: func('socket'),
    bind: func('bind'),
    listen: func('listen'),
    accept4: func('accept4'),
    connect: func('connect'),
    recvmsg: func('recvmsg'),
    sendmsg: func('sendmsg'),
    shutdown: func('shutdown'),
    mmap: func('mmap'),
    munmap: func('munmap'),
    memfd_create: func('memfd_create'),
    // its third argument is variadic, which some ABIs pass elsewhere
    fcntl: (fd, command, argument) => fcntl(fd, command, 'int', argument),
    eventfd: func('eventfd'),
    read: func('read'),
    write: func('write'),
    close: func('close'),
  };
}

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(koffi.os.errno).map(([name, number]) => [number, name]),
);

/** Finds the name of the error of the call before: `EAGAIN`. */
export function errorName(): string {
  const number = koffi.errno();
  return NAMES.get(number) ?? `errno ${number}`;
}

/**
 * Takes the result of a system call that has succeeded.
 *
 * @throws SystemCallError if that is -1
 */
export function checked(result: number, syscall: keyof Libc, about?: string): number {
  if (result >= 0) return result;
  throw new SystemCallError(syscall, errorName(), about);
}

/** Maps memory, or a file. @throws SystemCallError */
export function map(
  length: number,
  flags: number,
  fd: number,
  offset: number,
  at: Address | null = null,
): Address {
  const address = libc().mmap(at, length, PROT_READ_WRITE, flags, fd, offset);
  if (address === MAP_FAILED || address === 0n)
    throw new SystemCallError('mmap', errorName(), `of ${length} bytes`);
  return address;
}

/** Views bytes at an address, without a copy. They must stay mapped for as long as somebody has the array. */
export function viewOf(address: Address, length: number): ArrayBuffer {
  return koffi.view(address, length);
}

/** Memory for the kernel's calls: it does not move, and is there as long as the process. */
export interface Scratch {
  readonly address: Address;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** @param length bytes */
export function scratch(length: number): Scratch {
  const address = map(length, MAP_SCRATCH, -1, 0);
  const buffer = viewOf(address, length);
  return { address, bytes: new Uint8Array(buffer), view: new DataView(buffer) };
}

/** Watch on a file descriptor. */
export interface Watch {
  /** Ends the watch: nothing is called any more. */
  close(): void;
}

/**
 * Calls a function each time that a file descriptor is ready to be read, or broken, until the watch is closed. It costs nothing meanwhile. An exception
 * of the function is the process's.
 */
export function watch(fd: number, ready: () => void): Watch {
  let open = true;
  // called with a status as well, which tells of nothing that reading would not
  const handle = koffi.node.poll(fd, { readable: true }, () => {
    if (open) ready();
  });
  const watching: Watch = {
    close() {
      if (!open) return;
      open = false;
      watches.delete(watching);
      handle.close();
    },
  };
  // a handle that nobody has is collected, and stops
  watches.set(watching, handle);
  return watching;
}

const watches = new Map<Watch, ReturnType<typeof koffi.node.poll>>();

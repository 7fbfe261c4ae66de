import { PeerError, SystemCallError } from './errors.ts';
import {
  AF_UNIX,
  checked,
  errorName,
  libc,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SCM_RIGHTS,
  type Scratch,
  SHUT_RDWR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  scratch,
} from './libc.ts';

/** Length in bytes of the path in `sockaddr_un`, without the 0 behind it. */
const PATH_BYTES = 107;

// `msghdr`, `iovec`, the control block and the data, one behind the other, of a machine with 64-bit pointers
const IOVEC = 56;
const CONTROL = 72;
const CMSG_HEADER = 16;
/** Largest number of file descriptors that can come or go with a message. */
export const DESCRIPTORS_MAX = 16;
const DATA = 192;
/** Largest number of bytes that are received or sent in one go. */
const DATA_BYTES = 64 * 1024;

/** Finds the length in bytes of a control block with so many descriptors. */
const controlBytes = (descriptors: number): number => CMSG_HEADER + 8 * Math.ceil((4 * descriptors) / 8);

let block: Scratch | undefined;

/** Makes a `msghdr` for `length` bytes of data, and as many bytes of control block. */
function messageBlock(length: number, control: number): Scratch {
  block ??= scratch(DATA + DATA_BYTES);
  const { view, address, bytes } = block;
  bytes.fill(0, 0, DATA);
  view.setBigUint64(16, address + BigInt(IOVEC), true);
  view.setBigUint64(24, 1n, true);
  view.setBigUint64(32, control === 0 ? 0n : address + BigInt(CONTROL), true);
  view.setBigUint64(40, BigInt(control), true);
  view.setBigUint64(IOVEC, address + BigInt(DATA), true);
  view.setBigUint64(IOVEC + 8, BigInt(length), true);
  return block;
}

/** Bytes and descriptors that came over a socket. */
export interface Received {
  /** Number of bytes that were put into the target; 0: the other side has closed; -1: there is nothing now. */
  readonly count: number;
  /** File descriptors that came with the bytes; they are the caller's to close. */
  readonly descriptors: readonly number[];
}

const NOTHING: Received = { count: -1, descriptors: [] };
const CLOSED: Received = { count: 0, descriptors: [] };

/**
 * Takes bytes and file descriptors, as many as there are now.
 *
 * @param fd a socket that does not block
 * @param target gets the bytes, at most 64 KiB of them
 * @param descriptorsMax how many may come at a time: an even number up to {@link DESCRIPTORS_MAX}
 * @throws PeerError for more of them; they are closed
 * @throws SystemCallError
 */
export function receive(fd: number, target: Uint8Array, descriptorsMax = DESCRIPTORS_MAX): Received {
  const { view, bytes, address } = messageBlock(
    Math.min(target.length, DATA_BYTES),
    controlBytes(descriptorsMax),
  );
  const count = libc().recvmsg(fd, address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0) {
    const code = errorName();
    if (code === 'EAGAIN' || code === 'EWOULDBLOCK' || code === 'EINTR') return NOTHING;
    if (code === 'ECONNRESET') return CLOSED;
    throw new SystemCallError('recvmsg', code);
  }
  const descriptors = descriptorsIn(view);
  if ((view.getInt32(48, true) & MSG_CTRUNC) !== 0) {
    for (const descriptor of descriptors) closeDescriptor(descriptor);
    throw new PeerError(`more than ${descriptorsMax} file descriptors at a time`);
  }
  target.set(bytes.subarray(DATA, DATA + count));
  return { count, descriptors };
}

/** Lists the file descriptors of a control block. */
function descriptorsIn(view: DataView): number[] {
  const length = Number(view.getBigUint64(40, true));
  if (length < CMSG_HEADER) return [];
  const bytes = Math.min(Number(view.getBigUint64(CONTROL, true)), length) - CMSG_HEADER;
  if (view.getInt32(CONTROL + 8, true) !== SOL_SOCKET || view.getInt32(CONTROL + 12, true) !== SCM_RIGHTS)
    return [];
  return Array.from({ length: bytes >> 2 }, (_, i) => view.getInt32(CONTROL + CMSG_HEADER + 4 * i, true));
}

/**
 * Sends a message of at most 64 KiB, all of it or nothing.
 *
 * @param fd a socket that does not block
 * @param descriptors go with it, at most {@link DESCRIPTORS_MAX}; they stay open here
 * @returns false if the other side does not take it now, or is gone
 */
export function send(fd: number, message: Uint8Array, descriptors: readonly number[] = []): boolean {
  const length = CMSG_HEADER + 4 * descriptors.length;
  const { view, bytes, address } = messageBlock(
    message.length,
    descriptors.length === 0 ? 0 : controlBytes(descriptors.length),
  );
  bytes.set(message, DATA);
  if (descriptors.length > 0) {
    view.setBigUint64(CONTROL, BigInt(length), true);
    view.setInt32(CONTROL + 8, SOL_SOCKET, true);
    view.setInt32(CONTROL + 12, SCM_RIGHTS, true);
    for (const [i, descriptor] of descriptors.entries())
      view.setInt32(CONTROL + CMSG_HEADER + 4 * i, descriptor, true);
  }
  return libc().sendmsg(fd, address, MSG_DONTWAIT | MSG_NOSIGNAL) === message.length;
}

/** Is the other side of a connected socket gone, or has closed it for writing and reading? What it said before can still be read. */
export function hasLeft(fd: number): boolean {
  const { address } = messageBlock(0, 0);
  return libc().sendmsg(fd, address, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && GONE.has(errorName());
}

const GONE: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET']);

/**
 * Ends a connection and closes its descriptor. The other side reads its end, and not that something that it has sent was lost (`ECONNRESET`), which is
 * so where a socket is closed with bytes in it.
 */
export function hangUp(fd: number): void {
  libc().shutdown(fd, SHUT_RDWR);
  // nothing comes any more: there is no more than the socket holds
  while (discardSome(fd));
  closeDescriptor(fd);
}

function discardSome(fd: number): boolean {
  try {
    const { count, descriptors } = receive(fd, new Uint8Array(DATA_BYTES));
    for (const descriptor of descriptors) closeDescriptor(descriptor);
    return count > 0;
  } catch (error) {
    return error instanceof PeerError;
  }
}

/** Closes a file descriptor. */
export function closeDescriptor(fd: number): void {
  libc().close(fd);
}

function withAddress<T>(path: string, act: (address: bigint, length: number) => T): T {
  const name = new TextEncoder().encode(path);
  if (name.length > PATH_BYTES)
    throw new SystemCallError('socket', 'ENAMETOOLONG', `${path} (at most ${PATH_BYTES} bytes)`);
  const { view, bytes, address } = messageBlock(0, 0);
  bytes.fill(0, DATA, DATA + 2 + PATH_BYTES + 1);
  view.setUint16(DATA, AF_UNIX, true);
  bytes.set(name, DATA + 2);
  return act(address + BigInt(DATA), 2 + name.length + 1);
}

function unixSocket(): number {
  return checked(libc().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), 'socket');
}

/** Makes a socket that listens at a path. @throws SystemCallError */
export function listenAt(path: string): number {
  const fd = unixSocket();
  try {
    withAddress(path, (address, length) => checked(libc().bind(fd, address, length), 'bind', path));
    checked(libc().listen(fd, 1), 'listen', path);
    return fd;
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
}

/** Takes the next connection of a listening socket, or undefined if there is none. @throws SystemCallError */
export function acceptFrom(fd: number): number | undefined {
  const connection = libc().accept4(fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (connection >= 0) return connection;
  const code = errorName();
  if (code === 'EAGAIN' || code === 'EINTR' || code === 'ECONNABORTED') return undefined;
  throw new SystemCallError('accept4', code);
}

/**
 * Connects to a socket that listens at a path. @throws SystemCallError, `ECONNREFUSED` and `ENOENT` if nobody listens
 * there
 */
export function connectTo(path: string): number {
  const fd = unixSocket();
  try {
    withAddress(path, (address, length) => checked(libc().connect(fd, address, length), 'connect', path));
    return fd;
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
}

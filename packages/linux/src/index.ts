/**
 * Parts of Linux that Node lacks to serve a device to another process: file descriptors that come over a UNIX socket,
 * files that both processes have in their memory, eventfds. By koffi, without a compiler.
 *
 * You bring:  Linux.
 * You get:    {@link Listener}, {@link receive} and {@link send}; {@link SharedMemory}, guest memory made of another process's files;
 *             {@link mapShared}; {@link signal}, {@link clear} and {@link watch} for eventfds.
 * Not here:   a protocol. `@virtkit/vhost-user` and `@virtkit/vfio-user` are two.
 * @packageDocumentation
 */
export { PeerError, SystemCallError } from './errors.ts';
export { checkEventfd, clear, createEventfd, signal } from './eventfd.ts';
export { type Watch, watch } from './libc.ts';
export { Listener } from './listener.ts';
export { mapShared, type SharedMapping, sharedFile } from './mapping.ts';
export { linux, type Platform } from './platform.ts';
export {
  type FileRegion,
  overlapping,
  SharedMemory,
  type SharedMemoryOptions,
  WINDOWS_MAX,
  type WriteLog,
} from './shared-memory.ts';
export {
  acceptFrom,
  closeDescriptor,
  connectTo,
  DESCRIPTORS_MAX,
  hangUp,
  hasLeft,
  listenAt,
  type Received,
  receive,
  send,
} from './socket.ts';

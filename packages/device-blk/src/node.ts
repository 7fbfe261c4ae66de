/**
 * Back ends of `@virtkit/device-blk` that need Node.
 * @packageDocumentation
 */
export { type FileDisk, type FileDiskOptions, fileDisk } from './node/file-disk.ts';
export { type FileLocker, ImageInUseError } from './node/image-locks.ts';
export type { LockHolder } from './node/proc-locks.ts';

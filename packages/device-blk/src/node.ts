/**
 * Back ends of `@virtkit/device-blk` that need Node.
 * @packageDocumentation
 */
export { type FileDisk, type FileDiskOptions, fileDisk } from './node/file-disk.ts';

/**
 * A back end of `@virtkit/device-blk` for disks on NBD servers, and by these for whatever they serve. Needs Node.
 * @packageDocumentation
 */
export { type NbdDisk, type NbdDiskOptions, nbdDisk } from './node/nbd/disk.ts';
export { NbdProtocolError } from './node/nbd/protocol.ts';
export type { NbdEvent } from './node/nbd/session.ts';

/**
 * A disk image in a `Blob` or `File`, read-only. Put an overlay over it for a guest that writes.
 * @packageDocumentation
 */
export { type BlobLike, blobDisk } from './disk/blob.ts';

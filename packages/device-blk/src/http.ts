/**
 * A disk image on a web server, read-only, by range requests. Put an overlay over it for a guest that writes.
 * @packageDocumentation
 */
export { type Fetch, HttpDisk, type HttpDiskOptions, httpDisk } from './disk/http.ts';

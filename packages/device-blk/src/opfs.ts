/**
 * A disk in the origin private file system, which survives a reload. In a worker: {@link openOpfsDisk}, synchronous. In a page: a worker
 * that calls {@link serveOpfsDisks}, and {@link connectOpfsDisk}.
 * @packageDocumentation
 */
export {
  type FileHandle,
  type OpfsDisk,
  type OpfsOptions,
  openOpfsDisk,
  opfsDisk,
  type SyncAccessHandle,
} from './disk/opfs.ts';
export type { WorkerPort } from './disk/opfs-messages.ts';
export { connectOpfsDisk, type RemoteDisk, type RemoteOptions } from './disk/opfs-remote.ts';
export { serveOpfsDisks } from './disk/opfs-worker.ts';

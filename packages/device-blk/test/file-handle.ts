import fs from 'node:fs';
import type { SyncAccessHandle } from '@virtkit/device-blk/opfs';

/** Node's files by the interface of the browser's. */
export function fileHandle(path: string): SyncAccessHandle {
  const fd = fs.openSync(path, 'r+');
  let isClosed = false;
  return {
    getSize: () => fs.fstatSync(fd).size,
    truncate: (size) => fs.ftruncateSync(fd, size),
    read: (target, { at }) => fs.readSync(fd, target, 0, target.length, at),
    write: (source, { at }) => fs.writeSync(fd, source, 0, source.length, at),
    flush: () => fs.fdatasyncSync(fd),
    // as in browsers, a second time does nothing
    close: () => {
      if (!isClosed) fs.closeSync(fd);
      isClosed = true;
    },
  };
}

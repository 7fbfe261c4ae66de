import fs from 'node:fs';
import { HostError, type Spans } from '@virtkit/core';
import { FlushLatch } from '../disk/flush-latch.ts';
import type { BlkBackend, Pending } from '../live/backend.ts';
import { eachPiece, type PieceHandler } from '../live/pieces.ts';
import { AsyncFile, written } from './async-file.ts';
import { checkImageLocks, type FileLocker, takeImageLocks } from './image-locks.ts';
import { OpenFile } from './open-file.ts';

/** Options of a disk in a file. */
export interface FileDiskOptions {
  /** True to open the file for reading only; default false. */
  readonly readOnly?: boolean;
  /**
   * Write cache, as QEMU's `cache`. `writeback` (the default): writes are stable when the driver flushes.
   * `writethrough`: the driver finds its write cache off, and the device flushes after each write. `unsafe`: writes are
   * never flushed, for disks that nobody will miss.
   */
  readonly cache?: 'writeback' | 'writethrough' | 'unsafe';
  /**
   * False (the default) to read and write straight between file and guest memory, while the program waits. True: in the
   * background, by way of a copy, since guest memory can change hands while an operation is under way.
   */
  readonly async?: boolean;
  /** Logical block size in bytes; default 512. */
  readonly blockSize?: number;
  /** Effect of a discard: nothing (the default, as QEMU's), or zeros the bytes. Node cannot punch holes. */
  readonly discard?: 'ignore' | 'unmap';
  /**
   * Handling of the locks by which QEMUs keep an image to themselves. `check` (the default): an image that another
   * program uses is refused, on Linux, where `/proc/locks` tells; elsewhere nothing is found. A {@link FileLocker}: it
   * is refused, and the same locks are held until the disk is closed, so that QEMU refuses it too. `off`: opened
   * whoever has it.
   */
  readonly locking?: 'check' | 'off' | FileLocker;
}

/** Disk in a file, made by {@link fileDisk}. */
export interface FileDisk extends BlkBackend {
  /** Looks how long the file is now, and answers its length in bytes. Then tell the device: `BlkDevice.resize`. */
  refreshSize(): number;
  /**
   * Closes the file: at once, or, if operations in the background are under way, when these have ended, and then it answers a promise. From the call
   * on all operations fail with code `EBADF`. To lose nothing, wait for `BlkDevice.idle` first. A second call does nothing.
   *
   * @throws the error of `fs.closeSync`
   */
  close(): Pending;
}

/** Number of bytes of the pieces in which zeros are written. */
const ZERO_CHUNK = 1 << 20;
const ZEROS = new Uint8Array(ZERO_CHUNK);

/**
 * Opens a raw disk image, or a block device, as a disk.
 *
 * @throws the error of `fs.openSync`; ImageInUseError if a QEMU or another program has it for itself; HostError for
 * what is no disk
 */
export function fileDisk(path: string, options: FileDiskOptions = {}): FileDisk {
  const fd = fs.openSync(path, options.readOnly === true ? 'r' : 'r+');
  try {
    return openedDisk(fd, path, options);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function openedDisk(fd: number, path: string, options: FileDiskOptions): FileDisk {
  const { readOnly = false, cache = 'writeback', blockSize = 512, discard = 'ignore' } = options;
  const { locking = 'check' } = options;
  if (locking !== 'off') checkImageLocks(fd, path, readOnly);
  if (typeof locking === 'object') takeImageLocks(fd, path, readOnly, locking);
  const open = new OpenFile(fd, path);
  const file = options.async === true ? new AsyncFile(open) : new SyncFile(open);
  const writeZeroes = (position: number, length: number): Pending => file.writeZeroes(position, length);
  let size = sizeOf(fd, path);
  return {
    get size() {
      return size;
    },
    blockSize,
    readOnly,
    writeCache: cache !== 'writethrough',
    firstSector: firstSector(fd),
    read: (position, target, from, length) => file.read(position, target, from, length),
    write: (position, source, from, length) => file.write(position, source, from, length),
    writeZeroes,
    ...(cache !== 'unsafe' && { flush: () => file.flush() }),
    ...(discard === 'unmap' && { discard: writeZeroes }),
    refreshSize: () => {
      size = sizeOf(open.fd, path);
      return size;
    },
    close: () => open.close(),
  };
}

/** Finds the length in bytes of a file, or of a block device, which `stat` calls empty. */
function sizeOf(fd: number, path: string): number {
  const stat = fs.fstatSync(fd);
  if (stat.isFile()) return stat.size;
  if (!stat.isBlockDevice()) throw new HostError(`${path} is neither a file nor a block device`);
  const byte = new Uint8Array(1);
  let low = 0;
  let high = 2 ** 50;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (fs.readSync(fd, byte, 0, 1, middle) === 1) low = middle + 1;
    else high = middle;
  }
  return low;
}

function firstSector(fd: number): Uint8Array {
  const sector = new Uint8Array(512);
  fs.readSync(fd, sector, 0, 512, 0);
  return sector;
}

/** File that is read and written straight from and to guest memory. */
class SyncFile {
  readonly #file: OpenFile;
  readonly #latch: FlushLatch;
  readonly #reader: PieceHandler = {
    piece: (bytes, offset, length, position) => this.#readPiece(bytes, offset, length, position),
  };
  readonly #writer: PieceHandler = {
    piece: (bytes, offset, length, position) => this.#writePiece(bytes, offset, length, position),
  };

  constructor(file: OpenFile) {
    this.#file = file;
    this.#latch = new FlushLatch(file.path);
  }

  read(position: number, target: Spans, from: number, length: number): void {
    eachPiece(target, from, length, position, this.#reader);
  }

  #readPiece(bytes: Uint8Array, offset: number, length: number, position: number): void {
    const { fd } = this.#file;
    for (let done = 0; done < length; ) {
      const count = fs.readSync(fd, bytes, offset + done, length - done, position + done);
      // behind the end of the file its last sector is zeros, as QEMU reads it
      if (count === 0) {
        bytes.fill(0, offset + done, offset + length);
        return;
      }
      done += count;
    }
  }

  write(position: number, source: Spans, from: number, length: number): void {
    eachPiece(source, from, length, position, this.#writer);
  }

  #writePiece(bytes: Uint8Array, offset: number, length: number, position: number): void {
    const { fd } = this.#file;
    for (let done = 0; done < length; ) {
      const at = position + done;
      done += written(fs.writeSync(fd, bytes, offset + done, length - done, at), at);
    }
  }

  writeZeroes(position: number, length: number): void {
    for (let done = 0; done < length; ) {
      const piece = Math.min(ZERO_CHUNK, length - done);
      this.#writePiece(ZEROS, 0, piece, position + done);
      done += piece;
    }
  }

  flush(): void {
    const { fd } = this.#file;
    this.#latch.check();
    try {
      fs.fdatasyncSync(fd);
    } catch (error) {
      throw this.#latch.fail(error);
    }
  }
}

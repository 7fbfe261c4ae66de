import { HostError, type Spans } from '@virtkit/core';
import type { BlkBackend } from '../live/backend.ts';
import { eachPiece, type PieceHandler } from '../live/pieces.ts';
import { closedError, FlushLatch } from './flush-latch.ts';

/** Part of a `FileSystemSyncAccessHandle` that is needed. */
export interface SyncAccessHandle {
  /** Length of the file in bytes. */
  getSize(): number;
  /** Makes the file `size` bytes long; what is new is zeros. */
  truncate(size: number): void;
  /** Reads from offset `at` on; answers how many bytes there were. */
  read(target: Uint8Array, options: { at: number }): number;
  /** Writes from offset `at` on; answers how many bytes were written. */
  write(source: Uint8Array, options: { at: number }): number;
  /** Has the system put what was written on the medium. */
  flush(): void;
  /** Closes the file. */
  close(): void;
}

/** Part of a `FileSystemFileHandle` that is needed. */
export interface FileHandle {
  /** Opens the file for this worker alone. Rejects while another has it open. */
  createSyncAccessHandle(): Promise<SyncAccessHandle>;
}

/** Options of a disk in a file of the origin private file system. */
export interface OpfsOptions {
  /**
   * Size of the disk in bytes, a multiple of 512: a smaller file is made so large, a larger one stays. Needed for a
   * file that is new.
   */
  readonly size?: number;
  /** Effect of a discard: nothing (the default, as QEMU's), or zeros the bytes. */
  readonly discard?: 'ignore' | 'unmap';
}

const SECTOR = 512;
/** Name of the disk in errors; a handle has none. */
const NAME = 'the disk';
const ZEROS = new Uint8Array(1 << 18);

/** Disk in a file that no other tab has open. */
export interface OpfsDisk extends BlkBackend {
  /** Changes the size of the disk, in bytes, to a larger or a smaller one. Then tell the device: `BlkDevice.resize`. */
  resize(size: number): void;
  /**
   * Flushes and closes the file. Wait for `BlkDevice.idle` first. All operations fail from then on, with code `EBADF`; a second call does nothing.
   *
   * @throws what the flush throws; the file is closed all the same
   */
  close(): void;
}

/** Makes a disk over an access handle that you opened. Only in a worker. @throws HostError for a size that is none */
export function opfsDisk(handle: SyncAccessHandle, options: OpfsOptions = {}): OpfsDisk {
  return new Disk(handle, options);
}

/**
 * Opens a file, given or by its name in the root of the origin private file system, where it is made if it is not there.
 *
 * @throws Error with code `EBUSY` if another tab or worker has it open; `ENOSPC` if there is no room for its size
 */
export async function openOpfsDisk(file: string | FileHandle, options: OpfsOptions = {}): Promise<OpfsDisk> {
  const name = typeof file === 'string' ? file : 'the file';
  try {
    const handle = typeof file === 'string' ? await fileByName(file) : file;
    return opfsDisk(await handle.createSyncAccessHandle(), options);
  } catch (error) {
    throw withCode(error, name);
  }
}

interface Directory {
  getFileHandle(name: string, options: { create: boolean }): Promise<FileHandle>;
}

/** Navigator of pages and workers; Node has one since version 21, without storage. */
declare const navigator: { readonly storage?: { getDirectory?(): Promise<Directory> } } | undefined;

async function fileByName(name: string): Promise<FileHandle> {
  const storage = typeof navigator === 'undefined' ? undefined : navigator.storage;
  const root = await storage?.getDirectory?.();
  if (root === undefined) throw new HostError('no origin private file system here');
  return root.getFileHandle(name, { create: true });
}

/** Codes of systems by DOM's names for the same errors. */
const CODES: Readonly<Record<string, string>> = {
  NoModificationAllowedError: 'EBUSY',
  InvalidStateError: 'EBADF',
  NotFoundError: 'ENOENT',
  QuotaExceededError: 'ENOSPC',
};

function withCode(error: unknown, name: string): unknown {
  const { name: kind = '', message = '' } = error as { name?: string; message?: string };
  const code = CODES[kind];
  if (code === undefined) return error;
  const reason = code === 'EBUSY' ? 'is open elsewhere: in another tab, or another worker' : message;
  return Object.assign(new Error(`${name}: ${reason}`, { cause: error }), { code });
}

class Disk implements OpfsDisk {
  readonly blockSize: number = SECTOR;
  readonly discard?: (position: number, length: number) => void;
  readonly #handle: SyncAccessHandle;
  // a handle takes views, and no offsets into arrays
  readonly #reader: PieceHandler = {
    piece: (bytes, offset, length, position) =>
      this.#readPiece(bytes.subarray(offset, offset + length), position),
  };
  readonly #writer: PieceHandler = {
    piece: (bytes, offset, length, position) =>
      this.#writePiece(bytes.subarray(offset, offset + length), position),
  };
  readonly #latch = new FlushLatch(NAME);
  #size: number;
  #isClosed = false;

  constructor(handle: SyncAccessHandle, { size, discard = 'ignore' }: OpfsOptions) {
    this.#handle = handle;
    this.#size = handle.getSize();
    if (discard === 'unmap') this.discard = (position, length) => this.writeZeroes(position, length);
    try {
      const wanted = Math.max(size ?? 0, Math.ceil(this.#size / SECTOR) * SECTOR);
      if (wanted === 0) throw new HostError('the file is empty: a size is needed for a new disk');
      if (wanted !== this.#size) this.resize(wanted);
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  get size(): number {
    return this.#size;
  }

  get firstSector(): Uint8Array {
    const sector = new Uint8Array(SECTOR);
    this.#readPiece(sector, 0);
    return sector;
  }

  resize(size: number): void {
    if (!Number.isSafeInteger(size) || size <= 0 || size % SECTOR !== 0)
      throw new HostError(`a disk of ${size} bytes: not a multiple of ${SECTOR}`);
    this.#try(() => this.#handle.truncate(size));
    this.#size = size;
  }

  read(position: number, target: Spans, from: number, length: number): void {
    eachPiece(target, from, length, position, this.#reader);
  }

  #readPiece(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; ) {
      const at = position + done;
      const count = this.#try(() => this.#handle.read(done === 0 ? bytes : bytes.subarray(done), { at }));
      if (count === 0) {
        bytes.fill(0, done);
        return;
      }
      done += count;
    }
  }

  write(position: number, source: Spans, from: number, length: number): void {
    eachPiece(source, from, length, position, this.#writer);
  }

  #writePiece(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; ) {
      const at = position + done;
      const count = this.#try(() => this.#handle.write(done === 0 ? bytes : bytes.subarray(done), { at }));
      if (count === 0)
        throw Object.assign(new Error(`no byte could be written at ${at}`), { code: 'ENOSPC' });
      done += count;
    }
  }

  writeZeroes(position: number, length: number): void {
    for (let done = 0; done < length; done += ZEROS.length)
      this.#writePiece(ZEROS.subarray(0, Math.min(ZEROS.length, length - done)), position + done);
  }

  flush(): void {
    this.#latch.check();
    try {
      this.#try(() => this.#handle.flush());
    } catch (error) {
      throw this.#latch.fail(error);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    try {
      this.flush();
    } finally {
      this.#isClosed = true;
      this.#handle.close();
    }
  }

  #try<T>(operation: () => T): T {
    if (this.#isClosed) throw closedError(NAME);
    try {
      return operation();
    } catch (error) {
      throw withCode(error, NAME);
    }
  }
}

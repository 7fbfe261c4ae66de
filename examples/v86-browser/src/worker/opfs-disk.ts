import type { Spans } from '@virtkit/core';
import type { BlkBackend } from '@virtkit/device-blk';

/** Bytes that are copied at a time. */
const CHUNK = 1 << 20;

/** A disk in a file of the origin private file system, opened for synchronous access: only in workers. */
export class OpfsDisk implements BlkBackend {
  readonly size: number;
  readonly #file: FileSystemSyncAccessHandle;
  readonly #buffer = new Uint8Array(CHUNK);

  /** @throws DOMException `NoModificationAllowedError` if it is open elsewhere */
  static async open(file: FileSystemFileHandle, size: number): Promise<OpfsDisk> {
    const access = await file.createSyncAccessHandle();
    if (access.getSize() < size) access.truncate(size);
    return new OpfsDisk(access, size);
  }

  private constructor(file: FileSystemSyncAccessHandle, size: number) {
    this.#file = file;
    this.size = size;
  }

  read(position: number, target: Spans, from: number, length: number): void {
    for (let done = 0; done < length; done += CHUNK) {
      const bytes = this.#buffer.subarray(0, Math.min(CHUNK, length - done));
      const count = this.#file.read(bytes, { at: position + done });
      // behind the end of the file are zeros
      if (count < bytes.length) bytes.fill(0, count);
      target.copyFrom(from + done, bytes);
    }
  }

  write(position: number, source: Spans, from: number, length: number): void {
    for (let done = 0; done < length; done += CHUNK) {
      const bytes = this.#buffer.subarray(0, Math.min(CHUNK, length - done));
      source.copyTo(from + done, bytes);
      const count = this.#file.write(bytes, { at: position + done });
      if (count < bytes.length) throw Object.assign(new Error('the storage is full'), { code: 'ENOSPC' });
    }
  }

  flush(): void {
    this.#file.flush();
  }

  close(): void {
    this.#file.close();
  }
}

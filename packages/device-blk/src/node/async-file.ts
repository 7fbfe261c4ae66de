import fs from 'node:fs';
import type { Spans } from '@virtkit/core';

/** Largest copy; longer operations go piece by piece. */
const CHUNK = 1 << 20;

/** In the background. Guest memory is touched only while the device lends it: bytes go through copies. */
export class AsyncFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async read(position: number, target: Spans, from: number, length: number): Promise<void> {
    const buffer = new Uint8Array(Math.min(CHUNK, length));
    for (let done = 0; done < length; ) {
      const piece = Math.min(CHUNK, length - done);
      await this.#fill(buffer, piece, position + done);
      target.copyFrom(from + done, buffer, 0, piece);
      done += piece;
    }
  }

  write(position: number, source: Spans, from: number, length: number): Promise<void> {
    // taken out before anything is awaited: the driver may get its memory back
    const bytes = new Uint8Array(length);
    source.copyTo(from, bytes, 0, length);
    return this.#writeAll(bytes, length, position);
  }

  async writeZeroes(position: number, length: number): Promise<void> {
    const zeros = new Uint8Array(Math.min(CHUNK, length));
    for (let done = 0; done < length; done += CHUNK)
      await this.#writeAll(zeros, Math.min(CHUNK, length - done), position + done);
  }

  flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#fd, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  async #fill(buffer: Uint8Array, length: number, position: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const count = await this.#readSome(buffer, done, length - done, position + done);
      if (count === 0) {
        // behind the end of the file its last sector is zeros, as QEMU reads it
        buffer.fill(0, done, length);
        return;
      }
      done += count;
    }
  }

  #readSome(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#fd, buffer, offset, length, position, (error, count) =>
        error === null ? resolve(count) : reject(error),
      );
    });
  }

  async #writeAll(bytes: Uint8Array, length: number, position: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const at = done;
      done += await new Promise<number>((resolve, reject) => {
        fs.write(this.#fd, bytes, at, length - at, position + at, (error, count) =>
          error === null ? resolve(count) : reject(error),
        );
      });
    }
  }
}

import fs from 'node:fs';
import type { Spans } from '@virtkit/core';
import { FlushLatch } from '../disk/flush-latch.ts';
import { Gate } from '../disk/gate.ts';
import type { OpenFile } from './open-file.ts';

/** Largest number of bytes of a copy; longer operations go piece by piece. */
const CHUNK = 1 << 20;
const ZEROS = new Uint8Array(CHUNK);
/**
 * Number of reads that have a buffer at a time; {@link BYTES_UNDER_WAY} bounds the bytes of their buffers. Others wait.
 */
const READS_UNDER_WAY = 64;
const READ_BYTES_UNDER_WAY = 16 << 20;

/**
 * File that is read and written in the background. Guest memory is touched only while the device lends it: bytes go
 * through copies.
 */
export class AsyncFile {
  readonly #file: OpenFile;
  readonly #latch: FlushLatch;
  readonly #reads = new Gate(READS_UNDER_WAY, READ_BYTES_UNDER_WAY);
  /** Flush that is under way; {@link #nextFlush} is the one for all that have come since. */
  #flush: Promise<void> | undefined;
  #nextFlush: Promise<void> | undefined;

  constructor(file: OpenFile) {
    this.#file = file;
    this.#latch = new FlushLatch(file.path);
  }

  async read(position: number, target: Spans, from: number, length: number): Promise<void> {
    const size = Math.min(CHUNK, length);
    await this.#reads.enter(size);
    try {
      const buffer = new Uint8Array(size);
      for (let done = 0; done < length; ) {
        const piece = Math.min(CHUNK, length - done);
        await this.#fill(buffer, piece, position + done);
        target.copyFrom(from + done, buffer, 0, piece);
        done += piece;
      }
    } finally {
      this.#reads.leave(size);
    }
  }

  write(position: number, source: Spans, from: number, length: number): Promise<void> {
    // taken out before anything is awaited: the driver may get its memory back
    const bytes = new Uint8Array(length);
    source.copyTo(from, bytes, 0, length);
    return this.#writeAll(bytes, length, position);
  }

  async writeZeroes(position: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += CHUNK)
      await this.#writeAll(ZEROS, Math.min(CHUNK, length - done), position + done);
  }

  /**
   * Flushes the file. One flush goes at a time, or one that begins in the midst could miss the error that another is
   * told.
   */
  flush(): Promise<void> {
    if (this.#flush === undefined) return this.#sync();
    // the one that is under way may have begun before the last write
    const next = (): Promise<void> => {
      this.#nextFlush = undefined;
      return this.#sync();
    };
    this.#nextFlush ??= this.#flush.then(next, next);
    return this.#nextFlush;
  }

  #sync(): Promise<void> {
    this.#flush = this.#syncOnce().finally(() => {
      this.#flush = undefined;
    });
    return this.#flush;
  }

  async #syncOnce(): Promise<void> {
    this.#latch.check();
    try {
      await this.#file.call<void>((fd, done) => fs.fdatasync(fd, (error) => done(error, undefined)));
    } catch (error) {
      throw this.#latch.fail(error);
    }
  }

  async #fill(buffer: Uint8Array, length: number, position: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const at = done;
      const count = await this.#file.call<number>((fd, end) =>
        fs.read(fd, buffer, at, length - at, position + at, end),
      );
      if (count === 0) {
        // behind the end of the file its last sector is zeros, as QEMU reads it
        buffer.fill(0, done, length);
        return;
      }
      done += count;
    }
  }

  async #writeAll(bytes: Uint8Array, length: number, position: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const at = done;
      const count = await this.#file.call<number>((fd, end) =>
        fs.write(fd, bytes, at, length - at, position + at, end),
      );
      done += written(count, position + at);
    }
  }
}

/** Takes the number of bytes that a write took. @throws Error if it is 0 */
export function written(count: number, position: number): number {
  if (count > 0) return count;
  throw Object.assign(new Error(`no byte could be written at ${position}`), { code: 'EIO' });
}

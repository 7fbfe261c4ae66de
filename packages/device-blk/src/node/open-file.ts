import fs from 'node:fs';
import { closedError } from '../disk/flush-latch.ts';
import type { Pending } from '../live/backend.ts';

type Done<T> = (error: NodeJS.ErrnoException | null, result: T) => void;

/**
 * An open file whose number is nobody else's as long as it is used: once closed, its number is never named again, and while operations are
 * under way it is not given back, since the next file that is opened gets it.
 */
export class OpenFile {
  readonly path: string;
  readonly #fd: number;
  #underWay = 0;
  #closing: Promise<void> | undefined;
  #isClosed = false;
  #idle = (): void => {};

  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.path = path;
  }

  /** Descriptor of the file. @throws Error `EBADF` once it is closed */
  get fd(): number {
    if (this.#isClosed) throw closedError(this.path);
    return this.#fd;
  }

  /** An operation in the background. */
  async call<T>(operation: (fd: number, done: Done<T>) => void): Promise<T> {
    const { fd } = this;
    this.#underWay++;
    try {
      return await new Promise<T>((resolve, reject) => {
        operation(fd, (error, result) => (error === null ? resolve(result) : reject(error)));
      });
    } finally {
      this.#underWay--;
      if (this.#underWay === 0) this.#idle();
    }
  }

  /** From now on nothing is begun. A promise if operations are under way: it is closed when they have ended. */
  close(): Pending {
    if (this.#isClosed) return this.#closing;
    this.#isClosed = true;
    if (this.#underWay === 0) {
      fs.closeSync(this.#fd);
      return undefined;
    }
    this.#closing = new Promise<void>((resolve) => {
      this.#idle = resolve;
    }).then(() => fs.closeSync(this.#fd));
    return this.#closing;
  }
}

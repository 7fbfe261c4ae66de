// Node's file system with a file that fails as real ones do: errors, short reads and writes, and an fsync that tells of lost writes once.
import fs from 'node:fs';
import { vi } from 'vitest';

/** What goes wrong next; undefined: nothing. */
export type Fault = 'EIO' | 'ENOSPC' | 'short' | undefined;

/** Asked before each operation. */
export type Plan = (operation: 'read' | 'write' | 'flush') => Fault;

type Callback = (error: NodeJS.ErrnoException | null, count?: number) => void;

function failure(fault: 'EIO' | 'ENOSPC'): NodeJS.ErrnoException {
  return Object.assign(new Error(`${fault}: injected`), { code: fault });
}

/**
 * A file as a system keeps it: what was written is in its cache, and stable when a flush has said so. Of a flush that fails, what was not
 * stable is lost, and the next one says that all is well.
 */
export class FaultyFile {
  readonly path: string;
  readonly #stable: Uint8Array;
  plan: Plan = () => undefined;
  flushes = 0;

  constructor(path: string, content: Uint8Array) {
    this.path = path;
    this.#stable = content.slice();
    fs.writeFileSync(path, content);
  }

  /** What is on the disk if the power fails now. */
  get stable(): Uint8Array {
    return this.#stable.slice();
  }

  /** Bytes that this operation may do. */
  begin(operation: 'read' | 'write', length: number): number {
    const fault = this.plan(operation);
    if (fault === undefined) return length;
    if (fault === 'short') return Math.max(1, length >> 1);
    throw failure(fault);
  }

  flush(sync: () => void): void {
    this.flushes++;
    const fault = this.plan('flush');
    if (fault === undefined || fault === 'short') {
      sync();
      this.#stable.set(fs.readFileSync(this.path).subarray(0, this.#stable.length));
      return;
    }
    fs.writeFileSync(this.path, this.#stable);
    throw failure(fault);
  }
}

const real = {
  readSync: fs.readSync.bind(fs),
  writeSync: fs.writeSync.bind(fs),
  fdatasyncSync: fs.fdatasyncSync.bind(fs),
  fstatSync: fs.fstatSync.bind(fs),
};

/** Has Node's own functions fail on this file, whoever opened it. Answers how to end it. */
export function injectFaults(file: FaultyFile): () => void {
  const { ino } = fs.statSync(file.path);
  const isMeant = (fd: number): boolean => real.fstatSync(fd).ino === ino;
  const read = (fd: number, bytes: Uint8Array, at: number, length: number, position: number): number => {
    const allowed = isMeant(fd) ? file.begin('read', length) : length;
    return real.readSync(fd, bytes, at, allowed, position);
  };
  const write = (fd: number, bytes: Uint8Array, at: number, length: number, position: number): number => {
    const allowed = isMeant(fd) ? file.begin('write', length) : length;
    return real.writeSync(fd, bytes, at, allowed, position);
  };
  const flush = (fd: number): void => {
    if (isMeant(fd)) file.flush(() => real.fdatasyncSync(fd));
    else real.fdatasyncSync(fd);
  };
  const later = (work: () => number | undefined, done: Callback): void => {
    setImmediate(() => {
      let count: number | undefined;
      try {
        count = work();
      } catch (error) {
        done(error as NodeJS.ErrnoException);
        return;
      }
      done(null, count);
    });
  };
  type Five = [number, Uint8Array, number, number, number];
  const spies = [
    vi.spyOn(fs, 'readSync').mockImplementation((...all) => read(...(all as unknown as Five))),
    vi.spyOn(fs, 'writeSync').mockImplementation((...all: unknown[]) => write(...(all as Five))),
    vi.spyOn(fs, 'fdatasyncSync').mockImplementation(flush),
    vi.spyOn(fs, 'read').mockImplementation((...all: unknown[]) => {
      later(() => read(...(all as Five)), all[5] as Callback);
    }),
    vi.spyOn(fs, 'write').mockImplementation((...all: unknown[]) => {
      later(() => write(...(all as Five)), all[5] as Callback);
    }),
    vi.spyOn(fs, 'fdatasync').mockImplementation((fd, done) => {
      later(() => flush(fd) as undefined, done as Callback);
    }),
  ];
  return () => {
    for (const spy of spies) spy.mockRestore();
  };
}

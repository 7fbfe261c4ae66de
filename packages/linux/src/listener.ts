import { lstatSync, rmSync } from 'node:fs';
import { SystemCallError } from './errors.ts';
import { type Watch, watch } from './libc.ts';
import { acceptFrom, closeDescriptor, connectTo, listenAt } from './socket.ts';

/** Socket where one peer after the other is served: the next one waits until {@link accept} is called again. */
export class Listener {
  /** Path where the socket listens. */
  readonly path: string;
  readonly #fd: number;
  /** Identity of what stands under the path since the socket listens. */
  readonly #name: string | undefined;
  #watch: Watch | undefined;

  /**
   * @param path of the UNIX socket, at most 107 bytes. One that a killed server has left there is replaced
   * @throws SystemCallError if somebody listens there, or it is a file
   */
  constructor(path: string) {
    this.path = path;
    this.#fd = listen(path);
    this.#name = nameAt(path);
  }

  /** Takes the next connection, when it comes: once. @param take has to close the descriptor */
  accept(take: (fd: number) => void): void {
    this.#watch?.close();
    this.#watch = watch(this.#fd, () => {
      const fd = acceptFrom(this.#fd);
      if (fd === undefined) return;
      this.#watch?.close();
      take(fd);
    });
  }

  /** Closes the socket and removes it, unless something else has its name by now. Called once. */
  close(): void {
    this.#watch?.close();
    if (this.#name !== undefined && nameAt(this.path) === this.#name) rmSync(this.path, { force: true });
    closeDescriptor(this.#fd);
  }
}

/** Tells what stands under a path from all that stands there while a socket of that name listens, which keeps its inode; undefined: nothing does. */
function nameAt(path: string): string | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

/**
 * Listens at a path. The socket of a server that was killed is nobody's, and is replaced: one that somebody listens on
 * is not.
 */
function listen(path: string): number {
  try {
    return listenAt(path);
  } catch (error) {
    if (!(error instanceof SystemCallError) || error.code !== 'EADDRINUSE' || !isLeftOver(path)) throw error;
    rmSync(path, { force: true });
    return listenAt(path);
  }
}

function isLeftOver(path: string): boolean {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return false;
  try {
    closeDescriptor(connectTo(path));
    return false;
  } catch (error) {
    return error instanceof SystemCallError && error.code === 'ECONNREFUSED';
  }
}

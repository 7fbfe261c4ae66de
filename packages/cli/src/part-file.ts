import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';

/** A file that has its name only when it is whole. */
export class PartFile {
  readonly #name: string;
  readonly #part: string;
  readonly #fd: number;
  readonly #onExit = (): void => rmSync(this.#part, { force: true });

  constructor(name: string) {
    this.#name = name;
    this.#part = `${name}.part-${process.pid}`;
    this.#fd = openSync(this.#part, 'wx');
    process.once('exit', this.#onExit);
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
  }

  finish(): void {
    fsyncSync(this.#fd);
    closeSync(this.#fd);
    renameSync(this.#part, this.#name);
    process.off('exit', this.#onExit);
  }

  discard(): void {
    closeSync(this.#fd);
    rmSync(this.#part, { force: true });
    process.off('exit', this.#onExit);
  }
}

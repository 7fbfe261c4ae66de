import type { Duplex } from 'node:stream';
import type { ByteDuplex } from '../live/duplex.ts';

/**
 * Makes a connection for a live migration of a Node stream: a TCP, Unix or TLS socket. It is destroyed in the end, when
 * what was written has gone out, or has not within 5 seconds.
 */
export function streamDuplex(stream: Duplex): ByteDuplex {
  return new StreamDuplex(stream);
}

/** Milliseconds that the other side has to take what was written last. */
const CLOSE_MS = 5000;

class StreamDuplex implements ByteDuplex {
  readonly #stream: Duplex;
  #failure: Error | undefined;
  #ended = false;
  /** Callbacks of whoever waits for something to change. */
  #wake: (() => void)[] = [];

  constructor(stream: Duplex) {
    this.#stream = stream;
    const wake = (): void => {
      for (const each of this.#wake.splice(0)) each();
    };
    stream.on('error', (error: Error) => {
      this.#failure ??= error;
      wake();
    });
    stream.on('end', () => {
      this.#ended = true;
      wake();
    });
    for (const event of ['readable', 'drain', 'close']) stream.on(event, wake);
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#check();
    if (this.#stream.write(bytes)) return;
    while (this.#stream.writableNeedDrain) {
      await this.#change();
      this.#check();
    }
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk: unknown = this.#stream.read();
      if (chunk instanceof Uint8Array) return chunk;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended || this.#stream.destroyed) return undefined;
      await this.#change();
    }
  }

  close(): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.writableEnded) return;
    const patience = setTimeout(() => stream.destroy(), CLOSE_MS);
    // a program that has nothing else to do does not wait for it
    patience.unref();
    stream.end(() => {
      clearTimeout(patience);
      stream.destroy();
    });
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#stream.destroyed || this.#stream.writableEnded) throw new Error('the connection is closed');
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }
}

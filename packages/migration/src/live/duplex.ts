/**
 * Connection to the other host: bytes in order, both ways. A TCP socket, a `MessagePort`, a WebRTC data channel:
 * anything that can be made to look like this.
 */
export interface ByteDuplex {
  /**
   * Hands bytes over, which are the connection's from now on. Resolves when there is room for more (back-pressure); rejects
   * when the connection is broken.
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Reads the next bytes, in chunks of any size; undefined when the other side has closed. Rejects when the connection
   * is broken. It is not called again before it has answered. A connection buffers only so much while nobody reads.
   */
  read(): Promise<Uint8Array | undefined>;
  /**
   * Ends the connection: nothing more will be written, and what was written still goes out. Reads that wait answer
   * undefined. May be called again.
   */
  close(): void;
}

/** Signal that cancels a migration: an `AbortSignal`. */
export interface CancelSignal {
  /** True if the signal was given. */
  readonly aborted: boolean;
  /** Has the listener called when the signal is given. */
  addEventListener(type: 'abort', listener: () => void): void;
  /** Has the listener called no more. */
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Source of time. The default is the host's own; tests bring theirs. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  now(): number;
  /** Calls back once after some milliseconds, unless the function that it answers was called before. */
  after(milliseconds: number, callback: () => void): () => void;
}

// Globals that every JavaScript host has, and the language itself has not.
declare const performance: { now(): number };
declare function setTimeout(callback: () => void, milliseconds: number): unknown;
declare function clearTimeout(timer: unknown): void;

/** Clock of the host: `performance.now` and `setTimeout`. */
export const hostClock: Clock = {
  now: () => performance.now(),
  after: (milliseconds, callback) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
};

import type { Readable, Writable } from 'node:stream';
import type { GuestPort } from '../live/backend.ts';
import type { ConnectedPort } from '../ports/terminal.ts';

/**
 * Makes a back end of a port of Node's streams.
 *
 * ```ts
 * const backend = nodePort({ readable: process.stdin.setRawMode(true), writable: process.stdout });
 * const other = nodePort({ readable: socket, writable: socket });
 * ```
 *
 * The guest waits while the writable's buffer is full, and nothing is read while the guest has no room. When the
 * writable closes, the port does; the end of what is read changes nothing. Errors of the streams are the program's:
 * listen for them.
 */
export function nodePort({
  readable,
  writable,
}: {
  readonly readable?: Readable;
  readonly writable?: Writable;
}): ConnectedPort {
  let port: GuestPort | undefined;
  /** Bytes that the guest had no room for; the readable is paused meanwhile. */
  let rest: Uint8Array | undefined;
  let full = false;
  let refused = false;

  const flush = (): void => {
    if (rest === undefined) return;
    const sent = port?.send(rest) ?? 0;
    rest = sent < rest.length ? rest.subarray(sent) : undefined;
    if (rest === undefined) readable?.resume();
  };
  const onData = (chunk: Uint8Array | string): void => {
    rest = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    readable?.pause();
    flush();
  };
  const onDrain = (): void => {
    full = false;
    if (!refused) return;
    refused = false;
    port?.ready();
  };
  const onClose = (): void => port?.close();

  return {
    attach: (given) => {
      port = given;
      readable?.on('data', onData);
      writable?.on('drain', onDrain);
      writable?.on('close', onClose);
    },
    write: (bytes, start, end) => {
      // what is written to a stream that is gone is lost, as in a pipe that nobody reads
      if (writable === undefined || writable.destroyed || writable.writableEnded) return end - start;
      if (full) {
        refused = true;
        return 0;
      }
      full = !writable.write(bytes.slice(start, end));
      return end - start;
    },
    guestWritable: flush,
    guestConnected: (open) => {
      if (open) flush();
    },
    disconnect: () => {
      readable?.off('data', onData);
      writable?.off('drain', onDrain);
      writable?.off('close', onClose);
      readable?.pause();
    },
  };
}

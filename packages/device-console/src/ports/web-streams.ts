import type { GuestPort } from '../live/backend.ts';
import type { ConnectedPort } from './terminal.ts';

/** Source of bytes: a `ReadableStream`, as far as a port needs it. */
export interface ByteSource {
  /** Takes the one reader of the stream: `read` resolves with the next bytes, or `done`. */
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
    cancel(reason?: unknown): Promise<void>;
  };
}

/** Sink of bytes: a `WritableStream`, as far as a port needs it. */
export interface ByteSink {
  /** Takes the one writer of the stream: `write` resolves when the bytes were taken. */
  getWriter(): {
    /** Number of bytes that the sink wants to have; 0 and less: nothing now. Null: it failed. */
    readonly desiredSize: number | null;
    readonly ready: Promise<unknown>;
    readonly closed: Promise<unknown>;
    write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
    close(): Promise<void>;
  };
}

/**
 * Makes a back end of a port of the web platform's streams: `{ readable, writable }` of a `WebSocketStream`, a serial
 * port, a `TransformStream`, a Deno socket. Nothing is read while the guest has no room, and the guest waits while the
 * sink does. When the sink fails or is closed, the port is closed; the end of what is read changes nothing.
 */
export function streamPort({
  readable,
  writable,
}: {
  readonly readable?: ByteSource;
  readonly writable?: ByteSink;
}): ConnectedPort {
  const reader = readable?.getReader();
  const writer = writable?.getWriter();
  let port: GuestPort | undefined;
  let gone = false;
  let waiting = false;
  /** Callback that goes on with reading when the guest has room. */
  let roomy: (() => void) | undefined;

  const send = async (bytes: Uint8Array): Promise<void> => {
    for (let at = 0; at < bytes.length && !gone; ) {
      at += port?.send(bytes, at) ?? 0;
      if (at < bytes.length)
        await new Promise<void>((resolve) => {
          roomy = resolve;
        });
    }
  };
  const pump = async (): Promise<void> => {
    if (reader === undefined) return;
    while (!gone) {
      const { done, value } = await reader.read();
      if (done) return;
      if (value !== undefined) await send(value);
    }
  };
  const room = (): void => {
    const go = roomy;
    roomy = undefined;
    go?.();
  };
  const closed = (): void => {
    if (!gone) port?.close();
  };

  return {
    attach: (given) => {
      port = given;
      // a source that fails has ended
      pump().catch(() => {});
      writer?.closed.then(closed, closed);
    },
    write: (bytes, start, end) => {
      if (gone || writer === undefined) return end - start;
      const { desiredSize } = writer;
      if (desiredSize === null) return end - start;
      if (desiredSize > 0) {
        writer.write(bytes.slice(start, end)).catch(() => {});
        return end - start;
      }
      if (!waiting) {
        waiting = true;
        const ready = (): void => {
          waiting = false;
          if (!gone) port?.ready();
        };
        writer.ready.then(ready, ready);
      }
      return 0;
    },
    guestWritable: room,
    guestConnected: (open) => {
      if (open) room();
    },
    disconnect: () => {
      gone = true;
      room();
    },
  };
}

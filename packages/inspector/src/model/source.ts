// Where the bytes of a stream come from: a file of the person, or a URL of the page's own host.
import { StateError } from '@virtkit/vmstate';

/** Source of bytes that can be read from the beginning, as often as one likes. */
export interface Source {
  /** Name of the source, for people. */
  readonly name: string;
  /** Number of bytes; undefined where nobody says. */
  readonly size: number | undefined;
  /** Reads all bytes in pieces, each good until the next one is asked for. */
  chunks(signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Reads the bytes `[start, end)`; absent where only all can be read. */
  slice?(start: number, end: number): Promise<Uint8Array>;
}

/** Number of bytes that are read of a file at a time: large enough that waiting for it does not count. */
const CHUNK_BYTES = 4 << 20;

/** Makes a source of a file. It is read in slices: never more than one of them is in memory. */
export function blobSource(blob: Blob, name: string): Source {
  return {
    name,
    size: blob.size,
    slice: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()),
    async *chunks(signal) {
      for (let at = 0; at < blob.size; at += CHUNK_BYTES) {
        signal?.throwIfAborted();
        yield new Uint8Array(await blob.slice(at, at + CHUNK_BYTES).arrayBuffer());
      }
    },
  };
}

/** Makes a source of what a URL has. Its bytes throw StateError `url` where the server answers no. */
export function urlSource(url: string, name: string): Source {
  let size: number | undefined;
  return {
    name,
    get size() {
      return size;
    },
    async *chunks(signal) {
      const response = await fetch(url, signal && { signal });
      if (!response.ok || response.body === null)
        throw new StateError(
          'url',
          `${name}: the server answers ${response.status}`,
          {},
          { layer: 'stream' },
        );
      size = Number(response.headers.get('content-length') ?? Number.NaN) || undefined;
      const reader = response.body.getReader();
      try {
        for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
      } finally {
        await reader.cancel();
      }
    },
  };
}

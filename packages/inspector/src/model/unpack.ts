// The stream in a file that is packed.
import { asRaw, formatOf, HEAD_BYTES, type Packing } from '@virtkit/migration/files';
import { StateError } from '@virtkit/vmstate';

/** Stream in the bytes of a file, unpacked. */
export interface Unpacked {
  /** Name of how the file was packed; undefined: it was not. */
  readonly packing: Packing | undefined;
  /** Bytes of the stream, each piece good until the next one is asked for. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * The stream in the bytes of a file, unpacked if it is gzip or zstd, of a libvirt save file as well.
 *
 * @throws StateError `format` and others for what is no stream and not unpacked here. While it is read: `gzip`, `zstd` for damaged data,
 * after all that could be had of it
 */
export async function unpacked(source: AsyncIterable<Uint8Array>): Promise<Unpacked> {
  const chunks = source[Symbol.asyncIterator]();
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < HEAD_BYTES) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = head.length === 0 ? next.value : joined(head, next.value);
  }
  const { packing, plainBytes } = formatOf(
    head.subarray(0, HEAD_BYTES),
    (each) => each === 'gzip' || each === 'zstd',
  );
  const all = startingWith(head, chunks);
  return { packing, chunks: packing === undefined ? all : fromFormat(all, packing, plainBytes) };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

async function* startingWith(
  first: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, undefined> {
  try {
    if (first.length > 0) yield first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/** Unpacks a stream by its format. A libvirt save file keeps its header, which then says that nothing is packed. */
async function* fromFormat(
  chunks: AsyncGenerator<Uint8Array, undefined>,
  packing: Packing,
  plainBytes: number,
): AsyncGenerator<Uint8Array, undefined> {
  const decode = packing === 'zstd' ? decodeZstd : decodeGzip;
  if (plainBytes === 0) {
    yield* decode(chunks);
    return;
  }
  let at = 0;
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    const plain = next.value.subarray(0, plainBytes - at);
    yield at === 0 ? asRaw(plain) : plain;
    at += plain.length;
    if (at < plainBytes) continue;
    yield* decode(startingWith(next.value.subarray(plain.length), chunks));
    return;
  }
}

/** Number of bytes that are unpacked at a time. It is small, since they may become a thousand times as much. */
const PIECE_BYTES = 1 << 14;

function* pieces(chunk: Uint8Array): Generator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < chunk.length; at += PIECE_BYTES) yield chunk.slice(at, at + PIECE_BYTES);
}

async function* decodeGzip(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, undefined> {
  const decoder = new DecompressionStream('gzip');
  const writer = decoder.writable.getWriter();
  const fed = feed(chunks, writer);
  fed.catch(() => {});
  const reader = decoder.readable.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw damaged('gzip', error);
      });
      if (done) break;
      yield value;
    }
    await fed;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function feed(
  chunks: AsyncIterable<Uint8Array>,
  writer: WritableStreamDefaultWriter<BufferSource>,
): Promise<void> {
  try {
    for await (const chunk of chunks) for (const piece of pieces(chunk)) await writer.write(piece);
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => {});
    throw error;
  }
}

/** Unpacks Zstandard, by a decoder that is loaded when it is needed: browsers have none. */
async function* decodeZstd(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, undefined> {
  const { Decompress } = await import('fzstd');
  const ready: Uint8Array[] = [];
  const decoder = new Decompress((bytes) => ready.push(bytes));
  const push = (piece: Uint8Array, last: boolean): void => {
    try {
      decoder.push(piece, last);
    } catch (error) {
      throw damaged('zstd', error);
    }
  };
  for await (const chunk of chunks) {
    for (const piece of pieces(chunk)) {
      push(piece, false);
      yield* ready.splice(0);
    }
  }
  push(new Uint8Array(0), true);
  yield* ready.splice(0);
}

function damaged(packing: Packing, error: unknown): StateError {
  const why = error instanceof Error ? error.message : String(error);
  return new StateError(packing, `the ${packing} data cannot be unpacked: ${why}`, {}, { layer: 'stream' });
}

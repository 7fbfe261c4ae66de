import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { asRaw, type Format, formatOf, HEAD_BYTES, type Packing } from '@virtkit/migration/files';
import { StateError } from '@virtkit/vmstate';
import { isSystemError } from './system-error.ts';
import { isInstalled, throughProgram } from './unpack-program.ts';

/** Number of bytes that are unpacked at a time. It is small, since they may become a thousand times as much. */
const PIECE_BYTES = 1 << 14;

/** Finds Node's own zstd, which it has since 22.15 and 23.8. */
function zstdOf(): (() => Transform) | undefined {
  const make: unknown = Reflect.get(zlib, 'createZstdDecompress');
  return typeof make === 'function' ? (make as () => Transform) : undefined;
}

const can = (packing: Packing): boolean => inNode(packing) || isInstalled(packing);

function inNode(packing: Packing): boolean {
  return packing === 'gzip' || (packing === 'zstd' && zstdOf() !== undefined);
}

/**
 * Unpacks the stream in the bytes of a file, if it is packed in a way that Node knows, or a program that is installed.
 *
 * @param chunks lent until the next one is asked for, as the answered ones are
 * @throws StateError with the packing's name for damaged data, after all that could be had of it; those of {@link
 * formatOf}
 */
export async function* unpacked(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array, undefined> {
  const source = rejoined(chunks);
  const first = await source.next();
  if (first.done === true) return;
  const format = formatOf(first.value.subarray(0, HEAD_BYTES), can);
  const all = startingWith(first.value, source);
  if (format.packing === undefined) yield* all;
  else yield* fromFormat(all, format.packing, format);
}

/** Joins chunks so that the first one is long enough to tell what they are: a pipe gives as little as one byte. */
async function* rejoined(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array, undefined> {
  let head: Uint8Array | undefined = new Uint8Array(0);
  for await (const chunk of chunks) {
    if (head === undefined) yield chunk;
    else if (head.length === 0 && chunk.length >= HEAD_BYTES) {
      head = undefined;
      yield chunk;
    } else {
      const joined: Uint8Array = Buffer.concat([head, chunk]);
      head = joined.length < HEAD_BYTES ? joined : undefined;
      if (head === undefined) yield joined;
    }
  }
  if (head !== undefined && head.length > 0) yield head;
}

async function* startingWith(
  first: Uint8Array,
  rest: AsyncGenerator<Uint8Array, undefined>,
): AsyncGenerator<Uint8Array, undefined> {
  try {
    yield first;
    yield* rest;
  } finally {
    await rest.return(undefined);
  }
}

/** Unpacks a stream by its format. A libvirt save file keeps its header, which then says that nothing is packed. */
async function* fromFormat(
  chunks: AsyncGenerator<Uint8Array, undefined>,
  packing: Packing,
  { plainBytes }: Format,
): AsyncGenerator<Uint8Array, undefined> {
  let at = 0;
  if (plainBytes === 0) {
    yield* decoded(chunks, packing);
    return;
  }
  for await (const chunk of chunks) {
    const plain = chunk.subarray(0, plainBytes - at);
    yield at === 0 ? asRaw(plain) : plain;
    at += plain.length;
    if (at < plainBytes) continue;
    yield* decoded(startingWith(chunk.subarray(plain.length), chunks), packing);
    return;
  }
}

function decoded(
  chunks: AsyncGenerator<Uint8Array, undefined>,
  packing: Packing,
): AsyncGenerator<Uint8Array, undefined> {
  return inNode(packing) ? decodedHere(chunks, packing) : throughProgram(chunks, packing);
}

/** Unpacks, and hands over all that a cut or damaged file still has before it complains. */
async function* decodedHere(
  chunks: AsyncGenerator<Uint8Array, undefined>,
  packing: Packing,
): AsyncGenerator<Uint8Array, undefined> {
  const decoder = packing === 'zstd' ? zstdOf()?.() : zlib.createGunzip();
  if (decoder === undefined) return;
  const ready: Uint8Array[] = [];
  decoder.on('data', (bytes: Uint8Array) => ready.push(bytes));
  const ended = new Promise<void>((resolve, reject) => decoder.on('end', resolve).on('error', reject));
  ended.catch(() => {});
  // bad data is told by the event alone
  const written = (piece: Uint8Array): Promise<void> =>
    Promise.race([ended, new Promise<void>((resolve) => decoder.write(piece, () => resolve()))]);
  try {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        // one after the other: the last one must not be the one with which the end is missed, or its data is lost
        await written(chunk.slice(at, at + PIECE_BYTES));
        yield* ready.splice(0);
      }
    }
    decoder.end();
    await ended;
    yield* ready.splice(0);
  } catch (error) {
    if (!isSystemError(error) || !/^(Z|ZSTD)_/.test(error.code)) throw error;
    yield* ready.splice(0);
    const reason = `the ${packing} data cannot be unpacked: ${error.message}`;
    throw new StateError(packing, reason, {}, { layer: 'stream' });
  } finally {
    decoder.destroy();
  }
}

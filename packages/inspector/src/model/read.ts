// One pass over a stream, in bounded memory.
import { acceptVirtio, StreamCollector, StreamParser, TeeSink } from '@virtkit/migration';
import { isPackingCode } from '@virtkit/migration/files';
import type { ReadStream } from '@virtkit/migration/inspect';
import { isStateError, type StateError } from '@virtkit/vmstate';
import { type BlockCells, RamMap } from './ram-map.ts';
import { registry } from './registry.ts';
import type { Source } from './source.ts';
import type { Progress } from './types.ts';
import { unpacked } from './unpack.ts';

/** Stream that was read. */
export interface Opened extends ReadStream {
  readonly source: Source;
  /** Name of how the file was packed. */
  readonly packing: string | undefined;
  /** Cells of each RAM block by its index, which tell what came of it. */
  readonly cells: readonly BlockCells[];
  /** Offsets at which runs of `ram` sections begin. */
  readonly ramStarts: readonly number[];
  /** Number of bytes of the file that were read. */
  readonly fileBytes: number;
}

/** Options for reading a stream. */
export interface ReadOptions {
  /** Signal that ends the reading, with an exception. */
  readonly signal?: AbortSignal;
  /** Function that is told the progress after each piece of the file. */
  readonly onProgress?: (progress: Progress) => void;
}

/**
 * Reads a stream, whatever it is packed in. What is wrong with the stream is part of the answer, with all that came before it.
 *
 * @throws what the source throws, and the reason of `signal`
 */
export async function readSource(source: Source, { signal, onProgress }: ReadOptions = {}): Promise<Opened> {
  const collector = new StreamCollector();
  const map = new RamMap();
  const parser = new StreamParser(new TeeSink(collector, map), { accepts: acceptVirtio(registry) });
  let fileBytes = 0;
  let packing: string | undefined;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of source.chunks(signal)) {
      yield chunk;
      fileBytes += chunk.length;
      const machine = map.machine;
      onProgress?.({
        done: fileBytes,
        ...(source.size !== undefined && { total: source.size }),
        ...(machine !== undefined && { machine }),
      });
    }
  };
  const opened = (error?: StateError): Opened => ({
    stream: collector.partial(),
    error,
    bytes: parser.received,
    source,
    packing,
    cells: map.blocks,
    ramStarts: map.starts,
    fileBytes,
  });
  try {
    const found = await unpacked(counted());
    packing = found.packing;
    for await (const chunk of found.chunks) {
      signal?.throwIfAborted();
      parser.push(chunk);
    }
    parser.end();
    return opened();
  } catch (error) {
    if (!isStateError(error) || error.code === 'url') throw error;
    if (isPackingCode(error.code)) endEarly(parser);
    return opened(error);
  }
}

/**
 * Ends a parser early and has what came so far taken apart: device state is kept until it is all there. The error that
 * the parser throws then would say less.
 */
function endEarly(parser: StreamParser): void {
  try {
    parser.end();
  } catch (error) {
    if (!isStateError(error)) throw error;
  }
}

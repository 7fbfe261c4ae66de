import {
  acceptVirtio,
  RoundTripCheck,
  StreamCollector,
  StreamParser,
  type StreamSink,
  StreamWriter,
  TeeSink,
} from '@virtkit/migration';
import { isPackingCode } from '@virtkit/migration/files';
import type { ReadStream } from '@virtkit/migration/inspect';
import { isStateError } from '@virtkit/vmstate';
import { Progress, readFileOrPipe } from './input.ts';
import { registry } from './registry.ts';

/** Stream as far as it could be read. */
export interface Read extends ReadStream {
  /** Comparison with what the writer makes of it, if that was asked for. */
  readonly check: RoundTripCheck | undefined;
}

/** Reads a stream in one pass. Errors of the stream are part of the answer; those of the file are thrown. */
export async function readInput(file: string, compare: boolean): Promise<Read> {
  const collector = new StreamCollector();
  const check = compare ? new RoundTripCheck() : undefined;
  const sink: StreamSink =
    check === undefined
      ? collector
      : new TeeSink(collector, new StreamWriter((bytes, start, end) => check.output(bytes, start, end)));
  const parser = new StreamParser(sink, { accepts: acceptVirtio(registry) });
  const progress = new Progress(file);
  try {
    await readFileOrPipe(file, compare, (chunk) => {
      check?.input(chunk, true);
      parser.push(chunk);
      progress.add(chunk.length);
    });
    parser.end();
    return { stream: collector.partial(), error: undefined, bytes: parser.received, check };
  } catch (error) {
    if (!isStateError(error)) throw error;
    if (isPackingCode(error.code)) endEarly(parser);
    return { stream: collector.partial(), error, bytes: parser.received, check };
  } finally {
    progress.end();
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

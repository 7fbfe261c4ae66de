import type { Json } from '@virtkit/vmstate';
import { type DecodedVirtio, RoundTripCheck, StreamParser, StreamWriter } from '../src/index.ts';
import { parserOptions } from './registry.ts';

/** Pipes a stream through parser and writer in chunks of that size; what comes out must be what went in. */
export function rewriteStream(
  stream: Uint8Array,
  chunkBytes = stream.length,
): { readonly difference: number; readonly complete: boolean } {
  const check = new RoundTripCheck();
  const parser = new StreamParser(
    new StreamWriter((bytes, start, end) => check.output(bytes, start, end)),
    parserOptions,
  );
  for (let at = 0; at < stream.length; at += chunkBytes) {
    const chunk = stream.subarray(at, at + chunkBytes);
    check.input(chunk);
    parser.push(chunk);
  }
  parser.end();
  return { difference: check.difference, complete: check.complete };
}

/** The section's body made again: from the state, and from its JSON text. */
export function reencode({ device: { codec }, state }: DecodedVirtio): {
  readonly fromState: Uint8Array;
  readonly fromJson: Uint8Array;
} {
  const fromState = codec.encode(state);
  const json = JSON.parse(JSON.stringify(codec.toJSON(state))) as Json;
  return { fromState, fromJson: codec.encode(codec.fromJSON(json)) };
}

/** Offset of the first byte that is not the same, or -1. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  if (Buffer.compare(a, b) === 0) return -1;
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at < 0 ? a.length : at;
}

/** The vmdesc at the end of a stream, as text. */
export function findVmdescText(stream: Uint8Array): string | undefined {
  const bytes = Buffer.from(stream.buffer, stream.byteOffset, stream.length);
  const start = bytes.indexOf('{"', bytes.lastIndexOf(0));
  return start < 0 ? undefined : bytes.subarray(start).toString('latin1');
}

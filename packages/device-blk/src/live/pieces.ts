import type { Spans } from '@virtkit/core/live';

/** Handler of the pieces of a buffer, which come one after the other. */
export interface PieceHandler {
  /** Takes bytes `[offset, offset + length)` of an array, and their position on the disk. */
  piece(bytes: Uint8Array, offset: number, length: number, position: number): void;
}

/** Goes over bytes `[from, from + length)` of a buffer, piece by piece as they lie in memory. Allocates nothing. */
export function eachPiece(
  spans: Spans,
  from: number,
  length: number,
  position: number,
  handler: PieceHandler,
): void {
  let skip = from;
  let done = 0;
  for (let i = 0; i < spans.count && done < length; i++) {
    const size = spans.length(i);
    const piece = Math.min(size - skip, length - done);
    if (piece > 0) {
      handler.piece(spans.bytes(i), spans.offset(i) + skip, piece, position + done);
      done += piece;
    }
    skip = Math.max(0, skip - size);
  }
}

import type { Spans } from '@virtkit/core';
import type { BlkBackend } from '../live/backend.ts';
import { Gate } from './gate.ts';

/** Number of bytes that are read at a time; longer reads go piece by piece. */
const PIECE = 1 << 20;
/** Number of pieces that are read at a time, of all reads; others wait. */
const READS_UNDER_WAY = 16;

/** Part of a `Blob` that is needed; a `File` that the user picked is one. */
export interface BlobLike {
  /** Length of the blob in bytes. */
  readonly size: number;
  /** Takes the bytes `[start, end)`, which are read when they are asked for. */
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

/**
 * A raw disk image, read-only. Reads are asynchronous; a file that was changed or removed meanwhile gives I/O errors, as the
 * browser refuses to read it. A last sector that is not whole is filled up with zeros.
 */
export function blobDisk(blob: BlobLike): BlkBackend {
  const { size } = blob;
  const gate = new Gate(READS_UNDER_WAY);
  return {
    size,
    readOnly: true,
    read: (position, target, from, length) => readBlob(blob, gate, position, target, from, length),
    write: () => {
      throw Object.assign(new Error('a blob cannot be written'), { code: 'EROFS' });
    },
  };
}

async function readBlob(
  blob: BlobLike,
  gate: Gate,
  position: number,
  target: Spans,
  from: number,
  length: number,
): Promise<void> {
  for (let done = 0; done < length; done += PIECE) {
    await gate.enter();
    try {
      await readPiece(blob, position + done, target, from + done, Math.min(PIECE, length - done));
    } finally {
      gate.leave();
    }
  }
}

async function readPiece(
  blob: BlobLike,
  position: number,
  target: Spans,
  from: number,
  length: number,
): Promise<void> {
  const end = Math.min(position + length, blob.size);
  const bytes = new Uint8Array(await blob.slice(position, end).arrayBuffer());
  if (bytes.length !== end - position)
    throw new Error(`${bytes.length} bytes of the blob at ${position}, ${end - position} expected`);
  target.copyFrom(from, bytes, 0, bytes.length);
  if (bytes.length < length) target.fill(from + bytes.length, length - bytes.length, 0);
}

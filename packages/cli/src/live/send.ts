import type { Socket } from 'node:net';
import { Progress, streamOf } from '../input.ts';
import { written } from './flow.ts';

/** Ending of a stream's way to a QEMU. */
export interface Sent {
  readonly bytes: number;
  /** Sentence that says why the other side did not take the stream; undefined: it took all, and closed in peace. */
  readonly refused: string | undefined;
}

/** Length in bytes of the return path's message SHUT: type 1, length 4, value. */
const SHUT_BYTES = 8;

/** Milliseconds that a pipe may be silent once the other side has closed, until no more is waited for. */
const SILENCE_MS = 1000;

/** Feeds a QEMU that waits with `-incoming`, and waits until it has taken everything. */
export async function send(socket: Socket, file: string): Promise<Sent> {
  let failure: string | undefined;
  let bytes = 0;
  let last: Uint8Array = new Uint8Array(0);
  const gone = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Uint8Array) => {
      last = endOf(last, chunk);
    });
    socket.once('end', resolve);
    socket.once('close', () => resolve());
    socket.once('error', (error: NodeJS.ErrnoException) => {
      failure ??= error.code === 'ECONNRESET' || error.code === 'EPIPE' ? closedEarly(bytes) : error.message;
      resolve();
    });
  });
  // a pipe may have nothing to say for ever; a file, and a pipe that has ended, say at once that there is no more
  const stop = new AbortController();
  let silence: NodeJS.Timeout | undefined;
  void gone.then(() => {
    silence = setTimeout(() => stop.abort(), SILENCE_MS);
  });
  const progress = new Progress(file);
  try {
    for await (const chunk of streamOf(file, stop.signal)) {
      // whoever closes while there is more to send has not taken it; who closes behind the last byte has taken all
      if (socket.destroyed || socket.readableEnded) failure ??= closedEarly(bytes);
      if (failure !== undefined) break;
      bytes += chunk.length;
      progress.add(chunk.length);
      await Promise.race([written(socket, chunk), gone]);
    }
  } catch (error) {
    // half a stream: the other side must not take its end for an end
    socket.destroy();
    if (!stop.signal.aborted) throw error;
    failure ??= closedEarly(bytes);
  } finally {
    progress.end();
  }
  if (failure === undefined) socket.end();
  await gone;
  clearTimeout(silence);
  // the end of the last write may come in the same turn as the other side's, behind it
  await new Promise((resolve) => setImmediate(resolve));
  if (socket.writableLength > 0) failure ??= closedEarly(bytes - socket.writableLength);
  socket.destroy();
  return { bytes, refused: failure ?? verdict(last) };
}

function closedEarly(bytes: number): string {
  return `the other side closed the connection after ${bytes} bytes: it refused the stream; its own messages say why (virtkit explain reads them)`;
}

/** Keeps the end of what was said so far: the last word is all that matters. */
function endOf(before: Uint8Array, chunk: Uint8Array): Uint8Array {
  if (chunk.length >= SHUT_BYTES) return chunk.slice(-SHUT_BYTES);
  return Buffer.concat([before, chunk]).subarray(-SHUT_BYTES);
}

/** Reads the last word of a return path, if the stream opened one. */
function verdict(end: Uint8Array): string | undefined {
  if (end.length < SHUT_BYTES) return undefined;
  const last = new DataView(end.buffer, end.byteOffset, SHUT_BYTES);
  const shut = last.getUint16(0) === 1 && last.getUint16(2) === 4;
  const value = last.getInt32(4);
  return shut && value !== 0 ? `the other side says that the load failed (${value})` : undefined;
}

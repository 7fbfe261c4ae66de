import type { Socket } from 'node:net';
import { Progress, streamOf } from '../input.ts';

/** How a stream went to a QEMU. */
export interface Sent {
  readonly bytes: number;
  /** Why the other side did not take it; undefined: it took all, and closed in peace. */
  readonly refused: string | undefined;
}

/** SHUT of the return path: type 1, length 4, value. */
const SHUT_BYTES = 8;

/** Feeds a QEMU that waits with `-incoming`, and waits until it has taken everything. */
export async function send(socket: Socket, file: string): Promise<Sent> {
  let failure: string | undefined;
  let bytes = 0;
  const answers: Uint8Array[] = [];
  const gone = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Uint8Array) => answers.push(chunk));
    socket.once('end', resolve);
    socket.once('close', () => resolve());
    socket.once('error', (error: NodeJS.ErrnoException) => {
      failure ??= error.code === 'ECONNRESET' || error.code === 'EPIPE' ? closedEarly(bytes) : error.message;
      resolve();
    });
  });
  const progress = new Progress(file);
  try {
    for await (const chunk of streamOf(file)) {
      if (failure !== undefined || socket.destroyed) break;
      bytes += chunk.length;
      progress.add(chunk.length);
      if (!socket.write(chunk))
        await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), gone]);
      if (socket.readableEnded) failure ??= closedEarly(bytes);
    }
  } catch (error) {
    // half a stream: the other side must not take its end for an end
    socket.destroy();
    throw error;
  } finally {
    progress.end();
  }
  if (failure === undefined) socket.end();
  await gone;
  socket.destroy();
  return { bytes, refused: failure ?? verdict(answers) };
}

function closedEarly(bytes: number): string {
  return `the other side closed the connection after ${bytes} bytes: it refused the stream; its own messages say why (virtkit explain reads them)`;
}

/** The last word of a return path, if the stream opened one. */
function verdict(answers: readonly Uint8Array[]): string | undefined {
  const all = Buffer.concat(answers);
  if (all.length < SHUT_BYTES) return undefined;
  const last = all.subarray(all.length - SHUT_BYTES);
  const shut = last.readUInt16BE(0) === 1 && last.readUInt16BE(2) === 4;
  const value = last.readUInt32BE(4);
  return shut && value !== 0 ? `the other side says that the load failed (${value | 0})` : undefined;
}

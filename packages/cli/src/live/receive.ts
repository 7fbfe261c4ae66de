import type { Socket } from 'node:net';
import { acceptVirtio, StreamCollector, StreamParser, TeeSink } from '@virtkit/migration';
import { isStateError, type StateError } from '@virtkit/vmstate';
import { Progress } from '../input.ts';
import type { PartFile } from '../part-file.ts';
import type { Read } from '../read.ts';
import { registry } from '../registry.ts';
import { isSystemError, systemError } from '../system-error.ts';
import { chunksOf } from './address.ts';
import { written } from './flow.ts';
import { ReturnPath } from './return-path.ts';

/** Stream that came over a connection. */
export interface Received extends Read {
  /** Sentence about what else went wrong: with the connection, or with the file. */
  readonly broken: string | undefined;
}

/**
 * Takes an incoming migration to its end, as a QEMU with `-incoming` does, and saves it. The file gets its name when the
 * whole stream is in it and on the disk; until then it has another, and is removed when something goes wrong.
 */
export async function receive(socket: Socket, output: PartFile | undefined): Promise<Received> {
  const collector = new StreamCollector();
  const returnPath = new ReturnPath();
  const parser = new StreamParser(new TeeSink(collector, returnPath), { accepts: acceptVirtio(registry) });
  const say = async (): Promise<void> => {
    const answers = returnPath.take();
    if (answers !== undefined) await written(socket, answers);
  };
  const progress = new Progress('-');
  let error: StateError | undefined;
  let broken: string | undefined;
  try {
    for await (const chunk of chunksOf(socket)) {
      output?.write(chunk);
      parser.push(chunk);
      progress.add(chunk.length);
      if (returnPath.refused !== undefined) throw returnPath.refused;
      // a source that asks and does not listen waits, and so do its questions
      await say();
      // a source that opened a return path keeps the connection until it has heard the last word
      if (parser.atEnd && (await isSilent(socket))) break;
    }
    parser.end();
    output?.finish();
    returnPath.shut(0);
  } catch (caught) {
    if (isStateError(caught)) error = caught;
    else if (isSystemError(caught))
      broken = systemError(`the connection broke after ${parser.received} bytes`, caught).message;
    else broken = caught instanceof Error ? caught.message : String(caught);
    output?.discard();
    returnPath.shut(1);
  } finally {
    progress.end();
    void say();
    await closed(socket);
  }
  return { stream: collector.partial(), error, broken, bytes: parser.received, check: undefined };
}

/**
 * Milliseconds that a source says nothing more before it is told that its stream was taken: a guest could have written
 * what looks like an end.
 */
const SILENCE_MS = 200;

/** Has nothing come that was not read yet, and does nothing come for a while? */
async function isSilent(socket: Socket): Promise<boolean> {
  if (socket.readableLength === 0 && !socket.readableEnded)
    await new Promise<void>((resolve) => {
      const patience = setTimeout(done, SILENCE_MS);
      function done(): void {
        clearTimeout(patience);
        socket.off('readable', done);
        socket.off('end', done);
        socket.off('close', done);
        resolve();
      }
      socket.once('readable', done).once('end', done).once('close', done);
    });
  return socket.readableLength === 0;
}

/** Milliseconds that the last word may wait for a source that does not listen. */
const LAST_WORD_MS = 10_000;

/** Closes a connection when what was written has gone out. */
async function closed(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  let patience: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    patience = setTimeout(resolve, LAST_WORD_MS);
    socket.once('error', () => resolve());
    socket.end(() => resolve());
  });
  clearTimeout(patience);
  socket.destroy();
}

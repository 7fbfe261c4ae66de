import type { Duplex } from 'node:stream';
import { nbdError } from './protocol.ts';

/**
 * The next `length` bytes of a socket that nobody else reads, 1 to 65,536.
 *
 * @throws the socket's error; Error with code `ECONNRESET` if it ends before
 */
export function take(socket: Duplex, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      socket.off('readable', look);
      socket.off('error', fail);
      socket.off('end', end);
      socket.off('close', end);
    };
    const fail = (error: Error): void => {
      stop();
      reject(error);
    };
    const end = (): void =>
      fail(nbdError('ECONNRESET', 'the server closed the connection while it was being agreed on'));
    const look = (): void => {
      const bytes = socket.read(length) as Buffer | null;
      if (bytes === null) return;
      // what is there at the end of a connection comes in one piece, however short it is
      if (bytes.length < length) {
        end();
        return;
      }
      stop();
      resolve(bytes);
    };
    socket.on('readable', look);
    socket.once('error', fail);
    socket.once('end', end);
    socket.once('close', end);
    if (socket.destroyed) end();
    else look();
  });
}

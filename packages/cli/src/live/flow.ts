// Both ways of a connection wait for whoever is slower: nothing piles up here.
import type { Socket } from 'node:net';

/** Writes bytes, and waits while more is on its way than the socket's mark; not for a connection that has closed. */
export async function written(socket: Socket, bytes: Uint8Array): Promise<void> {
  if (!socket.writable || socket.write(bytes)) return;
  await new Promise<void>((resolve) => {
    const go = (): void => {
      socket.off('drain', go);
      socket.off('close', go);
      resolve();
    };
    socket.once('drain', go);
    socket.once('close', go);
  });
}

/** Hands on what one connection says to another, no faster than that takes it. What comes when the other is closed is dropped. */
export function handOn(from: Socket, to: Socket): void {
  const goOn = (): void => void from.resume();
  to.on('drain', goOn);
  to.once('close', goOn);
  from.on('data', (bytes: Uint8Array) => {
    if (to.writable && !to.write(bytes)) from.pause();
  });
  from.resume();
}

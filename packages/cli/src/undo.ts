const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const undoing = new Set<() => void>();

/**
 * Has something undone when the program ends before it came to that itself, at a signal as well: files without their names,
 * sockets that wait. `kill -9` leaves them.
 *
 * @returns forgets it: it is done, or undone
 */
export function undoAtEnd(undo: () => void): () => void {
  if (undoing.size === 0) {
    process.once('exit', undoAll);
    for (const signal of SIGNALS) process.once(signal, onSignal);
  }
  undoing.add(undo);
  return () => {
    undoing.delete(undo);
    if (undoing.size === 0) stopListening();
  };
}

function undoAll(): void {
  stopListening();
  const all = [...undoing];
  undoing.clear();
  for (const undo of all) undo();
}

function stopListening(): void {
  process.off('exit', undoAll);
  for (const signal of SIGNALS) process.off(signal, onSignal);
}

function onSignal(signal: NodeJS.Signals): void {
  undoAll();
  // listeners are gone: now it ends the program as it would have
  process.kill(process.pid, signal);
}

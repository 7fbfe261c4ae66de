// in every platform that has an event loop
declare const setTimeout: (run: () => void, milliseconds: number) => unknown;

/**
 * Runs a function when the platform's timers and messages have had their turn. For devices whose work a guest can make
 * endless: a microtask would go before everything else, and the program would stand still.
 */
export function later(run: () => void): void {
  setTimeout(run, 0);
}

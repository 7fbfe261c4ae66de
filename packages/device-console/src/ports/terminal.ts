import type { GuestPort, PortBackend } from '../live/backend.ts';
import { Outgoing } from './outgoing.ts';

declare const TextEncoder: new () => { encode(text: string): Uint8Array };

/** Subscription of a listener. */
interface Disposable {
  dispose(): void;
}

/** Terminal emulator, as far as a port needs it: xterm.js is one as it stands. */
export interface Terminal {
  /** Number of characters in a line. */
  readonly cols?: number;
  /** Number of lines of the screen. */
  readonly rows?: number;
  /** Has the listener called for keys and pastes, as text. */
  onData(listener: (text: string) => void): Disposable;
  /** Has the listener called for reports that are no UTF-8, with a character for each byte. */
  onBinary?(listener: (bytes: string) => void): Disposable;
  /** Has the listener called when the size changes, until what it answers is disposed. */
  onResize?(listener: (size: { readonly cols: number; readonly rows: number }) => void): Disposable;
  /** Shows bytes, and calls back when it has. */
  write(bytes: Uint8Array, shown?: () => void): void;
}

/** Back end of a port that can let go of what it is connected to. */
export interface ConnectedPort extends PortBackend {
  /**
   * Lets go of the connection: nothing comes from there any more. For a device that is gone, where its state was moved
   * to another.
   */
  disconnect(): void;
}

/** Number of bytes that a terminal has and has not shown; with more the guest waits. */
const SHOWING_MAX = 1 << 17;

/**
 * Makes the back end of a console port of a terminal.
 *
 * ```ts
 * const serial = new ConsoleDevice({ ports: [{ console: true, backend: terminalPort(terminal) }] });
 * ```
 *
 * The guest waits while the terminal has 128 KiB to show. Keys wait while the guest has no room, 1 MiB at most: what is
 * pasted beyond that is lost. Its size goes to the guest if the device offers sizes (`sizes: true`).
 */
export function terminalPort(terminal: Terminal): ConnectedPort {
  const outgoing = new Outgoing();
  const encoder = new TextEncoder();
  let showing = 0;
  let refused = false;
  let gone = false;
  let port: GuestPort | undefined;
  const resize = (columns: number | undefined, rows: number | undefined): void => {
    if (columns !== undefined && rows !== undefined) port?.resize(columns, rows);
  };
  const listeners = [
    terminal.onData((text) => outgoing.send(encoder.encode(text))),
    terminal.onBinary?.((bytes) => outgoing.send(Uint8Array.from(bytes, (c) => c.charCodeAt(0)))),
    terminal.onResize?.(({ cols, rows }) => resize(cols, rows)),
  ];
  return {
    attach: (given) => {
      port = given;
      outgoing.attach(given);
      resize(terminal.cols, terminal.rows);
    },
    write: (bytes, start, end) => {
      if (gone) return end - start;
      const taken = Math.min(end - start, SHOWING_MAX - showing);
      refused = taken < end - start;
      if (taken === 0) return 0;
      showing += taken;
      terminal.write(bytes.slice(start, start + taken), () => {
        showing -= taken;
        if (!refused || gone) return;
        refused = false;
        port?.ready();
      });
      return taken;
    },
    guestWritable: () => outgoing.flush(),
    guestConnected: (open) => {
      if (open) outgoing.flush();
    },
    disconnect: () => {
      gone = true;
      for (const listener of listeners) listener?.dispose();
    },
  };
}

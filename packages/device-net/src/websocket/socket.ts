/** Part of a WebSocket that is needed: of the browser's, Node's, that of the package `ws` on either side. */
export interface WebSocketLike {
  /** Form in which bytes come; it is set to `arraybuffer`. */
  binaryType: string;
  /** State of the connection: 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: number;
  /** Number of bytes that `send` has taken and the network has not. */
  readonly bufferedAmount: number;
  /** Sends one message. */
  send(data: Uint8Array<ArrayBuffer>): void;
  /** Closes the connection, whatever state it is in. */
  close(): void;
  /** Has the listener called when the connection opens, for each message, and at its end. */
  addEventListener(
    type: 'open' | 'message' | 'close' | 'error',
    listener: (event: SocketEvent) => void,
  ): void;
}

/** Part of a WebSocket's events that is looked at. */
export interface SocketEvent {
  /** Type of the event: `open`, `message`, `close` or `error`. */
  readonly type: string;
  /** Text or bytes of a message. */
  readonly data?: unknown;
  /** Reason for the end of the connection: a code of RFC 6455 §7.4. */
  readonly code?: number;
  /** Words of the other side for the end of the connection. */
  readonly reason?: string;
  /** Description of an error. */
  readonly message?: string;
}

/** Values of a WebSocket's `readyState`. */
export const READY_STATE = { CONNECTING: 0, OPEN: 1 } as const;

declare const WebSocket: (new (url: string, protocols?: string[]) => WebSocketLike) | undefined;

/** Finds the platform's own constructor of WebSockets, if it has one. */
export function platformSocket(): (new (url: string, protocols?: string[]) => WebSocketLike) | undefined {
  return typeof WebSocket === 'undefined' ? undefined : WebSocket;
}

// in every platform that has WebSockets
declare const setTimeout: (run: () => void, milliseconds: number) => unknown;
declare const clearTimeout: (timer: unknown) => void;

/** Timer of one call that is due at most. */
export class Timer {
  readonly #run: () => void;
  #timer: unknown;

  constructor(run: () => void) {
    this.#run = () => {
      this.#timer = undefined;
      run();
    };
  }

  start(milliseconds: number): void {
    this.#timer ??= setTimeout(this.#run, milliseconds);
  }

  stop(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

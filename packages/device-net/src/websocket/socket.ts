/** What is needed of a WebSocket: the browser's, Node's, that of the package `ws` on either side. */
export interface WebSocketLike {
  /** Set to `arraybuffer`: bytes come as an `ArrayBuffer`. */
  binaryType: string;
  /** 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: number;
  /** Bytes that `send` has taken and the network has not. */
  readonly bufferedAmount: number;
  /** Sends one message. */
  send(data: Uint8Array<ArrayBuffer>): void;
  /** Closes the connection, whatever state it is in. */
  close(): void;
  /** Calls the listener when the connection opens, for each message, and at its end. */
  addEventListener(
    type: 'open' | 'message' | 'close' | 'error',
    listener: (event: SocketEvent) => void,
  ): void;
}

/** What is looked at of its events. */
export interface SocketEvent {
  /** `open`, `message`, `close` or `error`. */
  readonly type: string;
  /** A message's text or bytes. */
  readonly data?: unknown;
  /** Why it was closed: a code of RFC 6455 §7.4. */
  readonly code?: number;
  /** The other side's words for that. */
  readonly reason?: string;
  /** What went wrong. */
  readonly message?: string;
}

/** `readyState` */
export const READY_STATE = { CONNECTING: 0, OPEN: 1 } as const;

declare const WebSocket: (new (url: string, protocols?: string[]) => WebSocketLike) | undefined;

/** The one of the platform, if it has one. */
export function platformSocket(): (new (url: string, protocols?: string[]) => WebSocketLike) | undefined {
  return typeof WebSocket === 'undefined' ? undefined : WebSocket;
}

// in every platform that has WebSockets
declare const setTimeout: (run: () => void, milliseconds: number) => unknown;
declare const clearTimeout: (timer: unknown) => void;

/** A call that is due, at most one. */
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

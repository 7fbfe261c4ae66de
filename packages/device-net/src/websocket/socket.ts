/** What is needed of a WebSocket: the browser's, Node's, that of the package `ws` on either side. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  addEventListener(
    type: 'open' | 'message' | 'close' | 'error',
    listener: (event: SocketEvent) => void,
  ): void;
}

/** What is looked at of its events. */
export interface SocketEvent {
  readonly type: string;
  readonly data?: unknown;
  readonly code?: number;
  readonly reason?: string;
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

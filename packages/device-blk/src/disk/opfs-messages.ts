import type { OpfsOptions } from './opfs.ts';

// What a page and its disk worker say to each other.

/** End of a channel of messages: a `Worker`, a `MessagePort`, or a worker's `self`. */
export interface WorkerPort {
  /** Sends a message; the arrays of `transfer` are moved and not copied. */
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  /** Has the listener called for each message that comes. */
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: 'error', listener: (event: object) => void): void;
  /** Lets messages come: a `MessagePort` keeps them until then. A worker itself has no such method. */
  start?(): void;
}

export type Request =
  | { readonly op: 'open'; readonly name: string; readonly options: OpfsOptions }
  | { readonly op: 'read'; readonly position: number; readonly length: number }
  | { readonly op: 'write'; readonly position: number; readonly bytes: Uint8Array }
  | { readonly op: 'writeZeroes'; readonly position: number; readonly length: number }
  | { readonly op: 'resize'; readonly size: number }
  | { readonly op: 'flush' | 'close' };

export interface Call {
  readonly virtkitDisk: string;
  readonly id: number;
  readonly request: Request;
}

export interface Answer {
  readonly virtkitDisk: string;
  readonly id: number;
  readonly size?: number;
  readonly bytes?: Uint8Array;
  readonly error?: { readonly message: string; readonly code?: string };
}

/** Largest number of bytes that one message asks for. */
export const MESSAGE_BYTES_MAX = 1 << 26;

/** Is a message for a disk, and can it be answered? Anything may come through a worker's channel. */
export function isAddressed(
  data: unknown,
): data is { readonly virtkitDisk: string; readonly id: number; readonly request?: unknown } {
  return isObject(data) && typeof data['virtkitDisk'] === 'string' && Number.isSafeInteger(data['id']);
}

/** Reads a request that can be executed; undefined for what is none. */
export function asRequest(data: unknown): Request | undefined {
  if (!isObject(data)) return undefined;
  const { op, name, options, position, length, bytes, size } = data;
  switch (op) {
    case 'open':
      return typeof name === 'string' && isObject(options) ? { op, name, options } : undefined;
    case 'read':
    case 'writeZeroes':
      return isCount(position) && isCount(length) && length <= MESSAGE_BYTES_MAX
        ? { op, position, length }
        : undefined;
    case 'write':
      return isCount(position) && bytes instanceof Uint8Array ? { op, position, bytes } : undefined;
    case 'resize':
      // what is no size is refused by the disk, with its reason
      return typeof size === 'number' ? { op, size } : undefined;
    case 'flush':
    case 'close':
      return { op };
    default:
      return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

// A connection to QEMU's machine protocol.
import { createConnection, type Socket } from 'node:net';

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

/** Integers that a double cannot hold become decimal strings. */
export function parseJson(text: string): JsonValue {
  const safe = text.replace(/"(?:\\.|[^"\\])*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token,
  );
  return JSON.parse(safe) as JsonValue;
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** QEMU answered a command with an error. */
export class QmpError extends Error {
  readonly command: string;
  readonly errorClass: string;

  constructor(command: string, errorClass: string, description: string) {
    super(`${command}: ${description}`);
    this.name = 'QmpError';
    this.command = command;
    this.errorClass = errorClass;
  }
}

/** Something did not happen in time. */
export class LabTimeoutError extends Error {
  constructor(what: string, ms: number) {
    super(`${what}: nothing within ${ms} ms`);
    this.name = 'LabTimeoutError';
  }
}

interface Pending {
  readonly command: string;
  readonly resolve: (value: JsonValue) => void;
  readonly reject: (reason: Error) => void;
}

const DEFAULT_COMMAND_TIMEOUT_MS = 30_000;

/** A connection to QEMU's machine protocol. */
export class Qmp {
  /** All events so far, oldest first. */
  readonly events: JsonObject[] = [];
  #socket: Socket;
  #text = '';
  #nextId = 1;
  #pending = new Map<number, Pending>();
  #closed: Error | undefined;
  #greeted: () => void = () => {};
  #notGreeted: (reason: Error) => void = () => {};
  #greeting: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#greeting = new Promise((resolve, reject) => {
      this.#greeted = resolve;
      this.#notGreeted = reject;
    });
    this.#greeting.catch(() => {}); // told to who waits for it
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => this.#receive(chunk));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('QMP connection closed')));
  }

  /** Connects to a UNIX socket and negotiates capabilities. */
  static async connect(path: string, timeoutMs: number): Promise<Qmp> {
    const socket = await new Promise<Socket>((resolve, reject) => {
      const connection = createConnection(path);
      connection.once('connect', () => resolve(connection));
      connection.once('error', reject);
    });
    const qmp = new Qmp(socket);
    await withTimeout('QMP greeting', timeoutMs, qmp.#greeting);
    await qmp.execute('qmp_capabilities', {}, timeoutMs);
    return qmp;
  }

  /** Runs a command and gives its `return` value; throws {@link QmpError} when QEMU refuses it. */
  async execute(
    command: string,
    args: JsonObject = {},
    timeoutMs: number = DEFAULT_COMMAND_TIMEOUT_MS,
  ): Promise<JsonValue> {
    if (this.#closed !== undefined)
      throw new Error(`${command}: ${this.#closed.message}`, { cause: this.#closed });
    const id = this.#nextId++;
    const answer = new Promise<JsonValue>((resolve, reject) => {
      this.#pending.set(id, { command, resolve, reject });
    });
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return await withTimeout(`QMP ${command}`, timeoutMs, answer);
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Ends every outstanding and future command with this error. */
  fail(reason: Error): void {
    this.#closed ??= reason;
    this.#notGreeted(reason);
    for (const pending of this.#pending.values())
      pending.reject(new Error(`${pending.command}: ${reason.message}`, { cause: reason }));
    this.#pending.clear();
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(chunk: string): void {
    this.#text += chunk;
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      const line = this.#text.slice(0, end).trim();
      this.#text = this.#text.slice(end + 1);
      if (line === '') continue;
      try {
        const message = parseJson(line);
        if (isObject(message)) this.#dispatch(message);
      } catch (error) {
        this.fail(new Error(`QMP answer is not JSON: ${line.slice(0, 200)}`, { cause: error }));
      }
    }
  }

  #dispatch(message: JsonObject): void {
    if ('QMP' in message) {
      this.#greeted();
      return;
    }
    if ('event' in message) {
      this.events.push(message);
      return;
    }
    const pending = this.#pending.get(Number(message['id']));
    if (pending === undefined) return;
    const error = message['error'];
    if (isObject(error))
      pending.reject(new QmpError(pending.command, String(error['class']), String(error['desc'])));
    else pending.resolve(message['return'] ?? null);
  }
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Rejects with {@link LabTimeoutError} when the promise takes longer. */
export async function withTimeout<T>(what: string, ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new LabTimeoutError(what, ms)), ms);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

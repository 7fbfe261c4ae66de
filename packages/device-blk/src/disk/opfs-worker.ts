import { HostError, type Spans } from '@virtkit/core';
import type { BlkBackend } from '../live/backend.ts';
import { ArraySpans } from './array-spans.ts';
import { type OpfsDisk, type OpfsOptions, openOpfsDisk } from './opfs.ts';

/** One end of a channel of messages: a `Worker`, a `MessagePort`, or a worker's `self`. */
export interface WorkerPort {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: 'error', listener: (event: object) => void): void;
  start?(): void;
}

type Request =
  | { readonly op: 'open'; readonly name: string; readonly options: OpfsOptions }
  | { readonly op: 'read'; readonly position: number; readonly length: number }
  | { readonly op: 'write'; readonly position: number; readonly bytes: Uint8Array }
  | { readonly op: 'writeZeroes'; readonly position: number; readonly length: number }
  | { readonly op: 'resize'; readonly size: number }
  | { readonly op: 'flush' | 'close' };

interface Call {
  readonly virtkitDisk: string;
  readonly id: number;
  readonly request: Request;
}

interface Answer {
  readonly virtkitDisk: string;
  readonly id: number;
  readonly size?: number;
  readonly bytes?: Uint8Array;
  readonly error?: { readonly message: string; readonly code?: string };
}

/**
 * In a worker: opens disks for those who {@link connectOpfsDisk}. Each disk does one thing after the other, in the order asked.
 *
 * @param port default: the worker's own channel
 */
export function serveOpfsDisks(port: WorkerPort = globalThis as unknown as WorkerPort): void {
  const disks = new Map<string, Promise<OpfsDisk>>();
  port.addEventListener('message', ({ data }) => {
    if (!isCall(data)) return;
    const { virtkitDisk, id, request } = data;
    const { op } = request;
    if (op === 'open') disks.set(virtkitDisk, openOpfsDisk(request.name, request.options));
    const disk = disks.get(virtkitDisk) ?? Promise.reject(new HostError('the disk is not open'));
    if (op === 'close') disks.delete(virtkitDisk);
    disk
      .then((opened) => execute(opened, request))
      .then(
        (result) => {
          const transfer = result.bytes === undefined ? [] : [result.bytes.buffer as ArrayBuffer];
          port.postMessage({ virtkitDisk, id, ...result } satisfies Answer, transfer);
        },
        (error: unknown) =>
          port.postMessage({ virtkitDisk, id, error: describe(error) } satisfies Answer, []),
      );
  });
  port.start?.();
}

function isCall(data: unknown): data is Call {
  return typeof data === 'object' && data !== null && 'virtkitDisk' in data && 'request' in data;
}

function execute(disk: OpfsDisk, request: Request): { size: number; bytes?: Uint8Array } {
  switch (request.op) {
    case 'read': {
      const bytes = new Uint8Array(request.length);
      disk.read(request.position, new ArraySpans(bytes), 0, bytes.length);
      return { size: disk.size, bytes };
    }
    case 'write':
      disk.write(request.position, new ArraySpans(request.bytes), 0, request.bytes.length);
      break;
    case 'writeZeroes':
      disk.writeZeroes?.(request.position, request.length, false);
      break;
    case 'resize':
      disk.resize(request.size);
      break;
    case 'flush':
      disk.flush?.();
      break;
    case 'close':
      disk.close();
      break;
    case 'open':
      break;
  }
  return { size: disk.size };
}

function describe(error: unknown): { message: string; code?: string } {
  const { message = String(error), code } = error as { message?: string; code?: unknown };
  return { message, ...(typeof code === 'string' && { code }) };
}

/** A disk whose file another thread has open. */
export interface RemoteDisk extends BlkBackend {
  /** Another size. Then tell the device: `BlkDevice.resize`. */
  resize(size: number): Promise<void>;
  /** Flushes and closes the file; what comes after fails. Wait for `BlkDevice.idle` first. */
  close(): Promise<void>;
}

let connections = 0;

/**
 * A disk in the origin private file system, for a page: a worker has the file.
 *
 * ```ts
 * // disk-worker.ts
 * serveOpfsDisks();
 * // page
 * const worker = new Worker(new URL('./disk-worker.ts', import.meta.url), { type: 'module' });
 * const disk = await connectOpfsDisk(worker, 'disk.img', { size: 1 << 30 });
 * ```
 *
 * @throws Error with code `EBUSY` if another tab or worker has the file open; `ENOSPC` if there is no room for its size; `EIO` if
 * the worker's program cannot be loaded. A worker that is terminated answers nothing any more: close its disks first.
 */
export async function connectOpfsDisk(
  worker: WorkerPort,
  name: string,
  options: OpfsOptions = {},
): Promise<RemoteDisk> {
  const client = new Client(worker);
  const { size } = await client.call({ op: 'open', name, options });
  let bytes = size ?? 0;
  const writeZeroes = async (position: number, length: number): Promise<void> => {
    await client.call({ op: 'writeZeroes', position, length });
  };
  const first = await client.call({ op: 'read', position: 0, length: 512 });
  return {
    get size() {
      return bytes;
    },
    ...(first.bytes && { firstSector: first.bytes }),
    read: (position, target, from, length) => client.read(position, target, from, length),
    write: (position, source, from, length) => client.write(position, source, from, length),
    writeZeroes,
    ...(options.discard === 'unmap' && { discard: writeZeroes }),
    flush: async () => {
      await client.call({ op: 'flush' });
    },
    resize: async (wanted) => {
      bytes = (await client.call({ op: 'resize', size: wanted })).size ?? bytes;
    },
    close: async () => {
      await client.call({ op: 'close' });
    },
  };
}

class Client {
  readonly #worker: WorkerPort;
  readonly #disk = `${++connections}-${Math.random().toString(36).slice(2)}`;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #calls = 0;
  #isAnswered = false;

  constructor(worker: WorkerPort) {
    this.#worker = worker;
    worker.addEventListener('message', ({ data }) => {
      if (typeof data !== 'object' || data === null) return;
      const answer = data as Answer;
      if (answer.virtkitDisk !== this.#disk) return;
      this.#isAnswered = true;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    // an error after its first answer is another part's of the worker's program
    worker.addEventListener('error', (event) => {
      if (this.#isAnswered) return;
      const reason = 'message' in event ? String(event.message) : 'it was not loaded';
      for (const [id, answer] of this.#waiting)
        answer({
          virtkitDisk: this.#disk,
          id,
          error: { message: `the disk's worker: ${reason}`, code: 'EIO' },
        });
      this.#waiting.clear();
    });
    worker.start?.();
  }

  call(request: Request, transfer: ArrayBuffer[] = []): Promise<Answer> {
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, (answer) => {
        const { error } = answer;
        if (error === undefined) resolve(answer);
        else
          reject(Object.assign(new Error(error.message), error.code !== undefined && { code: error.code }));
      });
      this.#worker.postMessage({ virtkitDisk: this.#disk, id, request } satisfies Call, transfer);
    });
  }

  async read(position: number, target: Spans, from: number, length: number): Promise<void> {
    const { bytes } = await this.call({ op: 'read', position, length });
    if (bytes?.length !== length)
      throw new Error(`${bytes?.length} bytes at ${position}, ${length} expected`);
    target.copyFrom(from, bytes, 0, length);
  }

  write(position: number, source: Spans, from: number, length: number): Promise<void> {
    const bytes = new Uint8Array(length);
    source.copyTo(from, bytes, 0, length);
    return this.call({ op: 'write', position, bytes }, [bytes.buffer]).then(() => undefined);
  }
}

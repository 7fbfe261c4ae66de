import { HostError, type Spans } from '@virtkit/core';
import type { BlkBackend } from '../live/backend.ts';
import { closedError } from './flush-latch.ts';
import { Gate } from './gate.ts';
import type { OpfsOptions } from './opfs.ts';
import type { Answer, Call, Request, WorkerPort } from './opfs-messages.ts';

/** Options of a disk in a worker, opened from a thread that must not wait. */
export interface RemoteOptions extends OpfsOptions {
  /**
   * Milliseconds that the worker may be silent while something is asked of it; default 30 000. Then the disk has
   * failed, for good.
   */
  readonly timeoutMs?: number;
}

/** Disk whose file another thread has open. */
export interface RemoteDisk extends BlkBackend {
  /** Changes the size of the disk, in bytes. Then tell the device: `BlkDevice.resize`. */
  resize(size: number): Promise<void>;
  /**
   * Flushes and closes the file; what comes after fails with code `EBADF`, and a second call does nothing. Wait for `BlkDevice.idle`
   * first.
   */
  close(): Promise<void>;
}

/** Number of bytes of one read; longer ones go piece by piece. */
const READ_PIECE = 1 << 20;
/** Number of reads that are asked for at a time; {@link READ_BYTES_UNDER_WAY} bounds their bytes. Others wait. */
const READS_UNDER_WAY = 64;
const READ_BYTES_UNDER_WAY = 16 << 20;
/** Number of bytes of zeros that are asked for at a time, so that the worker's answers come while it works. */
const ZERO_PIECE = 1 << 24;
const TIMEOUT_MS = 30_000;
/** Milliseconds that the worker may be silent after it has reported an error that nobody caught. */
const SUSPECT_MS = 2000;
/**
 * Number of parts in which the time is waited for, or a machine that slept would find it over before an answer could
 * come.
 */
const PARTS = 4;

// Globals of browsers, workers and Node, as far as they are used here: this file is compiled with the types of none of them.
declare function setTimeout(callback: () => void, ms: number): unknown;
declare function clearTimeout(timer: unknown): void;

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
 * @throws HostError for a time that is none. Error with code `EBUSY` if another tab or worker has the file open; `ENOSPC` if there is no
 * room for its size; `EIO` if the worker's program cannot be loaded, or if it is silent for too long: one that was terminated is.
 */
export async function connectOpfsDisk(
  worker: WorkerPort,
  name: string,
  options: RemoteOptions = {},
): Promise<RemoteDisk> {
  const { timeoutMs = TIMEOUT_MS, ...opfs } = options;
  if (!(timeoutMs > 0)) throw new HostError(`timeoutMs ${timeoutMs}: more than 0 expected`);
  const client = new Client(worker, name, timeoutMs);
  const { size = 0 } = await client.call({ op: 'open', name, options: opfs });
  try {
    const { bytes } = await client.call({ op: 'read', position: 0, length: 512 });
    return remoteDisk(client, size, bytes, options.discard === 'unmap');
  } catch (error) {
    // nobody else would close the file
    client.close().catch(() => {});
    throw error;
  }
}

function remoteDisk(
  client: Client,
  opened: number,
  firstSector: Uint8Array | undefined,
  discards: boolean,
): RemoteDisk {
  let size = opened;
  const writeZeroes = (position: number, length: number): Promise<void> =>
    client.writeZeroes(position, length);
  return {
    get size() {
      return size;
    },
    ...(firstSector && { firstSector }),
    read: (position, target, from, length) => client.read(position, target, from, length),
    write: (position, source, from, length) => client.write(position, source, from, length),
    writeZeroes,
    ...(discards && { discard: writeZeroes }),
    flush: async () => {
      await client.call({ op: 'flush' });
    },
    resize: async (wanted) => {
      size = (await client.call({ op: 'resize', size: wanted })).size ?? size;
    },
    close: () => client.close(),
  };
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

class Client {
  readonly #worker: WorkerPort;
  readonly #name: string;
  readonly #timeoutMs: number;
  readonly #disk = `${++connections}-${Math.random().toString(36).slice(2)}`;
  readonly #waiting = new Map<number, Waiting>();
  readonly #reads = new Gate(READS_UNDER_WAY, READ_BYTES_UNDER_WAY);
  #calls = 0;
  #isAnswered = false;
  /** Error that says why nothing can be asked any more. */
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;
  /** Number of parts of the time in which nothing came. */
  #silent = 0;
  #timer: unknown;
  /** Message of an error of the worker's program that may have been its end. */
  #suspicion: string | undefined;

  constructor(worker: WorkerPort, name: string, timeoutMs: number) {
    this.#worker = worker;
    this.#name = name;
    this.#timeoutMs = timeoutMs;
    worker.addEventListener('message', ({ data }) => {
      if (typeof data !== 'object' || data === null) return;
      const answer = data as Answer;
      if (answer.virtkitDisk === this.#disk) this.#take(answer);
    });
    worker.addEventListener('error', (event) => {
      const reason = 'message' in event ? String(event.message) : 'it was not loaded';
      // after its first answer it may be another part's of the worker's program: if the worker lives, it answers
      if (this.#isAnswered) this.#suspect(reason);
      else this.#fail(reason);
    });
    worker.start?.();
  }

  async call(request: Request, transfer: ArrayBuffer[] = []): Promise<Answer> {
    if (this.#failure !== undefined) throw this.#failure;
    const id = ++this.#calls;
    const answer = new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    try {
      this.#worker.postMessage({ virtkitDisk: this.#disk, id, request } satisfies Call, transfer);
    } catch (error) {
      this.#waiting.delete(id);
      throw error;
    }
    this.#watch();
    return answer;
  }

  async read(position: number, target: Spans, from: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += READ_PIECE) {
      const piece = Math.min(READ_PIECE, length - done);
      await this.#reads.enter(piece);
      try {
        const { bytes } = await this.call({ op: 'read', position: position + done, length: piece });
        if (bytes?.length !== piece)
          throw new Error(`${bytes?.length} bytes at ${position + done}, ${piece} expected`);
        target.copyFrom(from + done, bytes, 0, piece);
      } finally {
        this.#reads.leave(piece);
      }
    }
  }

  async write(position: number, source: Spans, from: number, length: number): Promise<void> {
    const bytes = new Uint8Array(length);
    source.copyTo(from, bytes, 0, length);
    await this.call({ op: 'write', position, bytes }, [bytes.buffer]);
  }

  async writeZeroes(position: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += ZERO_PIECE)
      await this.call({
        op: 'writeZeroes',
        position: position + done,
        length: Math.min(ZERO_PIECE, length - done),
      });
  }

  close(): Promise<void> {
    this.#closing ??= this.call({ op: 'close' }).then(() => undefined);
    this.#failure ??= closedError(this.#name);
    return this.#closing;
  }

  #take(answer: Answer): void {
    this.#isAnswered = true;
    this.#suspicion = undefined;
    this.#silent = 0;
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (this.#waiting.size === 0) this.#unwatch();
    const { error } = answer;
    if (error === undefined) waiting?.resolve(answer);
    else
      waiting?.reject(
        Object.assign(new Error(error.message), error.code !== undefined && { code: error.code }),
      );
  }

  #suspect(reason: string): void {
    this.#suspicion = reason;
    this.#unwatch();
    if (this.#waiting.size > 0) this.#watch();
  }

  /** Watches the time, once begun, until nothing is waited for. */
  #watch(): void {
    if (this.#timer !== undefined) return;
    const limit = this.#suspicion === undefined ? this.#timeoutMs : Math.min(SUSPECT_MS, this.#timeoutMs);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#silent++;
      if (this.#silent >= PARTS) this.#fail(this.#suspicion ?? `no answer within ${limit} ms`);
      else this.#watch();
    }, limit / PARTS);
  }

  #unwatch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#silent = 0;
  }

  /** Fails the disk for good: what comes late may be of before what others have written since. */
  #fail(reason: string): void {
    this.#unwatch();
    const error = Object.assign(new Error(`${this.#name}: the disk's worker: ${reason}`), { code: 'EIO' });
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

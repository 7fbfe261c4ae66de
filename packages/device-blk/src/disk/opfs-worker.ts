import { HostError } from '@virtkit/core';
import { ArraySpans } from './array-spans.ts';
import { closedError } from './flush-latch.ts';
import { type OpfsDisk, openOpfsDisk } from './opfs.ts';
import { type Answer, asRequest, isAddressed, type Request, type WorkerPort } from './opfs-messages.ts';

/** Channel of a worker to whoever made it. */
declare const self: WorkerPort;

/**
 * Opens disks, in a worker, for those who `connectOpfsDisk`. Each disk does one thing after the other, in the order
 * asked.
 *
 * @param port default: the worker's own channel
 */
export function serveOpfsDisks(port: WorkerPort = self): void {
  const server = new Server(port);
  port.addEventListener('message', ({ data }) => {
    if (isAddressed(data)) server.take(data.virtkitDisk, data.id, data.request);
  });
  port.start?.();
}

class Server {
  readonly #port: WorkerPort;
  readonly #disks = new Map<string, Promise<OpfsDisk>>();

  constructor(port: WorkerPort) {
    this.#port = port;
  }

  /** Takes a message. Everything that can be answered is answered, with a result or an error. */
  take(virtkitDisk: string, id: number, data: unknown): void {
    const request = asRequest(data);
    const result =
      request === undefined ? Promise.reject(notARequest()) : this.#execute(virtkitDisk, request);
    result.then(
      (result) => {
        const transfer = result.bytes === undefined ? [] : [result.bytes.buffer as ArrayBuffer];
        this.#port.postMessage({ virtkitDisk, id, ...result } satisfies Answer, transfer);
      },
      (error: unknown) =>
        this.#port.postMessage({ virtkitDisk, id, error: describe(error) } satisfies Answer, []),
    );
  }

  async #execute(name: string, request: Request): Promise<{ size: number; bytes?: Uint8Array }> {
    if (request.op === 'open') this.#open(name, request);
    const disk = this.#disks.get(name);
    if (request.op === 'close') this.#disks.delete(name);
    if (disk === undefined) throw closedError("the worker's disk");
    return execute(await disk, request);
  }

  #open(name: string, { name: file, options }: Request & { op: 'open' }): void {
    if (this.#disks.has(name)) throw new HostError(`a disk ${name} is open already`);
    const disk = openOpfsDisk(file, options);
    this.#disks.set(name, disk);
    disk.catch(() => this.#disks.delete(name));
  }
}

function notARequest(): Error {
  return new HostError('the message is no request to a disk');
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
  if (typeof error !== 'object' || error === null) return { message: String(error) };
  const { message = String(error), code } = error as { message?: string; code?: unknown };
  return { message, ...(typeof code === 'string' && { code }) };
}

import { DriverError } from '../spec.ts';
import type { Buffer, Used } from './ring.ts';

/** Request that the device has, as the driver remembers it. */
export interface Entry<T> {
  readonly token: T;
  /** Head descriptor in a split ring, buffer id in a packed one. */
  readonly id: number;
  /** Indices of the ring's descriptors that the request takes. */
  readonly descriptors: readonly number[];
  /** Number of bytes that the device may write. */
  readonly writable: number;
}

/** Requests that the device has, by id and in the order in which they were made available. */
export class Outstanding<T> {
  readonly #byId = new Map<number, Entry<T>>();
  readonly #inOrder: boolean;
  #queue: Entry<T>[] = [];

  constructor(inOrder: boolean) {
    this.#inOrder = inOrder;
  }

  get size(): number {
    return this.#byId.size;
  }

  add(entry: Entry<T>): void {
    if (this.#byId.has(entry.id)) throw new DriverError(`the driver's own mistake: id ${entry.id} is out`);
    this.#byId.set(entry.id, entry);
    if (this.#inOrder) this.#queue.push(entry);
  }

  /**
   * Takes the requests that one used element gives back: with IN_ORDER all up to the one that it names, and all but
   * that one count as written completely (Virtio 1.3 §2.7.9).
   */
  take(id: number, written: number): { readonly entry: Entry<T>; readonly used: Used<T> }[] {
    const named = this.#byId.get(id);
    if (named === undefined) throw new DriverError(`buffer ${id} came back and was not out`);
    if (written > named.writable)
      throw new DriverError(`${written} bytes written to buffer ${id}, which has ${named.writable}`);
    const batch = this.#inOrder ? this.#queue.splice(0, this.#queue.indexOf(named) + 1) : [named];
    return batch.map((entry) => {
      this.#byId.delete(entry.id);
      return { entry, used: { token: entry.token, written: entry === named ? written : entry.writable } };
    });
  }
}

/** Adds up what the device may write. @throws DriverError if a buffer that it reads comes behind one that it writes */
export function writableBytes(buffers: readonly Buffer[]): number {
  let total = 0;
  let writing = false;
  for (const { length, writable } of buffers) {
    if (writing && !writable) throw new DriverError('readable buffers come first');
    writing = writable;
    if (writable) total += length;
  }
  return total;
}

import { HostError, type Spans } from '@virtkit/core';
import type { BlkBackend, Pending } from '../live/backend.ts';
import { BlockCache } from './block-cache.ts';
import { Gate } from './gate.ts';
import { type Fetch, Ranges } from './ranges.ts';

export type { Fetch } from './ranges.ts';

/** Options for reading an image from a web server. */
export interface HttpDiskOptions {
  /** Size of a block of the cache in bytes, a power of two from 4 KiB; default 128 KiB. */
  readonly cacheBlock?: number;
  /** Largest number of bytes that the cache holds; default 64 MiB. */
  readonly cacheBytes?: number;
  /**
   * Number of bytes that are fetched in front of a guest that reads on and on, at most half the cache; default 1 MiB, 0
   * is none.
   */
  readonly readAhead?: number;
  /** Milliseconds that an answer may take; default 30 000. */
  readonly timeoutMs?: number;
  /**
   * Number of times that a request is tried again that failed on the way, or with status 429 or 5xx; default 4, each
   * time waiting longer.
   */
  readonly retries?: number;
  /** Headers of each request, such as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Function that makes requests; default: the global `fetch`. */
  readonly fetch?: Fetch;
}

const CACHE_BLOCK = 1 << 17;
/** Largest number of bytes of the blocks in one request. */
const RUN_BYTES = 1 << 22;
/** Number of bytes of blocks that reads are waiting for at a time; other reads wait for their turn. */
const BYTES_UNDER_WAY = 1 << 25;

/**
 * Opens an image on a web server.
 *
 * @throws HostError for options that are none
 * @throws Error if there is no such file, or the server does not give ranges of it
 */
export async function httpDisk(
  url: string | { readonly href: string },
  options: HttpDiskOptions = {},
): Promise<HttpDisk> {
  const { cacheBlock = CACHE_BLOCK, cacheBytes = 64 << 20, readAhead = 1 << 20 } = options;
  if (!Number.isInteger(cacheBlock) || cacheBlock < 4096 || (cacheBlock & (cacheBlock - 1)) !== 0)
    throw new HostError(`cacheBlock ${cacheBlock}: a power of two from 4096 expected`);
  for (const [name, value] of Object.entries({ cacheBytes, readAhead })) {
    if (!Number.isSafeInteger(value) || value < 0) throw new HostError(`${name} ${value}: bytes expected`);
  }
  const ranges = new Ranges(typeof url === 'string' ? url : url.href, options);
  const first = await ranges.open(cacheBlock);
  return new HttpDisk(ranges, first, { cacheBlock, cacheBytes, readAhead });
}

/** Disk made by {@link httpDisk}. What is in the cache is read at once, other bytes by a promise. */
export class HttpDisk implements BlkBackend {
  readonly readOnly = true;
  readonly size: number;
  readonly firstSector: Uint8Array;
  readonly #ranges: Ranges;
  readonly #cache: BlockCache;
  readonly #block: number;
  readonly #readAhead: number;
  /** Promises of blocks that are on their way, by block number. */
  readonly #coming = new Map<number, Promise<Uint8Array>>();
  readonly #reads = new Gate(Number.POSITIVE_INFINITY, BYTES_UNDER_WAY);
  /** Position behind the last read: for a guest that goes on there, blocks are read ahead. */
  #next = -1;

  constructor(
    ranges: Ranges,
    first: Uint8Array,
    {
      cacheBlock,
      cacheBytes,
      readAhead,
    }: Required<Pick<HttpDiskOptions, 'cacheBlock' | 'cacheBytes' | 'readAhead'>>,
  ) {
    this.#ranges = ranges;
    this.size = ranges.size;
    this.#block = cacheBlock;
    this.#cache = new BlockCache(cacheBytes);
    // more would push out what has not been read yet, and fetch it again and again
    this.#readAhead = Math.min(readAhead, Math.floor(cacheBytes / 2));
    this.#cache.set(0, first);
    this.firstSector = new Uint8Array(512);
    this.firstSector.set(first.subarray(0, 512));
  }

  /** Numbers of requests that were made and of bytes that came, since the disk was opened. */
  get traffic(): { readonly requests: number; readonly bytes: number } {
    const { requests, bytes } = this.#ranges;
    return { requests, bytes };
  }

  read(position: number, target: Spans, from: number, length: number): Pending {
    this.#ranges.assertUsable();
    const sequential = position === this.#next;
    this.#next = position + length;
    const first = Math.floor(position / this.#block);
    const last = Math.floor((position + length - 1) / this.#block);
    if (length === 0) return undefined;
    let missing = false;
    for (let block = first; block <= last; block++) {
      const bytes = this.#cache.get(block);
      if (bytes === undefined) missing = true;
      else if (!missing) this.#copy(block, bytes, position, target, from, length);
    }
    if (sequential && this.#readAhead > 0) this.#ahead(last + 1);
    if (!missing) return undefined;
    return this.#readLater(first, last, position, target, from, length);
  }

  write(): never {
    throw Object.assign(new Error('an image on a web server cannot be written'), { code: 'EROFS' });
  }

  /** Ends all requests; reads fail from now on. */
  close(): void {
    this.#ranges.close();
    this.#cache.clear();
  }

  async #readLater(
    first: number,
    last: number,
    position: number,
    target: Spans,
    from: number,
    length: number,
  ): Promise<void> {
    // a run of blocks after the other, which is one request if none of them is here
    const run = Math.max(1, Math.floor(RUN_BYTES / this.#block));
    for (let at = first; at <= last; at += run) {
      const end = Math.min(at + run - 1, last);
      const bytes = (end - at + 1) * this.#block;
      await this.#reads.enter(bytes);
      try {
        await this.#readRun(at, end, position, target, from, length);
      } finally {
        this.#reads.leave(bytes);
      }
    }
  }

  async #readRun(
    first: number,
    last: number,
    position: number,
    target: Spans,
    from: number,
    length: number,
  ): Promise<void> {
    // asked for all at once, taken one after the other
    const blocks: Promise<Uint8Array>[] = [];
    for (let block = first; block <= last; block++) blocks.push(this.#fetch(block, last));
    for (const [i, bytes] of (await Promise.all(blocks)).entries())
      this.#copy(first + i, bytes, position, target, from, length);
  }

  /** Copies that part of a block that a read wants. Behind the image's end its last sector is zeros. */
  #copy(
    block: number,
    bytes: Uint8Array,
    position: number,
    target: Spans,
    from: number,
    length: number,
  ): void {
    const start = block * this.#block;
    const at = Math.max(position, start);
    const end = Math.min(position + length, start + this.#block);
    const there = Math.max(at, Math.min(end, start + bytes.length));
    if (there > at) target.copyFrom(from + at - position, bytes, at - start, there - at);
    if (end > there) target.fill(from + there - position, end - there, 0);
  }

  /** Fetches a block, and in the same request those behind it that are wanted too. */
  #fetch(block: number, last: number): Promise<Uint8Array> {
    const cached = this.#cache.get(block);
    if (cached !== undefined) return Promise.resolve(cached);
    const coming = this.#coming.get(block);
    if (coming !== undefined) return coming;
    let end = block + 1;
    const most = Math.max(1, Math.floor(RUN_BYTES / this.#block));
    while (end <= last && end - block < most && !this.#cache.has(end) && !this.#coming.has(end)) end++;
    const start = block * this.#block;
    const request = this.#ranges.get(start, Math.min(end * this.#block, this.#ranges.size));
    for (let i = block; i < end; i++) this.#coming.set(i, this.#take(request, i, start));
    return this.#coming.get(block) as Promise<Uint8Array>;
  }

  async #take(request: Promise<Uint8Array>, block: number, start: number): Promise<Uint8Array> {
    try {
      const offset = block * this.#block - start;
      // a copy: a piece of a large answer would keep all of it in memory
      const bytes = (await request).slice(offset, offset + this.#block);
      this.#cache.set(block, bytes);
      return bytes;
    } finally {
      this.#coming.delete(block);
    }
  }

  #ahead(from: number): void {
    const end = Math.min(Math.ceil(this.size / this.#block), from + Math.ceil(this.#readAhead / this.#block));
    for (let block = from; block < end; block++) {
      // what is on its way is ahead already
      if (this.#cache.has(block) || this.#coming.has(block)) continue;
      // nobody waits; who needs it will ask, and hear what is wrong
      this.#fetch(block, end - 1).catch(() => {});
    }
  }
}

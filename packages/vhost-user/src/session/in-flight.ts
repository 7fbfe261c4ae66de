import { QUEUE_MAX } from '@virtkit/core';
import type { Platform, SharedMapping } from '@virtkit/linux';
import { FrontEndError } from '../errors.ts';
import type { InflightArea } from '../wire/message.ts';

/**
 * Length in bytes of the header in front of a queue's entries: `features`, `version`, `desc_num`, `last_batch_head`,
 * `used_idx`.
 */
const QUEUE_HEADER = 16;
/** Length in bytes of an entry: `inflight`, `next`, `counter`. QEMU: `DescStateSplit`. */
const ENTRY = 16;
const ALIGN = 64;
const VERSION = 1;

/** Finds the number of bytes that the list of one queue takes. */
function queueBytes(entries: number): number {
  return Math.ceil((QUEUE_HEADER + ENTRY * entries) / ALIGN) * ALIGN;
}

/** Chains that a queue had in flight when its device ended. */
export interface LeftBehind {
  /** Used index of the ring: where it stands. */
  readonly usedIdx: number;
  /** Heads that were taken and not given back, in the order in which they were taken. */
  readonly heads: readonly number[];
}

/**
 * List of the chains in flight, in memory that the front end keeps when this program dies: vhost-user, "Inflight I/O
 * tracking", split rings. What it holds comes from the front end, and is judged when it is read.
 */
export class InFlightTable {
  readonly queues: number;
  readonly queueSize: number;
  readonly #mapping: SharedMapping;
  readonly #tables: readonly QueueTable[];

  /** @throws FrontEndError */
  constructor(
    platform: Platform,
    descriptor: number | undefined,
    { size, offset, queues, queueSize }: InflightArea,
  ) {
    if (descriptor === undefined) throw new FrontEndError('SET_INFLIGHT_FD: no file descriptor');
    const bytes = tableBytes(queues, queueSize);
    if (size < BigInt(bytes) || offset > 2n ** 53n - size || offset % BigInt(ALIGN) !== 0n)
      throw new FrontEndError(
        `SET_INFLIGHT_FD: ${size} bytes at ${offset} for ${queues} queues of ${queueSize} entries`,
        {
          size,
          queues,
          queueSize,
        },
      );
    this.queues = queues;
    this.queueSize = queueSize;
    this.#mapping = platform.map(descriptor, Number(offset), bytes);
    const each = queueBytes(queueSize);
    this.#tables = Array.from(
      { length: queues },
      (_, index) => new QueueTable(this.#mapping.window(index * each, each), queueSize),
    );
  }

  /** Finds the list of a queue; undefined: it has none. */
  queue(index: number): QueueTable | undefined {
    return this.#tables[index];
  }

  /** Could the front end make it shorter? */
  get shrinkable(): boolean {
    return this.#mapping.shrinkable;
  }

  close(): void {
    this.#mapping.close();
  }
}

/**
 * Finds the number of bytes that the lists of all queues take.
 *
 * @throws FrontEndError for numbers of queues or entries that no device has
 */
export function tableBytes(queues: number, queueSize: number): number {
  if (queues < 1 || queues > QUEUE_MAX || queueSize < 1 || queueSize > QUEUE_MAX)
    throw new FrontEndError(`a list for ${queues} queues of ${queueSize} entries`, { queues, queueSize });
  return queues * queueBytes(queueSize);
}

/**
 * List of the chains in flight of one queue. The hot path of a ring writes here: a few stores, in an order that a death
 * at any point leaves readable.
 */
export class QueueTable {
  readonly #bytes: Uint8Array;
  readonly #halves: Uint16Array;
  readonly #words: Uint32Array;
  readonly #entries: number;
  /** Number of chains that were taken, which tells their order. */
  #counter = 0;
  /** Heads by their place behind the used index, in a circular list of places. */
  readonly #places: Uint16Array;
  #first = 0;

  constructor(bytes: Uint8Array, entries: number) {
    this.#bytes = bytes;
    this.#halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.#entries = entries;
    this.#places = new Uint16Array(entries);
  }

  /**
   * Begins with a ring, or goes on: answers what was in flight when its last device ended.
   *
   * @param size entries of the ring; more than the list has: none of it is kept
   * @param usedIdx as the ring has it
   */
  begin(size: number, usedIdx: number): LeftBehind {
    const halves = this.#halves;
    const known = Math.min(size, this.#entries);
    if (halves[4] !== VERSION) {
      this.#bytes.fill(0);
      halves[4] = VERSION;
      halves[7] = usedIdx;
    }
    halves[5] = known;
    this.#finishBatch((usedIdx - (halves[7] as number)) & 0xffff);
    halves[7] = usedIdx;
    const heads: number[] = [];
    for (let head = 0; head < known; head++)
      if (this.#bytes[QUEUE_HEADER + ENTRY * head] === 1) heads.push(head);
    heads.sort((a, b) => this.#counterOf(a) - this.#counterOf(b));
    const last = heads.at(-1);
    this.#counter = last === undefined ? 0 : this.#counterOf(last) + 1;
    return { usedIdx, heads };
  }

  /** Clears the entries of `count` chains that the driver has seen. */
  #finishBatch(count: number): void {
    let head = this.#halves[6] as number;
    for (let done = 0; done < count && done < this.#entries && head < this.#entries; done++) {
      this.#bytes[QUEUE_HEADER + ENTRY * head] = 0;
      head = this.#halves[(QUEUE_HEADER + ENTRY * head + 6) >> 1] as number;
    }
  }

  #counterOf(head: number): number {
    const at = (QUEUE_HEADER + ENTRY * head + 8) >> 2;
    return (this.#words[at + 1] as number) * 2 ** 32 + (this.#words[at] as number);
  }

  taken(head: number): void {
    if (head >= this.#entries) return;
    const at = QUEUE_HEADER + ENTRY * head;
    const counter = this.#counter++;
    this.#words[(at + 8) >> 2] = counter >>> 0;
    this.#words[(at + 12) >> 2] = Math.floor(counter / 2 ** 32);
    Atomics.store(this.#bytes, at, 1);
  }

  dropped(head: number): void {
    if (head < this.#entries) Atomics.store(this.#bytes, QUEUE_HEADER + ENTRY * head, 0);
  }

  filled(head: number, ahead: number): void {
    this.#places[(this.#first + ahead) % this.#entries] = head;
  }

  /** Links the heads of the next places, which become visible, the last one first. */
  showing(count: number): void {
    const halves = this.#halves;
    let last = halves[6] as number;
    for (let i = 0; i < count; i++) {
      const head = this.#places[(this.#first + i) % this.#entries] as number;
      if (head >= this.#entries) continue;
      halves[(QUEUE_HEADER + ENTRY * head + 6) >> 1] = last;
      last = head;
    }
    Atomics.store(halves, 6, last);
  }

  shown(count: number): void {
    for (let i = 0; i < count; i++) {
      const head = this.#places[(this.#first + i) % this.#entries] as number;
      this.dropped(head);
    }
    this.#first = (this.#first + count) % this.#entries;
    Atomics.store(this.#halves, 7, ((this.#halves[7] as number) + count) & 0xffff);
  }
}

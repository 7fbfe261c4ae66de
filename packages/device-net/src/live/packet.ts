import type { Spans } from '@virtkit/core/live';
import type { Packet } from './backend.ts';
import { Header } from './header.ts';

/**
 * Transmit chain as the back end sees it: without the header. There is one object for each queue pair, used for all its
 * packets.
 */
export class TxPacket extends Header implements Packet {
  readonly pair: number;
  length = 0;
  pieces = 0;
  #out: Spans | undefined;
  /** Piece of the chain that the frame begins in; {@link #skip} is how many bytes of it are header. */
  #first = 0;
  #skip = 0;
  #header = 0;

  constructor(pair: number) {
    super();
    this.pair = pair;
  }

  /** Sets the frame behind `header` bytes of a chain; there is at least one byte. */
  place(out: Spans, header: number): void {
    let first = 0;
    let skip = header;
    for (let size = out.length(0); skip >= size; size = out.length(first)) {
      skip -= size;
      first++;
    }
    this.#out = out;
    this.#first = first;
    this.#skip = skip;
    this.#header = header;
    this.pieces = out.count - first;
    this.length = out.total - header;
  }

  bytes(i: number): Uint8Array {
    return this.#spans.bytes(this.#first + i);
  }

  offset(i: number): number {
    return this.#spans.offset(this.#first + i) + (i === 0 ? this.#skip : 0);
  }

  size(i: number): number {
    return this.#spans.length(this.#first + i) - (i === 0 ? this.#skip : 0);
  }

  copyTo(target: Uint8Array, at = 0, from = 0, length: number = target.length - at): number {
    return this.#spans.copyTo(this.#header + from, target, at, length);
  }

  /** Ends the call to the back end: the packet is lent no longer. */
  close(): void {
    this.#out = undefined;
    this.pieces = 0;
    this.length = 0;
  }

  get #spans(): Spans {
    if (this.#out === undefined) throw new RangeError('a packet is lent for the call to send()');
    return this.#out;
  }
}

/** Number of places that are looked at for an address. */
const WINDOW = 8;

/**
 * Table of the ports that Ethernet addresses are behind. It has a fixed size: where there is no room, the address
 * learned longest ago goes.
 */
export class MacTable {
  readonly #mask: number;
  /** First two bytes of each address; {@link #low} are the last four. */
  readonly #high: Uint16Array;
  readonly #low: Uint32Array;
  /** Port of each address; -1: the place is free. */
  readonly #port: Int32Array;
  readonly #age: Uint32Array;
  #now = 0;

  /** @param entries a power of two */
  constructor(entries: number) {
    this.#mask = entries - 1;
    this.#high = new Uint16Array(entries);
    this.#low = new Uint32Array(entries);
    this.#port = new Int32Array(entries).fill(-1);
    this.#age = new Uint32Array(entries);
  }

  /** Finds the port of the address at `at`, or -1. */
  find(bytes: Uint8Array, at: number): number {
    const high = highOf(bytes, at);
    const low = lowOf(bytes, at);
    const slot = this.#slot(high, low);
    return slot < 0 ? -1 : (this.#port[slot] as number);
  }

  learn(bytes: Uint8Array, at: number, port: number): void {
    const high = highOf(bytes, at);
    const low = lowOf(bytes, at);
    let slot = this.#slot(high, low);
    if (slot < 0) {
      slot = this.#room(hash(high, low));
      this.#high[slot] = high;
      this.#low[slot] = low;
    }
    this.#port[slot] = port;
    this.#age[slot] = ++this.#now;
  }

  /** Forgets a port, since nothing is behind it any more. */
  forget(port: number): void {
    for (let slot = 0; slot <= this.#mask; slot++) if (this.#port[slot] === port) this.#port[slot] = -1;
  }

  #slot(high: number, low: number): number {
    const start = hash(high, low);
    for (let i = 0; i < WINDOW; i++) {
      const slot = (start + i) & this.#mask;
      if (this.#low[slot] === low && this.#high[slot] === high && this.#port[slot] !== -1) return slot;
    }
    return -1;
  }

  /** Finds a free place, or the one of the oldest address. */
  #room(start: number): number {
    let oldest = start & this.#mask;
    for (let i = 0; i < WINDOW; i++) {
      const slot = (start + i) & this.#mask;
      if (this.#port[slot] === -1) return slot;
      if ((this.#age[slot] as number) < (this.#age[oldest] as number)) oldest = slot;
    }
    return oldest;
  }
}

function highOf(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function lowOf(bytes: Uint8Array, at: number): number {
  const upper = ((bytes[at + 2] as number) << 24) | ((bytes[at + 3] as number) << 16);
  return (upper | ((bytes[at + 4] as number) << 8) | (bytes[at + 5] as number)) >>> 0;
}

function hash(high: number, low: number): number {
  const mixed = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

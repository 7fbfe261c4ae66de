/** A ring of 256 requests of 16 pieces, each at its place. */
const SLOTS = 4096;

/**
 * Views of parts of an array, the last ones made: guests use the same buffers again and again, and a view costs as much as
 * copying a kilobyte, and work for the collector. Bounded: a new view takes the place of an old one.
 */
export class ViewCache {
  private readonly views: Uint8Array[];
  private readonly starts = new Int32Array(SLOTS);
  /** 0: nothing is there. */
  private readonly lengths = new Int32Array(SLOTS);
  // `declare`: see RingBase
  declare readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.views = new Array<Uint8Array>(SLOTS).fill(bytes);
  }

  /** Bytes `[start, start + length)`. */
  view(start: number, length: number): Uint8Array {
    // Knuth's multiplicative hash; 20: its upper 12 bits
    const slot = Math.imul(start, 0x9e3779b1) >>> 20;
    if (this.starts[slot] === (start | 0) && this.lengths[slot] === (length | 0)) {
      return this.views[slot] as Uint8Array;
    }
    return this.make(slot, start, length);
  }

  private make(slot: number, start: number, length: number): Uint8Array {
    const view = this.bytes.subarray(start, start + length);
    // what 32 bits cannot tell apart is not kept
    if (start + length > 0xffffffff) return view;
    this.views[slot] = view;
    this.starts[slot] = start;
    this.lengths[slot] = length;
    return view;
  }
}

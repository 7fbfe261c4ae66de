/** A ring of 256 requests of 16 pieces, each at its place. */
const SLOTS = 4096;
const NONE = new Int32Array(0);

/**
 * Views of parts of an array, the last ones made: guests use the same buffers again and again, and a view costs as much as
 * copying a kilobyte, and work for the collector. Bounded: a new view takes the place of an old one.
 */
export class ViewCache {
  // made with the first view: there may be many regions, and most never have one
  private views: Uint8Array[] = [];
  private starts = NONE;
  /** 0: nothing is there. */
  private lengths = NONE;
  // `declare`: see RingBase
  declare readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
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
    if (this.starts === NONE) {
      this.views = new Array<Uint8Array>(SLOTS).fill(this.bytes);
      this.starts = new Int32Array(SLOTS);
      this.lengths = new Int32Array(SLOTS);
    }
    this.views[slot] = view;
    this.starts[slot] = start;
    this.lengths[slot] = length;
    return view;
  }
}

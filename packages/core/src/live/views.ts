/** Views that a cache keeps: those of a ring of 256 requests with 16 pieces each. */
const SLOTS = 4096;
const NONE = new Int32Array(0);

/**
 * Views of parts of an array, of which the last ones made are kept: guests use the same buffers again and again, and to make a
 * view costs as much as to copy a kilobyte, and gives the collector work. The number of views has a bound: a new one takes the
 * place of an old one.
 */
export class ViewCache {
  // made with the first view, since there may be many regions, and most of them never have one
  private views: Uint8Array[] = [];
  private starts = NONE;
  /** Length of each view; 0 where there is none. */
  private lengths = NONE;
  // `declare`: see RingBase
  declare readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** The view of bytes `[start, start + length)`. */
  view(start: number, length: number): Uint8Array {
    // Knuth's multiplicative hash; the shift by 20 leaves its upper 12 bits
    const slot = Math.imul(start, 0x9e3779b1) >>> 20;
    if (this.starts[slot] === (start | 0) && this.lengths[slot] === (length | 0)) {
      return this.views[slot] as Uint8Array;
    }
    return this.make(slot, start, length);
  }

  private make(slot: number, start: number, length: number): Uint8Array {
    const view = this.bytes.subarray(start, start + length);
    // two places that 32 bits cannot tell apart would be taken for each other, so that such a view is not kept
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

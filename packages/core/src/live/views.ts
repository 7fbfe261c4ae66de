/** Largest number of views that a cache keeps: those of a ring of 256 requests with 16 pieces each. */
const SLOTS = 4096;
/**
 * Number of bytes of an array for which one view is kept: a page of an emulator's memory has not as many as all of it.
 */
const BYTES_A_SLOT = 64;
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
  /** Shift that leaves a slot's number of a 32-bit hash: 32 less the bits of the number. */
  declare private readonly shift: number;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    const slots = Math.min(SLOTS, Math.max(2, bytes.length / BYTES_A_SLOT));
    this.shift = 32 - Math.floor(Math.log2(slots));
  }

  /** Makes or finds the view of bytes `[start, start + length)`. */
  view(start: number, length: number): Uint8Array {
    // Knuth's multiplicative hash, of which the shift leaves the upper bits
    const slot = Math.imul(start, 0x9e3779b1) >>> this.shift;
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
      const slots = 2 ** (32 - this.shift);
      this.views = new Array<Uint8Array>(slots).fill(this.bytes);
      this.starts = new Int32Array(slots);
      this.lengths = new Int32Array(slots);
    }
    this.views[slot] = view;
    this.starts[slot] = start;
    this.lengths[slot] = length;
    return view;
  }
}

import { PIECES_MAX } from './chain.ts';

/**
 * Adds up what the available chains of a ring have to write and to read, and remembers each chain that it has walked: a
 * driver does not change what it has made available, and one look at a chain costs up to 1024 descriptors. So a device may
 * ask again and again, while nothing new is there, for no more than one addition a chain.
 *
 * A chain is known by its position: how many entries of the ring were before it, all laps counted. No position comes twice.
 */
export class AvailMemo {
  /** Number of bytes to write that the caller of {@link availBytes} asks for. */
  private inWanted = 0;
  private outWanted = 0;
  /** Number of bytes to write in the chains that were counted since {@link begin}. */
  private inTotal = 0;
  private outTotal = 0;
  /**
   * Number of ring descriptors in the chains that were counted since {@link begin}. Those of a chain are added when it
   * is counted to its end.
   */
  slots = 0;
  /** True if the chain that is being counted lies in an indirect table. */
  indirect = false;
  /**
   * True if the rest of the chain need not be counted: there is enough, or the chain is longer than any that may be
   * taken.
   */
  cut = false;
  // buffers of the chain that is being counted, and their bytes
  private pieces = 0;
  private inChain = 0;
  private outChain = 0;
  // by slot of the ring: position of the chain that was walked there, -1 for none; its bytes; the descriptors that it takes
  private readonly positions: Float64Array;
  private readonly inBytes: Float64Array;
  private readonly outBytes: Float64Array;
  private readonly lengths: Uint32Array;

  constructor(size: number) {
    this.positions = new Float64Array(size).fill(-1);
    this.inBytes = new Float64Array(size);
    this.outBytes = new Float64Array(size);
    this.lengths = new Uint32Array(size);
  }

  /** Begins to add up chains, until they have as many bytes as are wanted. */
  begin(inWanted: number, outWanted: number): void {
    this.inWanted = inWanted;
    this.outWanted = outWanted;
    this.inTotal = 0;
    this.outTotal = 0;
    this.slots = 0;
    this.beginChain();
  }

  private beginChain(): void {
    this.cut = false;
    this.pieces = 0;
    this.inChain = 0;
    this.outChain = 0;
  }

  /** Do the chains counted so far have as many bytes as are wanted? */
  enough(): boolean {
    return this.inTotal >= this.inWanted && this.outTotal >= this.outWanted;
  }

  /** Adds a buffer of the chain. */
  count(write: boolean, bytes: number): void {
    if (write) this.inChain += bytes;
    else this.outChain += bytes;
    this.pieces++;
    const enough =
      this.inTotal + this.inChain >= this.inWanted && this.outTotal + this.outChain >= this.outWanted;
    // a chain of more pieces breaks the device when it is taken: do not let a guest make this walk long
    this.cut = enough || this.pieces > PIECES_MAX;
  }

  /** Ends a chain that was counted to its end: its bytes count, and are remembered for its position. */
  keep(slot: number, position: number): void {
    this.positions[slot] = position;
    this.inBytes[slot] = this.inChain;
    this.outBytes[slot] = this.outChain;
    this.lengths[slot] = this.indirect ? 1 : this.pieces;
    this.beginChain();
    this.recall(slot, position);
  }

  /** Counts the chain at this position if it is known. */
  recall(slot: number, position: number): boolean {
    if (this.positions[slot] !== position) return false;
    this.inTotal += this.inBytes[slot] as number;
    this.outTotal += this.outBytes[slot] as number;
    this.slots += this.lengths[slot] as number;
    return true;
  }
}

import type { Gpa, GuestMemory } from '@virtkit/core/live';
import { CCW_FLAG, COMMAND, ORB0 } from './bits.ts';
import type { Ccw, Orb } from './structures.ts';

/**
 * Length in bytes of the blocks that indirect data addresses name in format 2; below it, in format 1 and where the
 * program says so.
 */
const BLOCK_4K = 4096;
const BLOCK_2K = 2048;
/** First address beyond those of 24 bits; below it, beyond those of 31 bits. */
const ADDRESSES_24 = 2 ** 24;
const ADDRESSES_31 = 2 ** 31;
/** First high word of an address that a number does not hold exactly. */
const HIGH_WORDS = 2 ** 21;
/**
 * Mask of the half of a command code that says what it does; read commands have two bits in common, read backward is
 * one value.
 */
const COMMAND_DIGIT = 0x0f;
const READ_BITS = 0x03;
const READ = 0x02;
const READ_BACKWARD = 0x0c;

/** Address of a block that is no memory, whatever the guest has. */
const NOWHERE = 2 ** 53 - 2 ** 13;

/**
 * Data area of a channel command: one run of bytes at its data address, or the blocks that a list of indirect data
 * addresses names. Whatever is wrong with it breaks it, and everything after that fails: a program check. QEMU:
 * `ccw_dstream_*`.
 */
export class DataStream {
  readonly #memory: GuestMemory;
  #list = 0;
  #at = 0;
  #next = 0;
  #done = 0;
  #count = 0;
  #indirect = false;
  #wide = false;
  #block = 0;
  #limit = 0;
  #skip = false;
  #broken = false;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Begins with the data of a command. */
  start(ccw: Ccw, orb: Orb): void {
    this.#list = ccw.cda;
    this.#count = ccw.count;
    this.#indirect = (ccw.flags & CCW_FLAG.IDA) !== 0;
    this.#wide = (orb.ctrl0 & ORB0.C64) !== 0;
    this.#block = this.#wide && (orb.ctrl0 & ORB0.I2K) === 0 ? BLOCK_4K : BLOCK_2K;
    this.#limit = (orb.ctrl0 & ORB0.FMT) !== 0 ? ADDRESSES_31 : ADDRESSES_24;
    this.#skip = (ccw.flags & CCW_FLAG.SKIP) !== 0 && storesData(ccw.cmdCode);
    this.#broken = false;
    this.rewind();
  }

  /** Goes back to the first byte. */
  rewind(): void {
    this.#at = this.#list;
    this.#next = 0;
    this.#done = 0;
  }

  /** Number of bytes of the command's count that were not moved. */
  get residual(): number {
    return this.#count - this.#done;
  }

  /** Takes the next bytes from the guest. */
  read(target: Uint8Array): boolean {
    return this.#move(target.length, (gpa, from, length) => this.#memory.read(gpa, target, from, length));
  }

  /** Gives the next bytes to the guest; with the SKIP flag they go nowhere. */
  write(source: Uint8Array, length: number = source.length): boolean {
    if (this.#skip) return this.advance(length);
    return this.#move(length, (gpa, from, piece) => this.#memory.write(gpa, source, from, piece));
  }

  /** Steps over bytes. */
  advance(length: number): boolean {
    return this.#move(length, () => true);
  }

  #move(length: number, piece: (gpa: Gpa, from: number, length: number) => boolean): boolean {
    if (this.#done + length > this.#count) this.#broken = true;
    if (this.#broken) return false;
    if (length === 0) return true;
    const whole = this.#indirect ? this.#moveIndirect(length, piece) : this.#moveDirect(length, piece);
    if (!whole) this.#broken = true;
    return whole;
  }

  #moveDirect(length: number, piece: (gpa: Gpa, from: number, length: number) => boolean): boolean {
    if (this.#at + length >= this.#limit) return false;
    if (!piece(this.#at as Gpa, 0, length)) return false;
    this.#at += length;
    this.#done += length;
    return true;
  }

  #moveIndirect(length: number, piece: (gpa: Gpa, from: number, length: number) => boolean): boolean {
    for (let from = 0; from < length; ) {
      const inBlock = this.#at % this.#block;
      // a block ends where an address is a multiple of its size; only the first may begin elsewhere
      if ((this.#next === 0 || inBlock === 0) && !this.#nextBlock()) return false;
      const step = Math.min(length - from, this.#block - (this.#at % this.#block));
      if (!piece(this.#at as Gpa, from, step)) return false;
      from += step;
      this.#at += step;
      this.#done += step;
    }
    return true;
  }

  /** Fetches the next indirect data address word. */
  #nextBlock(): boolean {
    const size = this.#wide ? 8 : 4;
    const word = this.#list + size * this.#next;
    if (word % size !== 0 || word >= this.#limit) return false;
    let high = 0;
    if (this.#wide) high = this.#memory.readU32(word as Gpa, false);
    const low = this.#memory.readU32((word + size - 4) as Gpa, false);
    if (low < 0 || high < 0) return false;
    if (!this.#wide && low >= ADDRESSES_31) return false;
    const first = this.#next === 0;
    this.#next++;
    // where a number is not exact there is no memory either; with SKIP that does not matter
    this.#at = high < HIGH_WORDS ? high * 2 ** 32 + low : NOWHERE + (low % this.#block);
    return first || this.#at % this.#block === 0;
  }
}

/**
 * Does a command store into guest memory? Read, read backward and sense commands do; for the others the SKIP flag has
 * no meaning.
 */
function storesData(cmdCode: number): boolean {
  const digit = cmdCode & COMMAND_DIGIT;
  return digit === COMMAND.BASIC_SENSE || (digit & READ_BITS) === READ || digit === READ_BACKWARD;
}

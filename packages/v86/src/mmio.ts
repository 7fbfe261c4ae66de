import type { Read, V86Cpu, Write } from './emulator.ts';
import type { Target } from './target.ts';

/** Shift from an address to its block: v86 knows who answers by blocks of 128 KiB. */
const BLOCK_SHIFT = 17;

interface Range {
  readonly target: Target;
  readonly bar: number;
  readonly start: number;
  /** First address behind the range. */
  readonly end: number;
}

/** Handlers that answered in a block before. */
interface Handlers {
  readonly read8: Read;
  readonly write8: Write;
  readonly read32: Read;
  readonly write32: Write;
}

interface Block {
  readonly before: Handlers;
  readonly ours: Handlers;
  readonly ranges: Range[];
}

/**
 * Memory BARs of our functions. They are smaller than v86's blocks, so that several functions, v86's own among them,
 * may share one: what is nobody's goes to who was there before.
 */
export class Mmio {
  /**
   * Number of accesses that the guest is inside of now. While it is not 0, no interrupt may be raised: it would enter
   * the CPU in the middle of its code.
   */
  depth = 0;
  readonly #cpu: V86Cpu;
  readonly #blocks = new Map<number, Block>();
  #write16: Write | undefined;

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu;
  }

  /** Maps a BAR. Answers the function that takes it away again. */
  map(target: Target, bar: number, start: number, size: number): () => void {
    const range: Range = { target, bar, start, end: start + size };
    this.#hookWrite16();
    const first = Math.floor(start / 2 ** BLOCK_SHIFT);
    const last = Math.floor((range.end - 1) / 2 ** BLOCK_SHIFT);
    for (let block = first; block <= last; block++) this.#block(block)?.ranges.push(range);
    return () => {
      for (let block = first; block <= last; block++) this.#remove(block, range);
    };
  }

  #block(index: number): Block | undefined {
    const known = this.#blocks.get(index);
    if (known !== undefined) return known;
    const { memory_map_read8, memory_map_write8, memory_map_read32, memory_map_write32 } = this.#cpu;
    const read8 = memory_map_read8[index];
    const write8 = memory_map_write8[index];
    const read32 = memory_map_read32[index];
    const write32 = memory_map_write32[index];
    // RAM: v86 does not ask there
    if (read8 === undefined || write8 === undefined || read32 === undefined || write32 === undefined)
      return undefined;
    const block: Block = {
      before: { read8, write8, read32, write32 },
      ours: {
        read8: (address) => this.#read8(block, address),
        write8: (address, value) => this.#write(block, address, 1, value, write8),
        read32: (address) => this.#read32(block, address),
        write32: (address, value) => this.#write(block, address, 4, value, write32),
      },
      ranges: [],
    };
    this.#blocks.set(index, block);
    memory_map_read8[index] = block.ours.read8;
    memory_map_write8[index] = block.ours.write8;
    memory_map_read32[index] = block.ours.read32;
    memory_map_write32[index] = block.ours.write32;
    return block;
  }

  #remove(index: number, range: Range): void {
    const block = this.#blocks.get(index);
    if (block === undefined) return;
    const at = block.ranges.indexOf(range);
    if (at >= 0) block.ranges.splice(at, 1);
    if (block.ranges.length > 0) return;
    const { before, ours } = block;
    const { memory_map_read8, memory_map_write8, memory_map_read32, memory_map_write32 } = this.#cpu;
    // what others have put over ours since stays, and reaches ours, which pass everything on now; they serve the next BAR as well
    const covered =
      memory_map_read8[index] !== ours.read8 ||
      memory_map_write8[index] !== ours.write8 ||
      memory_map_read32[index] !== ours.read32 ||
      memory_map_write32[index] !== ours.write32;
    if (covered) return;
    this.#blocks.delete(index);
    memory_map_read8[index] = before.read8;
    memory_map_write8[index] = before.write8;
    memory_map_read32[index] = before.read32;
    memory_map_write32[index] = before.write32;
  }

  /** Hooks writes of 16 bits, of which v86 makes two bytes: that would be two kicks, or a register half written. */
  #hookWrite16(): void {
    if (this.#write16 !== undefined) return;
    const before = this.#cpu.mmap_write16;
    this.#write16 = before;
    this.#cpu.mmap_write16 = (address, value) => {
      const block = this.#blocks.get(address >>> BLOCK_SHIFT);
      if (block === undefined) before.call(this.#cpu, address, value);
      else this.#write(block, address, 2, value, (a, v) => before.call(this.#cpu, a, v));
    };
  }

  #read8(block: Block, address: number): number {
    const range = find(block, address);
    if (range === undefined) return block.before.read8(address);
    this.depth++;
    const value = range.target.readByte(range.bar, (address >>> 0) - range.start);
    this.depth--;
    return value;
  }

  #read32(block: Block, address: number): number {
    const range = find(block, address);
    if (range === undefined) return block.before.read32(address);
    this.depth++;
    const value = range.target.read(range.bar, (address >>> 0) - range.start, 4);
    this.depth--;
    return value | 0;
  }

  #write(block: Block, address: number, size: number, value: number, before: Write): void {
    const range = find(block, address);
    if (range === undefined) {
      before(address, value);
      return;
    }
    this.depth++;
    range.target.write(range.bar, (address >>> 0) - range.start, size, size === 4 ? value >>> 0 : value);
    this.depth--;
  }
}

function find({ ranges }: Block, address: number): Range | undefined {
  const at = address >>> 0;
  for (const range of ranges) if (at >= range.start && at < range.end) return range;
  return undefined;
}

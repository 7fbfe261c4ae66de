// What of the guest's RAM is in a stream, in a picture of bounded size.
import {
  type Configuration,
  mappedLayout,
  NullSink,
  RAM,
  type RamBlock,
  type SectionHeader,
} from '@virtkit/migration';
import { CELL } from './types.ts';

/** Largest number of cells of all blocks together. */
const CELLS_MAX = 1 << 20;
/** Smallest number of bytes that a cell stands for: the smallest page of QEMU's targets. */
const CELL_BYTES_MIN = 4096;
/** Largest number of cells of one block. */
const BLOCK_CELLS_MAX = 1 << 16;

/** Cells of a block: which parts of it came. */
export interface BlockCells {
  readonly cellBytes: number;
  readonly cells: Uint8Array;
}

/**
 * Sink that notes where RAM stands in the stream, and for each piece of it whether it came, with content or as zeros.
 */
export class RamMap extends NullSink {
  readonly blocks: BlockCells[] = [];
  /** Offsets at which runs of `ram` sections begin. */
  readonly starts: number[] = [];
  /** Machine type, once it has come. */
  machine: string | undefined;
  #inRam = false;
  #cells = 0;
  /** Region of a mapped-ram file that comes now: its bitmap, and how far it has come. */
  #region:
    | { readonly block: BlockCells; readonly pageBytes: number; readonly bitmapBytes: number; at: number }
    | undefined;

  override configuration({ name }: Configuration): void {
    this.machine = name;
  }

  override section({ idstr, offset }: SectionHeader): void {
    const isRam = idstr === 'ram';
    if (isRam && !this.#inRam) this.starts.push(offset);
    this.#inRam = isRam;
  }

  override ramBlock(block: RamBlock): void {
    const cells = Math.min(BLOCK_CELLS_MAX, Math.max(CELLS_MAX - this.#cells, 1));
    let cellBytes = CELL_BYTES_MIN;
    while (cellBytes * cells < block.length) cellBytes *= 2;
    const made = { cellBytes, cells: new Uint8Array(Math.ceil(block.length / cellBytes)) };
    this.#cells += made.cells.length;
    this.blocks.push(made);
    const layout = mappedLayout(block);
    this.#region = layout && {
      block: made,
      pageBytes: layout.pageSize,
      bitmapBytes: layout.bitmapBytes,
      at: 0,
    };
  }

  override ramPage(flags: number, offset: number, index: number): void {
    const block = this.blocks[index];
    if (block === undefined) return;
    mark(block, offset, (flags & RAM.ZERO) !== 0 ? CELL.ZERO : CELL.CONTENT);
  }

  override ramRegion(bytes: Uint8Array, start: number, end: number): void {
    const region = this.#region;
    if (region === undefined) return;
    const { block, pageBytes, bitmapBytes } = region;
    for (let at = start; at < end && region.at < bitmapBytes; at++, region.at++) {
      const byte = bytes[at] ?? 0;
      for (let bit = 0; byte >> bit !== 0; bit++)
        if (((byte >> bit) & 1) !== 0) mark(block, (8 * region.at + bit) * pageBytes, CELL.CONTENT);
    }
  }
}

function mark({ cellBytes, cells }: BlockCells, offset: number, what: number): void {
  const cell = Math.floor(offset / cellBytes);
  if (cell < cells.length) cells[cell] = (cells[cell] ?? 0) | what;
}

import { StateError } from '@virtkit/vmstate';
import type { Configuration } from './configuration.ts';
import { NullSink, type RamBlock } from './events.ts';
import { MappedReader, mappedLayout } from './mapped-region.ts';
import { targetPageBits } from './target-page.ts';
import { RAM } from './wire.ts';

/** Place of a piece of a RAM block in the guest-physical address space. */
export interface RamPlacement {
  /** Guest-physical address of the first byte. */
  readonly gpa: number;
  /** Name of the RAM block. */
  readonly block: string;
  /** Offset of the piece in the block, in bytes. */
  readonly offset: number;
  /** Length of the piece in bytes. */
  readonly length: number;
}

/** Options of a {@link RamImage}. */
export interface RamImageOptions {
  /** Largest number of bytes of RAM that are held; blocks that would go beyond are refused. Default 4 GiB. */
  readonly maxBytes?: number;
  /** Is this block to be held? Default: all blocks are. */
  readonly wanted?: (block: RamBlock) => boolean;
}

/** Length in bytes of the largest array that every engine has. */
const ARRAY_MAX = 2 ** 32 - 1;
const DEFAULT_MAX = 2 ** 32;

/**
 * Sink that keeps the content of RAM: what the guest's memory was when the stream ended, block by block. Later passes
 * overwrite earlier ones, as on a destination.
 */
export class RamImage extends NullSink {
  readonly #options: RamImageOptions;
  readonly #blocks: { readonly block: RamBlock; readonly bytes: Uint8Array | undefined }[] = [];
  #held = 0;
  #configuration: Configuration | undefined;
  /** Length of a target page in bytes; 0 until the first page comes. */
  #pageSize = 0;
  #target: Uint8Array | undefined;
  #at = 0;
  /** Reader of the block whose region in a mapped-ram file comes now. */
  #mapped: MappedReader | undefined;

  constructor(options: RamImageOptions = {}) {
    super();
    this.#options = options;
  }

  /** Blocks that are held, by name. */
  get blocks(): ReadonlyMap<string, Uint8Array> {
    return new Map(
      this.#blocks.flatMap(({ block, bytes }) => (bytes === undefined ? [] : [[block.name, bytes] as const])),
    );
  }

  /** Blocks that the stream has announced, held or not. */
  get announced(): readonly RamBlock[] {
    return this.#blocks.map(({ block }) => block);
  }

  override configuration(value: Configuration): void {
    this.#configuration = value;
  }

  override ramBlock(block: RamBlock): void {
    const { maxBytes = DEFAULT_MAX, wanted } = this.#options;
    this.#mapped = undefined;
    if (wanted !== undefined && !wanted(block)) {
      this.#blocks.push({ block, bytes: undefined });
      return;
    }
    const layout = mappedLayout(block);
    const place = { layer: 'stream', path: `ram.${block.name}` } as const;
    if (this.#held + block.length > maxBytes || block.length > ARRAY_MAX) {
      const facts = { length: block.length, held: this.#held, limit: maxBytes };
      throw new StateError(
        'ram-size',
        `block "${block.name}" of ${block.length} bytes: more than the ${maxBytes} that may be held`,
        facts,
        place,
      );
    }
    this.#held += block.length;
    const bytes = new Uint8Array(block.length);
    this.#blocks.push({ block, bytes });
    if (layout !== undefined) this.#mapped = new MappedReader(layout, bytes);
  }

  override ramRegion(bytes: Uint8Array, start: number, end: number): void {
    this.#mapped?.take(bytes, start, end);
  }

  override ramPage(flags: number, offset: number, index: number): void {
    const entry = this.#blocks[index];
    this.#target = undefined;
    if (entry?.bytes === undefined) return;
    const kind = flags & ~RAM.CONTINUE;
    if (kind === RAM.PAGE) {
      this.#target = entry.bytes;
      this.#at = offset;
    } else if (kind === RAM.ZERO) {
      if (this.#pageSize === 0) this.#pageSize = 2 ** this.#pageBits();
      entry.bytes.fill(0, offset, offset + this.#pageSize);
    } else {
      const place = { layer: 'stream', path: `ram.${entry.block.name}` } as const;
      throw new StateError(
        'ram-encoding',
        'the page is a delta or compressed, which only a QEMU unpacks: switch xbzrle and compress off',
        { flags, offset },
        place,
      );
    }
  }

  #pageBits(): number {
    const { targetPageBits: told, name } = this.#configuration ?? {};
    return told ?? targetPageBits(name, this.announced);
  }

  override ramData(bytes: Uint8Array, start: number, end: number): void {
    if (this.#target === undefined) return;
    this.#target.set(bytes.subarray(start, end), this.#at);
    this.#at += end - start;
  }
}

// Where in a stream the pages of the guest's RAM lie: their places, never their content.
import {
  type Configuration,
  type MappedLayout,
  mappedLayout,
  RAM,
  type RamBlock,
  StreamWriter,
} from '@virtkit/migration';
import { StateError } from '@virtkit/vmstate';

/** Number of pages whose places are kept in one array. */
const GROUP_PAGES = 4096;
/** Largest number of bytes of all places together: those of 2^23 pages, which are 32 GiB at 4 KiB a page. */
const INDEX_BYTES_MAX = 64 << 20;

/** Places that are none: offset 0 is the stream's magic number. */
export const PLACE = {
  /** Nothing of the page is in the stream. */
  ABSENT: 0,
  /** The page came as zeros. */
  ZERO: -1,
  /** The page came as a delta or compressed last. */
  ENCODED: -2,
} as const;

interface IndexedBlock {
  readonly block: RamBlock;
  /** Places of pages, in groups of {@link GROUP_PAGES}. */
  readonly groups: Map<number, Float64Array>;
}

/**
 * Sink that notes for each page of RAM where in the stream its content stands. It writes the stream once more, to
 * nowhere: the number of bytes written is the offset of what comes next.
 */
export class PageIndex extends StreamWriter {
  readonly #blocks: IndexedBlock[] = [];
  readonly #written: { bytes: number };
  #pageBits: number | undefined;
  #bytes = 0;
  #region: { readonly at: number; readonly layout: MappedLayout; passed: number } | undefined;

  constructor() {
    const written = { bytes: 0 };
    super((_bytes, start, end) => {
      written.bytes += end - start;
    });
    this.#written = written;
  }

  /** Length of a page in bytes. */
  get pageBytes(): number {
    return 2 ** (this.#pageBits ?? 12);
  }

  /** Blocks of RAM in the order in which the stream lists them. */
  get blocks(): readonly RamBlock[] {
    return this.#blocks.map(({ block }) => block);
  }

  /** Finds the offset in the stream of a page's content, by the block's index and the page's number, or one of {@link PLACE}. */
  placeOf(block: number, page: number): number {
    return this.#blocks[block]?.groups.get(Math.floor(page / GROUP_PAGES))?.[page % GROUP_PAGES] ?? 0;
  }

  /** Has anything of a block come? */
  hasPages(block: number): boolean {
    return (this.#blocks[block]?.groups.size ?? 0) > 0;
  }

  override configuration(value: Configuration): void {
    super.configuration(value);
    this.#pageBits = value.targetPageBits;
  }

  override ramBlock(block: RamBlock): void {
    super.ramBlock(block);
    const layout = mappedLayout(block);
    this.#region = layout && { at: this.#written.bytes, layout, passed: 0 };
    if (layout !== undefined) this.#pageBits = Math.log2(layout.pageSize);
    this.#blocks.push({ block, groups: new Map() });
  }

  override ramPage(flags: number, offset: number, index: number): void {
    super.ramPage(flags, offset, index);
    const kind = flags & ~RAM.CONTINUE;
    const place = kind === RAM.PAGE ? this.#written.bytes : kind === RAM.ZERO ? PLACE.ZERO : PLACE.ENCODED;
    this.#note(index, Math.floor(offset / this.pageBytes), place);
  }

  override ramRegion(bytes: Uint8Array, start: number, end: number): void {
    super.ramRegion(bytes, start, end);
    const region = this.#region;
    if (region === undefined) return;
    const { at, layout } = region;
    const { bitmapBytes, pagesAt, pageSize, pages } = layout;
    for (let from = start; from < end && region.passed < bitmapBytes; from++, region.passed++) {
      const byte = bytes[from] ?? 0;
      for (let bit = 0; byte >> bit !== 0; bit++) {
        const page = 8 * region.passed + bit;
        if (((byte >> bit) & 1) === 0 || page >= pages) continue;
        this.#note(this.#blocks.length - 1, page, at + pagesAt + page * pageSize);
      }
    }
  }

  #note(index: number, page: number, place: number): void {
    const groups = this.#blocks[index]?.groups;
    if (groups === undefined) return;
    const number = Math.floor(page / GROUP_PAGES);
    let group = groups.get(number);
    if (group === undefined) {
      group = new Float64Array(GROUP_PAGES);
      this.#bytes += group.byteLength;
      if (this.#bytes > INDEX_BYTES_MAX)
        throw new StateError(
          'ram-size',
          `the guest's memory is not followed: there are pages of more than ${(INDEX_BYTES_MAX / 8) * this.pageBytes} bytes of it`,
          { limit: (INDEX_BYTES_MAX / 8) * this.pageBytes },
          { layer: 'stream', path: 'ram' },
        );
      groups.set(number, group);
    }
    group[page % GROUP_PAGES] = place;
  }
}

import { hex, latin1, Reader, StateError } from '@virtkit/vmstate';
import type { MappedRam, RamBlock, StreamSink } from './events.ts';
import { RAM } from './wire.ts';

/** Capabilities of the configuration section that change the `ram` section. */
export interface RamOptions {
  /** Finds the length of a target page as a power of two; it is asked again when the blocks are known. */
  pageBits(blocks: readonly RamBlock[]): number;
  /**
   * True with capability x-ignore-shared: each block is followed by its address. Undefined: the stream has no
   * configuration section.
   */
  readonly ignoreShared: boolean | undefined;
  /** True with capability mapped-ram: each block is followed by a header, its bitmap and its pages. */
  readonly mappedRam: boolean;
}

/** Largest number of RAM blocks that is believed. QEMU has one a memory device, ROM and option. */
const BLOCKS_MAX = 4096;
const MAPPED_RAM_VERSION = 1;

/**
 * Parser of the records of a `ram` section, wherever the chunks are cut. Pages are passed on, never kept: a page costs
 * its 8-byte head. Errors carry the offset in the stream.
 */
export class RamParser {
  readonly #sink: StreamSink;
  readonly #options: RamOptions;
  #pageSize: number;
  readonly #blocks: RamBlock[] = [];
  readonly #byName = new Map<string, number>();
  /** Index of the block of the last page record: CONTINUE refers to it, also across sections. */
  #block = -1;
  #blockLength = 0;
  /** Number of bytes of the current record's payload that are still to come. */
  #data = 0;
  /** Number of bytes of a mapped-ram region that are still to come. */
  #region = 0;
  /** Number of bytes of RAM that the block list has still to account for. */
  #unlisted = 0;
  /** True if the section ended with the record before. */
  done = false;

  constructor(sink: StreamSink, options: RamOptions) {
    this.#sink = sink;
    this.#options = options;
    this.#pageSize = 2 ** options.pageBits([]);
  }

  /** Begins a new section of RAM. */
  begin(): void {
    this.done = false;
  }

  /**
   * Reads as many records as are there.
   *
   * @param base offset of `bytes[0]` in the stream
   * @param final nothing comes behind these bytes
   * @returns index of the first byte not consumed
   */
  consume(bytes: Uint8Array, from: number, base: number, final: boolean): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const end = bytes.length;
    let pageSize = this.#pageSize;
    const sink = this.#sink;
    let at = from;
    while (!this.done) {
      if (this.#data > 0 || this.#region > 0) {
        at = this.#pass(bytes, at);
        if (at === end) return at;
        continue;
      }
      if (this.#unlisted > 0) {
        if (!final && !this.#isWholeBlock(bytes, at)) return at;
        at = this.#readBlock(bytes, at, base);
        pageSize = this.#pageSize;
        continue;
      }
      if (end - at < 8) return at;
      const word = view.getUint32(at + 4);
      const flags = word & (pageSize - 1);
      const offset = view.getUint32(at) * 0x1_0000_0000 + (word - flags);
      // nearly all of a stream: a page of the block before, whole in this chunk
      if (flags === (RAM.PAGE | RAM.CONTINUE) && end - at >= 8 + pageSize && offset < this.#blockLength) {
        sink.ramPage(flags, offset, this.#block);
        sink.ramData(bytes, at + 8, at + 8 + pageSize);
        at += 8 + pageSize;
        continue;
      }
      // and nearly all of a guest that has just begun
      if (
        flags === (RAM.ZERO | RAM.CONTINUE) &&
        end - at > 8 &&
        bytes[at + 8] === 0 &&
        offset < this.#blockLength
      ) {
        sink.ramPage(flags, offset, this.#block);
        sink.ramData(bytes, at + 8, at + 9);
        at += 9;
        continue;
      }
      const next = this.#record(bytes, at, flags, offset, base, final);
      if (next < 0) return at;
      at = next;
    }
    return at;
  }

  /** Passes payload on, as far as it is there. Answers where it ends. */
  #pass(bytes: Uint8Array, at: number): number {
    if (this.#data > 0) {
      const end = Math.min(bytes.length, at + this.#data);
      this.#sink.ramData(bytes, at, end);
      this.#data -= end - at;
      return end;
    }
    const end = Math.min(bytes.length, at + this.#region);
    this.#sink.ramRegion(bytes, at, end);
    this.#region -= end - at;
    return end;
  }

  /** Reads the record that begins at `at`; -1 if not enough of it is there. */
  #record(
    bytes: Uint8Array,
    at: number,
    flags: number,
    offset: number,
    base: number,
    final: boolean,
  ): number {
    const kind = flags & ~RAM.CONTINUE;
    switch (kind) {
      case RAM.EOS:
        this.#sink.ramMark(flags, offset);
        this.done = true;
        return at + 8;
      case RAM.MULTIFD_FLUSH:
      case RAM.HOOK:
        this.#sink.ramMark(flags, offset);
        return at + 8;
      case RAM.MEM_SIZE:
        return this.#memSize(at, offset, base);
      case RAM.ZERO:
      case RAM.PAGE:
      case RAM.XBZRLE:
      case RAM.COMPRESS_PAGE:
        return this.#page(bytes, at, flags, offset, base, final);
      default:
        throw this.#error(
          'ram-flags',
          `RAM record with flags ${hex(flags)}, which no QEMU writes`,
          { flags },
          base + at,
        );
    }
  }

  #memSize(at: number, total: number, base: number): number {
    if (this.#blocks.length > 0)
      throw this.#error('ram-blocks', 'the list of RAM blocks comes twice', {}, base + at);
    if (!Number.isSafeInteger(total))
      throw this.#error('ram-size', `${total} bytes of RAM`, { total }, base + at);
    this.#sink.ramSize(BigInt(total));
    this.#unlisted = total;
    return at + 8;
  }

  #page(bytes: Uint8Array, at: number, flags: number, offset: number, base: number, final: boolean): number {
    const named = (flags & RAM.CONTINUE) === 0;
    const nameBytes = named ? 1 + (bytes[at + 8] ?? 0) : 0;
    const payload = at + 8 + nameBytes;
    const wanted = payload + (HEAD_BYTES[flags & ~RAM.CONTINUE] ?? 0);
    if (wanted > bytes.length) {
      if (!final) return -1;
      throw this.#error(
        'truncated',
        `${wanted - at} bytes wanted, ${bytes.length - at} left`,
        { wanted: wanted - at, available: bytes.length - at },
        base + at,
      );
    }
    if (named) this.#select(latin1(bytes.subarray(at + 9, payload)), base + at + 8);
    else if (this.#block < 0)
      throw this.#error(
        'ram-continue',
        'a page of "the same block", and there was none before',
        { flags },
        base + at,
      );
    if (!(offset < this.#blockLength)) {
      const name = this.#blocks[this.#block]?.name ?? '';
      throw this.#error(
        'ram-offset',
        `page at ${hex(offset)} of block "${name}", which has ${hex(this.#blockLength)} bytes`,
        { offset, length: this.#blockLength, block: name },
        base + at,
      );
    }
    this.#data = this.#payloadBytes(bytes, payload, flags & ~RAM.CONTINUE, base);
    this.#sink.ramPage(flags, offset, this.#block);
    return payload;
  }

  /** Finds the number of bytes behind block name and offset of a record. */
  #payloadBytes(bytes: Uint8Array, at: number, kind: number, base: number): number {
    const byte = (index: number): number => bytes[at + index] ?? 0;
    if (kind === RAM.PAGE) return this.#pageSize;
    if (kind === RAM.ZERO) {
      if (byte(0) !== 0)
        throw this.#error(
          'ram-fill',
          `"zero" page filled with 0x${byte(0).toString(16)}`,
          { fill: byte(0) },
          base + at,
        );
      return 1;
    }
    if (kind === RAM.XBZRLE) {
      const length = (byte(1) << 8) | byte(2);
      if (byte(0) !== 1 || length > this.#pageSize)
        throw this.#error(
          'ram-xbzrle',
          `XBZRLE record with flag ${byte(0)} and ${length} bytes`,
          { flag: byte(0), length },
          base + at,
        );
      return 3 + length;
    }
    const length = byte(0) * 0x100_0000 + ((byte(1) << 16) | (byte(2) << 8) | byte(3));
    if (length > 2 * this.#pageSize)
      throw this.#error(
        'ram-compressed',
        `compressed page of ${length} bytes`,
        { length, limit: 2 * this.#pageSize },
        base + at,
      );
    return 4 + length;
  }

  #select(name: string, position: number): void {
    const index = this.#byName.get(name) ?? -1;
    const block = this.#blocks[index];
    if (block === undefined) {
      throw this.#error(
        'ram-block',
        `page of RAM block "${name}", which the list does not have`,
        { block: name },
        position,
      );
    }
    this.#block = index;
    this.#blockLength = block.length;
  }

  /** Are all bytes there that the block head at `at` may have? A word that nothing announces counts as one of them. */
  #isWholeBlock(bytes: Uint8Array, at: number): boolean {
    const least = 1 + (bytes[at] ?? 255) + 8 + 8 + (this.#options.mappedRam ? 28 : 0);
    return bytes.length - at >= least;
  }

  #readBlock(bytes: Uint8Array, at: number, base: number): number {
    const input = new Reader(bytes, base);
    input.offset = at;
    try {
      const block = this.#decodeBlock(input);
      if (this.#blocks.length >= BLOCKS_MAX)
        throw this.#error('count', `more than ${BLOCKS_MAX} RAM blocks`, { limit: BLOCKS_MAX }, base + at);
      if (block.length > this.#unlisted)
        throw this.#error(
          'ram-size',
          `block "${block.name}" of ${hex(block.length)} bytes, ${hex(this.#unlisted)} are left of the total`,
          { length: block.length, left: this.#unlisted },
          base + at,
        );
      this.#byName.set(block.name, this.#blocks.length);
      this.#blocks.push(block);
      this.#unlisted -= block.length;
      if (this.#unlisted === 0) this.#pageSize = 2 ** this.#options.pageBits(this.#blocks);
      this.#sink.ramBlock(block);
      return input.offset;
    } catch (error) {
      throw error instanceof StateError ? error.within(`blocks[${this.#blocks.length}]`, 'stream') : error;
    }
  }

  #decodeBlock(input: Reader): RamBlock {
    const start = input.position;
    const name = latin1(input.borrow(input.u8()));
    const length = Number(input.u64());
    if (name === '' || !Number.isSafeInteger(length))
      throw this.#error('ram-block', `block "${name}" of ${length} bytes`, { block: name, length }, start);
    const head = { name, length };
    const { ignoreShared, mappedRam } = this.#options;
    if (ignoreShared === true || mappedRam) {
      const address = ignoreShared === true ? { address: input.u64() } : {};
      return mappedRam
        ? { ...head, ...address, mapped: this.#decodeMapped(input, length) }
        : { ...head, ...address };
    }
    const extra = this.#peekExtra(input, length);
    if (extra === undefined) return head;
    input.take(8);
    if (this.#options.ignoreShared === undefined) return { ...head, address: BigInt(extra) };
    return { ...head, pageSize: extra };
  }

  /**
   * Reads a word between a block and the next that nothing announces: the page size of a block on huge pages (with
   * postcopy), or the block's address where x-ignore-shared was on and the machine is too old for a configuration
   * section. It begins with 0, which no block name does; and behind the last block no record has all flags clear.
   */
  #peekExtra(input: Reader, length: number): number | undefined {
    if (input.remaining < 8 || input.peek() !== 0) return undefined;
    const high = input.view.getUint32(input.offset);
    const low = input.view.getUint32(input.offset + 4);
    const isLast = length === this.#unlisted;
    return isLast && (low & (this.#pageSize - 1)) !== 0 ? undefined : high * 0x1_0000_0000 + low;
  }

  #decodeMapped(input: Reader, length: number): MappedRam {
    const at = input.position;
    const mapped = {
      version: input.u32(),
      pageSize: input.u64(),
      bitmapOffset: input.u64(),
      pagesOffset: input.u64(),
    };
    const gap = Number(mapped.pagesOffset - mapped.bitmapOffset);
    if (mapped.version !== MAPPED_RAM_VERSION || gap < 0 || !Number.isSafeInteger(gap)) {
      throw this.#error(
        'mapped-ram',
        `mapped-ram header of version ${mapped.version}, bitmap at ${mapped.bitmapOffset}, pages at ${mapped.pagesOffset}`,
        mapped,
        at,
      );
    }
    // a block that stays shared (x-ignore-shared) has a header and no region; otherwise the bitmap begins right here,
    // wherever in the file the stream began
    this.#region = mapped.pagesOffset === 0n ? 0 : gap + length;
    return mapped;
  }

  #error(code: string, reason: string, facts: StateError['facts'], offset: number): StateError {
    return new StateError(code, reason, facts, { layer: 'stream', path: 'ram', offset });
  }
}

/** Number of bytes of each kind of record, behind name and offset, that say how long it is. */
const HEAD_BYTES: Readonly<Record<number, number>> = {
  [RAM.PAGE]: 0,
  [RAM.ZERO]: 1,
  [RAM.XBZRLE]: 3,
  [RAM.COMPRESS_PAGE]: 4,
};

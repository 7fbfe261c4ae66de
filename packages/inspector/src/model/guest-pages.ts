// The guest's memory as a stream has it, read page by page as it is asked for.
import { acceptVirtio, type RamPlacement, ramLayout, StreamParser } from '@virtkit/migration';
import { isStateError, StateError } from '@virtkit/vmstate';
import { PageIndex, PLACE } from './page-index.ts';
import type { Opened } from './read.ts';
import { registry } from './registry.ts';
import { unpacked } from './unpack.ts';

/** Number of pages that are kept from one look to the next. */
const KEPT_PAGES = 2048;

/** Guest memory that is being looked at. What is not read yet is zeros, and the look is repeated. */
export interface GuestView {
  /** Copies bytes at a guest-physical address. What the stream has not is zeros, and {@link trouble} says why. */
  bytes(address: number, length: number): Uint8Array;
  /** Reads a number of 16, 32 or 64 bits. */
  u16(address: number, littleEndian: boolean): number;
  u32(address: number, littleEndian: boolean): number;
  u64(address: number, littleEndian: boolean): bigint;
  /** Says why bytes at an address cannot be had; undefined where they can. */
  trouble(address: number, length: number): string | undefined;
}

/** Guest memory of a stream: an index of its pages, and those that were asked for last. */
export class GuestPages {
  readonly #opened: Opened;
  readonly #index: PageIndex;
  readonly #layout: readonly (RamPlacement & { readonly index: number })[];
  readonly #kept = new Map<number, Uint8Array>();

  private constructor(opened: Opened, index: PageIndex) {
    this.#opened = opened;
    this.#index = index;
    const { blocks } = index;
    const layout = ramLayout(opened.stream.configuration?.name ?? '', blocks);
    this.#layout = layout.map((piece) => ({
      ...piece,
      index: blocks.findIndex(({ name }) => name === piece.block),
    }));
  }

  /**
   * Reads a stream once more, and notes where its pages are.
   *
   * @throws StateError `ram-absent` for a stream without the guest's memory, `ram-layout` for a machine whose memory may lie anywhere,
   * `ram-size` for more than can be followed; the reason of `signal`
   */
  static async of(opened: Opened, signal?: AbortSignal): Promise<GuestPages> {
    const index = new PageIndex();
    const parser = new StreamParser(index, { accepts: acceptVirtio(registry) });
    try {
      const { chunks } = await unpacked(opened.source.chunks(signal));
      for await (const chunk of chunks) {
        signal?.throwIfAborted();
        parser.push(chunk);
        // device state stands behind all pages
        if (parser.inDeviceState) break;
      }
    } catch (error) {
      // of a damaged stream there is what came so far, as everywhere
      if (!isStateError(error) || error.code === 'url' || error.code === 'ram-size') throw error;
    }
    const pages = new GuestPages(opened, index);
    if (pages.#layout.every((piece) => !index.hasPages(piece.index)))
      throw new StateError(
        'ram-absent',
        "the guest's memory is not in this stream: it stayed in its file, or went another way",
        {},
        { layer: 'stream', path: 'ram' },
      );
    return pages;
  }

  /**
   * Looks at the memory: `look` is called again with more of it, until all that it asks for is there. It must only depend on
   * what it reads.
   */
  async see<T>(look: (view: GuestView) => T, signal?: AbortSignal): Promise<T> {
    if (this.#kept.size > KEPT_PAGES) this.#kept.clear();
    for (;;) {
      const missing = new Set<number>();
      const answer = look(this.#view(missing));
      if (missing.size === 0) return answer;
      await this.#load(
        [...missing].sort((a, b) => a - b),
        signal,
      );
    }
  }

  #view(missing: Set<number>): GuestView {
    const bytes = (address: number, length: number): Uint8Array => this.#copy(address, length, missing);
    const numberAt = (address: number, length: number): DataView =>
      new DataView(bytes(address, length).buffer);
    return {
      bytes,
      u16: (address, little) => numberAt(address, 2).getUint16(0, little),
      u32: (address, little) => numberAt(address, 4).getUint32(0, little),
      u64: (address, little) => numberAt(address, 8).getBigUint64(0, little),
      trouble: (address, length) => this.#trouble(address, length),
    };
  }

  #copy(address: number, length: number, missing: Set<number>): Uint8Array {
    const found = new Uint8Array(length);
    const { pageBytes } = this.#index;
    for (let at = 0; at < length; ) {
      const inPage = (address + at) % pageBytes;
      const count = Math.min(pageBytes - inPage, length - at);
      const place = this.#place(address + at);
      if (place !== undefined && place > 0) {
        const page = this.#kept.get(place);
        if (page === undefined) missing.add(place);
        else found.set(page.subarray(inPage, inPage + count), at);
      }
      at += count;
    }
    return found;
  }

  /** Finds where the page of an address stands in the stream; undefined where there is no RAM. */
  #place(address: number): number | undefined {
    const piece = this.#layout.find(({ gpa, length }) => address >= gpa && address < gpa + length);
    if (piece === undefined) return undefined;
    const page = Math.floor((address - piece.gpa + piece.offset) / this.#index.pageBytes);
    return this.#index.placeOf(piece.index, page);
  }

  #trouble(address: number, length: number): string | undefined {
    const { pageBytes } = this.#index;
    for (let at = address - (address % pageBytes); at < address + length; at += pageBytes) {
      const place = this.#place(Math.max(at, address));
      const where = `0x${Math.max(at, address).toString(16)}`;
      if (place === undefined) return `there is no RAM at ${where}`;
      if (place === PLACE.ABSENT) return `the page at ${where} is not in the stream`;
      if (place === PLACE.ENCODED)
        return `the page at ${where} came as a delta or compressed, which is not unpacked here`;
    }
    return undefined;
  }

  /** Reads pages by their places, which rise: out of a file piece by piece, else in one pass. */
  async #load(places: readonly number[], signal: AbortSignal | undefined): Promise<void> {
    const { source, packing } = this.#opened;
    const { pageBytes } = this.#index;
    if (source.slice !== undefined && packing === undefined) {
      for (const place of places) {
        signal?.throwIfAborted();
        this.#keep(place, await source.slice(place, place + pageBytes));
      }
      return;
    }
    const { chunks } = await unpacked(source.chunks(signal));
    let offset = 0;
    let first = 0;
    try {
      for await (const chunk of chunks) {
        signal?.throwIfAborted();
        for (let n = first; n < places.length; n++) {
          const place = places[n] ?? 0;
          if (place >= offset + chunk.length) break;
          const from = Math.max(place, offset);
          const page = this.#kept.get(place) ?? new Uint8Array(pageBytes);
          page.set(chunk.subarray(from - offset, place + pageBytes - offset), from - place);
          this.#kept.set(place, page);
          if (place + pageBytes <= offset + chunk.length) first = n + 1;
        }
        if (first === places.length) return;
        offset += chunk.length;
      }
    } catch (error) {
      if (!isStateError(error) || error.code === 'url') throw error;
    }
    // a page that is cut has zeros in place of its end
    for (const place of places.slice(first)) if (!this.#kept.has(place)) this.#keep(place, new Uint8Array(0));
  }

  #keep(place: number, bytes: Uint8Array): void {
    const page = new Uint8Array(this.#index.pageBytes);
    page.set(bytes);
    this.#kept.set(place, page);
  }
}

import type { Gpa, MemoryMap, MemoryRegion } from '@virtkit/core';
import { FrontEndError } from '../errors.ts';
import type { Platform, SharedMapping } from '../platform.ts';
import type { WireRegion } from '../wire/message.ts';
import type { DirtyPages } from './dirty-pages.ts';

/** Regions at a time, at most: what GET_MAX_MEM_SLOTS answers. */
export const SLOTS_MAX = 512;
/**
 * Bytes of a window. Core finds buffers fastest in regions of 2 GiB at most, Node 20 ends the process for an array of more than 4 GiB, and a window that
 * begins at a multiple of its size crosses no boundary of 4 GiB.
 */
const WINDOW_BYTES = 2 ** 31;
/** Places of windows that a front end may bring from its connection to its end. */
export const WINDOWS_MAX = 2048;

/** A region as the front end has named it. */
interface Region extends WireRegion {
  /** Tells its file from all others. */
  readonly file: string;
  readonly mapping: SharedMapping;
  readonly windows: readonly Window[];
}

/** A window. Its array is made when it is first touched: each one of this size makes the engine collect its garbage. */
class Window implements MemoryRegion {
  readonly gpa: number;
  readonly end: number;
  readonly shared = true;
  readonly #mapping: SharedMapping;
  readonly #offset: number;
  #bytes: Uint8Array | undefined;

  /**
   * @param base guest address of the mapping
   * @param gpa guest address of the window, {@link end} the one behind it
   */
  constructor(mapping: SharedMapping, base: number, gpa: number, end: number) {
    this.gpa = gpa;
    this.end = end;
    this.#mapping = mapping;
    this.#offset = gpa - base;
  }

  get bytes(): Uint8Array {
    this.#bytes ??= this.#mapping.window(this.#offset, this.end - this.gpa);
    return this.#bytes;
  }
}

/** Memory of the guest, as the front end shows it: regions of files that both have mapped, in windows. */
export class SharedMemory implements MemoryMap {
  readonly contract = 1;
  epoch = 0;
  owner = 0;
  /** Where writes are noted while the front end wants to hear of them. */
  log: DirtyPages | undefined;
  /** Is there memory whose file could become shorter? */
  shrinkable = false;
  readonly #platform: Platform;
  #regions: readonly Region[] = [];
  /** By address. */
  #windows: readonly Window[] = [];
  /** Addresses of all windows since the front end has connected: core keeps a place for each. */
  readonly #known: Set<number> = new Set();

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  get count(): number {
    return this.#regions.length;
  }

  /** Bytes of all regions. */
  get size(): number {
    return this.#regions.reduce((sum, { size }) => sum + Number(size), 0);
  }

  get tracksWrites(): boolean {
    return this.log !== undefined;
  }

  sync(): void {
    // regions change between messages, when no device is at work
  }

  regionAt(gpa: number): MemoryRegion | undefined {
    const windows = this.#windows;
    let low = 0;
    let high = windows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const window = windows[middle] as Window;
      if (gpa < window.gpa) high = middle;
      else if (gpa >= window.end) low = middle + 1;
      else return window;
    }
    return undefined;
  }

  markDirty(gpa: Gpa, length: number): void {
    this.log?.mark(gpa, length);
  }

  /** The guest address of something of which the front end has told its own address; undefined: it is in no region. */
  translate(userAddress: bigint): bigint | undefined {
    for (const { userAddress: first, size, guestAddress } of this.#regions)
      if (userAddress >= first && userAddress < first + size) return guestAddress + (userAddress - first);
    return undefined;
  }

  /**
   * Takes other regions for those there were. Nothing changes if they make no sense.
   *
   * @param descriptors one for each; they are the caller's to close
   * @throws FrontEndError
   */
  replace(table: readonly WireRegion[], descriptors: readonly number[]): void {
    const old = this.#regions;
    const regions: Region[] = [];
    try {
      for (const [index, region] of table.entries()) {
        checkRegion(region, regions);
        regions.push(this.#map(region, descriptors[index]));
      }
    } catch (error) {
      closeAll(regions, old);
      throw error;
    }
    this.#take(regions);
    closeAll(old, regions);
  }

  /** One region more. @throws FrontEndError */
  add(region: WireRegion, descriptor: number | undefined): void {
    if (this.#regions.length >= SLOTS_MAX)
      throw new FrontEndError(`ADD_MEM_REG: more than ${SLOTS_MAX} regions`, {
        regions: this.#regions.length,
      });
    checkRegion(region, this.#regions);
    this.#take([...this.#regions, this.#map(region, descriptor)]);
  }

  /** One region less. @throws FrontEndError if there is none like it */
  remove({ guestAddress, size, userAddress }: WireRegion): void {
    const gone = this.#regions.find(
      (region) =>
        region.guestAddress === guestAddress && region.size === size && region.userAddress === userAddress,
    );
    if (gone === undefined)
      throw new FrontEndError(`REM_MEM_REG: no region of ${size} bytes at 0x${guestAddress.toString(16)}`, {
        guestAddress,
        size,
      });
    this.#take(this.#regions.filter((region) => region !== gone));
    gone.mapping.close();
  }

  /** The front end has gone, and no device has anything of its memory. */
  clear(): void {
    this.replace([], []);
    this.log?.close();
    this.log = undefined;
    this.shrinkable = false;
    this.#known.clear();
    this.owner++;
    this.epoch++;
  }

  #map(region: WireRegion, descriptor: number | undefined): Region {
    if (descriptor === undefined) throw new FrontEndError('a region without a file descriptor');
    const [gpa, size] = [Number(region.guestAddress), Number(region.size)];
    const first = Math.floor(gpa / WINDOW_BYTES);
    const count = Math.floor((gpa + size - 1) / WINDOW_BYTES) - first + 1;
    const from = (index: number): number => Math.max(gpa, (first + index) * WINDOW_BYTES);
    if (count > WINDOWS_MAX) throw tooMany(size);
    const places = Array.from({ length: count }, (_, index) => from(index));
    if (this.#known.size + places.filter((place) => !this.#known.has(place)).length > WINDOWS_MAX)
      throw tooMany(size);
    const file = this.#platform.identity(descriptor);
    // a table is sent anew whenever something in it has changed
    const same = this.#regions.find((known) => known.file === file && isSame(known, region));
    if (same !== undefined) return same;
    const mapping = this.#platform.map(descriptor, Number(region.fileOffset), size);
    for (const place of places) this.#known.add(place);
    if (mapping.shrinkable) this.shrinkable = true;
    const windows = places.map(
      (place, index) => new Window(mapping, gpa, place, index === count - 1 ? gpa + size : from(index + 1)),
    );
    return { ...region, file, mapping, windows };
  }

  #take(regions: readonly Region[]): void {
    if (
      regions.length === this.#regions.length &&
      regions.every((region, index) => region === this.#regions[index])
    )
      return;
    this.#regions = regions;
    this.#windows = regions.flatMap(({ windows }) => windows).sort((a, b) => a.gpa - b.gpa);
    this.epoch++;
  }
}

/** Lets go what is in the first list and not in the second. */
function closeAll(regions: readonly Region[], kept: readonly Region[]): void {
  for (const region of regions) if (!kept.includes(region)) region.mapping.close();
}

function isSame(a: WireRegion, b: WireRegion): boolean {
  return (
    a.guestAddress === b.guestAddress &&
    a.size === b.size &&
    a.userAddress === b.userAddress &&
    a.fileOffset === b.fileOffset
  );
}

function tooMany(size: number): FrontEndError {
  return new FrontEndError(
    `more than ${WINDOWS_MAX} windows of guest memory since the front end has connected`,
    { size },
  );
}

/** Addresses from here on are no memory: core has them as numbers. */
const ADDRESS_END = 2n ** 53n;
const USER_END = 2n ** 64n;

/** @throws FrontEndError for a region that is none, or overlaps one of the others */
function checkRegion(region: WireRegion, others: readonly WireRegion[]): void {
  const { guestAddress, size, userAddress, fileOffset } = region;
  const facts = { guestAddress, size, userAddress, fileOffset };
  const within =
    guestAddress + size <= ADDRESS_END && fileOffset + size <= ADDRESS_END && userAddress + size <= USER_END;
  if (size === 0n || !within)
    throw new FrontEndError(
      `a region of ${size} bytes at 0x${guestAddress.toString(16)}, offset 0x${fileOffset.toString(16)} of its file`,
      facts,
    );
  const other = others.find(
    (known) =>
      overlaps(known.guestAddress, known.size, guestAddress, size) ||
      overlaps(known.userAddress, known.size, userAddress, size),
  );
  if (other === undefined) return;
  throw new FrontEndError(
    `regions overlap: 0x${guestAddress.toString(16)} (${size} bytes) and 0x${other.guestAddress.toString(16)} (${other.size} bytes)`,
    facts,
  );
}

function overlaps(a: bigint, aSize: bigint, b: bigint, bSize: bigint): boolean {
  return a < b + bSize && b < a + aSize;
}

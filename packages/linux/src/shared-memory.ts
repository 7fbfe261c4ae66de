import type { Gpa, MemoryMap, MemoryRegion } from '@virtkit/core';
import { PeerError } from './errors.ts';
import type { Platform, SharedMapping } from './platform.ts';

/** Stretch of guest memory, and where its bytes lie in a file. */
export interface FileRegion {
  /** Guest-physical address of the region's first byte. */
  readonly guestAddress: bigint;
  /** Length of the region in bytes. */
  readonly size: bigint;
  /** Offset of the region's first byte in the file. */
  readonly fileOffset: bigint;
  /** True if devices may not write the region. Default: false. */
  readonly readonly?: boolean;
}

/** Log that hears of what devices write. */
export interface WriteLog {
  /** Notes that bytes `[gpa, gpa + length)` were written. */
  mark(gpa: number, length: number): void;
  /** Closes the log, which is needed no more. */
  close(): void;
}

/** Rules about regions that a protocol has of its own. */
export interface SharedMemoryOptions<R extends FileRegion> {
  /** Largest number of regions at a time. */
  readonly regionsMax: number;
  /** Text in front of a refusal: the protocol's name of the message. */
  readonly adding: string;
  /**
   * Checks a region against the others. @throws PeerError for one that makes no sense, or not beside the others;
   * addresses and sizes are known to be in range
   */
  check?(region: R, others: readonly R[]): void;
  /** Are two regions the same, besides addresses, size and file? */
  isSame?(a: R, b: R): boolean;
}

/**
 * Length of a window in bytes. Core finds buffers fastest in regions of 2 GiB at most, Node 20 ends the process for an
 * array of more than 4 GiB, and a window that begins at a multiple of its size crosses no boundary of 4 GiB.
 */
const WINDOW_BYTES = 2 ** 31;
/** Largest number of places of windows that a peer may bring from its connection to its end. */
export const WINDOWS_MAX = 2048;

/** Region as the peer has named it, mapped. */
interface Mapped<R> {
  readonly region: R;
  /** Text that tells the region's file from all others. */
  readonly file: string;
  readonly mapping: SharedMapping;
  readonly windows: readonly Window[];
}

/**
 * Window of a mapping. Its array is made when it is first touched: each one of this size makes the engine collect its
 * garbage.
 */
class Window implements MemoryRegion {
  readonly gpa: number;
  readonly end: number;
  readonly shared = true;
  readonly readonly: boolean;
  readonly #mapping: SharedMapping;
  readonly #offset: number;
  #bytes: Uint8Array | undefined;

  /**
   * @param base guest address of the mapping
   * @param gpa guest address of the window, {@link end} the one behind it
   */
  constructor(mapping: SharedMapping, base: number, gpa: number, end: number, readonly: boolean) {
    this.readonly = readonly;
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

/** Memory of a guest, as another process shows it: regions of files that both have mapped, in windows. */
export class SharedMemory<R extends FileRegion = FileRegion> implements MemoryMap {
  /** Contract number that the memory was written for. */
  readonly contract = 1;
  /** Number that goes up by one each time that regions come or go. */
  epoch = 0;
  /** Counts the peers whose memory this was: devices of an earlier one must not reach the memory of the next. */
  owner = 0;
  /** Log where writes are noted while the peer wants to hear of them. */
  log: WriteLog | undefined;
  /** True if the peer has brought a file that could become shorter. */
  shrinkable = false;
  readonly #platform: Platform;
  readonly #options: SharedMemoryOptions<R>;
  #mapped: readonly Mapped<R>[] = [];
  /** Windows by address. */
  #windows: readonly Window[] = [];
  /** Addresses of all windows since the peer has connected: core keeps a place for each. */
  readonly #known: Set<number> = new Set();

  constructor(platform: Platform, options: SharedMemoryOptions<R>) {
    this.#platform = platform;
    this.#options = options;
  }

  /** Number of regions. */
  get count(): number {
    return this.#mapped.length;
  }

  /** Number of bytes of all regions. */
  get size(): number {
    return this.#mapped.reduce((sum, { region }) => sum + Number(region.size), 0);
  }

  /** The regions that there are, in the order in which they came. */
  get regions(): readonly R[] {
    return this.#mapped.map(({ region }) => region);
  }

  /** Is there a {@link log}? */
  get tracksWrites(): boolean {
    return this.log !== undefined;
  }

  /** Does nothing: regions change between messages, when no device is at work. */
  sync(): void {}

  /** Finds the window that an address lies in: a stretch of at most 2 GiB of a region. */
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

  /** Tells the {@link log} of bytes that were written. */
  markDirty(gpa: Gpa, length: number): void {
    this.log?.mark(gpa, length);
  }

  /**
   * Takes other regions for those there were. Nothing changes if they make no sense.
   *
   * @param descriptors one for each; they are the caller's to close
   * @throws PeerError
   */
  replace(table: readonly R[], descriptors: readonly number[]): void {
    const old = this.#mapped;
    const mapped: Mapped<R>[] = [];
    try {
      for (const [index, region] of table.entries()) {
        this.#check(
          region,
          mapped.map((each) => each.region),
        );
        mapped.push(this.#map(region, descriptors[index]));
      }
    } catch (error) {
      closeAll(mapped, old);
      throw error;
    }
    this.#take(mapped);
    closeAll(old, mapped);
  }

  /** Adds a region. @param descriptor the caller's to close. @throws PeerError */
  add(region: R, descriptor: number | undefined): void {
    const { regionsMax, adding } = this.#options;
    if (this.#mapped.length >= regionsMax)
      throw new PeerError(`${adding}: more than ${regionsMax} regions`, { regions: this.#mapped.length });
    this.#check(region, this.regions);
    this.#take([...this.#mapped, this.#map(region, descriptor)]);
  }

  /** Removes a region. @returns false if there is none of which `which` is true */
  remove(which: (region: R) => boolean): boolean {
    const gone = this.#mapped.find(({ region }) => which(region));
    if (gone === undefined) return false;
    this.#take(this.#mapped.filter((each) => each !== gone));
    gone.mapping.close();
    return true;
  }

  /** Takes all regions away, and closes the log of writes, because the peer has gone. */
  clear(): void {
    this.replace([], []);
    this.log?.close();
    this.log = undefined;
    this.shrinkable = false;
    this.#known.clear();
    this.owner++;
    this.epoch++;
  }

  #check(region: R, others: readonly R[]): void {
    checkRegion(region, others);
    this.#options.check?.(region, others);
  }

  #map(region: R, descriptor: number | undefined): Mapped<R> {
    if (descriptor === undefined) throw new PeerError('a region without a file descriptor');
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
    const same = this.#mapped.find((known) => known.file === file && this.#isSame(known.region, region));
    if (same !== undefined) return same;
    const mapping = this.#platform.map(descriptor, Number(region.fileOffset), size);
    for (const place of places) this.#known.add(place);
    if (mapping.shrinkable) this.shrinkable = true;
    const end = (index: number): number => (index === count - 1 ? gpa + size : from(index + 1));
    const windows = places.map(
      (place, index) => new Window(mapping, gpa, place, end(index), region.readonly ?? false),
    );
    return { region, file, mapping, windows };
  }

  #isSame(a: R, b: R): boolean {
    return (
      a.guestAddress === b.guestAddress &&
      a.size === b.size &&
      a.fileOffset === b.fileOffset &&
      a.readonly === b.readonly &&
      (this.#options.isSame?.(a, b) ?? true)
    );
  }

  #take(mapped: readonly Mapped<R>[]): void {
    if (mapped.length === this.#mapped.length && mapped.every((each, index) => each === this.#mapped[index]))
      return;
    this.#mapped = mapped;
    this.#windows = mapped.flatMap(({ windows }) => windows).sort((a, b) => a.gpa - b.gpa);
    this.epoch++;
  }
}

/** Lets go of what is in the first list and not in the second. */
function closeAll<R>(mapped: readonly Mapped<R>[], kept: readonly Mapped<R>[]): void {
  for (const each of mapped) if (!kept.includes(each)) each.mapping.close();
}

function tooMany(size: number): PeerError {
  return new PeerError(`more than ${WINDOWS_MAX} windows of guest memory since the peer has connected`, {
    size,
  });
}

/** Address from which on there is no memory: core has addresses as numbers. */
const ADDRESS_END = 2n ** 53n;

/** Checks a region. @throws PeerError for one that is none, or overlaps one of the others */
function checkRegion(region: FileRegion, others: readonly FileRegion[]): void {
  const { guestAddress, size, fileOffset } = region;
  const facts = { guestAddress, size, fileOffset };
  if (size === 0n || guestAddress + size > ADDRESS_END || fileOffset + size > ADDRESS_END)
    throw new PeerError(
      `a region of ${size} bytes at 0x${guestAddress.toString(16)}, offset 0x${fileOffset.toString(16)} of its file`,
      facts,
    );
  const other = others.find(
    (known) => known.guestAddress < guestAddress + size && guestAddress < known.guestAddress + known.size,
  );
  if (other !== undefined) throw overlapping(region, other);
}

/** Makes the error for two regions that overlap. */
export function overlapping(region: FileRegion, other: FileRegion): PeerError {
  const { guestAddress, size, fileOffset } = region;
  return new PeerError(
    `regions overlap: 0x${guestAddress.toString(16)} (${size} bytes) and 0x${other.guestAddress.toString(16)} (${other.size} bytes)`,
    { guestAddress, size, fileOffset },
  );
}

import type { Gpa } from '../contract/memory.ts';
import { HostError } from './errors.ts';
import { ViewCache } from './views.ts';

/** Bytes behind a region, wherever they are now: an array, a function that gives one, or a place in a buffer that may be replaced. */
export type RegionBytes =
  | Uint8Array
  | (() => Uint8Array)
  | {
      /** Function that gives the buffer as it is now, such as `() => memory.buffer` of a WebAssembly memory. */
      buffer(): ArrayBufferLike;
      /** Offset in bytes at which the region begins in the buffer. */
      readonly offset: number;
      readonly length: number;
    };

/** A piece of the guest-physical address space. */
export interface Region {
  /** Guest-physical address of the region's first byte; a plain number, below 2^53. */
  readonly gpa: number;
  /** The array behind the region, at least as long as the region. */
  readonly bytes: RegionBytes;
  /** ROM: devices cannot write it. */
  readonly readonly?: boolean;
  /**
   * True if another thread or process uses the bytes at the same time. Default: true if they are on a
   * `SharedArrayBuffer`.
   */
  readonly shared?: boolean;
}

/** Largest region: offsets in it are 32-bit. Larger memory is given as several regions. */
const REGION_MAX = 2 ** 32;
const LITTLE_HOST = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
const NO_WORDS = new Int32Array(0);
const NO_HALVES = new Uint16Array(0);

/** A region with its views. Fields that rings and chains read at each buffer are 32-bit integers. */
export class Mapping {
  // `declare`: see RingBase
  declare readonly gpa: Gpa;
  declare readonly source: RegionBytes;
  declare readonly: boolean;
  /** Index of the region in the list of the memory; chains keep it. */
  index = 0;
  size = 0;
  /** First address behind the region. */
  declare end: number;
  /** Low word of {@link gpa} as a signed integer; {@link hi} is its high word. */
  declare readonly lo: number;
  declare readonly hi: number;
  /** Number of bytes that can be addressed by a low word alone: what the fast path of the rings looks at. */
  span = 0;
  bytes: Uint8Array = new Uint8Array(0);
  /** All of the region as 32-bit and 16-bit words; empty if the host is big-endian or the bytes lie unaligned. */
  words: Int32Array = NO_WORDS;
  halves: Uint16Array = NO_HALVES;
  /** Cache of views of parts of the region. */
  declare views: ViewCache;
  /** True if the driver may run on another thread, or in another process. */
  shared = false;
  /** True if the owner of the bytes says that they are shared, whatever they lie on. */
  declare private readonly alwaysShared: boolean;

  constructor({ gpa, bytes, readonly = false, shared = false }: Region) {
    if (!Number.isSafeInteger(gpa) || gpa < 0) throw new HostError(`region at ${gpa}: not an address`);
    this.gpa = gpa as Gpa;
    this.source = bytes;
    this.readonly = readonly;
    this.alwaysShared = shared;
    this.lo = gpa | 0;
    this.hi = Math.floor(gpa / 2 ** 32) | 0;
    this.end = gpa;
    this.place(resolve(bytes));
  }

  /** Looks where the bytes are now. Answers true if they have moved. */
  refresh(): boolean {
    const { source, bytes } = this;
    if (typeof source !== 'function') {
      if (source instanceof Uint8Array) return false;
      if (source.buffer() === bytes.buffer) return false;
    }
    const now = resolve(source);
    if (now.buffer === bytes.buffer && now.byteOffset === bytes.byteOffset && now.length === this.size)
      return false;
    this.place(now);
    return true;
  }

  /** Takes the region out of use: no buffer is found in it any more, and chains in flight still have their bytes. */
  leave(): void {
    this.span = 0;
  }

  /** Takes over other bytes, of a region whose owner says itself when it has moved. */
  move(bytes: Uint8Array, readonly: boolean): void {
    this.readonly = readonly;
    const { buffer, byteOffset, length } = this.bytes;
    const moved = bytes.buffer !== buffer || bytes.byteOffset !== byteOffset || bytes.length !== length;
    if (moved || this.span === 0) this.place(bytes);
  }

  /**
   * Do `length` bytes, not 0, lie in this region from an address on whose low and high word are given? The fast path of
   * the rings asks it.
   */
  holds(low: number, high: number, length: number): boolean {
    const offset = (low - this.lo) | 0;
    return high === this.hi && offset >= 0 && length > 0 && offset <= ((this.span - length) | 0);
  }

  private place(bytes: Uint8Array): void {
    const { gpa } = this;
    if (bytes.length > REGION_MAX || gpa + bytes.length > Number.MAX_SAFE_INTEGER) {
      throw new HostError(
        `region at 0x${gpa.toString(16)}: ${bytes.length} bytes are too many for one region`,
      );
    }
    this.bytes = bytes;
    this.views = new ViewCache(bytes);
    this.size = bytes.length;
    this.end = gpa + bytes.length;
    this.span = Math.min(this.size, 0x7fffffff, 2 ** 32 - (this.lo >>> 0));
    const onShared = typeof SharedArrayBuffer !== 'undefined' && bytes.buffer instanceof SharedArrayBuffer;
    this.shared = this.alwaysShared || onShared;
    const aligned = LITTLE_HOST && bytes.byteOffset % 4 === 0;
    this.words = aligned ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2) : NO_WORDS;
    this.halves = aligned ? new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 1) : NO_HALVES;
  }
}

function resolve(source: RegionBytes): Uint8Array {
  if (source instanceof Uint8Array) return source;
  if (typeof source === 'function') return source();
  const buffer = source.buffer();
  if (source.offset + source.length > buffer.byteLength) {
    throw new HostError(
      `region of ${source.length} bytes at offset ${source.offset}: the buffer has only ${buffer.byteLength}`,
    );
  }
  return new Uint8Array(buffer, source.offset, source.length);
}

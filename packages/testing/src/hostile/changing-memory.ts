import { MappedMemory } from '@virtkit/core';
import { Random } from '../suite/case.ts';

/** Regions that {@link MappedMemory} is made of. */
type Regions = ConstructorParameters<typeof MappedMemory>[0];
type Region = MappedMemory['mappings'][number];
type Numbers = Uint8Array | Uint16Array | Int32Array;

/** Read of a byte of guest memory. */
export interface ByteRead {
  /** Guest-physical address. */
  readonly gpa: number;
  /** Value of the byte in memory, 0 to 255. */
  readonly value: number;
  /** Number of times that the byte has been read before, since the device was entered last. */
  readonly before: number;
}

/** Options of memory that changes: what changes, and how often. */
export interface ChangingOptions {
  /** Seed of random choices; default 1. */
  readonly seed?: number;
  /** Chooses what the device reads, 0 to 255. Default: at first what is there, then each time something else. */
  readonly read?: (read: ByteRead) => number;
}

/**
 * Guest memory that another processor of the guest writes while a device reads it: whoever reads a byte twice gets two
 * values. A device that judges an address and reads it again to use it goes wrong here each time, not once in a million.
 *
 * The bytes themselves stay as they are; only what devices read changes, from one {@link sync} (an entry into a device) to
 * the next. An access outside a region, which typed arrays would answer with undefined or ignore, throws.
 */
export class ChangingMemory extends MappedMemory {
  /** False if reads tell what is there. */
  changing = true;
  /** Number of bytes that were read more than once since the device was entered. */
  rereads = 0;
  readonly #random: Random;
  readonly #read: ((read: ByteRead) => number) | undefined;
  /** Number of the entry into a device that is under way. */
  #entry = 1;

  constructor(regions: Regions, options: ChangingOptions = {}) {
    super(regions);
    this.#random = new Random(options.seed ?? 1);
    this.#read = options.read;
    for (const region of this.mappings) this.#watch(region);
  }

  override sync(): void {
    const { epoch } = this;
    super.sync();
    this.#entry++;
    this.rereads = 0;
    if (this.epoch !== epoch) for (const region of this.mappings) this.#watch(region);
  }

  override orU8(...[gpa, bits]: Parameters<MappedMemory['orU8']>): number {
    const before = this.readU8(gpa);
    return before >= 0 && this.writeU8(gpa, before | bits) ? before : -1;
  }

  /** Puts itself between a region's views and whoever reads them. */
  #watch(region: Region): void {
    const { bytes, words, halves, gpa } = region;
    if (watched.has(bytes)) return;
    const entries = new Uint32Array(bytes.length);
    const counts = new Uint32Array(bytes.length);
    const look = (offset: number, value: number): number => {
      if (entries[offset] !== this.#entry) {
        entries[offset] = this.#entry;
        counts[offset] = 0;
      }
      const before = counts[offset] as number;
      counts[offset] = before + 1;
      if (before > 0) this.rereads++;
      if (!this.changing) return value;
      if (this.#read !== undefined) return this.#read({ gpa: gpa + offset, value, before });
      return before === 0 ? value : this.#other(value);
    };
    region.bytes = watch(bytes, bytes.byteOffset, look);
    region.words = watch(words, bytes.byteOffset, look);
    region.halves = watch(halves, bytes.byteOffset, look);
    // views of parts are made of the region's bytes
    region.views = Object.assign(Object.create(Object.getPrototypeOf(region.views)), region.views, {
      bytes: region.bytes,
    });
  }

  /** Chooses another value than this byte. */
  #other(value: number): number {
    const random = this.#random;
    const other = random.pick([
      value ^ (1 << random.below(8)),
      value + 1,
      value - 1,
      0,
      0xff,
      random.below(256),
    ]);
    return (other & 0xff) === value ? value ^ 0x80 : other & 0xff;
  }
}

/** Arrays that are watched already. */
const watched = new WeakSet<object>();

/** @param look is asked about each byte that is read: where it lies in the region, and what is there */
function watch<T extends Numbers>(
  array: T,
  start: number,
  look: (offset: number, value: number) => number,
): T {
  const width = array.BYTES_PER_ELEMENT;
  const base = array.byteOffset - start;
  const read = (index: number): number => {
    const value = array[index];
    if (value === undefined) throw new RangeError(`element ${index} of ${array.length} was read`);
    let number = 0;
    // little-endian, as hosts are that read words
    for (let byte = 0; byte < width; byte++)
      number |= look(base + index * width + byte, (value >>> (8 * byte)) & 0xff) << (8 * byte);
    return number;
  };
  const proxy: T = new Proxy(array, {
    get(target, name) {
      if (typeof name === 'string') {
        const index = Number(name);
        if (Number.isInteger(index)) return read(index);
      }
      if (name === 'subarray') {
        return (from = 0, to = target.length) => {
          inside(target, from, to);
          return watch(target.subarray(from, to) as T, start, look);
        };
      }
      if (name === 'slice') {
        return (from?: number, to?: number) => {
          const part = target.slice(from, to);
          const first = target.subarray(from, to).byteOffset - array.byteOffset;
          for (let i = 0; i < part.length; i++) part[i] = read(first / width + i);
          return part;
        };
      }
      if (name === 'fill') {
        return (value: number, from = 0, to = target.length) => {
          inside(target, from, to);
          target.fill(value, from, to);
          return proxy;
        };
      }
      if (typeof name === 'string' && READERS.has(name)) return Reflect.get(Array.prototype, name);
      if (name === Symbol.iterator) return Array.prototype[Symbol.iterator];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set(target, name, value) {
      const index = Number(String(name));
      if (!Number.isInteger(index) || index < 0 || index >= target.length)
        throw new RangeError(`element ${String(name)} of ${target.length} was written`);
      target[index] = value;
      return true;
    },
  });
  watched.add(proxy);
  return proxy;
}

function inside({ length }: Numbers, from: number, to: number): void {
  if (!(from >= 0 && from <= to && to <= length))
    throw new RangeError(`elements ${from} to ${to} of ${length}`);
}

/** Names of methods that read elements one by one. */
const READERS = new Set([
  'at',
  'every',
  'find',
  'findIndex',
  'forEach',
  'includes',
  'indexOf',
  'join',
  'map',
  'some',
]);

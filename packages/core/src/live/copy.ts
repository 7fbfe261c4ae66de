import type { Mapping } from './mapping.ts';
import { ViewCache } from './views.ts';

/** Up to so many bytes a loop over bytes is fastest, whatever the alignment. */
const BYTE_LOOP = 24;
/** Up to so many, a loop over words is as fast as `set` of a view that is there already, and faster than making one. */
const WORD_LOOP = 64;

/** The array of the device that was copied from or to last: its words and views are made once, not at each copy. */
let lastBytes: Uint8Array | undefined;
let lastWords: Int32Array | undefined;
let lastViews: ViewCache | undefined;

/** All whole words of an array whose bytes lie aligned in its buffer. */
function wordsOf(bytes: Uint8Array): Int32Array {
  if (bytes !== lastBytes) remember(bytes);
  lastWords ??= new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  return lastWords;
}

/** A part of an array of the device. */
function viewOf(bytes: Uint8Array, start: number, length: number): Uint8Array {
  // an array that is copied whole needs no view
  if (start === 0 && length === bytes.length) return bytes;
  if (bytes !== lastBytes) {
    // arrays that are seen once are not worth a cache
    remember(bytes);
    return bytes.subarray(start, start + length);
  }
  lastViews ??= new ViewCache(bytes);
  return lastViews.view(start, length);
}

function remember(bytes: Uint8Array): void {
  lastBytes = bytes;
  lastWords = undefined;
  lastViews = undefined;
}

/** May bytes from here to there be copied as words? */
function aligned(region: Mapping, from: number, bytes: Uint8Array, at: number): boolean {
  return ((from | at | bytes.byteOffset) & 3) === 0 && region.words.length > 0;
}

/** Eight at a time: twice as fast as one by one. */
function copyWords(source: Int32Array, from: number, target: Int32Array, to: number, count: number): void {
  let i = 0;
  for (; i + 8 <= count; i += 8) {
    const at = (from + i) | 0;
    const into = (to + i) | 0;
    target[into] = source[at] as number;
    target[into + 1] = source[at + 1] as number;
    target[into + 2] = source[at + 2] as number;
    target[into + 3] = source[at + 3] as number;
    target[into + 4] = source[at + 4] as number;
    target[into + 5] = source[at + 5] as number;
    target[into + 6] = source[at + 6] as number;
    target[into + 7] = source[at + 7] as number;
  }
  for (; i < count; i++) target[to + i] = source[from + i] as number;
}

/** Copies guest memory out. No object is made for small copies. */
export function copyOut(region: Mapping, from: number, target: Uint8Array, at: number, length: number): void {
  const { bytes } = region;
  let done = 0;
  if (length > BYTE_LOOP) {
    if (length > WORD_LOOP || !aligned(region, from, target, at)) {
      target.set(region.views.view(from, length), at);
      return;
    }
    copyWords(region.words, from >>> 2, wordsOf(target), at >>> 2, length >>> 2);
    done = length & ~3;
  }
  for (; done < length; done++) target[at + done] = bytes[from + done] as number;
}

/** Copies into guest memory. */
export function copyIn(region: Mapping, to: number, source: Uint8Array, at: number, length: number): void {
  const { bytes } = region;
  let done = 0;
  if (length > BYTE_LOOP) {
    if (length > WORD_LOOP || !aligned(region, to, source, at)) {
      bytes.set(viewOf(source, at, length), to);
      return;
    }
    copyWords(wordsOf(source), at >>> 2, region.words, to >>> 2, length >>> 2);
    done = length & ~3;
  }
  for (; done < length; done++) bytes[to + done] = source[at + done] as number;
}

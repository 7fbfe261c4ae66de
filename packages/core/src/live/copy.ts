import type { Mapping } from './mapping.ts';
import { ViewCache } from './views.ts';

/** The most bytes for which a loop over bytes is fastest, whatever the alignment. */
const BYTE_LOOP = 24;
/** The most bytes for which a loop over words is as fast as `set` with a view that exists, and faster than to make the view. */
const WORD_LOOP = 64;

/** An array of a device with its words and views, which are made once and not at each copy. */
interface Known {
  bytes: Uint8Array;
  words: Int32Array | undefined;
  views: ViewCache | undefined;
}

/**
 * Number of arrays that are known at a time: a few devices take turns, and each known array is kept from being freed.
 */
const KNOWN = 4;
const known: readonly Known[] = Array.from({ length: KNOWN }, () => ({
  bytes: new Uint8Array(0),
  words: undefined,
  views: undefined,
}));
let last = known[0] as Known;
let oldest = 0;

/** Makes an array the {@link last} one used. Answers whether it was known before. */
function recall(bytes: Uint8Array): boolean {
  for (let i = 0; i < KNOWN; i++) {
    const one = known[i] as Known;
    if (one.bytes !== bytes) continue;
    last = one;
    return true;
  }
  last = known[oldest] as Known;
  oldest = (oldest + 1) % KNOWN;
  last.bytes = bytes;
  last.words = undefined;
  last.views = undefined;
  return false;
}

/** All whole words of an array whose bytes lie aligned in its buffer. */
function wordsOf(bytes: Uint8Array): Int32Array {
  if (bytes !== last.bytes) recall(bytes);
  last.words ??= new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  return last.words;
}

/** A view of a part of an array of the device. */
function viewOf(bytes: Uint8Array, start: number, length: number): Uint8Array {
  // an array that is copied whole needs no view
  if (start === 0 && length === bytes.length) return bytes;
  // arrays that are seen once are not worth a cache
  if (bytes !== last.bytes && !recall(bytes)) return bytes.subarray(start, start + length);
  last.views ??= new ViewCache(bytes);
  return last.views.view(start, length);
}

/** Can bytes be copied as words, because both ends lie alike in a word? */
function aligned(region: Mapping, from: number, bytes: Uint8Array, at: number): boolean {
  return ((from | at | bytes.byteOffset) & 3) === 0 && region.words.length > 0;
}

/** Copies words eight at a time, which is twice as fast as one by one. */
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

/** Copies bytes of guest memory to an array of the device. A small copy makes no object. */
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

/** Copies bytes of an array of the device into guest memory. A small copy makes no object. */
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
